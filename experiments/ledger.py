"""The ledger: five losses under one functional, the gaps between them, and what each claim rests on.

O - D = (P - D) + (I - P) + (R - I) + (O - R), in nats per token. D is the floor H_D of the functional, and every other
loss is D plus an excess that was measured on the same prefixes, so that gaps are differences of excesses and D's own
uncertainty never enters them. Nothing is clipped: an interval is cut at zero only where a theorem says so.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from experiments.measure import Measured, average
from worlds.quantity import Quantity, exact, undefined

LAYERS = ("D", "P", "I", "R", "O")
GAPS = ("P-D", "I-P", "R-I", "O-R")
SINGLE = 2.0**-20  # nats: a network computes in float32, whose last place is 2^-24, and is in its concept but for that


class Rungs(NamedTuple):
    """One functional, measured: what a ledger is made from."""

    functional: str  # its name: length, start law and weights
    floor: Quantity  # H_D
    perceived: Quantity  # P - D, with its bracket
    contained: str  # the proof that the architecture lies inside the concept; empty where there is none
    members: list[Measured]  # the trained seeds
    witnesses: dict[str, Measured]  # other weights of the architecture: oracle fits, constructed, stored
    observed: Quantity | None = None  # O, an absolute loss under the protocol's own functional


def reached(members: list[Measured]) -> Quantity:
    """The excess of these very weights, averaged over members; its interval is the sampling of prefixes."""
    functional = members[0].functional
    return average(
        np.mean([m.excess for m in members], axis=0), np.mean([m.control for m in members], axis=0), functional
    )


def over_seeds(members: list[Measured]) -> Quantity:
    """The expected excess over seeds: Student's interval over seeds, widened by the sampling of prefixes.

    With one seed only the sampling is known, and the interval is that of `reached`.
    """
    sampled = reached(members)
    values = np.array([m.mean().value for m in members])
    if len(values) < 2 or not np.isfinite(values).all():
        return sampled
    by_seed = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    half = float(np.hypot(by_seed, sampled.high - sampled.value))
    low = max(0.0, sampled.value - half)  # an excess over the truth is a divergence (Gibbs)
    return Quantity(sampled.value, low, sampled.value + half, "estimated", len(values))


def instantiated(rungs: Rungs) -> tuple[str, Measured, Quantity]:
    """I - D as a bracket, with the weights that witness its upper end: (name, measured, quantity).

    Below: P where containment is proved, else D. Above: the smallest excess of any weights ever measured.
    """
    seeds = {f"seed {n}": m for n, m in enumerate(rungs.members)}
    name, best = min((seeds | rungs.witnesses).items(), key=lambda x: x[1].mean().value)
    upper = best.mean()
    proved = bool(rungs.contained) and rungs.perceived.kind != "undefined"
    low = rungs.perceived.low if proved else 0.0
    return name, best, Quantity(upper.value, min(low, upper.value), upper.high, "witnessed", upper.count)


def ledger(rungs: Rungs) -> dict[str, Any]:
    """Layers, gaps and residual of one functional, as plain numbers."""
    d, p = exact(0.0), rungs.perceived
    if not rungs.members:  # the scheme is undefined at this length
        name, i, r, gap, these = "", undefined(), undefined(), undefined(), undefined()
    else:
        name, best, i = instantiated(rungs)
        r, these, gap = over_seeds(rungs.members), reached(rungs.members), training_gap(rungs, best, i)
    gaps = {"P-D": p - d, "I-P": (i - p).at_least(0.0, SINGLE) if rungs.contained else i - p, "R-I": gap}
    losses = {"D": rungs.floor, "P": _loss(rungs, p), "I": _loss(rungs, i), "R": _loss(rungs, r)}
    gaps["R-D"] = r - d
    whole, terms = gaps["R-D"], ["P-D", "I-P", "R-I"]
    if rungs.observed is not None:
        losses["O"] = rungs.observed
        whole = replace(rungs.observed, of="") - replace(rungs.floor, of="")
        gaps["O-R"], gaps["O-D"] = whole - these, whole
        terms.append("O-R")
    residual = whole.value - sum(gaps[g].value for g in terms)
    return {
        "functional": rungs.functional,
        "layers": {k: entry(q, "loss") for k, q in losses.items()},
        "gaps": {k: entry(q, "nats") for k, q in gaps.items()},
        "witness": name,
        "contained": bool(rungs.contained),
        "proof": rungs.contained,
        "members": [entry(m.mean(), "excess") for m in rungs.members],
        "witnesses": {k: entry(m.mean(), "excess") for k, m in rungs.witnesses.items()},
        "residual": plain(residual),
    }


def training_gap(rungs: Rungs, best: Measured, i: Quantity) -> Quantity:
    """R - I: at least what the seeds lose to the witness, paired by sequence; at most what they lose to I's low end."""
    r = over_seeds(rungs.members)
    if not np.isfinite(r.value):
        return r
    excess = np.mean([m.excess for m in rungs.members], axis=0) - best.excess
    control = np.mean([m.control for m in rungs.members], axis=0) - best.control
    least = average(excess, control, best.functional).low
    return Quantity(r.value - i.value, max(0.0, least), max(r.high - i.low, r.value - i.value), "estimated", r.count)


def _loss(rungs: Rungs, excess: Quantity) -> Quantity:
    """A loss is the floor plus an excess; the intervals add, because they come from the same prefixes."""
    floor = rungs.floor
    if excess.kind == "undefined":
        return excess
    kind = excess.kind if floor.kind in ("exact", excess.kind) or excess.kind == "witnessed" else floor.kind
    if excess.kind == "exact":
        kind = floor.kind
    return Quantity(
        floor.value + excess.value,
        floor.low + excess.low,
        floor.high + excess.high,
        kind,
        max(excess.count, floor.count),
        rungs.functional,
    )


def entry(q: Quantity, value: str) -> dict[str, Any]:
    """A quantity as JSON: inf is the string "inf", an undefined number is null."""
    numbers = {value: q.value, "low": q.low, "high": q.high}
    return {k: plain(v) for k, v in numbers.items()} | {"class": q.kind} | ({"count": q.count} if q.count else {})


def plain(x: float) -> float | str | None:
    """A float in strict JSON."""
    return None if np.isnan(x) else float(x) if np.isfinite(x) else "inf" if x > 0 else "-inf"


def number(x: float | str | None) -> float:
    """What `plain` wrote."""
    return float("nan") if x is None else float(x)
