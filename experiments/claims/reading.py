"""The number that a rule reads of an arm: one value for each member, with what the sampling of prefixes may add.

`of` says what is read, in nats per token: `excess` over the world (R - D, the default), `perception` (P - D of the
run's own concept), `null` (excess of the exact window reader, `experiments.question.null`), `curse` (E / L, the mean of
the world's h_1 ... h_L minus h_L), or the name of a protocol (its exact target minus its ceiling). `length` counts
trained lengths (1 by default), `tokens` tokens. `score` says which positions count: `whole`, all; `last`, the last half
of the trained length (what a window that slides by so much reports) or the last `span` tokens. With `floor: true` the
world's own loss at these positions is added: a loss then.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from experiments.claims.arms import Arm
from experiments.found import Run, curves
from experiments.ledger import number

NORMAL = float(scipy.stats.norm.ppf(0.975))
Member = tuple[int, int]  # (the run's seed, the member's number): the same training in runs that differ in nothing else


class Reading(NamedTuple):
    """Values by member. Members of two arms that bear the same name had the same data and the same initial key."""

    values: dict[Member, float]
    sampling: float  # half-width of the 95 % interval that sampled prefixes add to the mean, nats; 0 where enumerated
    sequences: dict[int, Float[np.ndarray, "sequence"]]  # by seed: the members' mean on each prefix, where it was kept
    fixed: bool = False  # a number of the world or the concept, without members
    label: str = ""  # which of several arms was read


class Missing(Exception):
    """A run lacks what is to be read; the message says what."""


def read(arms: list[Arm], reading: dict[str, Any]) -> Reading:
    """The reading of an arm; of several the one with the smallest mean."""
    found = [(_read(arm, reading), arm) for arm in arms]
    best, arm = min(found, key=lambda x: np.mean(list(x[0].values.values())))
    if "best" not in reading:
        return best
    return best._replace(label=f"{str(reading['best']).rpartition('.')[2]} {arm.said.get(reading['best'])}")


def _read(arm: Arm, reading: dict[str, Any]) -> Reading:
    parts = [_run(run, seed, reading) for seed, run in arm.runs.items()]
    values = {member: x for part in parts for member, x in part.values.items()}
    if parts[0].fixed:
        return parts[0]
    sampling = float(np.sqrt(sum(part.sampling**2 for part in parts)) / len(parts))  # seeds have prefixes of their own
    return Reading(values, sampling, {seed: x for part in parts for seed, x in part.sequences.items()})


def _run(run: Run, seed: int, reading: dict[str, Any]) -> Reading:
    trained = int(run.ledger["train_length"])
    length = int(reading["tokens"]) if "tokens" in reading else round(trained * reading.get("length", 1))
    of, score = reading.get("of", "excess"), reading.get("score", "whole")
    where = positions(score, length, reading.get("span", max(1, trained // 2)))
    if of == "perception":
        found = _perception(run, length)
    elif of == "curse":
        found = _curse(run, length)
    elif of == "null":
        found = _null(run, length, where)
    elif of == "excess":
        found = _excess(run, seed, length, score, where)
    else:
        found = _protocol(run, seed, of)
    if not reading.get("floor", False):
        return found
    level, half = floor(run, length, where)
    values = {k: x + level for k, x in found.values.items()}
    return found._replace(values=values, sampling=float(np.hypot(found.sampling, half)), sequences={})


def positions(score: str, length: int, span: int) -> slice:
    """The positions that count."""
    counted = {"whole": length, "last": span}
    if score not in counted:
        raise ValueError(f"reading: score must be one of {', '.join(counted)}, but is {score!r}")
    return slice(length - min(counted[score], length), length)


def _excess(run: Run, seed: int, length: int, score: str, where: slice) -> Reading:
    part = at(run, length)
    members = [[number(entry[k]) for k in ("excess", "low", "high")] for entry in part["members"]]
    if not members:
        raise Missing(f"{run.ledger['perception']['scheme']['name']} is undefined at {length} tokens")
    whole = np.array(members)
    kept = kept_curves(run)
    known = whole[np.isfinite(whole).all(1)]  # an infinite member has no interval
    half = float(np.mean(known[:, 2] - known[:, 1]) / 2) if len(known) else 0.0
    if score == "whole":
        per = kept.get(f"sequences/excess/{length}")
        rows = {seed: per.mean(0)} if per is not None and per.ndim == 2 and len(per) == len(whole) else {}
        return Reading({(seed, n): x for n, x in enumerate(whole[:, 0])}, half, rows)
    values = _curve(kept, f"excess/{length}", len(whole), length)[:, where].mean(1)
    # By position no interval was kept: that of the whole, at the same relative error and with fewer positions.
    count = where.stop - where.start
    level = float(np.mean(known[:, 0])) if len(known) else 0.0
    relative = half / level if level > 0 else 0.0
    kept_values = values[np.isfinite(values)]
    scaled = relative * float(np.mean(kept_values)) * np.sqrt(length / count) if len(kept_values) else 0.0
    return Reading({(seed, n): float(x) for n, x in enumerate(values)}, float(scaled), {})


def kept_curves(run: Run) -> dict[str, np.ndarray]:
    """The arrays of a run, read once."""
    file = run.place / "curves.npz"
    stamp = file.stat().st_mtime_ns if file.is_file() else 0
    if _KEPT.get(str(run.place), (None, {}))[0] != stamp:
        _KEPT[str(run.place)] = (stamp, curves(run))
    return _KEPT[str(run.place)][1]


_KEPT: dict[str, tuple[int, dict[str, np.ndarray]]] = {}


def _curve(kept: dict[str, np.ndarray], name: str, rows: int, length: int) -> Float[np.ndarray, "row time"]:
    """An array of curves.npz with a row for each member (or kind) and a column for each position."""
    found = kept.get(name)
    if found is None or found.ndim != 2 or len(found) != rows or found.shape[1] < length:
        raise Missing(f"curves.npz has no {name} of {rows} rows and {length} positions")
    return found


def at(run: Run, length: int) -> dict[str, Any]:
    """The ledger at a length in tokens."""
    if length == int(run.ledger["length"]):
        return run.ledger
    if str(length) not in run.ledger["lengths"]:
        raise Missing(f"not measured at {length} tokens")
    return run.ledger["lengths"][str(length)]


def _perception(run: Run, length: int) -> Reading:
    gap = at(run, length)["gaps"]["P-D"]
    value, low, high = (number(gap[k]) for k in ("nats", "low", "high"))
    if not np.isfinite([value, low, high]).all():
        raise Missing(f"the concept says nothing at {length} tokens")
    return Reading({(0, 0): value}, max(high - value, value - low), {}, fixed=True)


def _null(run: Run, length: int, where: slice) -> Reading:
    found = _curve(kept_curves(run), "observe/window_null", 3, length)
    return Reading({(0, 0): float(found[1, :length][where].mean())}, 0.0, {}, fixed=True)


def _curse(run: Run, length: int) -> Reading:
    whole, half = floor(run, length, slice(0, length))
    end, _ = floor(run, length, slice(length - 1, length))
    return Reading({(0, 0): whole - end}, half, {}, fixed=True)


def floor(run: Run, length: int, where: slice) -> tuple[float, float]:
    """The mean of the world's h_t over positions, and what its sampling may add to a difference of two such means.

    From the longest curve there is, so that all lengths share its documents. The window null keeps the standard error
    of h_t - h_L, which bounds that of a difference; other curves keep none, and are used as they are.
    """
    kept = kept_curves(run)
    null = kept.get("observe/window_null")
    if null is not None and null.ndim == 2 and len(null) == 3 and null.shape[1] >= length:
        return float(null[0, where].mean()), NORMAL * float(null[2, where].mean())
    known = {len(x): x for k, x in kept.items() if k.startswith("floor/") and x.ndim == 1}
    if not known or max(known) < length:
        raise Missing(f"there is no floor of {length} tokens")
    return float(known[max(known)][where].mean()), 0.0


def _protocol(run: Run, seed: int, name: str) -> Reading:
    seen = run.ledger["protocols"].get(name)
    if seen is None:
        raise Missing(f"not observed by {name}")
    best, low, high = (number(seen["ceiling"][k]) for k in ("value", "low", "high"))
    values = {(seed, n): number(x) - best for n, x in enumerate(seen["targets"])}
    return Reading(values, max(high - best, best - low), {})


def paired(a: Reading, b: Reading) -> float:
    """Half-width that prefixes add to the mean of a - b: by sequence where both saw the same, else as if apart."""
    if set(a.sequences) != set(b.sequences) or not a.sequences:
        return float(np.hypot(a.sampling, b.sampling))
    halves = []
    for seed, one in a.sequences.items():
        other = b.sequences[seed]
        if one.shape != other.shape:
            return float(np.hypot(a.sampling, b.sampling))
        spread = np.std(one - other, ddof=1) / np.sqrt(len(one))
        halves.append(scipy.stats.t.ppf(0.975, len(one) - 1) * spread)
    return float(np.sqrt(np.sum(np.square(halves))) / len(halves))
