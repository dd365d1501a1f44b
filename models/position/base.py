"""Position schemes: what tells an attention network where a token stands.

A scheme is a frozen, hashable spec. Called with a `Size` and random numbers it builds a `Position`: up to four parts,
each None where the scheme does without. Position arithmetic is float32 (float64 in a float64 network), whatever the
network's products are computed in. Inputs are numbered from 0, the start symbol; a query at position i reads keys at
j <= i, at gap g = i - j >= 0, so that the previous token stands at gap 0 of the row that predicts the next one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int


class Size(NamedTuple):
    """The network that a scheme must fit."""

    layers: int
    heads: int
    width: int
    length: int  # tokens per sequence in training

    @property
    def head_width(self) -> int:
        """Features per head."""
        return self.width // self.heads


class Look(NamedTuple):
    """What an attention layer lets its bias look at. The queries are the last of the keys."""

    x: Float[Array, "key width"]  # the layer's input
    q: Float[Array, "query head size"]  # already scaled by 1/sqrt(size)
    k: Float[Array, "key head size"]
    position: Float[Array, "key"]

    @property
    def query_position(self) -> Float[Array, "query"]:
        """Positions of the queries."""
        return self.position[-len(self.q) :]

    @property
    def gap(self) -> Float[Array, "1 query key"]:
        """Gaps i - j, ready to meet one number per head; negative in the future, which is masked."""
        return (self.query_position[:, None] - self.position[None, :])[None]

    def heads(self, numbers: Any) -> Float[Array, "head 1 1"]:
        """One number per head, ready to meet [query, key], in the float type of the positions."""
        return jnp.asarray(numbers, self.position.dtype).reshape(-1, 1, 1)


class Position(nnx.Module):
    """What a scheme adds to a network; None where it adds nothing.

    clock: inputs [time] (the start symbol first) -> positions [time]; counting if None.
    embedding: positions [time] -> [time, width], added once, to the token embeddings.
    rotation: (q, k, positions) -> (q, k), both [time, head, size].
    bias: Look -> [head, query, key], added to q.k/sqrt(size).
    """

    def __init__(self, *, clock: Any = None, embedding: Any = None, rotation: Any = None, bias: Any = None):
        self.clock: Callable | None = clock
        self.embedding: Callable | None = embedding
        self.rotation: Callable | None = rotation
        self.bias: Callable | None = bias

    def positions(self, inputs: Int[Array, "time"], dtype: Any = jnp.float32) -> Float[Array, "time"]:
        """The position of each input."""
        where = jnp.arange(len(inputs)) if self.clock is None else self.clock(inputs)
        return where.astype(dtype)


@runtime_checkable
class Scheme(Protocol):
    """A frozen hashable description of how positions enter a network."""

    @property
    def shared(self) -> bool:
        """One Position for all layers, or one for each."""
        ...

    def limit(self, trained: int) -> int | None:
        """The longest sequence at which the scheme means anything after training at `trained`; None = any."""
        ...

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """Builds it."""
        ...


class Anywhere:
    """What schemes share that are defined at any length (how well they do there is another matter)."""

    def limit(self, trained: int) -> int | None:
        """None: everywhere."""
        return None


def small(rngs: nnx.Rngs, rows: int, width: int, dtype: Any = jnp.float32) -> Float[Array, "row feature"]:
    """A table of vectors of unit length on average; uniform draws, which compile faster than normal ones."""
    side = (3 / width) ** 0.5
    return rngs.params.uniform((rows, width), dtype, -side, side)


def positive(name: str, **numbers: float) -> None:
    """Refuses numbers that are not above zero."""
    for field, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}: {field} must be above 0, but is {number}")


def one_of(name: str, field: str, choice: Any, choices: Any) -> None:
    """Refuses a choice that is not on the list."""
    if choice not in choices:
        raise ValueError(f"{name}: {field} must be one of {', '.join(map(str, choices))}, but is {choice!r}")
