"""From measured layers to the contents of ledger.json and curves.npz."""

from dataclasses import asdict
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig

from experiments.cell import SCHEMA, Cell, identity
from experiments.diagnose import diagnose
from experiments.factors import Cells, split
from experiments.layers import Floor, Trained, blind, zeros
from experiments.ledger import Rungs, entry, ledger, over_seeds, plain
from experiments.oracle import summary
from experiments.show import sentences
from models.base import parameters, pure


def record(
    cell: Cell,
    floors: dict[int, Floor],
    perceived: dict[int, Any],
    rungs: dict[int, Rungs],
    observed: dict[str, Any],
    diverged: dict[int, int],
    ladder: Cells | None,
) -> dict[str, Any]:
    """Everything a run found, as plain numbers."""
    length, chosen = cell.shape.length, cell.config["ledger"]
    names = HydraConfig.get().runtime.choices
    parts = {k: {"name": names.get(k, k), **_plain(cell.config[k])} for k in ("world", "perception", "instantiation")}
    parts["world"] |= {"solved": cell.solved} if cell.solved else {}
    parts["perception"]["scheme"]["name"] = names.get("perception/scheme", parts["perception"]["name"])
    whole = {
        "schema": SCHEMA,
        "identity": identity(cell.config),
        "unit": "nats/token",
        **parts,
        "reach": _plain(cell.config["reach"]),
        "study": cell.config["study"],
        "parameters": parameters(pure(cell.spec)),
        "seed": cell.config["seed"],
        "seeds": list(range(cell.seeds)),
        "length": length,
        "train_length": length,
        "observation": chosen,
        "judged": cell.config["judged"] or chosen,
        "diagnose": cell.config["diagnose"],
        "planted": cell.config["planted"],
        **ledger(rungs[length]._replace(observed=observed[chosen].score)),
        "diverged": {str(seed): step for seed, step in diverged.items()},
        "settled": settled(rungs[length], diverged),
        "ladder": None if ladder is None else _plain(split(ladder, rungs[length])),
        "oracle": summary(cell, rungs[length]),
        "perceived": perception(perceived[length]),
        "protocols": {k: protocol(o) for k, o in observed.items()},
        "zeros": {k: entry(q, "value") | {"of": q.of} for k, q in zeros(cell, floors).items()},
        "lengths": {str(n): ledger(r) for n, r in rungs.items()},
    }
    seen = whole["protocols"][whole["judged"]]
    if seen["unit"] != whole["unit"]:
        seen["blind"] = entry(blind(cell, floors), "value")
    found = diagnose(whole, list(HydraConfig.get().overrides.task))
    return whole | {"sentences": sentences(whole), "diagnosis": found}


def settled(rungs: Rungs, diverged: dict[int, int]) -> dict[str, Any] | None:
    """R - D over the seeds that did not diverge, where some did and some did not: never a stand-in for R."""
    whole = [m for seed, m in enumerate(rungs.members) if seed not in diverged]
    return entry(over_seeds(whole), "nats") if whole and diverged else None


def protocol(seen: Any) -> dict[str, Any]:
    """An observation as plain numbers."""
    made = ("name", "unit", "better", "shows", "window", "tokens", "fair_tokens", "documents")
    plainly = {k: getattr(seen, k) for k in made}
    quantities = {k: entry(getattr(seen, k), "value") for k in ("score", "expected", "ceiling", "world")}
    parts = None if seen.parts is None else {k: entry(q, "value") for k, q in seen.parts.items()}
    members = {k: [plain(x) for x in getattr(seen, k)] for k in ("scores", "targets")}
    return {**plainly, **quantities, "parts": parts, **members}


def perception(found: Any) -> dict[str, Any]:
    """What the concept found: its excess in two parts, and what it learnt."""
    parts = {k: entry(getattr(found, k), "nats") for k in ("excess", "readout", "concept")}
    return parts | {"info": _plain(found.info)}


def curves(
    trained: Trained, oracles: Trained | None, floors: dict[int, Floor], rungs: dict[int, Rungs], observed: dict
) -> dict[str, np.ndarray]:
    """Arrays by name: per step [member, step] and per position [.., time], nats per token."""
    arrays = {f"train/{k}": np.asarray(x) for k, x in trained.curve._asdict().items()}
    if oracles is not None:
        arrays |= {f"oracle/{k}": np.asarray(getattr(oracles.curve, k)) for k in ("loss", "excess")}
    for length, floor in floors.items():
        arrays[f"floor/{length}"] = floor.curve
        if rungs[length].members:
            arrays[f"excess/{length}"] = np.stack([m.by_position() for m in rungs[length].members])
            arrays |= sequences(length, rungs[length])
    kept = {"observe": "curve", "marks": "marks", "fair": "fair"}  # the last two by member and document
    found = {f"{group}/{k}": getattr(o, field) for group, field in kept.items() for k, o in observed.items()}
    return arrays | {k: np.asarray(array) for k, array in found.items() if array is not None}


def sequences(length: int, rungs: Rungs) -> dict[str, np.ndarray]:
    """KL and its control variate by sequence [member, sequence], so that runs can be compared in pairs; nats per token.

    Runs of one seed, world and length are measured on the same sequences. Nothing where the prefixes are enumerated.
    """
    if rungs.members[0].functional.exact:
        return {}
    position = np.asarray(rungs.members[0].functional.position)
    parts = {
        "excess": [m.excess @ position for m in rungs.members],
        "control": [m.control @ position for m in rungs.members],
    }
    return {f"sequences/{name}/{length}": np.stack(rows) for name, rows in parts.items()}


def _plain(x: Any) -> Any:
    """Arrays and numbers of numpy and jax as plain Python."""
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    if hasattr(x, "__dataclass_fields__"):
        return _plain(asdict(x))
    if hasattr(x, "tolist"):
        return _plain(x.tolist())
    if isinstance(x, float) and not np.isfinite(x):
        return None if np.isnan(x) else "inf" if x > 0 else "-inf"
    return x
