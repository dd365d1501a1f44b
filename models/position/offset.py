"""Schemes that tell one distance from another without preferring the near: rotations."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Position, Size, positive


@dataclasses.dataclass(frozen=True)
class RoPE(Anywhere):
    """Queries and keys turn with position, so that q.k depends on the gap (Su et al. 2021, arXiv:2104.09864).

    Pair m of a head's features, m = 0 .. size/2 - 1, turns by t base^(-2m/size). Pairs are features (m, m + size/2), a
    renaming of the paper's (2m, 2m + 1).

    Attributes:
      base: 10,000 in the paper.
      fraction: only the fastest so much of the pairs turn, in [0, 1]; 0 is NoPE (p-RoPE, Barbero et al. 2025,
        arXiv:2410.06205).
    """

    base: float = 10_000.0
    fraction: float = 1.0
    shared: ClassVar[bool] = True

    def __post_init__(self):
        positive("rope", base=self.base)
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"rope: the fraction of turning pairs must lie in [0, 1], but is {self.fraction}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A rotation of queries and keys."""
        return Position(rotation=Rotation(frequencies(size.head_width, self.base, self.fraction)))


@dataclasses.dataclass(frozen=True)
class XPos(Anywhere):
    """RoPE with a decay per pair: <q, k> gains zeta_m^((i-j)/scale), zeta_m = (2m/size + 0.4)/1.4 (Sun et al. 2022).

    Queries are multiplied by zeta^(i/scale) and keys by zeta^(-j/scale) (arXiv:2212.10554); the fastest pairs decay
    most.

    Attributes:
      base: RoPE's.
      scale: tokens; 512 in the paper.
    """

    base: float = 10_000.0
    scale: float = 512.0
    shared: ClassVar[bool] = True

    def __post_init__(self):
        positive("xpos", base=self.base, scale=self.scale)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A rotation with a decay."""
        return Position(rotation=DecayingRotation(frequencies(size.head_width, self.base), self.scale))


@dataclasses.dataclass(frozen=True)
class DecayingRotation:
    """Turns queries and keys, and scales them against each other."""

    frequencies: tuple[float, ...]
    scale: float

    def __call__(
        self, q: Float[Array, "time head size"], k: Float[Array, "time head size"], position: Float[Array, "time"]
    ) -> tuple[Float[Array, "time head size"], Float[Array, "time head size"]]:
        """The turned and scaled queries and keys."""
        pairs = len(self.frequencies)
        zeta = (jnp.arange(pairs, dtype=position.dtype) / pairs + 0.4) / 1.4
        growth = jnp.tile(zeta[None, :] ** (position / self.scale)[:, None], (1, 2))[:, None]
        q, k = Rotation(self.frequencies)(q, k, position)
        return (q * growth).astype(q.dtype), (k / growth).astype(k.dtype)


def frequencies(size: int, base: float, fraction: float = 1.0) -> tuple[float, ...]:
    """RoPE's angles per token of the size/2 pairs, fastest first; 0 for the pairs that do not turn."""
    if size % 2:
        raise ValueError(f"rope: features turn in pairs, so width / heads must be even, but is {size}")
    turning = int(fraction * size / 2)
    return tuple(base ** (-2 * m / size) if m < turning else 0.0 for m in range(size // 2))


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Turns both queries and keys by the same angles per token."""

    frequencies: tuple[float, ...]

    def __call__(
        self, q: Float[Array, "time head size"], k: Float[Array, "time head size"], position: Float[Array, "time"]
    ) -> tuple[Float[Array, "time head size"], Float[Array, "time head size"]]:
        """The turned queries and keys."""
        angle = position[:, None] * jnp.asarray(self.frequencies, position.dtype)[None, :]
        return turned(q, angle), turned(k, angle)


def turned(x: Float[Array, "time head size"], angle: Float[Array, "time pair"]) -> Float[Array, "time head size"]:
    """Pairs (m, m + size/2) of the features turned by an angle each, in the float type of the angles."""
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = jnp.split(x.astype(angle.dtype), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)
