"""Contexts: the pasts that a functional averages over, each once, with its weight and the world's own law there.

Perception is a convex programme over these. Plain numpy in float64: the programme is solved once, outside JAX.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from worlds.base import Functional, World, log_conditionals


class Contexts(NamedTuple):
    """Pasts sorted by length; equal pasts are one context."""

    tokens: Int[np.ndarray, "sequence time"]
    row: Int[np.ndarray, "context"]  # the context is tokens[row, :time]
    time: Int[np.ndarray, "context"]
    weight: Float[np.ndarray, "context"]  # of the functional; sums to one
    target: Float[np.ndarray, "context vocab"]  # p(. | context)

    @property
    def vocab(self) -> int:
        """The number of tokens."""
        return self.target.shape[1]

    @property
    def length(self) -> int:
        """Tokens per sequence."""
        return self.tokens.shape[1]

    @property
    def times(self) -> list[tuple[int, slice]]:
        """(t, where the contexts of t tokens are), for every t that has any."""
        starts = np.flatnonzero(np.diff(self.time, prepend=-1))
        return [(int(self.time[a]), slice(int(a), int(b))) for a, b in zip(starts, [*starts[1:], len(self.time)])]  # noqa: B905


def scored(world: World, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "sequence time vocab"]:
    """The world's log p(. | every prefix), float64."""
    return np.asarray(_scored(world, jax.numpy.asarray(tokens)), np.float64)


@jax.jit
def _scored(world, tokens):
    return jax.lax.map(lambda x: log_conditionals(world, x), tokens, batch_size=256)


def enumerated(world: World, measured: Functional) -> Contexts:
    """The contexts of a functional, every position with its weight."""
    tokens = np.asarray(measured.tokens)
    mass = np.outer(np.asarray(measured.weight, np.float64), np.asarray(measured.position, np.float64))
    return gathered(tokens, scored(world, tokens), mass)


def gathered(
    tokens: Int[np.ndarray, "sequence time"],
    logs: Float[np.ndarray, "sequence time vocab"],
    mass: Float[np.ndarray, "sequence time"],
) -> Contexts:
    """Joins equal pasts, whose weights add up; pasts of no weight are left out."""
    parts = []
    same = np.zeros(len(tokens), np.int64)  # which sequences share the past so far
    for t in range(tokens.shape[1]):
        _, first, same = np.unique(same, return_index=True, return_inverse=True)
        weight = np.bincount(same, mass[:, t])
        kept = np.flatnonzero(weight > 0)
        parts.append((first[kept], np.full(len(kept), t), weight[kept], np.exp(logs[first[kept], t])))
        same = same * logs.shape[2] + tokens[:, t]
    row, time, weight, target = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Contexts(tokens, row, time, weight / weight.sum(), target)


def excess(contexts: Contexts, guess: Float[np.ndarray, "context vocab"]) -> float:
    """L(q) - D = sum_c weight_c sum_y p log (p / q), with 0 log 0 = 0; inf where q misses what can happen."""
    return float(contexts.weight @ divergences(contexts.target, guess))


def divergences(
    target: Float[np.ndarray, "*batch vocab"], guess: Float[np.ndarray, "*batch vocab"]
) -> Float[np.ndarray, "*batch"]:
    """KL(p || q) per context, nats."""
    with np.errstate(divide="ignore"):
        ratio = np.where(target > 0, target, 1) / np.where(target > 0, guess, 1)
        return (target * np.log(ratio)).sum(-1)
