"""What a comparison found: a ratio with its spread over rounds in which both sides take turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Found:
    """A row of bench.json.

    Attributes:
      name: what was measured.
      peer: beside what.
      ratio: ours to theirs, the median of the rounds.
      low: the smallest of the rounds, or the low end of the interval that `spread` names.
      high: the largest, or the high end.
      goal: what the ratio is meant to be; None where there is no goal.
      at_most: whether the goal bounds the ratio from above.
      unit: of `ours` and `theirs`; empty where the ratio is all there is.
      ours: our side, a median.
      theirs: the peer's.
      cold: seconds of our first call, which compiles; None where that is not apart.
      spread: what low and high are.
    """

    name: str
    peer: str
    ratio: float
    low: float
    high: float
    goal: float | None = None
    at_most: bool = False
    unit: str = ""
    ours: float | None = None
    theirs: float | None = None
    cold: float | None = None
    spread: str = "smallest and largest of the rounds"

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None where there is no goal."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


@runtime_checkable
class Measurable(Protocol):
    """Something with a name that can be measured."""

    name: str

    def measured(self, rounds: int) -> list[Found]:
        """Measures it, in so many rounds."""
        ...


def beside(
    name: str, peer: str, ours: Float[np.ndarray, "round"], theirs: Float[np.ndarray, "round"], **rest: Any
) -> Found:
    """The ratio of two speeds that were measured round by round; above 1 where ours is the faster."""
    ratio = ours / theirs
    middle, low, high = (float(x) for x in (np.median(ratio), ratio.min(), ratio.max()))
    return Found(name, peer, middle, low, high, ours=float(np.median(ours)), theirs=float(np.median(theirs)), **rest)


def seconds(function: Callable[[], Any], calls: int = 1) -> tuple[float, Any]:
    """The fastest of some calls, and the answer: where it lies, on the device or in NumPy, but there."""
    times, answer = [], None
    for _ in range(calls):
        began = time.perf_counter()
        answer = jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return min(times), answer
