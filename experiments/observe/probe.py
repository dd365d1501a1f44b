"""Probe: how much of the world's state can be read off a member's residual stream by a linear map.

The map is fitted by least squares on documents of its own, and judged on others by the share of the variance of the
state that it explains, R^2 = 1 - E |s_t - map(r_t)|^2 / E |s_t - mean|^2, with the mean of the fitted documents
(Shai et al. 2024, arXiv:2405.15943, for belief states). One is attainable by whoever carries the state linearly;
no R^2 is a loss, and a high one does not show use. `state_probe` says the same in nats.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
    readable,
    shared_out,
)
from models.base import pure
from worlds.base import World, functional, states
from worlds.belief import vector
from worlds.finite import as_hmm
from worlds.hmm import HMM
from worlds.quantity import Quantity, exact

TARGETS = ("belief", "law")
STATES = 256  # hidden states, above which no belief is read


@runtime_checkable
class Open(Protocol):
    """Members that can be looked into."""

    def residual(self, tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time width"]:
        """What the last layer reads before it speaks of token t; from the tokens before t, like the predictions."""
        ...


def hidden(world: World) -> HMM:
    """The world with its hidden states, where its memory is finite (`worlds.finite.as_hmm`)."""
    try:
        found = as_hmm(world)
    except ValueError as error:
        raise ValueError(
            f"probe: target 'belief' needs a world of hidden states, but got {type(world).__name__}; try 'law'. {error}"
        ) from error
    if found.initial.shape[-1] > STATES:
        raise ValueError(
            f"probe: target 'belief' needs a world of at most {STATES} hidden states, but {type(world).__name__} has "
            f"{found.initial.shape[-1]}; try 'law'"
        )
    return found


def goal(
    world: World, target: str, tokens: Int[np.ndarray, "sequence time"]
) -> Float[np.ndarray, "sequence time state"]:
    """What is to be read before each token: the belief about the hidden state, or the law of the next token."""
    if target == "law":
        return np.exp(laws(world, tokens))
    return np.asarray(_beliefs(hidden(world), jnp.asarray(tokens)), np.float64)


@jax.jit
def _beliefs(world: HMM, tokens: Int[Array, "sequence time"]) -> Float[Array, "sequence time state"]:
    return jax.vmap(lambda x: vector(states(world, x)))(tokens)


def looked_into(protocol: str, predict: Predict) -> Open:
    """The members, if they can be looked into."""
    if not isinstance(predict, Open):
        raise ValueError(
            f"{protocol}: predict must also offer residual(tokens), [member sequence time width], but does not"
        )
    return predict


def fits(protocol: str, target: str, world: World, spec: Any, length: int) -> None:
    """Refuses architectures without a residual stream, and worlds without the target."""
    readable(protocol, spec, length, length)
    if pure(spec).residual is None:
        raise ValueError(
            f"{protocol}: the architecture must have a residual stream to read, but {type(spec).__name__} has none"
        )
    if target == "belief":
        hidden(world)


def reads(predict: Open, tokens: Int[np.ndarray, "document time"]) -> Float[np.ndarray, "member document time width"]:
    """The residual stream."""
    found = [
        np.asarray(predict.residual(jnp.asarray(tokens[index])), np.float64)[:, : rows.stop - rows.start]
        for rows, index in chunks(len(tokens), BATCH)
    ]
    return np.concatenate(found, 1)


@dataclass(frozen=True)
class Probe:
    """A linear read of the residual stream. Build it with `probe`."""

    sequences: int
    soft: int
    fitted: int
    target: str
    unit: str = "share of variance"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        fits("probe", self.target, world, spec, length)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; `predict` must be Open."""
        del reached, floor  # of another unit
        members = looked_into("probe", predict)
        key_fit, key_hard, key_soft = jax.random.split(key, 3)
        fit = documents(world, key_fit, self.fitted, length)
        wanted = goal(world, self.target, fit)
        maps = [_least_squares(_affine(read), wanted) for read in reads(members, fit)]
        middle = wanted.mean((0, 1))
        sample = documents(world, key_hard, self.sequences, length)
        got = self.explained(members, world, maps, middle, sample, None)
        measured = functional(world, length, key_soft, self.soft)
        weight = np.asarray(measured.weight) if measured.exact else None
        due = self.explained(members, world, maps, middle, np.asarray(measured.tokens), weight)
        own = np.ones((1, self.sequences))  # the world's state is a linear read of itself
        shows = f"the residual stream over sequences of {length} tokens; target: the {self.target}"
        marks = np.concatenate([got, own])
        return observed("probe", self.unit, marks, due, weight, exact(1.0), shows, sample, "larger")

    def explained(
        self,
        members: Open,
        world: World,
        maps: list[Float[np.ndarray, "_ state"]],
        middle: Float[np.ndarray, "state"],
        tokens: Int[np.ndarray, "document time"],
        weight: Float[np.ndarray, "document"] | None,
    ) -> Float[np.ndarray, "member document"]:
        """Numbers per document whose mean is R^2."""
        wanted = goal(world, self.target, tokens)
        spread = ((wanted - middle) ** 2).sum((1, 2))
        read = reads(members, tokens)
        missed = [((wanted - _affine(r) @ m) ** 2).sum((1, 2)) for r, m in zip(read, maps, strict=True)]
        return 1 - shared_out(np.stack(missed), spread, weight)


def _affine(read: Float[np.ndarray, "document time width"]) -> Float[np.ndarray, "document time _"]:
    """With a constant."""
    return np.concatenate([read, np.ones((*read.shape[:-1], 1))], -1)


def _least_squares(read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(read.reshape(-1, read.shape[-1]), wanted.reshape(-1, wanted.shape[-1]), rcond=None)[0]


def targeted(protocol: str, target: str) -> None:
    """Refuses unknown targets."""
    if target not in TARGETS:
        raise ValueError(f"{protocol}: target must be {' or '.join(TARGETS)}, but is {target!r}")


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
    targeted("probe", target)
    return Probe(sequences, soft, fitted, target)
