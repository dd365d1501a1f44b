"""A fixed power law over gaps: the family in which it is plain whether attention's mass converges."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Look, Position, Size


@dataclasses.dataclass(frozen=True)
class PowerLaw(Anywhere):
    """b(g) = -exponent ln(1 + g), the same in all heads, not learned, outside 1/sqrt(size).

    With equal contents a row reads gap g with a weight proportional to (1 + g)^-exponent, whose sum over all gaps is
    finite for exponent > 1 only: then, says Qin et al. 2024 (arXiv:2307.10156, AAAI), a transformer extrapolates.

    Attributes:
      exponent: at least 0; 0 is NoPE.
    """

    exponent: float
    shared: ClassVar[bool] = True

    def __post_init__(self):
        if not 0 <= self.exponent < math.inf:
            raise ValueError(f"power_law: exponent must be finite and at least 0, but is {self.exponent}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A fixed bias."""
        return Position(bias=Logarithm(self.exponent, size.heads))


@dataclasses.dataclass(frozen=True)
class Logarithm:
    """PowerLaw's bias."""

    exponent: float
    heads: int

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias; futures, which are masked, count as gap 0."""
        return -look.heads([self.exponent] * self.heads) * jnp.log1p(jnp.maximum(look.gap, 0))
