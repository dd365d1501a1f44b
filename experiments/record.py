"""From measured layers to the contents of ledger.json and curves.npz."""

from dataclasses import asdict
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig

from experiments.cell import SCHEMA, Cell, identity
from experiments.layers import Floor, Trained, zeros
from experiments.ledger import Rungs, entry, ledger, plain
from experiments.oracle import summary
from experiments.show import sentences


def record(
    cell: Cell, floors: dict[int, Floor], perceived: dict[int, Any], rungs: dict[int, Rungs], observed: dict[str, Any]
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
        "reach": cell.config["reach"],
        "study": cell.config["study"],
        "seed": cell.config["seed"],
        "seeds": list(range(cell.seeds)),
        "length": length,
        "train_length": length,
        "observation": chosen,
        **ledger(rungs[length]._replace(observed=observed[chosen].score)),
        "oracle": summary(cell, rungs[length]),
        "perceived": perception(perceived[length]),
        "protocols": {k: protocol(o) for k, o in observed.items()},
        "zeros": {k: entry(q, "value") | {"of": q.of} for k, q in zeros(cell, floors).items()},
        "lengths": {str(n): ledger(r) for n, r in rungs.items()},
    }
    return whole | {"sentences": sentences(whole)}


def protocol(seen: Any) -> dict[str, Any]:
    """An observation as plain numbers."""
    quantities = {k: entry(getattr(seen, k), "value") for k in ("score", "expected", "ceiling", "world")}
    parts = None if seen.parts is None else {k: entry(q, "value") for k, q in seen.parts.items()}
    members = {k: [plain(x) for x in getattr(seen, k)] for k in ("scores", "targets")}
    return {"unit": seen.unit, "shows": seen.shows, **quantities, "parts": parts, **members}


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
        arrays |= {f"oracle/{k}": np.asarray(x) for k, x in oracles.curve._asdict().items()}
    for length, floor in floors.items():
        arrays[f"floor/{length}"] = floor.curve
        if rungs[length].members:
            arrays[f"excess/{length}"] = np.stack([m.by_position() for m in rungs[length].members])
    return arrays | {f"observe/{k}": np.asarray(o.curve) for k, o in observed.items() if o.curve is not None}


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
