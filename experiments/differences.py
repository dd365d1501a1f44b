"""Paired differences between two runs, A minus B, layer by layer: what the difference of two gaps is, and how surely.

Where members are pairs (one seed of the config, so the same data and the same prefixes), a difference is the mean over
seeds of the seeds' own differences, and its 95 % interval is Student's over seeds, widened by the sampling of prefixes
(of documents, for a protocol) in quadrature: that part is common to all seeds and does not average out. It is measured
on the prefixes themselves where both runs kept them and they are the same ones, and bounded by the sum of both runs'
own sampling errors where not (s(a - b) <= s(a) + s(b), whatever their correlation). Members that are no pairs are
compared by Welch's interval. Brackets (P, I, R - I) are subtracted end by end. A seed that diverged is in no mean in
silence: the difference is then infinite or undefined, and the mean over the other seeds stands beside it under a name
of its own. Positive: A loses more. Losses under two functionals are never subtracted; excesses over their floors are.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from experiments.found import config, curves
from experiments.ledger import number
from experiments.pairs import Pair
from worlds.quantity import Quantity, exact, undefined

ALL = "all seeds"


class Difference(NamedTuple):
    """One difference of a pair."""

    layer: str  # D, or a gap, or O for the score of a protocol
    length: int  # tokens
    multiple: float  # of the trained length
    protocol: str
    unit: str
    quantity: Quantity
    over: str  # ALL, or which seeds
    method: str  # how the interval was found, in words
    seeds: dict[str, float]  # the difference of each pair of members, by seed; empty for brackets
    sampling: float  # half of the interval that sampling alone gives; 0 for brackets


def differences(pair: Pair) -> Iterator[Difference]:
    """All that can be compared of a pair."""
    a, b = pair.first.ledger, pair.second.ledger
    kept = [curves(run, "floor/", "sequences/", "marks/") for run in (pair.first, pair.second)]
    lengths = [{str(x["length"]): x} | x["lengths"] for x in (a, b)]
    for length in sorted(set(lengths[0]) & set(lengths[1]), key=int):
        parts = [found[length] for found in lengths]
        at = {"length": int(length), "multiple": int(length) / a["train_length"], "protocol": "", "unit": a["unit"]}
        if parts[0].get("functional") and parts[0].get("functional") == parts[1].get("functional"):
            if _same(kept, f"floor/{length}"):
                yield Difference(
                    "D", quantity=exact(0.0), over=ALL, method="the same prefixes", seeds={}, sampling=0.0, **at
                )
            else:
                yield _ends("D", at, [quantity(part["layers"]["D"], "loss") for part in parts], "end by end")
        for gap in ("P-D", "I-P", "R-I"):
            yield _ends(gap, at, [quantity(part["gaps"][gap], "nats") for part in parts], "end by end")
        yield from _seeds("R-D", at, [_excess(part) for part in parts], *_prefixes(kept, length, parts), pair)
    yield from _scores(pair, kept)


def _scores(pair: Pair, kept: list[dict[str, Any]]) -> Iterator[Difference]:
    """The protocols that both runs were observed by, seed by seed; and O - R for the ledger's own."""
    a, b = pair.first.ledger, pair.second.ledger
    for name in (x for x in a["protocols"] if x in b["protocols"]):
        seen = [x["protocols"][name] for x in (a, b)]
        scores = [np.array([number(x) for x in part.get("scores", [])]) for part in seen]
        if seen[0]["unit"] != seen[1]["unit"] or not all(map(len, scores)):
            continue
        at = {"length": a["length"], "multiple": 1.0, "protocol": name, "unit": seen[0]["unit"]}
        own = [_half(quantity(x["score"], "value")) for x in seen]
        sampled, how = _documents(pair, kept, name, scores, own)
        yield from _seeds("O", at, scores, sampled, how, pair)
        excess = [_excess(x) for x in (a, b)]
        floors = [number(x["layers"]["D"]["loss"]) for x in (a, b)]
        if name == a["observation"] == b["observation"] and [*map(len, scores)] == [*map(len, excess)]:
            rest = [s - f - e for s, f, e in zip(scores, floors, excess, strict=True)]
            more, also = _prefixes(kept, str(a["length"]), [a, b])
            yield from _seeds("O-R", at, rest, _added(sampled, more), f"{how}; {also}", pair)


def quantity(entry: dict[str, Any], value: str) -> Quantity:
    """A ledger's entry as a quantity."""
    if entry["class"] == "undefined":
        return undefined()
    found, low, high = (number(entry[k]) for k in (value, "low", "high"))
    return Quantity(found, low, high, entry["class"], entry.get("count", 0))


def _ends(layer: str, at: dict[str, Any], both: list[Quantity], how: str) -> Difference:
    return Difference(layer, quantity=both[0] - both[1], over=ALL, method=how, seeds={}, sampling=0.0, **at)


def _excess(part: dict[str, Any]) -> Float[np.ndarray, "seed"]:
    return np.array([number(entry["excess"]) for entry in part["members"]])


def _half(q: Quantity) -> float:
    """Half of a sampled interval, the longer side; infinite where nothing bounds it."""
    return max(q.high - q.value, q.value - q.low) if math.isfinite(q.value) else math.inf


class Sampling(NamedTuple):
    """What sampling adds to the mean difference over some seeds: a function of those seeds, as half an interval."""

    rows: list[Float[np.ndarray, "seed sample"]]  # differences by sample, and their control variates; or nothing
    bound: Float[np.ndarray, "seed"]  # where there is nothing to pair: a bound for each seed


def _added(a: Sampling, b: Sampling) -> Sampling:
    """The bound for a sum of two sampled means."""
    count = min(len(a.bound), len(b.bound))
    everyone = [np.array([half(x, [n]) for n in range(count)]) for x in (a, b)]
    return Sampling([], everyone[0] + everyone[1])


def half(sampling: Sampling, seeds: list[int]) -> float:
    """Half of the 95 % interval that sampling alone gives to the mean difference over these seeds."""
    if not sampling.rows:
        return float(sampling.bound[seeds].mean())
    rows = [x[seeds].mean(0) for x in sampling.rows]
    value, count = rows[0] - rows[0].mean(), len(rows[0])
    for control in rows[1:]:  # a martingale difference of mean 0, as in experiments.measure.average
        control = control - control.mean()
        if control @ control > 0:
            value = value - (value @ control) / (control @ control) * control
    free = count - len(rows)
    return float(scipy.stats.t.ppf(0.975, free) * math.sqrt(value @ value / free / count))


def _prefixes(kept: list[dict[str, Any]], length: str, parts: list[dict[str, Any]]) -> tuple[Sampling, str]:
    """The sampling of prefixes: by prefix where they are the same, else a bound."""
    names = [f"{group}/{length}" for group in ("sequences/excess", "sequences/control")]
    count = min(len(part["members"]) for part in parts)
    entries = [[quantity(x, "excess") for x in part["members"][:count]] for part in parts]
    if all(q.kind == "exact" for both in entries for q in both):
        return Sampling([], np.zeros(count)), "prefixes enumerated"
    if _same(kept, f"floor/{length}") and all(_alike(kept, name, count) for name in names):
        rows = [kept[0][name][:count] - kept[1][name][:count] for name in names]
        return Sampling(rows, np.zeros(count)), "paired by prefix"
    return Sampling([], np.array([_half(a) + _half(b) for a, b in zip(*entries, strict=True)])), "prefixes bounded"


def _documents(
    pair: Pair, kept: list[dict[str, Any]], name: str, scores: list[np.ndarray], own: list[float]
) -> tuple[Sampling, str]:
    """The sampling of documents: by document where both runs kept the same ones, else a bound.

    They are the same where the protocols are, in number and order, and the world along the prefixes is.
    """
    count, marks = min(map(len, scores)), f"marks/{name}"
    observe = [json.dumps(config(run)[1].get("observe"), default=str) for run in (pair.first, pair.second)]
    if observe[0] == observe[1] and _same(kept, f"floor/{pair.first.ledger['length']}") and _alike(kept, marks, count):
        return Sampling([kept[0][marks][:count] - kept[1][marks][:count]], np.zeros(count)), "paired by document"
    return Sampling([], np.full(count, sum(own))), "documents bounded"


def _same(kept: list[dict[str, Any]], name: str) -> bool:
    """Whether both runs have this array, and it is equal: the floor along the same prefixes of the same world."""
    a, b = (arrays.get(name) for arrays in kept)
    return a is not None and b is not None and a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=0)


def _alike(kept: list[dict[str, Any]], name: str, count: int) -> bool:
    """Whether both runs have this array [member, sample], with as many samples."""
    a, b = (arrays.get(name) for arrays in kept)
    if a is None or b is None or not a.ndim == b.ndim == 2:
        return False
    return min(len(a), len(b)) >= count and a.shape[1] == b.shape[1] >= 4


def _seeds(
    layer: str, at: dict[str, Any], both: list[Float[np.ndarray, "seed"]], sampling: Sampling, how: str, pair: Pair
) -> Iterator[Difference]:
    """The difference of two means over seeds; where a seed is infinite, also that of the others, which says so."""
    count = min(map(len, both))
    a, b = (x[:count] for x in both)
    finite = np.isfinite(a) & np.isfinite(b)
    known = [int(n) for n in np.flatnonzero(finite)]
    spare = max(map(len, both)) - count
    over = ALL if not spare else f"{count} seeds; {spare} more have no partner"
    how = f"{how}; seeds {'paired' if pair.seed else 'not paired, their keys differ'}"
    if not finite.all():
        yield Difference(layer, quantity=infinite(a, b), over=over, method=how, seeds={}, sampling=0.0, **at)
        over = f"the {len(known)} of {count} seeds that are finite in both"
    if known:
        found, alone = half(sampling, known), "" if len(known) > 1 else "; one seed: the interval is sampling alone"
        by_seed = student(a[known] - b[known]) if pair.seed else _welch(a[known], b[known])
        total = math.hypot(by_seed, found)
        value = float((a[known] - b[known]).mean())
        kind = "exact" if len(known) == 1 and total == 0 else "estimated"
        each = {f"{pair.seed}/{n}": float(a[n] - b[n]) for n in known} if pair.seed else {}
        q = Quantity(value, value - total, value + total, kind, len(known))
        yield Difference(layer, quantity=q, over=over, method=how + alone, seeds=each, sampling=found, **at)


def infinite(a: Float[np.ndarray, "seed"], b: Float[np.ndarray, "seed"]) -> Quantity:
    """A mean with infinite members: infinite if they are on one side, else undefined."""
    if np.isnan([*a, *b]).any() or not (np.isfinite(a).all() or np.isfinite(b).all()):
        return undefined()
    value = float(a.sum() - b.sum())
    return Quantity(value, value, value, "estimated", len(a))


def student(x: Float[np.ndarray, "seed"]) -> float:
    """Half of Student's 95 % interval for the mean; 0 for one number, whose spread is not known."""
    return float(scipy.stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else 0.0


def _welch(a: Float[np.ndarray, "seed"], b: Float[np.ndarray, "seed"]) -> float:
    """Half of Welch's 95 % interval for a difference of means (Welch 1947)."""
    if len(a) < 2:
        return 0.0
    parts = [x.var(ddof=1) / len(x) for x in (a, b)]
    if sum(parts) == 0:
        return 0.0
    free = sum(parts) ** 2 / sum(x**2 / (len(a) - 1) for x in parts)
    return float(scipy.stats.t.ppf(0.975, free) * math.sqrt(sum(parts)))
