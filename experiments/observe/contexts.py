"""Worlds of finite reach met in mid-stream: what came before the window is not shown, but its law is known."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from worlds.base import World, prefixes


@struct.dataclass
class Contexts:
    """A world that looks back `reach` tokens, met at an unknown moment: the state is a belief about the words before.

    Words have 0, 1, ... reach tokens (fewer than reach only near the world's start), and are numbered in base vocab.
    """

    chances: tuple[Float[Array, "_ vocab"], ...]  # p(token | word), by the number of tokens in the word
    initial: tuple[Float[Array, "_"], ...]  # the law of the word before the window

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.chances[0].shape[-1]

    def start(self) -> tuple[Float[Array, "_"], ...]:
        """The law of the word before the window."""
        return self.initial

    def log_next(self, state: tuple[Float[Array, "_"], ...]) -> Float[Array, "vocab"]:
        """Log sum_w b(w) p(v | w)."""
        return jnp.log(jnp.stack([b @ p for b, p in zip(state, self.chances, strict=True)]).sum(0))

    def advance(self, state: tuple[Float[Array, "_"], ...], token: Int[Array, ""]) -> tuple[Array, ...]:
        """Bayes: b(w) p(token | w), then normalised; nothing for ever after an impossible token."""
        came = jnp.arange(self.vocab_size, dtype=token.dtype) == token
        found = self.move(tuple(jnp.where(came[None], joint, 0) for joint in self.joint(state)))
        total = jnp.stack([b.sum() for b in found]).sum()
        return tuple(b / jnp.where(total > 0, total, 1) for b in found)

    def joint(self, state: tuple[Float[Array, "_"], ...]) -> tuple[Float[Array, "_ vocab"], ...]:
        """The law of (word, next token)."""
        return tuple(b[:, None] * p for b, p in zip(state, self.chances, strict=True))

    def move(self, joint: tuple[Float[Array, "_ vocab"], ...]) -> tuple[Array, ...]:
        """The law of the word one token later: words grow until they are full, then they lose their first token."""
        *short, full = joint
        grown = [jnp.zeros_like(joint[0][:, 0]), *(law.ravel() for law in short)]
        kept = full.reshape(self.vocab_size, -1, self.vocab_size).sum(0).ravel()
        return (*grown[:-1], grown[-1] + kept)


def contexts(world: World, reach: int, offsets: tuple[int, ...]) -> Contexts:
    """The window law of a world that reads the last `reach` tokens, and not the time once these exist."""
    vocab, chances = world.vocab_size, []
    for depth, (tokens, _, state) in enumerate(prefixes(world, reach)):
        table = np.zeros((vocab**depth, vocab))
        table[tokens @ vocab ** np.arange(depth)[::-1]] = np.exp(jax.vmap(world.log_next)(state))
        chances.append(jnp.asarray(table))
    nowhere = tuple(jnp.zeros(len(table)) for table in chances)
    law = Contexts(tuple(chances), (jnp.ones(1), *nowhere[1:]))
    step = jax.jit(lambda state: law.move(law.joint(state)))
    return dataclasses.replace(law, initial=mean_law(law.initial, step, offsets))


def mean_law(law: Any, step: Callable[[Any], Any], offsets: tuple[int, ...]) -> Any:
    """The mean over offsets k of a law moved k steps."""
    total = jax.tree.map(jnp.zeros_like, law)
    for offset in range(max(offsets) + 1):
        share = offsets.count(offset) / len(offsets)
        total = jax.tree.map(lambda t, x, share=share: t + share * x, total, law)
        law = step(law)
    return total
