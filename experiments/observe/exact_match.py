"""Exact match: the greedy continuation of a prompt must be the one that came, token for token.

Its expectation is E p(greedy continuation of q | prompt), its ceiling E max_y p(y | prompt). The truth, decoded
greedily, may stay below that ceiling: the likeliest continuation need not begin with the likeliest token.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    Observation,
    Predict,
    at_least,
    documents,
    hard,
    hull,
    laws,
    mean,
    observed,
    readable,
)
from experiments.observe.generate import continued, likeliest_continuation, most_likely
from worlds.base import World, functional
from worlds.quantity import Quantity


@dataclass(frozen=True)
class ExactMatch:
    """Greedy continuations. Build it with `exact_match`."""

    sequences: int
    soft: int
    answer: int
    beam: int
    unit: str = "fraction"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        del world
        readable("exact_match", spec, length, self.given(length) + self.answer)

    def given(self, length: int) -> int:
        """Tokens of the prompt, at a trained length."""
        if length < self.answer:
            raise ValueError(f"exact_match: answers must fit in the {length} trained tokens, but have {self.answer}")
        return length - self.answer

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe."""
        del reached, floor  # of another unit
        given = self.given(length)
        key_hard, key_soft = jax.random.split(key)
        shown = documents(world, key_hard, self.sequences, length)
        replies = self.replies(predict, world, shown, given)
        got = (replies[:, :, given:] == shown[:, given:]).all(-1).astype(float)
        prompts, weight = self.prompts(world, given, length, key_soft)
        replies = self.replies(predict, world, prompts, given)
        due = np.exp(np.stack([_log_chance(world, reply, given) for reply in replies[:-1]]))
        found, bound = likeliest_continuation(world, prompts, given, self.beam)
        ceiling = hull(mean(np.exp(found), weight), mean(np.exp(bound), weight))
        shows = f"the first {given} tokens of sequences of {length}"
        return observed("exact_match", self.unit, got, due, weight, ceiling, shows, shown, "larger")

    def replies(
        self, predict: Predict, world: World, prompts: Int[np.ndarray, "sequence time"], given: int
    ) -> Int[np.ndarray, "predictor sequence time"]:
        """Greedy continuations of the members and, last, of the world."""
        greedy = lambda logs, t: most_likely(logs)  # noqa: E731
        members, _ = continued(predict, prompts, given, greedy)
        truth, _ = continued(lambda x: laws(world, np.asarray(x))[None], prompts, given, greedy)
        return np.concatenate([members, truth])

    def prompts(
        self, world: World, given: int, length: int, key: Key[Array, ""]
    ) -> tuple[Int[np.ndarray, "sequence time"], Float[np.ndarray, "sequence"] | None]:
        """All prompts with their probabilities if they are few, else draws; room for the answers behind them."""
        measured = functional(world, given + 1, key, self.soft)
        prompts = np.pad(np.asarray(measured.tokens)[:, :given], ((0, 0), (0, length - given)))
        return prompts, np.asarray(measured.weight) if measured.exact else None


def _log_chance(world: World, tokens: Int[np.ndarray, "sequence time"], given: int) -> Float[np.ndarray, "sequence"]:
    """Log p(continuation | prompt)."""
    return hard(tokens, laws(world, tokens))[:, given:].sum(-1)


def exact_match(sequences: int, soft: int, answer: int, beam: int) -> ExactMatch:
    """The fraction of prompts whose next `answer` tokens are, all of them, those that greedy decoding gives.

    Args:
      sequences: hard-labelled documents of the trained length, at least 2.
      soft: independent prompts behind the exact target, where they cannot be enumerated; at least 2.
      answer: tokens to continue, at least 1; the rest of the trained length is the prompt.
      beam: continuations kept per prompt in the search for the ceiling, at least 1; too few widen its interval.
    """
    at_least("exact_match", sequences=(sequences, 2), soft=(soft, 2), answer=(answer, 1), beam=(beam, 1))
    return ExactMatch(sequences, soft, answer, beam)
