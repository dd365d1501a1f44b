"""All that a world can have in mind: (feature of the past, state of the world) pairs, followed step by step.

Pasts that leave the same feature and the same state are one pair, so that automata, windows and urns stay small at any
length, and any world is followed for as long as its prefixes are few.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from worlds.base import World, sized

LIMIT = 20_000  # pairs at one position
DIGITS = 13  # states that agree to so many decimals are one


class TooMany(Exception):
    """The pairs cannot be followed."""


class Pairs(NamedTuple):
    """The pairs before one position."""

    code: Int[np.ndarray, "pair"]
    weight: Float[np.ndarray, "pair"]  # probabilities, which sum to one
    law: Float[np.ndarray, "pair vocab"]  # p(. | pair)


def reached(world: World, length: int, advance: Callable[[Any, Any], Any]) -> Iterator[Pairs]:
    """Yields the pairs before positions 0 ... length - 1.

    Args:
      world: the law.
      length: how many positions.
      advance: (codes, tokens) -> codes, of the feature; 0 before the first token.

    Raises:
      TooMany: when a position has more than LIMIT.
    """
    world = sized(world, length)
    step = jax.jit(jax.vmap(jax.vmap(world.advance, (None, 0)), (0, None)))
    following = jax.jit(jax.vmap(world.log_next))
    vocab = np.arange(world.vocab_size)
    code, weight = np.zeros(1, np.int64), np.ones(1)
    state = jax.tree.map(lambda x: np.asarray(x)[None], world.start())
    for t in range(length):
        padded = jax.tree.map(_padded, state)
        law = np.exp(np.asarray(following(padded), np.float64))[: len(code)]
        yield Pairs(code, weight, law)
        if t == length - 1:
            return
        moved = jax.tree.map(_flat, step(padded, jnp.asarray(vocab)))
        moved = jax.tree.map(lambda x, n=law.size: x[:n], moved)
        codes = advance(np.repeat(code, len(vocab)), np.tile(vocab, len(code)))
        code, weight, state = _joined(codes, (weight[:, None] * law).ravel(), moved)


def _padded(x: np.ndarray) -> np.ndarray:
    """To the next power of two with copies of the first row: few shapes, so few compilations."""
    return np.concatenate([x, np.repeat(x[:1], (1 << (len(x) - 1).bit_length()) - len(x), 0)])


def _flat(x: Any) -> np.ndarray:
    """[pair, token, ...] to [pair token, ...]."""
    x = np.asarray(x)
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _joined(code: np.ndarray, weight: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Drops the impossible and joins what is equal."""
    kept = np.flatnonzero(weight > 0)
    code, weight, state = code[kept], weight[kept], jax.tree.map(lambda x: x[kept], state)
    flat = [np.asarray(x, np.float64).reshape(len(kept), -1) for x in jax.tree.leaves(state)]
    rows = np.column_stack([code.astype(np.float64), *(np.round(x, DIGITS) + 0.0 for x in flat)])
    _, first, same = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if len(first) > LIMIT:
        raise TooMany
    return code[first], np.bincount(same.ravel(), weight), jax.tree.map(lambda x: x[first], state)
