"""A protocol applied to documents of another law than the one that was trained on: noise in the labels, or a shift.

What the other law itself would score there, minus the floor, is the world part: no model is to blame for it.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key

from experiments.observe.base import Checked, Observation, Predict
from experiments.observe.base import Protocol as Observed
from worlds.base import World
from worlds.quantity import Quantity


@dataclass(frozen=True)
class Elsewhere:
    """A protocol and the world whose documents it shows. Build it with `elsewhere`."""

    protocol: Observed
    world: World

    @property
    def unit(self) -> str:
        """Of its score."""
        return self.protocol.unit

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        if self.world.vocab_size != world.vocab_size:
            raise ValueError(
                f"elsewhere: the other world must have the {world.vocab_size} tokens of the world that is trained on, "
                f"but has {self.world.vocab_size}"
            )
        if isinstance(self.protocol, Checked):
            self.protocol.check(self.world, spec, length)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; ceiling and target are those of the other world."""
        del world
        found = self.protocol.observe(predict, self.world, length, reached, floor, key)
        return found._replace(name="elsewhere", shows=f"{found.shows}; documents of another law")


def elsewhere(protocol: Observed, world: World) -> Elsewhere:
    """The same protocol on documents of another world.

    Args:
      protocol: what is done.
      world: whose documents are shown; of as many tokens as the world that is trained on.
    """
    return Elsewhere(protocol, world)
