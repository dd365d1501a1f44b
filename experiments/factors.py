"""The ladder between R and I: what each factor of a training costs, in nats per token.

A factor is either as configured or ideal (config: `ladder`). With v(S) the expected excess where the factors in S are
ideal and the others as configured, R - I = sum of the factors' terms + [v(all) - I], and the seed is a signed term of
its own, R(seed) - mean over seeds. The same seeds have the same weights and the same streams in every cell.

One order of making factors ideal is not a result: the same factor can differ 50-fold between orders. Hence the Shapley
value, the mean over all orders of what a factor gains when its turn comes (Shapley 1953), with its range over orders.
`two_orders` costs two cells a factor instead: the mean of the first and the last turn, and half their difference, the
interaction.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import scipy.stats
from jaxtyping import Float

from experiments import fit
from experiments import measure as measuring
from experiments.alchemy import Reals, Shape, numbers
from experiments.ledger import Rungs, entry, instantiated, number, plain, reached, training_gap
from experiments.measure import Measured, average
from experiments.streams import members, stream
from worlds.quantity import Quantity, undefined

if TYPE_CHECKING:
    from experiments.cell import Cell
    from experiments.screen import Screen

METHODS = ("off", "shapley", "two_orders")
SETTINGS = ("optimiser", "average", "rate", "schedule", "warmup", "cooldown", "final", "decay", "clip")
SETTINGS += ("momentum", "beta2", "scale", "ema", "tail")
FACTORS: dict[str, dict[str, Any]] = {  # the ideal of each; of duration and optimiser the config says it
    "duration": {},
    "labels": {"softness": 1.0, "temperature": 1.0},
    "data": {"sequences": 0, "order": "draws", "pool": 0, "crop": 0, "repeats": 0.0, "curriculum": 0.0},
    "noise": {"corruption": 0.0, "dropout": 0.0, "precision": "full"},
    "optimiser": {},
}
Names = frozenset[str]


class Cells(NamedTuple):
    """The trained cells of a ladder, by the factors that are ideal in them."""

    method: str
    knobs: dict[str, dict[str, list[Any]]]  # factor -> knob -> [as configured, ideal]; of factors that are not ideal
    measured: dict[Names, list[Measured]]  # a member for each seed
    lost: dict[Names, dict[int, int]]  # the seeds that diverged, and at which step
    best: tuple[str, Any]  # the best weights of all cells and their name: a witness


def knobs(shape: Shape, reals: Reals, ideal: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """What each factor changes: knob -> [as configured, ideal]. Factors that are ideal already are left out."""
    if not ideal["duration"] >= 1:
        raise ValueError(f"ladder: duration must be at least 1 times the steps, but is {ideal['duration']}")
    every = FACTORS | {
        "duration": {"steps": round(ideal["duration"] * reals.steps)},
        "optimiser": {name: ideal[name] for name in SETTINGS},
    }
    now = vars(shape) | vars(reals)
    changes = {f: {k: [now[k], to] for k, to in wanted.items() if now[k] != to} for f, wanted in every.items()}
    found = {factor: change for factor, change in changes.items() if change}
    if not found:
        raise ValueError("ladder: at least one factor must be other than its ideal, but all are ideal already")
    ideally(shape, reals, found, frozenset(found))  # refuses what is no training
    return found


def asked(method: str, shape: Shape, reals: Reals, ideal: Mapping[str, Any]) -> None:
    """Refuses a ladder that cannot be built, before anything is trained."""
    if method not in METHODS:
        raise ValueError(f"reach: ladder must be one of {', '.join(METHODS)}, but is {method!r}")
    if method != "off":
        knobs(shape, reals, ideal)


def ideally(
    shape: Shape, reals: Reals, changes: Mapping[str, Mapping[str, list[Any]]], names: Names
) -> tuple[Shape, Reals]:
    """The training in which these factors are ideal."""
    ideal = {k: to for factor in changes if factor in names for k, (_, to) in changes[factor].items()}
    own = [{k: to for k, to in ideal.items() if hasattr(part, k)} for part in (shape, reals)]
    return dataclasses.replace(shape, **own[0]), dataclasses.replace(reals, **own[1])


def subsets(method: str, factors: list[str]) -> list[Names]:
    """The cells that a method needs: all 2^k, or those of one order and its reverse; the one as configured first."""
    if method == "shapley":
        return [frozenset(s) for size in range(len(factors) + 1) for s in itertools.combinations(factors, size)]
    both = [frozenset(order[:n]) for order in (factors, factors[::-1]) for n in range(len(factors) + 1)]
    return list(dict.fromkeys(both))


def cells(cell: "Cell", floor: Any, params: Any, work: Path, screen: "Screen") -> Cells | None:
    """Trains and measures the cells; those of one shape as one program. None if the config asks for no ladder.

    Args:
      cell: what is measured.
      floor: the functional of the trained length, and the world's law along it.
      params: the trained members: the cell as configured.
      work: where the checkpoints are.
      screen: for progress.
    """
    method = cell.config["reach"]["ladder"]
    if method == "off":
        return None
    changes = knobs(cell.shape, cell.reals, cell.config["ladder"])
    groups: dict[Shape, dict[Names, Reals]] = {}
    for names in subsets(method, list(changes))[1:]:
        shape, reals = ideally(cell.shape, cell.reals, changes, names)
        groups.setdefault(shape, {})[names] = reals
    weights, lost = {frozenset(): params}, {}
    for n, (shape, group) in enumerate(groups.items()):
        trained, diverged = _trained(cell, shape, group, work / f"ladder-{n}.npz", screen)
        weights, lost = weights | trained, lost | diverged
    found = {names: measuring.weights(cell.spec, own, floor) for names, own in weights.items()}
    excess = {(names, seed): m.mean().value for names, row in found.items() for seed, m in enumerate(row)}
    names, seed = min(excess, key=lambda at: excess[at])
    best = f"ladder {label(names)}, seed {seed}", jax.tree.map(lambda x: x[seed], weights[names])
    return Cells(method, changes, found, lost, best)


def _trained(
    cell: "Cell", shape: Shape, group: dict[Names, Reals], checkpoint: Path, screen: "Screen"
) -> tuple[dict[Names, Any], dict[Names, dict[int, int]]]:
    """The cells of one shape as one population, a member for each cell and seed: weights and divergences by cell."""
    count, seed = cell.seeds, cell.config["seed"]
    reals = [reals for reals in group.values() for _ in range(count)]
    steps = np.array([r.steps for r in reals])
    keys = (
        members(stream(seed, name), 0, count)[np.tile(np.arange(count), len(group))] for name in ("initialise", "train")
    )
    with screen.task(f"ladder, {len(group)} cells of {count} seeds", int(steps.max())) as report:

        def say(done: int, loss: float, excess: float) -> None:
            report(done, f"loss {loss:.4f}, excess over the floor {excess:.4f}")

        longest = int(steps.max())
        found = fit.fit(cell.spec, shape, cell.world, numbers(reals), longest, *keys, checkpoint=checkpoint, report=say)
    diverged = fit.diverged(*found, steps)
    weights = {
        names: jax.tree.map(lambda x, i=i: x[i * count : (i + 1) * count], found[0]) for i, names in enumerate(group)
    }
    lost = {
        names: {n % count: step for n, step in diverged.items() if n // count == i} for i, names in enumerate(group)
    }
    return weights, {names: steps for names, steps in lost.items() if steps}


def label(names: Names) -> str:
    """A cell's name: its ideal factors."""
    return " + ".join(factor for factor in FACTORS if factor in names) or "as configured"


def terms(method: str, factors: list[str], value: Mapping[Names, Any]) -> dict[str, Any]:
    """Each factor's share of v(none) - v(all), to which they sum; numbers or arrays, since shares are linear in v."""
    return {f: sum(w * (value[s] - value[s | {f}]) for s, w in turns(method, factors, f).items()) for f in factors}


def turns(method: str, factors: list[str], factor: str) -> dict[Names, float]:
    """How often a factor's turn comes after these others: among all orders, or among one order and its reverse."""
    if method == "two_orders":
        first, last = (frozenset(order[: order.index(factor)]) for order in (factors, factors[::-1]))
        return {first: 1.0} if first == last else {first: 0.5, last: 0.5}
    others, k = [f for f in factors if f != factor], len(factors)
    return {s: 1 / (k * math.comb(k - 1, len(s))) for s in subsets("shapley", others)}


def split(found: Cells, rungs: Rungs) -> dict[str, Any]:
    """The ladder of one run as plain numbers; the sum of its terms is R - I.

    Intervals: Student's t over seeds, widened by the sampling of prefixes, in pairs. A cell that diverged has no term.
    """
    factors, method, measured = list(found.knobs), found.method, found.measured
    functional = rungs.members[0].functional
    mean = {s: reached(row).value for s, row in measured.items()}
    seeds = {s: np.array([m.mean().value for m in row]) for s, row in measured.items()}
    whole = bool(np.isfinite([x for row in seeds.values() for x in row]).all())
    paths = [
        {s: np.mean([getattr(m, part) for m in row], axis=0) for s, row in measured.items()}
        for part in ("excess", "control")
    ]
    shares = {}
    for factor in factors:
        if not whole:
            shares[factor] = entry(undefined(), "nats") | {"se": None, "orders": None}
            continue
        gains = [mean[s] - mean[s | {factor}] for s in turns(method, factors, factor)]
        excess, control = (terms(method, factors, path)[factor] for path in paths)
        sampled = average(excess, control, functional)
        value, own = (terms(method, factors, v)[factor] for v in (mean, seeds))
        shares[factor] = _share(value, own, sampled, gains)
        if method == "two_orders":
            shares[factor]["interaction"] = (gains[0] - gains[-1]) / 2
    _, best, i = instantiated(rungs)
    top = training_gap(rungs._replace(members=measured[frozenset(factors)]), best, i)
    reach = mean[frozenset()] - i.value
    return {
        "method": method,
        "knobs": found.knobs,
        "terms": shares,
        "top": entry(top, "nats"),
        "seeds": [plain(x - mean[frozenset()]) for x in seeds[frozenset()]],
        "sum": plain(reach),
        "residual": plain(reach - top.value - sum(number(x["nats"]) for x in shares.values())),
        "cells": {label(s): [plain(x) for x in row] for s, row in seeds.items()},
        "diverged": {label(s): {str(n): step for n, step in row.items()} for s, row in found.lost.items()},
    }


def _share(value: float, seeds: Float[np.ndarray, "seed"], sampled: Quantity, gains: list[float]) -> dict[str, Any]:
    """One factor's term: value, interval, standard error over seeds, range over orders."""
    count, error = len(seeds), float("nan")
    half = sampled.high - sampled.value
    if count > 1:
        error = float(seeds.std(ddof=1) / np.sqrt(count))
        half = float(np.hypot(half, scipy.stats.t.ppf(0.975, count - 1) * error))
    found = entry(Quantity(value, value - half, value + half, "estimated", count), "nats")
    return found | {"se": plain(error), "orders": [min(gains), max(gains)]}
