"""Free run: members speak, and the world judges. The score is E_q[-log p(x)] / T over sequences that the member drew.

It rewards playing safe: who repeats the world's likeliest sequence beats the world. With `minus_own` the member's own
-log q is subtracted, which leaves the reverse divergence KL(q || p) / T, zero for the truth alone.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    Observation,
    Predict,
    ask_all,
    at_least,
    documents,
    hard,
    hull,
    laws,
    mean,
    observed,
    readable,
    soft,
)
from experiments.observe.generate import continued, likeliest_continuation
from worlds.base import LIMIT, World
from worlds.quantity import Quantity, exact


@dataclass(frozen=True)
class FreeRun:
    """The members' own samples. Build it with `free_run`."""

    sequences: int
    soft: int
    minus_own: bool
    beam: int

    @property
    def unit(self) -> str:
        """Of its score: no loss under the world's law, so it never enters the ledger."""
        return "divergence of own samples, nats/token" if self.minus_own else "nats/token of own samples"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        del world
        readable("free_run", spec, length, length)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe."""
        del reached, floor  # an average over the members' sequences is no loss under the world's
        key_hard, key_soft, key_world = jax.random.split(key, 3)
        got = self.judged(world, *drawn(predict, key_hard, self.sequences, length), labels=False)
        theirs = documents(world, key_world, self.sequences, length)[None]
        truth = self.judged(world, theirs, laws(world, theirs[0])[None], labels=False)
        if world.vocab_size ** (length - 1) <= LIMIT:
            due, weight = self.enumerated(predict, world, length), np.ones(1)
        else:
            due, weight = self.judged(world, *drawn(predict, key_soft, self.soft, length), labels=True), None
        shows = f"nothing: members draw sequences of {length} tokens"
        marks = np.concatenate([got, truth])
        ceiling = self.ceiling(world, length)
        return observed("free_run", self.unit, marks, due, weight, ceiling, shows, theirs[0])

    def judged(
        self,
        world: World,
        tokens: Int[np.ndarray, "member sequence time"],
        said: Float[np.ndarray, "member sequence time vocab"],
        labels: bool,
    ) -> Float[np.ndarray, "member sequence"]:
        """The surprise -log p(x) / T of each sequence, minus the member's own if so; soft labels are the drawer's."""
        marks = []
        for x, mine in zip(tokens, said, strict=True):
            surprise = -laws(world, x)
            points = np.where(mine > -np.inf, surprise + np.where(mine > -np.inf, mine, 0) * self.minus_own, 0)
            marks.append((soft(mine, points) if labels else hard(x, points)).mean(-1))
        return np.stack(marks)

    def enumerated(self, predict: Predict, world: World, length: int) -> Float[np.ndarray, "member one"]:
        """The exact expectation: every sequence of tokens, with the probability that the member draws it."""
        words = np.indices((world.vocab_size,) * (length - 1)).reshape(length - 1, -1).T
        words = np.pad(words, ((0, 0), (0, 1))).astype(np.int32)
        found = []
        for said in ask_all(predict, words):
            chance = np.exp(hard(words, said)[:, :-1].sum(-1))
            drawn = chance > 0
            found.append(chance[drawn] @ self.judged(world, words[None, drawn], said[None, drawn], labels=True)[0])
        return np.array(found)[:, None]

    def ceiling(self, world: World, length: int) -> Quantity:
        """The least attainable: 0 with `minus_own`, else the likeliest sequence's -log p / T, bracketed by a beam."""
        if self.minus_own:
            return exact(0.0)
        found, bound = likeliest_continuation(world, np.zeros((1, length), np.int32), 0, self.beam)
        return hull(mean(-found / length, np.ones(1)), mean(-bound / length, np.ones(1)))


def drawn(
    predict: Predict, key: Key[Array, ""], count: int, length: int
) -> tuple[Int[np.ndarray, "member sequence time"], Float[np.ndarray, "member sequence time vocab"]]:
    """Sequences that each member draws, with what it said at each step; the members share their luck."""
    luck = np.asarray(jax.random.uniform(key, (length, count)), np.float64)

    def choose(logs, t):
        below = np.cumsum(np.exp(logs), -1)
        return (luck[t][:, None] * below[..., -1:] >= below).sum(-1)

    return continued(predict, np.zeros((count, length), np.int32), 0, choose)


def free_run(sequences: int, soft: int, minus_own: bool, beam: int) -> FreeRun:
    """The world's surprise at what members say when they speak freely. Nats per token, but of the members' sequences.

    Args:
      sequences: drawn by each member, of the trained length; at least 2.
      soft: drawn by each member for the exact target, where it cannot be enumerated; at least 2.
      minus_own: subtract the member's own surprise: the reverse divergence.
      beam: sequences kept in the search for the likeliest one, at least 1.
    """
    at_least("free_run", sequences=(sequences, 2), soft=(soft, 2), beam=(beam, 1))
    return FreeRun(sequences, soft, minus_own, beam)
