"""Biases that fall with distance and know nothing else: NoPE (not at all), ALiBi (linearly).

Added outside 1/sqrt(size) unless said otherwise. b(g) is a prior over gaps: softmax weights are exp(q.k + b).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Look, Position, Size, one_of


@dataclasses.dataclass(frozen=True)
class NoPE(Anywhere):
    """No position information but the causal mask: b = 0 (Kazemnejad et al. 2023, arXiv:2305.19466)."""

    shared: ClassVar[bool] = True

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """Nothing to add."""
        return Position()


@dataclasses.dataclass(frozen=True)
class ALiBi(Anywhere):
    """Attention with linear biases: b_h(g) = -m_h g, outside 1/sqrt(size) (Press et al. 2022, arXiv:2108.12409).

    Attributes:
      slopes: "literal", the paper's m_h = 2^(-8h/n); "matched", the same sequence stretched so that
        m_min x trained length = 2, as at the paper's 512 tokens; one number for all heads; or one per head. At least 0.
      learned: the slopes are softplus(s_h), learned from there, so they must be above 0 at the start.
      shared: learned slopes are the same in all layers.
    """

    slopes: str | float | Sequence[float] = "literal"
    learned: bool = False
    shared: bool = True

    def __post_init__(self):
        if isinstance(self.slopes, str):
            return one_of("alibi", "slopes", self.slopes, ("literal", "matched"))
        single = isinstance(self.slopes, int | float)
        given = tuple(float(m) for m in ((self.slopes,) if single else self.slopes))  # type: ignore[union-attr]
        if not all(0 <= m < math.inf for m in given) or (self.learned and not all(given)):
            rule = "above 0 to be learned through softplus" if self.learned else "at least 0, so that attention decays"
            raise ValueError(f"alibi: slopes must be finite and {rule}, but are {given}")
        object.__setattr__(self, "slopes", given[0] if single else given)  # a list from a config is not hashable

    def numbers(self, heads: int, length: int) -> tuple[float, ...]:
        """The slopes of so many heads in a network trained at `length` tokens."""
        if self.slopes == "literal":
            return slopes(heads)
        if self.slopes == "matched":
            return slopes(heads, smallest=2 / length)
        given = (self.slopes,) * heads if isinstance(self.slopes, int | float) else tuple(self.slopes)
        if len(given) != heads:
            raise ValueError(f"alibi: one slope per head is needed, so {heads}, but {len(given)} are given")
        return given  # type: ignore[return-value]

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """Linear biases, fixed or learned."""
        numbers = self.numbers(size.heads, size.length)
        return Position(bias=LearnedLinear(numbers) if self.learned else Linear(numbers))


def slopes(heads: int, smallest: float = 2.0**-8) -> tuple[float, ...]:
    """ALiBi's slopes m_h = smallest^(h/n), h = 1..n, for n a power of two; the paper's smallest is 2^-8.

    Other n: those of the largest power of two c below n, then every other one of 2c's (the authors' code).

    >>> slopes(4)
    (0.25, 0.0625, 0.015625, 0.00390625)
    """
    if heads < 1:
        raise ValueError(f"slopes: at least 1 head is needed, but got {heads}")
    power = 2 ** int(math.log2(heads))
    first = tuple(smallest ** (h / power) for h in range(1, power + 1))
    return first if power == heads else first + slopes(2 * power, smallest)[::2][: heads - power]


@dataclasses.dataclass(frozen=True)
class Linear:
    """b_h(g) = -m_h g with fixed slopes."""

    slopes: tuple[float, ...]

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        return -look.heads(self.slopes) * look.gap


class LearnedLinear(nnx.Module):
    """b_h(g) = -softplus(s_h) g, from given slopes."""

    def __init__(self, start: Sequence[float]):
        self.raw = nnx.Param(inverse_softplus(start))

    def adjust(self, profiles: Float[np.ndarray, "profile time time"]) -> None:
        """Slope m_h = the log ratio of the two latest reads of row 2, where it decays."""
        if profiles.shape[1] < 3:
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(profiles[:, 2, 2]) - np.log(profiles[:, 2, 1])
        values = np.asarray(jax.nn.softplus(self.raw[...]), np.float64)
        count = min(len(values), len(found))
        values[:count] = np.where(np.isfinite(found) & (found >= 0), found, values[:count])[:count]
        self.raw[...] = inverse_softplus(values)

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        return -look.heads(jax.nn.softplus(self.raw[...])) * look.gap


def inverse_softplus(values: Any) -> Float[Array, "head"]:
    """The s with softplus(s) = values, float32; -inf for 0."""
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(np.expm1(np.asarray(values, np.float64))), jnp.float32)
