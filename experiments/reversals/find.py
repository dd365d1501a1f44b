"""Reversals: of two readings, one protocol prefers the first and another the second, both beyond their intervals.

A reading is a run's networks in windows of some length. Two readings are compared if they are of two runs of one law in
equal windows, or of one run in two windows, as papers do that ask whether more context helps: then two losses of one
protocol are subtracted, which are not under one functional, and what the difference means is the very question. A
protocol's exact expectation decides whom it prefers, so that no reversal is luck.
"""

import itertools
import math
from typing import NamedTuple

from experiments.contrasts import Contrast, Side, contrast, functionals, same
from experiments.found import printable
from experiments.style import SPELT


class Reading(NamedTuple):
    """A run's networks, in windows of so many tokens."""

    run: int
    window: int


class Case(NamedTuple):
    """Two readings, and what every protocol says of them, first minus second."""

    first: Reading
    second: Reading
    views: list[Contrast]


class Reversal(NamedTuple):
    """Two protocols that disagree about a case."""

    case: Case
    one: Contrast  # prefers the first
    other: Contrast  # prefers the second

    @property
    def strength(self) -> float:
        """How far the reported scores are from a tie, in half-widths of 95 % intervals; the less clear of the two.

        Negative where one of the two, as reported, does not show what the protocol expects.
        """
        return min(_clear(self.one, -1), _clear(self.other, 1))

    @property
    def kinds(self) -> set[tuple[bool, str]]:
        """(whether it is between windows of one run, a protocol that it is about)."""
        within = self.case.first.run == self.case.second.run
        return {(within, _bare(x.label)) for x in (self.one, self.other)}


def _clear(x: Contrast, favours: int) -> float:
    sign = favours if x.better == "smaller" else -favours
    half = (x.score.high - x.score.low) / 2
    return math.inf if half == 0 else sign * x.score.value / half


def cases(sides: dict[int, Side]) -> list[Case]:
    """All pairs of readings that more than one protocol speaks of."""
    found = []
    for a, b in itertools.combinations(sides, 2):
        if _law(sides[a]) == _law(sides[b]):
            found += _between_runs(sides, a, b)
    for n in sides:
        found += _between_windows(sides, n)
    return [case for case in found if len(case.views) > 1]


def _law(side: Side) -> str:
    return min(functionals(side.run), default="").split(" ")[0]


def _between_runs(sides: dict[int, Side], a: int, b: int) -> list[Case]:
    """Two runs, window by window; protocols that were applied to both in one way."""
    said = [contrast(sides[a], sides[b], label) for label in sides[a].run.ledger["protocols"]]
    windows: dict[int, list[Contrast]] = {}
    for view in said:
        if view is not None and view.expected.kind != "undefined":
            windows.setdefault(int(sides[a].run.ledger["protocols"][view.label]["window"]), []).append(view)
    return [Case(Reading(a, w), Reading(b, w), views) for w, views in windows.items()]


def _between_windows(sides: dict[int, Side], n: int) -> list[Case]:
    """One run in two windows, the shorter first; protocols of one name that differ in the window alone."""
    seen = sides[n].run.ledger["protocols"]
    found: dict[tuple[int, int], list[Contrast]] = {}
    for a, b in itertools.permutations(seen, 2):
        alike = same(seen[a], seen[b], "name", "unit", "better") and "window" in seen[a] and "window" in seen[b]
        if not alike or _bare(a) != _bare(b) or not int(seen[a]["window"]) < int(seen[b]["window"]):
            continue
        view = contrast(sides[n], sides[n], a, other=b)
        if view is not None and view.expected.kind != "undefined":
            found.setdefault((int(seen[a]["window"]), int(seen[b]["window"])), []).append(view)
    return [Case(Reading(n, short), Reading(n, long), views) for (short, long), views in found.items()]


def _bare(label: str) -> str:
    """A label without the number at its end: sliding_24 and sliding_32 are sliding in two windows."""
    return label.rstrip("0123456789").rstrip("_")


def reversals(found: list[Case]) -> list[Reversal]:
    """All reversals, the clearest first."""
    every = []
    for case in found:
        sure = [x for x in case.views if not x.expected.low <= 0 <= x.expected.high]
        for one, other in itertools.product(sure, sure):
            if one.favours == -1 and other.favours == 1:
                every.append(Reversal(case, one, other))
    return sorted(every, key=lambda x: -x.strength)


def chosen(every: list[Reversal], most: int) -> list[Reversal]:
    """The clearest reversals that bring in another protocol, between runs and between windows; a pair once."""
    seen: set[tuple[bool, str]] = set()
    pairs: set[frozenset[Reading]] = set()
    found = []
    for x in every:
        pair = frozenset((x.case.first, x.case.second))
        if x.strength > 1 and not x.kinds <= seen and pair not in pairs and len(found) < most:
            found.append(x)
            seen |= x.kinds
            pairs.add(pair)
    return found


def names(sides: dict[int, Side]) -> dict[int, str]:
    """Each run's scheme and trained length, and what was asked for where that is not enough to tell two apart."""
    said = {}
    for n, side in sides.items():
        ledger = side.run.ledger
        scheme = ledger["perception"]["scheme"]["name"]
        spelt = str(SPELT.get(scheme, scheme)).replace("_", " ")
        said[n] = f"{spelt}, trained at {ledger['train_length']}"
    every = set.intersection(*(set(side.run.overrides) for side in sides.values()))
    shared = [n for n in sides if list(said.values()).count(said[n]) > 1]
    for n in shared:
        overrides = sides[n].run.overrides
        own = [printable(x) for x in overrides if x not in every and not x.startswith("perception")]
        said[n] = " ".join([said[n], *own])
    return said
