"""The mean of paired differences over several pairs of runs."""

import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from experiments.differences import Difference, infinite, student
from experiments.pairs import Pair
from worlds.quantity import Kind, Quantity

WEAKEST: tuple[Kind, ...] = get_args(Kind)  # from the strongest claim to none


def pooled(found: list[tuple[Pair, list[Difference]]]) -> list[Difference]:
    """The mean difference over all pairs, where there are several.

    Conditions are taken as they are, not as a sample of others: a seed's differences are averaged over conditions
    first, and the interval is Student's over the seeds that all conditions have.
    """
    groups: dict[tuple[Any, ...], list[tuple[Pair, Difference]]] = {}
    for pair, several in found:
        for one in several:
            if not one.over.startswith("the "):
                groups.setdefault((one.layer, one.multiple, one.protocol, one.unit), []).append((pair, one))
    return [x for several in groups.values() for x in _mean(several, len(found))] if len(found) > 1 else []


def _mean(several: list[tuple[Pair, Difference]], pairs: int) -> Iterator[Difference]:
    first = several[0][1]
    at = {"length": first.length, "multiple": first.multiple, "protocol": first.protocol, "unit": first.unit}
    finite = [(pair, one) for pair, one in several if math.isfinite(one.quantity.value)]
    over = "all pairs" if len(several) == pairs else f"the {len(several)} of {pairs} pairs that have it"
    if len(finite) < len(several):
        values = np.array([one.quantity.value for _, one in several])
        q = infinite(values, np.zeros(len(values)))
        yield Difference(first.layer, quantity=q, over=over, method="", seeds={}, sampling=0.0, **at)
        over = f"the {len(finite)} of {pairs} pairs that are finite"
    if not finite:
        return
    conditions: dict[tuple[str, ...], dict[str, float]] = {}
    for pair, one in finite:
        conditions.setdefault(pair.condition, {}).update(one.seeds)
    shared = sorted(set.intersection(*(set(x) for x in conditions.values())))
    count = len(finite)
    if shared:
        each = {seed: float(np.mean([x[seed] for x in conditions.values()])) for seed in shared}
        by_seed, sampling = student(np.array([*each.values()])), sum(one.sampling for _, one in finite) / count
        value, total = float(np.mean([*each.values()])), math.hypot(by_seed, sampling)
        how = f"{len(shared)} seeds that all pairs have; sampling bounded"
        q = Quantity(value, value - total, value + total, "estimated", len(shared))
        yield Difference(first.layer, quantity=q, over=over, method=how, seeds=each, sampling=sampling, **at)
    else:
        quantities = [one.quantity for _, one in finite]
        value, low, high = (float(np.mean([getattr(q, k) for q in quantities])) for k in ("value", "low", "high"))
        kind = WEAKEST[max(WEAKEST.index(q.kind) for q in quantities)]
        how = "ends averaged over pairs"
        q = Quantity(value, low, high, kind, min(q.count for q in quantities))
        yield Difference(first.layer, quantity=q, over=over, method=how, seeds={}, sampling=0.0, **at)
