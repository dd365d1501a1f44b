"""A held-out set that leaks: a share of its documents is what training saw again and again (contamination).

Its exact target is that of fresh documents, as whoever reports it believes. What members know of the leaked ones shows
as sampling, which the world's own score on the same documents does not share. (Sainz et al. 2023, arXiv:2310.18018.)
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import NATS, Observation, Predict, documents, named
from experiments.observe.windows import Cut, Sample, Windows, expectation, heldout, marks
from worlds.base import World
from worlds.quantity import Quantity


@runtime_checkable
class Informed(Protocol):
    """A protocol that must be told what training saw."""

    def informed(self, seen: Int[np.ndarray, "member sequence time"]) -> "Leaky":
        """The same protocol, told each member's own sequences: its pool, or what it was trained on."""
        ...


@dataclass(frozen=True)
class Leaky:
    """Held-out sequences of which a share was trained on. Build it with `leaky`."""

    held: Windows
    leaked: float
    seen: Any = None  # [member sequence time]

    @property
    def unit(self) -> str:
        """Of its score."""
        return self.held.unit

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        self.held.check(world, spec, length)

    def informed(self, seen: Int[np.ndarray, "member sequence time"]) -> "Leaky":
        """As Informed."""
        return dataclasses.replace(self, seen=seen)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe. Each member answers for what it saw itself."""
        cut = self.held.cut(length)
        key_hard, key_soft = jax.random.split(key)
        fresh = documents(world, key_hard, self.held.sequences, cut.stream)
        shown = [self.mixed(fresh, own) for own in self.seen]
        came = self.answers(predict, world, cut, shown)
        target = expectation(world, world, cut, key_soft, self.held.soft)
        due = marks(NATS, predict, world, world, cut, target, labels=True)
        found = self.held.report(cut, came, due, target.weight, True, reached, floor)
        words = f"{found.shows}, {self.leaked:.0%} of which were trained on"
        return found._replace(name="leaky", shows=words, tokens=cut.stream, documents=named(np.concatenate(shown)))

    def mixed(
        self, fresh: Int[np.ndarray, "document time"], own: Int[np.ndarray, "sequence time"]
    ) -> Int[np.ndarray, "document time"]:
        """The fresh documents, the first of which are replaced by those that were seen, in turn."""
        count = round(self.leaked * len(fresh))
        return np.concatenate([np.asarray(own)[np.arange(count) % len(own), : fresh.shape[1]], fresh[count:]])

    def answers(
        self, predict: Predict, world: World, cut: Cut, shown: list[Int[np.ndarray, "document time"]]
    ) -> Float[np.ndarray, "predictor document time"]:
        """As windows.marks: each member on its own documents, the world on all of them."""
        found = [marks(NATS, predict, world, world, cut, Sample(x, cut.offsets), labels=False) for x in shown]
        members = [each[k] for k, each in enumerate(found)]
        return np.stack([*members, *np.mean([each[-2:] for each in found], axis=0)])


def leaky(sequences: int, soft: int, leaked: float) -> Leaky:
    """The test loss of a contaminated test set: whole hard-labelled sequences from the world's start, nats per token.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent sequences behind the exact target, where it cannot be enumerated; at least 2.
      leaked: the share of documents that training saw, in (0, 1].
    """
    if not 0 < leaked <= 1:
        raise ValueError(f"leaky: leaked must be a share above 0 and at most 1, but is {leaked}")
    return Leaky(heldout(sequences, soft), leaked)
