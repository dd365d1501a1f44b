"""Needle: only answers are scored, the tokens that the whole past all but determines and the nearest past does not.

An average over all tokens hides whether a model uses its long context, for few tokens need it. Which tokens count is
decided by the world, from the tokens before. A world that poses questions says so itself (`worlds.recall.Answers`).
In any other, token t is an answer if H(p_t) <= sure, with all of the past, and the world's rule restarted on the last
`short` tokens has an entropy of at least `unsure`. (In the spirit of LongPPL, Fang et al. 2024, arXiv:2410.23771, with
the world in place of a reference model.)
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from experiments.observe.base import (
    NATS,
    Observation,
    Predict,
    at_least,
    documents,
    laws,
    mean,
    observed,
    readable,
    shared_out,
    split,
)
from experiments.observe.windows import Cut, Sample, expectation, marks, minus
from worlds.base import World, entropy
from worlds.quantity import Quantity
from worlds.recall import Answers


@dataclass(frozen=True)
class Needle:
    """Answers only. Build it with `needle`."""

    sequences: int
    soft: int
    short: int
    sure: float
    unsure: float
    unit: str = "nats/token"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        readable("needle", spec, length, length)
        if not isinstance(world, Answers) and length <= self.short:
            raise ValueError(
                f"needle: answers come after the near past, {self.short} tokens, but sequences have {length} tokens"
            )

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; undefined where no token is an answer."""
        key_hard, key_soft = jax.random.split(key)
        cut = Cut((0,), length, np.full(length, 1 / length))
        shown = Sample(documents(world, key_hard, self.sequences, length), (0,))
        target = expectation(world, world, cut, key_soft, self.soft)
        got = self.per_document(world, shown, marks(NATS, predict, world, world, cut, shown, labels=False))
        due = self.per_document(world, target, marks(NATS, predict, world, world, cut, target, labels=True))
        got, due, truth, weight = got[:-1], due[:-2], due[-1], target.weight
        ceiling = mean(truth, weight)
        shows = (
            f"sequences of {length} tokens; scored are those that the past determines and its last {self.short} do not"
        )
        found = observed("needle", self.unit, got, due, weight, ceiling, shows, shown.tokens)
        excess = mean(minus(due.mean(0), truth), weight)
        return found._replace(parts=split(found.score, found.expected, ceiling, excess, reached, floor))

    def per_document(
        self, world: World, sample: Sample, losses: Float[np.ndarray, "predictor document time"]
    ) -> Float[np.ndarray, "predictor document"]:
        """Numbers whose mean is the loss per answer."""
        scored = self.answers(world, sample.tokens)
        total = np.where(scored, losses, 0).sum(-1)
        return shared_out(total, scored.sum(-1).astype(float), sample.weight)

    def answers(self, world: World, tokens: Int[np.ndarray, "document time"]) -> Bool[np.ndarray, "document time"]:
        """Which tokens count; each is decided by the tokens before it."""
        if isinstance(world, Answers):
            return np.asarray(jax.vmap(world.answers)(jnp.asarray(tokens)))
        count, length = tokens.shape
        known = np.asarray(entropy(jnp.asarray(laws(world, tokens)))) <= self.sure
        near = np.zeros((count, length))
        for t in range(length):
            first = max(0, t - self.short)
            if first == 0:
                continue  # all of the past is near
            near[:, t] = _last_entropy(world, tokens[:, first : t + 1])
        return known & (near >= self.unsure) & (np.arange(length) > self.short)


def _last_entropy(world: World, tokens: Int[np.ndarray, "document time"]) -> Float[np.ndarray, "document"]:
    return np.asarray(entropy(jnp.asarray(laws(world, tokens)[:, -1])))


def needle(sequences: int, soft: int, short: int, sure: float, unsure: float) -> Needle:
    """The loss at answers: tokens that the whole past determines (H <= sure) and the last few do not (H >= unsure).

    Args:
      sequences: hard-labelled documents of the trained length, at least 2.
      soft: independent sequences behind the exact target, where it cannot be enumerated; at least 2.
      short: tokens of the near past, at least 1.
      sure: nats, at least 0.
      unsure: nats, above `sure`.
    """
    at_least("needle", sequences=(sequences, 2), soft=(soft, 2), short=(short, 1))
    if not 0 <= sure < unsure:
        raise ValueError(f"needle: 0 <= sure < unsure must hold, in nats, but sure is {sure} and unsure is {unsure}")
    return Needle(sequences, soft, short, sure, unsure)
