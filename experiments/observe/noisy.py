"""A protocol whose documents went through symbol noise on their way to the evaluation: typing, scanning, bad labels.

The noisy law is another law (worlds.combinators.noisy). What that law itself would score on its documents, minus the
floor, is the world part: no model is to blame for it.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key

from experiments.observe.base import Checked, Observation, Predict
from worlds import combinators
from worlds.base import World
from worlds.quantity import Quantity


@dataclass(frozen=True)
class Noisy:
    """A protocol, and how noisy its documents are. Build it with `noisy`."""

    protocol: Any  # an experiments.observe.base.Protocol
    rate: float

    @property
    def unit(self) -> str:
        """Of its score."""
        return self.protocol.unit

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked; refuses worlds of which no exact noisy law is known."""
        if isinstance(self.protocol, Checked):
            self.protocol.check(combinators.noisy(world, self.rate), spec, length)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; targets and ceiling are those of the noisy law."""
        found = self.protocol.observe(predict, combinators.noisy(world, self.rate), length, reached, floor, key)
        return found._replace(name="noisy", shows=f"{found.shows}; {self.rate:.0%} of the tokens are noise")


def noisy(protocol: Any, rate: float) -> Noisy:
    """The same protocol on documents of which each token is, with probability `rate`, a uniform draw.

    Args:
      protocol: what is done, an experiments.observe.base.Protocol.
      rate: of noise, in (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"noisy: rate must lie in (0, 1), but is {rate}")
    return Noisy(protocol, rate)
