"""Biases looked up by gap: T5's buckets, and a free table that a world's lag kernel can be read from."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Look, Position, Size, one_of

NEVER = -100.0  # a logit that float32 and float64 both lose beside 0, and that stays finite where nothing else is read


@dataclasses.dataclass(frozen=True)
class T5(Anywhere):
    """b_h(g) = one learned number per head and bucket of gaps (Raffel et al. 2020, arXiv:1910.10683), outside.

    Gaps below B/2 have a bucket each; beyond, buckets widen as ln g up to `distance`, and the last holds all the rest.
    (T5 itself has no 1/sqrt(size); here all schemes share it.)

    Attributes:
      buckets: B, even, at least 2; 32 in the paper.
      distance: from here on all gaps are one; 128 in the paper, a quarter of its length. Above B/2.
      shared: one table for all layers, as in the paper.
    """

    buckets: int = 32
    distance: int = 128
    shared: bool = True

    def __post_init__(self):
        if self.buckets < 2 or self.buckets % 2:
            raise ValueError(f"t5: buckets must be even and at least 2, but are {self.buckets}")
        if self.distance <= self.buckets // 2:
            raise ValueError(
                f"t5: distance must be above half the buckets, {self.buckets // 2}, but is {self.distance}"
            )

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned table."""
        return Position(bias=Buckets(self, size.heads))


def bucket(gap: Float[Array, "..."], buckets: int, distance: int) -> Float[Array, "..."]:
    """T5's bucket of a gap: g if g < B/2, else B/2 + floor(ln(g / (B/2)) / ln(D / (B/2)) B/2), at most B - 1."""
    half = buckets // 2
    beyond = jnp.log(jnp.maximum(gap, half) / half) / math.log(distance / half) * half
    return jnp.where(gap < half, jnp.maximum(jnp.floor(gap), 0), jnp.minimum(half + jnp.floor(beyond), buckets - 1))


class Buckets(nnx.Module):
    """T5's table."""

    def __init__(self, spec: T5, heads: int):
        self.spec = spec
        self.table = nnx.Param(jnp.zeros((heads, spec.buckets), jnp.float32))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        index = bucket(look.gap[0], self.spec.buckets, self.spec.distance).astype(jnp.int32)
        return self.table[...][:, index]


@dataclasses.dataclass(frozen=True)
class FreeTable:
    """b_h(g) = one learned number per head and gap, outside; undefined at gaps that training never showed.

    Attributes:
      beyond: "undefined", or "last": longer gaps count as the longest trained one, a declared extension.
      shared: one table for all layers.
    """

    beyond: str = "undefined"
    shared: bool = True

    def __post_init__(self):
        one_of("free_table", "beyond", self.beyond, ("undefined", "last"))

    def limit(self, trained: int) -> int | None:
        """The trained length, unless an extension is declared."""
        return trained if self.beyond == "undefined" else None

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned table."""
        return Position(bias=Gaps(size))


class Gaps(nnx.Module):
    """A number per gap."""

    def __init__(self, size: Size):
        self.table = nnx.Param(jnp.zeros((size.heads, size.length), jnp.float32))

    def adjust(self, profiles: Float[np.ndarray, "profile time time"]) -> None:
        """The logarithm of the weights with which the last row reads each gap."""
        table = np.asarray(self.table[...], np.float64)
        count, gaps = min(len(table), len(profiles)), min(table.shape[1], profiles.shape[1] - 1)
        with np.errstate(divide="ignore"):
            found = np.log(profiles[:count, -1, :0:-1][:, :gaps])
        table[:count] = NEVER
        table[:count, :gaps] = np.maximum(found, NEVER)
        self.table[...] = jnp.asarray(table, jnp.float32)

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        table = self.table[...]
        return table[:, jnp.clip(look.gap[0].astype(jnp.int32), 0, table.shape[1] - 1)]
