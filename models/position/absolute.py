"""Positions as vectors that are added to the token embeddings."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Position, Size, positive, small
from models.products import lookup


@dataclasses.dataclass(frozen=True)
class Sinusoidal(Anywhere):
    """P[t, 2i] = sin(t / base^(2i/width)), P[t, 2i+1] = cos of the same (Vaswani et al. 2017, arXiv:1706.03762, 3.5).

    Attributes:
      base: the longest wavelength is 2 pi base tokens.
    """

    base: float = 10_000.0
    shared: ClassVar[bool] = True

    def __post_init__(self):
        positive("sinusoidal", base=self.base)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A fixed embedding."""
        if size.width % 2:
            raise ValueError(f"sinusoidal: sines and cosines need an even width, but got {size.width}")
        return Position(embedding=Waves(self.base, size.width))


@dataclasses.dataclass(frozen=True)
class Waves:
    """The sinusoids of a width."""

    base: float
    width: int

    def __call__(self, position: Float[Array, "time"]) -> Float[Array, "time width"]:
        """The embedding."""
        wavelength = self.base ** (jnp.arange(0, self.width, 2, dtype=position.dtype) / self.width)
        angle = position[:, None] / wavelength[None, :]
        return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(len(position), self.width)


@dataclasses.dataclass(frozen=True)
class Learned:
    """x_t += P[t], one learned row per position up to the trained length; undefined beyond."""

    shared: ClassVar[bool] = True

    def limit(self, trained: int) -> int | None:
        """The trained length."""
        return trained

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned embedding, at the scale of the tokens' own (unit variance)."""
        return Position(embedding=Table(size.length, size.width, rngs))


class Table(nnx.Module):
    """One learned vector per position; stored small and scaled by sqrt(width), as token embeddings are."""

    def __init__(self, rows: int, width: int, rngs: nnx.Rngs):
        self.rows = nnx.Param(small(rngs, rows, width))

    def __call__(self, position: Float[Array, "time"]) -> Float[Array, "time width"]:
        """The embedding."""
        table = self.rows[...]
        return lookup(position.astype(jnp.int32), table) * table.shape[1] ** 0.5
