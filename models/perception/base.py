"""Concepts: statements about how the past may matter, and the best predictor that each of them allows.

P is found without training. `perceive` measures a concept against a world under one functional: sequences from the
world's start, uniform over positions 1 ... length. All numbers are nats per token above the world's own floor D.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Key

from models.base import Predictor
from models.perception.contexts import Contexts
from worlds.base import World
from worlds.quantity import Quantity, exact, undefined


class Perceived(NamedTuple):
    """What a concept can see of a world, at one length.

    excess = readout + concept: what the read-out alone costs (with the richest reads), and what the concept's reads
    cost on top. Values add up; intervals need not.
    """

    predictor: Predictor | None  # the best predictor found; None where the concept says nothing
    excess: Quantity  # P - D: the predictor's own value; low and high bracket the concept's best
    readout: Quantity  # the richest dictionary with this read-out, minus D
    concept: Quantity  # this dictionary minus the richest
    info: dict[str, Any]  # what was learnt, for the scientist

    def of(self, readout: Quantity) -> "Perceived":
        """The same, with the read-out's part told apart."""
        return split(self.predictor, self.excess, readout, self.info)


@runtime_checkable
class Concept(Protocol):
    """A frozen, hashable statement of how the past may matter."""

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """The best that the concept allows.

        Args:
          world: the law.
          length: tokens per sequence that are measured.
          trained: tokens per sequence seen in training; an absolute concept says nothing beyond.
          key: for draws, where prefixes are too many to enumerate.
          sequences: how many draws such an estimate may use, about.
        """
        ...


@runtime_checkable
class Weighed(Protocol):
    """A concept that can also be weighed on contexts of any functional: a steady state, contexts of a user's own."""

    def over(self, contexts: Contexts) -> Perceived:
        """The best over the contexts; all of the excess is put down to the concept."""
        ...


def nothing(rule: str) -> Perceived:
    """A concept that is not defined here, and why."""
    return Perceived(None, undefined(), undefined(), undefined(), {"undefined": rule})


def split(predictor: Predictor | None, excess: Quantity, readout: Quantity, info: dict[str, Any]) -> Perceived:
    """Divides an excess into read-out and concept; the concept's part is never negative, as it is contained."""
    concept = excess - readout if excess is not readout else exact(0.0)
    return Perceived(predictor, excess, readout, concept.at_least(0.0), info)
