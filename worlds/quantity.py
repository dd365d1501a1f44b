"""A number with its interval and its exactness class, in nats per token unless its name says otherwise."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["exact", "certified", "estimated", "witnessed", "undefined"]

ROUNDING = 1e-12  # nats: what sums of some thousand float64 terms of order one may be off by


@dataclass(frozen=True)
class Quantity:
    """A value, the interval that is claimed for it, and the class of that claim.

    exact: closed form or enumeration. certified: an interval with a proof. estimated: a mean with its 95 % interval
    over `count` independent sequences (or seeds). witnessed: an upper bound, because here are weights that reach it.
    undefined: the thing asked for has no meaning there (an absolute concept beyond its trained length).

    >>> Quantity(1.5, 1.0, 2.0, "certified") - exact(0.5)
    Quantity(value=1.0, low=0.5, high=1.5, kind='certified', count=0, of='')
    """

    value: float
    low: float
    high: float
    kind: Kind
    count: int = 0  # independent sequences or seeds behind an estimate; 0 where nothing was sampled
    of: str = ""  # the functional it belongs to (start law, length, weights), where it matters

    def __post_init__(self):
        if self.kind not in get_args(Kind):
            raise ValueError(f"quantity: kind must be one of {', '.join(get_args(Kind))}, but is {self.kind!r}")
        if self.kind != "undefined" and not self.low <= self.high:
            raise EmptyInterval(
                f"quantity: an interval must not be empty, but is [{self.low}, {self.high}]: "
                "a containment claim, a certificate or a sampler is wrong"
            )

    def __sub__(self, other: "Quantity") -> "Quantity":
        """The difference as unpaired intervals: [a.low - b.high, a.high - b.low]; refused across functionals."""
        if self.of and other.of and self.of != other.of:
            raise ValueError(
                f"quantity: both sides of a difference must belong to one functional, but these are {self.of!r} "
                f"and {other.of!r}; name the zero that belongs to the loss"
            )
        if "undefined" in (self.kind, other.kind):
            return undefined()
        kind: Kind = max((self.kind, other.kind), key=_WEAKEST.index)
        count = min((c for c in (self.count, other.count) if c), default=0)
        return Quantity(
            _minus(self.value, other.value),
            _minus(self.low, other.high),
            _minus(self.high, other.low),
            kind,
            count,
            self.of or other.of,
        )

    def at_least(self, bound: float, rounding: float = ROUNDING) -> "Quantity":
        """The interval intersected with [bound, inf), when a theorem says so; empty means that a claim is wrong.

        Two exact sums that are equal may differ by rounding: what lies within `rounding` of the bound is the bound. An
        estimate stays where it is, below the bound or not.
        """
        if self.kind == "undefined":
            return self
        value, high = (bound if bound - rounding <= x < bound else x for x in (self.value, self.high))
        return Quantity(value, max(self.low, bound), high, self.kind, self.count, self.of)

    def contains(self, value: float, slack: float = 0.0) -> bool:
        """Whether the interval, widened by `slack` for rounding, holds a value."""
        return self.low - slack <= value <= self.high + slack


class EmptyInterval(ValueError):
    """Two claims contradict each other."""


_WEAKEST: list[Kind] = ["exact", "certified", "estimated", "witnessed", "undefined"]


def exact(value: float) -> Quantity:
    """A closed form or an enumeration."""
    return Quantity(float(value), float(value), float(value), "exact")


def certified(value: float, low: float, high: float) -> Quantity:
    """An interval with a proof."""
    return Quantity(float(value), float(low), float(high), "certified")


def undefined() -> Quantity:
    """No number has a meaning here."""
    return Quantity(math.nan, math.nan, math.nan, "undefined")


def _minus(a: float, b: float) -> float:
    return 0.0 if a == b else a - b  # inf - inf: the two impossible tokens are the same one
