"""Pairs of runs: the exact difference of their losses, what each protocol says of it, and what ranks them rightly."""

import itertools
import math
from typing import NamedTuple

from experiments.contrasts import Contrast, Side, contrast, preferred, truth
from experiments.fidelity.rank import Group
from worlds.quantity import Quantity


class Pair(NamedTuple):
    """Two runs of a group: the exact difference of their losses, and every protocol's."""

    first: int
    second: int
    exact: Quantity  # nats per token
    said: list[Contrast]


def pairs(sides: dict[int, Side], group: Group) -> list[Pair]:
    """All pairs of a group, each in the mean over its seeds."""
    return [compared(sides[a], sides[b], group.length, places=(a, b)) for a, b in itertools.combinations(group.runs, 2)]


def compared(
    first: Side, second: Side, length: int, confidence: float = 0.95, places: tuple[int, int] = (0, 1)
) -> Pair:
    """One pair, under the functional of a length."""
    found = [contrast(first, second, label, confidence) for label in first.run.ledger["protocols"]]
    return Pair(*places, truth(first, second, length), [x for x in found if x is not None])


def order(exact: Quantity, of: Contrast) -> str:
    """Whether a protocol, given all documents there are, prefers the same network as the exact losses do."""
    if "undefined" in (exact.kind, of.expected.kind):
        return "undefined"
    if exact.low <= 0 <= exact.high or of.expected.low <= 0 <= of.expected.high:
        return "undecided"
    return "the same" if preferred(exact.value, "smaller") == of.favours else "reversed"


def tokens(exact: Quantity, of: Contrast, soft: bool = False) -> Quantity:
    """Evaluation tokens that rank the pair as the exact losses do; infinitely many where the protocol reverses them."""
    need = (of.soft if soft else of.hard).tokens
    never = Quantity(math.inf, math.inf, math.inf, "estimated", need.count)
    return never if order(exact, of) == "reversed" else need
