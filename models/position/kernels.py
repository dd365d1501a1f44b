"""Biases that are functions of the gap in other shapes: KERPLE, generalised Gaussians, Sandwich, windows, FIRE.

Each says whether its source puts it inside or outside 1/sqrt(size); numbers that are learned start as in the source.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Look, Position, Size, one_of, positive
from models.position.decay import ALiBi


@dataclasses.dataclass(frozen=True)
class KERPLE(Anywhere):
    """Conditionally positive definite kernels, inside 1/sqrt(size) (Chi et al. 2022, arXiv:2205.09921, eq. 1).

    log: -r1 ln(1 + r2 g), r1 ~ U(0, 2), r2 ~ U(0, 1) at the start; power: -r1 g^r2, r1 ~ U(0, 1), r2 ~ U(0, 2) and kept
    below 2. Both numbers are learned per head and kept positive through their logarithm (the authors' code clips).

    Attributes:
      kind: "log" or "power".
      shared: one pair per head for all layers, as in the paper.
    """

    kind: str = "log"
    shared: bool = True

    def __post_init__(self):
        one_of("kerple", "kind", self.kind, ("log", "power"))

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned bias."""
        return Position(bias=(LogKernel if self.kind == "log" else PowerKernel)(size, rngs))


class LogKernel(nnx.Module):
    """b(g) = -r1 ln(1 + r2 g) / sqrt(size)."""

    def __init__(self, size: Size, rngs: nnx.Rngs):
        self.scale = size.head_width**-0.5
        self.log_r1 = nnx.Param(jnp.log(_uniform(rngs, size.heads, 2)))
        self.log_r2 = nnx.Param(jnp.log(_uniform(rngs, size.heads, 1)))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias; futures, which are masked, count as gap 0."""
        r1, r2 = (look.heads(jnp.exp(r[...])) for r in (self.log_r1, self.log_r2))
        return -self.scale * r1 * jnp.log1p(r2 * jnp.maximum(look.gap, 0))


class PowerKernel(nnx.Module):
    """b(g) = -r1 g^r2 / sqrt(size), r2 = 2 sigmoid(s)."""

    def __init__(self, size: Size, rngs: nnx.Rngs):
        self.scale = size.head_width**-0.5
        self.log_r1 = nnx.Param(jnp.log(_uniform(rngs, size.heads, 1)))
        self.raw_r2 = nnx.Param(jax.scipy.special.logit(_uniform(rngs, size.heads, 1)))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias; 0 at gap 0, where the logarithm in the power's gradient would not be finite."""
        r1, r2 = look.heads(jnp.exp(self.log_r1[...])), look.heads(2 * jax.nn.sigmoid(self.raw_r2[...]))
        gap = jnp.maximum(look.gap, 1)
        return jnp.where(look.gap >= 1, -self.scale * r1 * gap**r2, 0)


def _uniform(rngs: nnx.Rngs, heads: int, top: float) -> Float[Array, "head"]:
    return top * rngs.params.uniform((heads,), jnp.float32, 0.01, 0.99)


@dataclasses.dataclass(frozen=True)
class GGD(Anywhere):
    """A generalised Gaussian prior over gaps: b(g) = -m_h (|g - location| + eps)^shape, outside 1/sqrt(size) (BAM).

    One family holds ALiBi (shape 1, location 0), the Gaussian (2), a single lag (large m), NoPE (m = 0) and, for large
    shapes, the window. Learned: ln m, ln shape, and u with location = e^u - e^-u.

    Attributes:
      slopes: as ALiBi's, at the start.
      shape: at the start, above 0.
      location: preferred gap at the start, tokens.
      learned: otherwise the numbers stay as they are.
      shared: the same numbers in all layers.
    """

    slopes: str | float | Sequence[float] = "literal"
    shape: float = 1.0
    location: float = 0.0
    learned: bool = True
    shared: bool = True

    def __post_init__(self):
        positive("ggd", shape=self.shape)
        object.__setattr__(self, "slopes", ALiBi(self.slopes, self.learned).slopes)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """The bias."""
        slopes = ALiBi(self.slopes).numbers(size.heads, size.length)
        if self.learned:
            return Position(bias=LearnedGGD(slopes, self.shape, self.location))
        return Position(bias=FixedGGD(slopes, self.shape, self.location))


EPS = 1e-5  # keeps the gradient of |x|^shape finite at x = 0; for shape 1 it shifts a row by a constant


@dataclasses.dataclass(frozen=True)
class FixedGGD:
    """b(g) = -m (|g - location| + eps)^shape."""

    slopes: tuple[float, ...]
    shape: float
    location: float

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        return -look.heads(self.slopes) * (jnp.abs(look.gap - self.location) + EPS) ** self.shape


class LearnedGGD(nnx.Module):
    """The same with learned numbers."""

    def __init__(self, slopes: Sequence[float], shape: float, location: float):
        self.log_slope = nnx.Param(jnp.log(jnp.asarray(slopes, jnp.float32)))
        self.log_shape = nnx.Param(jnp.full(len(slopes), math.log(shape), jnp.float32))
        self.u = nnx.Param(jnp.full(len(slopes), math.asinh(location / 2), jnp.float32))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        slope, shape = look.heads(jnp.exp(self.log_slope[...])), look.heads(jnp.exp(self.log_shape[...]))
        return -slope * (jnp.abs(look.gap - look.heads(2 * jnp.sinh(self.u[...]))) + EPS) ** shape


@dataclasses.dataclass(frozen=True)
class Sandwich(Anywhere):
    """b_h(g) = (H / 8h) (sum_{k=1}^{waves/2} cos(g 10,000^(-2k/waves)) - waves/2), outside (Chi et al. 2023, ACL).

    What is left of sinusoidal embeddings when only their products with each other are kept: a decay like a logarithm.

    Attributes:
      waves: dimension of the sinusoids, even; 128 in the paper.
    """

    waves: int = 128
    shared: ClassVar[bool] = True

    def __post_init__(self):
        if self.waves < 2 or self.waves % 2:
            raise ValueError(f"sandwich: waves must be even and at least 2, but is {self.waves}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A fixed bias."""
        return Position(bias=Ripples(self.waves, size.heads))


@dataclasses.dataclass(frozen=True)
class Ripples:
    """Sandwich's sum of cosines."""

    waves: int
    heads: int

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        total = sum(jnp.cos(look.gap * 1e4 ** (-2 * k / self.waves)) for k in range(1, self.waves // 2 + 1))
        return look.heads([self.heads / (8 * h) for h in range(1, self.heads + 1)]) * (total - self.waves / 2)


@dataclasses.dataclass(frozen=True)
class Window(Anywhere):
    """Each row reads the last `width` inputs and no others: b(g) = 0 for g < width, -inf beyond; the null model.

    Attributes:
      width: inputs read, the present one included, at least 1; None for all, which is NoPE.
    """

    width: int | None = None
    shared: ClassVar[bool] = True

    def __post_init__(self):
        if self.width is not None and self.width < 1:
            raise ValueError(f"window: a row reads itself at least, so width must be at least 1, but is {self.width}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A mask."""
        return Position() if self.width is None else Position(bias=Windows((self.width,) * size.heads))


@dataclasses.dataclass(frozen=True)
class HardALiBi(Anywhere):
    """Windows of 1, 2, ... inputs, a head each, and some heads that read everything (Jelassi et al. 2024).

    Attributes:
      free: heads without a window (NoPE).
      widths: windows of the others, if not 1, 2, ...
    """

    free: int = 1
    widths: Sequence[int] | None = None
    shared: ClassVar[bool] = True

    def __post_init__(self):
        if self.free < 0 or any(w < 1 for w in self.widths or ()):
            raise ValueError(f"hard_alibi: free must be >= 0 and windows >= 1, but are {self.free} and {self.widths}")
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))  # a list from a config is not hashable

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A mask per head."""
        widths = range(1, size.heads - self.free + 1) if self.widths is None else self.widths
        if len(widths) + self.free != size.heads:
            raise ValueError(
                f"hard_alibi: windows and free heads must be as many as heads, {size.heads}, "
                f"but there are {len(widths)} windows and {self.free} free heads"
            )
        return Position(bias=Windows((*widths, *(math.inf,) * self.free)))


@dataclasses.dataclass(frozen=True)
class Windows:
    """0 within each head's window, -inf beyond."""

    widths: tuple[float, ...]

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The mask."""
        return jnp.where(look.gap < look.heads(self.widths), jnp.zeros((), look.position.dtype), -jnp.inf)


@dataclasses.dataclass(frozen=True)
class FIRE(Anywhere):
    """b(i, j) = MLP(psi(i - j) / psi(max(i, threshold))), psi(x) = ln(|c| x + 1), outside (Li et al. 2024, FIRE).

    A decay in units of how much past there is; c and a factor of the threshold are learned.

    Attributes:
      threshold: positions below it are measured against it, tokens; 512 in the paper's code.
      hidden: width of the MLP, 32 there.
      shared: FIRE-S, one MLP for all layers.
    """

    threshold: float = 512.0
    hidden: int = 32
    shared: bool = False

    def __post_init__(self):
        positive("fire", threshold=self.threshold, hidden=float(self.hidden))

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned bias."""
        return Position(bias=Relative(self, size, rngs))


class Relative(nnx.Module):
    """FIRE's function of the gap as a share of the past."""

    def __init__(self, spec: FIRE, size: Size, rngs: nnx.Rngs):
        linear: Any = lambda read, write: nnx.Linear(read, write, dtype=jnp.float32, rngs=rngs)  # noqa: E731
        self.threshold = spec.threshold
        self.c = nnx.Param(jnp.full((), 0.1, jnp.float32))
        self.factor = nnx.Param(jnp.ones((), jnp.float32))
        self.inward, self.outward = linear(1, spec.hidden), linear(spec.hidden, size.heads)

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        psi = lambda x: jnp.log1p(jnp.abs(self.c[...]) * x)  # noqa: E731
        longest = jnp.maximum(look.query_position, jnp.abs(self.factor[...]) * self.threshold)
        share = psi(jnp.maximum(look.gap[0], 0)) / psi(longest)[:, None]
        return jnp.moveaxis(self.outward(jax.nn.relu(self.inward(share[..., None]))), -1, 0)
