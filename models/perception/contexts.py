"""Contexts: the pasts that a functional averages over, each once, with its weight and the world's own law there.

Perception is a convex programme over these. Plain numpy in float64: the programme is solved once, outside JAX.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from worlds import steady
from worlds.base import Functional, World, log_conditionals


class Contexts(NamedTuple):
    """Pasts sorted by length, then by phase; equal pasts of one phase are one context."""

    tokens: Int[np.ndarray, "sequence time"]
    row: Int[np.ndarray, "context"]  # the context is tokens[row, :time]
    time: Int[np.ndarray, "context"]
    weight: Float[np.ndarray, "context"]  # of the functional; sums to one
    target: Float[np.ndarray, "context vocab"]  # p(. | context)
    phase: Int[np.ndarray, "context"] | None = None  # of a clock that only what reads by position can see

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
        return [(int(self.time[here.start]), here) for here in _runs(self.time)]

    @property
    def moments(self) -> list[slice]:
        """Where the contexts of each time and phase are: all that knows the clock can tell them apart."""
        return _runs(self.time if self.phase is None else self.time * (1 + self.phase.max()) + self.phase)


def _runs(numbers: Int[np.ndarray, "context"]) -> list[slice]:
    """Where each of the ascending numbers stands."""
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(numbers)], strict=True)]


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


def lasting(phases: Sequence[World], horizon: int) -> Contexts:
    """The contexts of `horizon` tokens long after the start, every one with its probability, exact to about 1e-14.

    The stationary law of (phase, tokens that the worlds reach back to) is solved for; longer contexts follow from it by
    the chain rule. A time-blind concept sees all of them alike; one that reads by position knows the phase.

    Args:
      phases: the worlds that take turns, one for each phase, of finite reach (`Decay.reach`); one world for no clock.
      horizon: tokens of a context, at least as many as the worlds reach back to.
    """
    reaches = [getattr(world, "reach", None) for world in phases]
    reach = max((r for r in reaches if r is not None), default=0)
    if None in reaches or not 1 <= reach <= horizon:
        raise ValueError(f"lasting: worlds must reach back 1 to {horizon} tokens, but these reach {reaches}")
    vocab, turns = phases[0].vocab_size, len(phases)
    words = np.pad(steady.contexts(vocab, reach), ((0, 0), (0, 1)))
    laws = np.stack([np.exp(scored(world, words)[:, -1]) for world in phases])
    if (laws.sum(2) == 0).any():
        raise ValueError(
            "lasting: a context that the worlds' start rules out may still come up later, so its law must be known; "
            "noise above 0 mends that"
        )
    law = _stationary(laws)
    for _ in range(horizon - reach):  # the first token stays, and the next one comes in its turn
        following = np.tile(laws, (1, law.shape[1] // laws.shape[1], 1))
        law = np.roll((law[:, :, None] * following).reshape(turns, -1), 1, axis=0)
    tokens = np.pad(steady.contexts(vocab, horizon), ((0, 0), (0, 1)))
    row, phase = np.tile(np.arange(len(tokens)), turns), np.repeat(np.arange(turns), len(tokens))
    target = np.concatenate([np.tile(own, (len(tokens) // len(own), 1)) for own in laws])
    kept = np.flatnonzero(law.ravel() > 0)
    row, phase, weight, target = row[kept], phase[kept], law.ravel()[kept], target[kept]
    return Contexts(tokens, row, np.full(len(row), horizon), weight, target, phase if turns > 1 else None)


def _stationary(laws: Float[np.ndarray, "phase context vocab"]) -> Float[np.ndarray, "phase context"]:
    """The law of (phase, context) that one step leaves as it is."""
    turns, count, vocab = laws.shape
    phase, word, token = np.meshgrid(*map(np.arange, laws.shape), indexing="ij")
    origin, end = phase * count + word, (phase + 1) % turns * count + (word * vocab + token) % count
    chain = scipy.sparse.csr_array((laws.ravel(), (origin.ravel(), end.ravel())), shape=(turns * count,) * 2)
    law = steady.stationary(chain)
    if law is None:
        raise ValueError("lasting: contexts must have one stationary law, but this chain never forgets its start")
    return law.reshape(turns, count)


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


def thinned(contexts: Contexts, count: int) -> Contexts:
    """At most `count` of the contexts, drawn at even steps of their weight (systematic sampling), evenly weighted."""
    at = np.searchsorted(np.cumsum(contexts.weight), (np.arange(count) + 0.5) * contexts.weight.sum() / count)
    kept, times = np.unique(np.minimum(at, len(contexts.row) - 1), return_counts=True)
    phase = None if contexts.phase is None else contexts.phase[kept]
    return Contexts(
        contexts.tokens, contexts.row[kept], contexts.time[kept], times / count, contexts.target[kept], phase
    )


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
