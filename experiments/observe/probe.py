"""Probe: how much of the world's state can be read off a member's residual stream by a linear map.

The map is fitted by least squares on documents of its own, and judged on others by the share of the variance of the
state that it explains, R^2 = 1 - E |s_t - map(r_t)|^2 / E |s_t - mean|^2, with the mean of the fitted documents
(Shai et al. 2024, arXiv:2405.15943, for belief states). One is attainable by whoever carries the state linearly;
no R^2 is a loss, and a high one does not show use.
"""

import functools
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    BATCH,
    Observation,
    Predict,
    at_least,
    chunks,
    documents,
    laws,
    observed,
    shared_out,
)
from worlds.base import World, functional, states
from worlds.belief import vector
from worlds.hmm import HMM
from worlds.quantity import Quantity, exact


@runtime_checkable
class Open(Protocol):
    """Members that can be looked into."""

    def residual(self, tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time width"]:
        """What the last layer reads before it speaks of token t; from the tokens before t, like the predictions."""
        ...


@functools.singledispatch
def belief(world: World, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "sequence time state"]:
    """The world's belief about its hidden state before each token. A new family registers its own."""
    raise ValueError(
        f"probe: target 'belief' needs a world of hidden states, but got {type(world).__name__}; try 'law'"
    )


@belief.register
def _(world: HMM, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "sequence time state"]:
    return np.asarray(_beliefs(world, jnp.asarray(tokens)), np.float64)


@jax.jit
def _beliefs(world: HMM, tokens: Int[Array, "sequence time"]) -> Float[Array, "sequence time state"]:
    return jax.vmap(lambda x: vector(states(world, x)))(tokens)


@dataclass(frozen=True)
class Probe:
    """A linear read of the residual stream. Build it with `probe`."""

    sequences: int
    soft: int
    fitted: int
    target: str

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; `predict` must be Open."""
        del reached, floor  # of another unit
        if not isinstance(predict, Open):
            raise ValueError(
                "probe: predict must also offer residual(tokens), [member sequence time width], but does not"
            )
        key_fit, key_hard, key_soft = jax.random.split(key, 3)
        fit = documents(world, key_fit, self.fitted, length)
        goal = self.goal(world, fit)
        middle = goal.mean((0, 1))
        maps = [_least_squares(read, goal) for read in _reads(predict, fit)]
        got = self.explained(predict, world, maps, middle, documents(world, key_hard, self.sequences, length), None)
        measured = functional(world, length, key_soft, self.soft)
        weight = np.asarray(measured.weight) if measured.exact else None
        due = self.explained(predict, world, maps, middle, np.asarray(measured.tokens), weight)
        own = np.ones((1, self.sequences))  # the world's state is a linear read of itself
        shows = f"the residual stream over sequences of {length} tokens; target: the {self.target}"
        return observed("probe", "share of variance", np.concatenate([got, own]), due, weight, exact(1.0), shows)

    def goal(self, world: World, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "sequence time state"]:
        """What is to be read: the belief, or the law of the next token."""
        return belief(world, tokens) if self.target == "belief" else np.exp(laws(world, tokens))

    def explained(
        self,
        predict: Open,
        world: World,
        maps: list[Float[np.ndarray, "_ state"]],
        middle: Float[np.ndarray, "state"],
        tokens: Int[np.ndarray, "document time"],
        weight: Float[np.ndarray, "document"] | None,
    ) -> Float[np.ndarray, "member document"]:
        """Numbers per document whose mean is R^2."""
        goal = self.goal(world, tokens)
        spread = ((goal - middle) ** 2).sum((1, 2))
        missed = [((goal - read @ m) ** 2).sum((1, 2)) for read, m in zip(_reads(predict, tokens), maps, strict=True)]
        return 1 - shared_out(np.stack(missed), spread, weight)


def _reads(predict: Open, tokens: Int[np.ndarray, "document time"]) -> Float[np.ndarray, "member document time width"]:
    """The residual stream, with a constant."""
    found = [
        np.asarray(predict.residual(jnp.asarray(tokens[index])), np.float64)[:, : rows.stop - rows.start]
        for rows, index in chunks(len(tokens), BATCH)
    ]
    stream = np.concatenate(found, 1)
    return np.concatenate([stream, np.ones((*stream.shape[:-1], 1))], -1)


def _least_squares(read: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(read.reshape(-1, read.shape[-1]), goal.reshape(-1, goal.shape[-1]), rcond=None)[0]


def probe(sequences: int, soft: int, fitted: int, target: str) -> Probe:
    """The share of the variance of the world's state that a linear map of the residual stream explains.

    The exact target is that of the map that was fitted, over the world's law.

    Args:
      sequences: documents of the trained length that judge the map, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      fitted: documents that the map is fitted on, at least 1.
      target: "belief", about the hidden state, or "law", of the next token.
    """
    at_least("probe", sequences=(sequences, 2), soft=(soft, 2), fitted=(fitted, 1))
    if target not in ("belief", "law"):
        raise ValueError(f"probe: target must be belief or law, but is {target!r}")
    return Probe(sequences, soft, fitted, target)
