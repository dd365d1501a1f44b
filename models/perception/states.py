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
CHUNK = 512  # pairs that are advanced at once
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
    tokens = jnp.asarray(vocab)
    code, weight = np.zeros(1, np.int64), np.ones(1)
    state = jax.tree.map(lambda x: np.asarray(x)[None], world.start())
    for t in range(length):
        law = np.exp(np.asarray(_by_chunk(following, state), np.float64))
        yield Pairs(code, weight, law)
        if t == length - 1:
            return
        moved = jax.tree.map(
            lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), _by_chunk(lambda s: step(s, tokens), state)
        )
        codes = advance(np.repeat(code, len(vocab)), np.tile(vocab, len(code)))
        code, weight, state = _joined(codes, (weight[:, None] * law).ravel(), moved)


def _by_chunk(function: Callable[[Any], Any], state: Any) -> Any:
    """A mapped function on so many states at a time, the last filled up with copies: one shape, one compilation."""
    many = len(jax.tree.leaves(state)[0])
    row = np.minimum(np.arange(-(-many // CHUNK) * CHUNK), many - 1).reshape(-1, CHUNK)
    done = [function(jax.tree.map(lambda x, i=i: x[i], state)) for i in row]
    return jax.tree.map(lambda *x: np.concatenate([np.asarray(y) for y in x])[:many], *done)


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
