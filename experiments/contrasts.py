"""Contrasts: by how much two runs' networks differ, exactly and in what each protocol says, from run folders alone.

A difference is paired where both sides were seen on the same documents, which their names or their floors prove;
otherwise the sides are independent and their variances add. Scores of different protocols are never subtracted.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Float

from experiments.found import Run
from experiments.ledger import number
from experiments.measure import average
from experiments.observe.base import mean
from experiments.observe.fidelity import Need, needed
from worlds.base import Functional
from worlds.quantity import Quantity, undefined

GROUPS = ("marks/", "fair/", "sequences/", "floor/")  # of the arrays that a contrast reads


class Side(NamedTuple):
    """A run's networks: one of its seeds, or the mean over all."""

    run: Run
    arrays: dict[str, np.ndarray]  # of curves.npz
    member: int | None = None  # None: the mean

    def rows(self, name: str) -> Float[np.ndarray, "document"] | None:
        """An array kept by member and document, of this side; None where the folder lacks it."""
        found = self.arrays.get(name)
        if found is None or found.ndim != 2 or not len(found):
            return None
        return np.asarray(found.mean(0) if self.member is None else found[self.member], np.float64)

    def entry(self, label: str, quantity: str, members: str) -> Quantity:
        """A protocol's `score` or `expected`; of one seed only the value and the class are kept."""
        seen = self.run.ledger["protocols"][label]
        whole = _quantity(seen[quantity], "value")
        if self.member is None:
            return whole
        value = number(seen[members][self.member])
        return (
            Quantity(value, value, value, "exact")
            if whole.kind == "exact"
            else Quantity(value, -math.inf, math.inf, whole.kind, whole.count)
        )


class Contrast(NamedTuple):
    """What a protocol says of first minus second, in its unit."""

    label: str
    unit: str
    better: str  # "smaller" or "larger"
    score: Quantity  # as its documents say
    expected: Quantity  # as it would say of all documents there are
    paired: bool
    hard: Need  # what it takes to tell the two apart with the tokens that come
    soft: Need  # the same with exact laws as labels; none where all prefixes are enumerated

    @property
    def favours(self) -> int:
        """Whom the exact expectation prefers: -1 the first, 1 the second, 0 neither."""
        return preferred(self.expected.value, self.better)


def preferred(difference: float, better: str) -> int:
    """Of first minus second: -1 prefers the first, 1 the second; 0 is a tie, or undefined."""
    if math.isnan(difference):
        return 0
    return int(np.sign(difference)) * (1 if better == "smaller" else -1)


def contrast(
    first: Side, second: Side, label: str, confidence: float = 0.95, other: str | None = None
) -> Contrast | None:
    """The contrast in one protocol; None where one side has no marks of it, or one that was made in another way.

    Args:
      first: one side.
      second: the other.
      label: the protocol's name in the run.
      confidence: of the tokens needed.
      other: the second side's protocol, where it is the same in another window.
    """
    labels = (label, label if other is None else other)
    seen = [side.run.ledger["protocols"].get(x) for side, x in zip((first, second), labels, strict=True)]
    a, b = first.rows(f"marks/{labels[0]}"), second.rows(f"marks/{labels[1]}")
    if a is None or b is None or seen[0] is None or seen[1] is None or (other is None and not alike(*seen)):
        return None
    paired = same(seen[0], seen[1], "documents") and len(a) == len(b)
    expected = first.entry(labels[0], "expected", "targets") - second.entry(labels[1], "expected", "targets")
    fair = first.rows(f"fair/{labels[0]}"), second.rows(f"fair/{labels[1]}")
    if fair[0] is not None and fair[1] is not None:
        together = paired and len(fair[0]) == len(fair[1])  # drawn with the key of the marks
        expected = difference(fair[0], fair[1], together)
        soft = needed(fair[0], fair[1], int(seen[0]["fair_tokens"]), confidence, together)
    else:
        soft = enumerated(expected.value)
    gap = expected.value if expected.kind == "exact" else None
    hard = needed(a, b, int(seen[0]["tokens"]), confidence, paired, gap)
    name = label if other is None else f"{label} \N{RIGHTWARDS ARROW} {other}"
    score = difference(a, b, paired)
    return Contrast(name, seen[0]["unit"], seen[0]["better"], score, expected, paired, hard, soft)


def alike(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two observations were made in one way: kind, unit, window, text per document."""
    return same(first, second, "name", "unit", "better", "window", "tokens", "fair_tokens", "shows")


def same(first: dict[str, Any], second: dict[str, Any], *keys: str) -> bool:
    """Whether two observations have these keys, and agree in them."""
    return all(key in first and first[key] == second.get(key) for key in keys)


def enumerated(gap: float) -> Need:
    """What it takes where every prefix is known with its probability: no sample."""
    none = Quantity(0.0, 0.0, 0.0, "exact")
    return Need(none, none, gap, 0.0)


def difference(a: Float[np.ndarray, "document"], b: Float[np.ndarray, "other"], paired: bool) -> Quantity:
    """Mean a minus mean b with its 95 % interval: Student's, by document; Welch's where they are not the same."""
    if paired:
        with np.errstate(invalid="ignore"):  # two infinite losses of one document are the same impossible token
            return mean(np.where(a == b, 0.0, a - b))
    parts = mean(a), mean(b)
    if "undefined" in (parts[0].kind, parts[1].kind) or not np.isfinite([parts[0].value, parts[1].value]).all():
        return undefined()
    variances = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    total = variances.sum()
    freedom = total**2 / (variances**2 / [len(a) - 1, len(b) - 1]).sum() if total else math.inf
    half = float(scipy.stats.t.ppf(0.975, freedom) * math.sqrt(total)) if total else 0.0
    value = parts[0].value - parts[1].value
    return Quantity(value, value - half, value + half, "estimated", min(len(a), len(b)))


def functionals(run: Run) -> dict[str, int]:
    """The functionals that a run was measured under, by name, with their lengths in tokens."""
    parts = {str(run.ledger["length"]): run.ledger} | run.ledger["lengths"]
    return {str(part["functional"]): int(length) for length, part in parts.items() if "functional" in part}


def measured(run: Run, length: int) -> dict[str, Any]:
    """The ledger of a run at a length."""
    return run.ledger if length == int(run.ledger["length"]) else run.ledger["lengths"][str(length)]


def truth(first: Side, second: Side, length: int) -> Quantity:
    """The exact difference of two losses under one functional, first minus second, nats per token.

    Paired where the floors show that both were measured on the same prefixes; exact where all prefixes are enumerated.
    """
    floors = [side.arrays.get(f"floor/{length}") for side in (first, second)]
    together = floors[0] is not None and floors[1] is not None and np.array_equal(floors[0], floors[1])
    excess, other = (side.rows(f"sequences/excess/{length}") for side in (first, second))
    control, its = (side.rows(f"sequences/control/{length}") for side in (first, second))
    if not together or excess is None or other is None or control is None or its is None:
        return _excess(first, length) - _excess(second, length)
    count = len(excess)
    functional = Functional(jnp.zeros((count, 1), jnp.int32), jnp.full(count, 1 / count), jnp.ones(1), False)
    with np.errstate(invalid="ignore"):  # two infinite excesses have no difference
        return average((excess - other)[:, None], (control - its)[:, None], functional)


def _excess(side: Side, length: int) -> Quantity:
    members = [_quantity(entry, "excess") for entry in measured(side.run, length)["members"]]
    if side.member is not None:
        return members[side.member]
    kind = members[0].kind
    low, high, value = (float(np.mean([getattr(m, k) for m in members])) for k in ("low", "high", "value"))
    return Quantity(value, low, high, kind, members[0].count)


def _quantity(entry: dict[str, Any], value: str) -> Quantity:
    if entry["class"] == "undefined":
        return undefined()
    low, high = number(entry["low"]), number(entry["high"])
    return Quantity(number(entry[value]), min(low, high), max(low, high), entry["class"], entry.get("count", 0))
