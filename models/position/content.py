"""Biases that depend on what is read: forgetting gates and contextual positions."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Anywhere, Look, Position, Size, one_of
from models.position.decay import LearnedLinear, Linear


@dataclasses.dataclass(frozen=True)
class FoX(Anywhere):
    """The forgetting transformer: b(i, j) = sum_{s=j+1}^i ln f_s, outside (Lin et al. 2025, arXiv:2503.02130).

    f_s = sigmoid(w.x_s + c) per head. c starts so that a constant gate forgets within T_h tokens, -1/ln sigmoid(c) =
    T_h, log-spaced from `shortest` to `longest`. A constant gate f = e^-m is ALiBi with slope m.

    Attributes:
      kind: "full"; "bias_only", where w = 0 and c is learned: a decay of learned rate; "fixed", where c stays too.
      shortest: T of the first head, tokens, above 0.
      longest: T of the last, at least `shortest`.
    """

    kind: str = "full"
    shortest: float = 2.0
    longest: float = 256.0
    shared: bool = False

    def __post_init__(self):
        one_of("fox", "kind", self.kind, ("full", "bias_only", "fixed"))
        if not 0 < self.shortest <= self.longest:
            raise ValueError(f"fox: 0 < shortest <= longest is needed, but they are {self.shortest}, {self.longest}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """The gates' bias."""
        times = _log_spaced(self.shortest, self.longest, size.heads)
        if self.kind == "full":
            return Position(bias=Gates(times, size.width, rngs))
        rates = tuple(1 / t for t in times)
        return Position(bias=Linear(rates) if self.kind == "fixed" else LearnedLinear(rates))


def _log_spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(low * (high / low) ** (h / max(count - 1, 1)) for h in range(count))


def gate_logits(times: tuple[float, ...]) -> Float[Array, "head"]:
    """The c with -1/ln sigmoid(c) = T: c = -ln(e^(1/T) - 1)."""
    return jnp.asarray([-math.log(math.expm1(1 / t)) for t in times], jnp.float32)


class Gates(nnx.Module):
    """Gates from the layer's input."""

    def __init__(self, times: tuple[float, ...], width: int, rngs: nnx.Rngs):
        side = width**-0.5
        self.w = nnx.Param(rngs.params.uniform((width, len(times)), jnp.float32, -side, side))
        self.c = nnx.Param(gate_logits(times))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """Differences of the running sum of ln f, which leave out a key's own gate."""
        dtype = look.position.dtype
        gates = look.x.astype(dtype) @ self.w[...].astype(dtype) + self.c[...].astype(dtype)[None, :]
        total = jnp.cumsum(jax.nn.log_sigmoid(gates), axis=0).T
        return total[:, -len(look.q) :, None] - total[:, None, :]


@dataclasses.dataclass(frozen=True)
class CoPE(Anywhere):
    """Contextual positions: tokens are counted by gates (Golovneva et al. 2024, arXiv:2405.18719).

    p_ij = sum_{k=j}^i sigmoid(q_i.k_k), at most `positions` - 1; b(i, j) = q_i.e[p_ij], interpolated between whole
    numbers. Queries are those scaled by 1/sqrt(size). The cap is the paper's: what lies further counts as that far.

    Attributes:
      positions: learned vectors e, at least 2.
    """

    positions: int = 64
    shared: bool = False

    def __post_init__(self):
        if self.positions < 2:
            raise ValueError(f"cope: positions must be at least 2, to interpolate, but are {self.positions}")

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A learned bias."""
        return Position(bias=Counts(self.positions, size.head_width))


class Counts(nnx.Module):
    """CoPE's counts and vectors (zero at the start, as in the authors' code)."""

    def __init__(self, positions: int, size: int):
        self.e = nnx.Param(jnp.zeros((positions, size), jnp.float32))

    def __call__(self, look: Look) -> Float[Array, "head query key"]:
        """The bias."""
        past = jnp.arange(len(look.k))[None, :] <= jnp.arange(len(look.k) - len(look.q), len(look.k))[:, None]
        scores = jnp.einsum("qhd,khd->hqk", look.q, look.k).astype(look.position.dtype)
        gates = jnp.where(past[None], jax.nn.sigmoid(scores), 0)
        count = jnp.minimum(jnp.cumsum(gates[:, :, ::-1], axis=-1)[:, :, ::-1], len(self.e[...]) - 1)
        logits = jnp.einsum("qhd,pd->hqp", look.q.astype(count.dtype), self.e[...].astype(count.dtype))
        below, above = (f(count).astype(jnp.int32) for f in (jnp.floor, jnp.ceil))
        part = count - below
        at = lambda index: jnp.take_along_axis(logits, index, axis=-1)  # noqa: E731
        return (1 - part) * at(below) + part * at(above)
