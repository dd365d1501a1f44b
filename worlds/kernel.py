"""Lag kernels: how much of the past is read at each distance, and the attention table that follows from it.

A kernel gives lag g = 1, 2, ... (1 = the previous token) a weight w_g >= 0, known up to scale. Near the start of a
sequence some lags find no token. `sink`: they read a start symbol, with the normalised weights of all lags,

    alpha[t, lag g] = w_g / sum_{all g'} w_g',        alpha[t, start] = the rest,

which needs a finite mass. `renormalise`: the lags that find a token share the reading,

    alpha[t, lag g] = w_g / sum_{g' <= t} w_g',

which needs none; where no lag with weight finds a token, the start symbol is read. A finite horizon D cuts the kernel
after lag D. Lags are whole numbers of tokens; weights have no unit. (Raftery 1985, JRSS B 47:528; Press et al. 2022,
arXiv:2108.12409.)
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

EARLY = ("renormalise", "sink")  # what the lags do that find no token


@runtime_checkable
class Kernel(Protocol):
    """Weights of lags, up to scale."""

    @property
    def reach(self) -> int | None:
        """The largest lag that has weight; None if there is none."""
        ...

    @property
    def ratio(self) -> Array | None:
        """w_{g+1} / w_g where it is the same for all g and w_1 = 1, so that a recurrence reads the past; else None."""
        ...

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """w_g of the lags asked for, each at least 1."""
        ...

    def tail(self, lag: int) -> Float[Array, ""]:
        """The mass beyond a lag, sum_{g > lag} w_g; inf where it diverges."""
        ...


class Mass(NamedTuple):
    """A kernel over the first lags, and how much of it finds a token before each position."""

    weight: Float[Array, "lag"]  # w_1 ... w_n
    found: Float[Array, "time"]  # sum of w_g, g <= t, for t = 0, 1, ...
    missing: Float[Array, "time"]  # sum of w_g, g > t


def mass(kernel: Kernel, horizon: int | None, length: int) -> Mass:
    """The weights and masses that the prediction of tokens 0 ... length - 1 needs."""
    end = reach(kernel, horizon)
    lags = max(length - 1, 1) if end is None else end
    weight = kernel.weights(jnp.arange(1, lags + 1))
    beyond = kernel.tail(lags) if end is None else jnp.zeros((), weight.dtype)
    nothing = jnp.zeros(1, weight.dtype)
    found = jnp.concatenate([nothing, jnp.cumsum(weight)])
    # Sum the small ones first: a difference of sums would lose the mass that is left, and with it its sign.
    missing = jnp.cumsum(jnp.concatenate([beyond[None], weight[::-1]]))[::-1]
    at = np.minimum(np.arange(length), lags)
    return Mass(weight, found[at], missing[at])


def reach(kernel: Kernel, horizon: int | None) -> int | None:
    """The largest lag that can be read: the smaller of kernel and horizon; None if endless."""
    ends = [end for end in (kernel.reach, horizon) if end is not None]
    return min(ends) if ends else None


def profile(
    kernel: Kernel, length: int, early: str = "renormalise", horizon: int | None = None
) -> Float[Array, "time 1+time"]:
    """The attention table alpha [time, 1 + time] of a kernel: causal, non-negative, each row sums to one.

    Row t (from 0) is how the prediction of token t reads the past: column s >= 1 holds token s - 1, at lag t - s + 1,
    and column 0 the start symbol.

    >>> profile(uniform(), 3)[2].tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    weight, found, missing = mass(kernel, horizon, length)
    lag = np.arange(length)[:, None] - np.arange(length)[None, :]
    read = jnp.where((lag >= 1) & (lag <= len(weight)), weight[np.clip(lag, 1, len(weight)) - 1], 0)
    if early == "sink":
        return jnp.concatenate([missing[:, None], read], axis=1) / (found + missing)[:, None]
    empty = found == 0
    read = read / jnp.where(empty, 1, found)[:, None]
    return jnp.concatenate([empty[:, None].astype(read.dtype), read], axis=1)


@struct.dataclass
class Geometric:
    """w_g = rate^(g - 1); rate 1 is the uniform kernel."""

    rate: Float[Array, "*batch"]
    reach = None

    @property
    def ratio(self) -> Float[Array, "*batch"]:
        """The rate."""
        return self.rate

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """By the formula."""
        return self.rate ** (lags - 1).astype(self.rate.dtype)

    def tail(self, lag: int) -> Float[Array, ""]:
        """The geometric series: rate^lag / (1 - rate)."""
        return self.rate**lag / (1 - self.rate)


def geometric(rate: ArrayLike) -> Geometric:
    """w_g proportional to rate^(g-1): ALiBi's decay, with slope m = -ln rate (Press et al. 2022, arXiv:2108.12409).

    With `sink` and no horizon, alpha[t, lag g] = (1 - rate) rate^(g-1), and the start symbol is read with rate^t
    before t tokens.

    Args:
      rate: ratio of the weights of successive lags, in (0, 1). Scalar.
    """
    _between("geometric", "rate", rate, 0, 1)
    return Geometric(real(rate))


def uniform() -> Geometric:
    """w_g = 1: the order of the past does not matter. Its endless mass is infinite: `renormalise`, or a horizon."""
    return Geometric(real(1.0))


@struct.dataclass
class Power:
    """w_g = (1 + scale (g - 1))^-exponent."""

    exponent: Float[Array, "*batch"]
    scale: Float[Array, "*batch"]
    reach = None
    ratio = None

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """By the formula."""
        return (1 + self.scale * (lags - 1).astype(self.scale.dtype)) ** -self.exponent

    def tail(self, lag: int) -> Float[Array, ""]:
        """Hurwitz's zeta: sum_{k >= lag} (1 + c k)^-s = c^-s zeta(s, 1/c + lag), infinite for s <= 1."""
        finite = self.exponent > 1
        s = jnp.where(finite, self.exponent, 2)
        total = self.scale**-s * jax.scipy.special.zeta(s, 1 / self.scale + lag)
        return jnp.where(finite, total, jnp.inf)


def power(exponent: ArrayLike, scale: ArrayLike = 1.0) -> Power:
    """w_g proportional to (1 + scale (g-1))^-exponent: KERPLE's logarithmic decay (Chi et al. 2022, arXiv:2205.09921).

    With scale 1 this is g^-exponent. The mass of all lags is finite for exponent > 1 only, so that an endless kernel
    with `sink` needs that; with a horizon, or with `renormalise`, any exponent will do.

    Args:
      exponent: steepness, above 0. Scalar.
      scale: growth of the base per token, above 0. Scalar.
    """
    _between("power", "exponent", exponent, 0, math.inf)
    _between("power", "scale", scale, 0, math.inf)
    return Power(real(exponent), real(scale))


@struct.dataclass
class Weights:
    """w_g as listed, 0 beyond the list."""

    weight: Float[Array, "*batch lag"]
    ratio = None

    @property
    def reach(self) -> int:
        """The length of the list."""
        return self.weight.shape[-1]

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """From the list."""
        return jnp.where(lags <= self.reach, self.weight[jnp.minimum(lags, self.reach) - 1], 0)

    def tail(self, lag: int) -> Float[Array, ""]:
        """The rest of the list."""
        return self.weight[lag:].sum()


def table(weights: ArrayLike | Sequence[float]) -> Weights:
    """w_g as listed for lags 1, 2, ... (relative weights: their scale does not matter).

    Args:
      weights: [lag], finite and non-negative, not all zero.
    """
    if not isinstance(weights, Tracer):
        weights = listed = np.asarray(weights, np.float64)
        if listed.ndim != 1 or not np.all(np.isfinite(listed)) or np.any(listed < 0) or not np.any(listed > 0):
            raise ValueError(f"table: weights must be a list of finite numbers >= 0, not all 0, but are {weights}")
    return Weights(real(weights))


def offset(lag: int) -> Weights:
    """All weight on one lag: what relative positions (RoPE, T5's bias) are for.

    Args:
      lag: the distance read, a whole number of tokens, at least 1 (the previous token).
    """
    if not isinstance(lag, int) or lag < 1:
        raise ValueError(f"offset: lag must be a whole number of tokens, at least 1 (the previous one), but is {lag}")
    return Weights(real(np.eye(1, lag, lag - 1)[0]))


def hump(centre: float, width: float) -> Weights:
    """w_g = exp(-(g - centre)^2 / (2 width^2)): a preferred distance with a soft edge.

    Cut nine widths beyond the centre, where weights are below 3e-18 of the largest, less than float64 resolves.

    Args:
      centre: the preferred lag, tokens, at least 1; need not be whole.
      width: standard deviation, tokens, above 0.
    """
    _between("hump", "centre", centre, 1, math.inf, closed=True)
    _between("hump", "width", width, 0, math.inf)
    lags = np.arange(1, max(math.ceil(centre + 9 * width), 1) + 1)
    return table(np.exp(-((lags - centre) ** 2) / (2 * width**2)))


@struct.dataclass
class NearFar:
    """w_g = share (1 - rate) rate^(g-1) + (1 - share) [g = far]."""

    rate: Float[Array, "*batch"]
    share: Float[Array, "*batch"]
    far: int = struct.field(pytree_node=False)
    reach = None
    ratio = None

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """By the formula."""
        near = self.share * (1 - self.rate) * self.rate ** (lags - 1).astype(self.rate.dtype)
        return near + (1 - self.share) * (lags == self.far).astype(self.rate.dtype)

    def tail(self, lag: int) -> Float[Array, ""]:
        """The rest of the near part, and the far lag if it lies beyond."""
        return self.share * self.rate**lag + (1 - self.share) * float(lag < self.far)


def near_far(rate: ArrayLike, far: int, share: ArrayLike = 0.5) -> NearFar:
    """A share of geometric decay and the rest on one distant lag: two scales that no single decay has.

    Args:
      rate: of the near part, share (1 - rate) rate^(g-1), in (0, 1). Scalar.
      far: the distant lag, tokens, at least 1.
      share: mass of the near part, in (0, 1). Scalar.
    """
    _between("near_far", "rate", rate, 0, 1)
    _between("near_far", "share", share, 0, 1)
    if not isinstance(far, int) or far < 1:
        raise ValueError(f"near_far: far must be a whole number of tokens, at least 1, but is {far}")
    return NearFar(real(rate), real(share), far)


def check(kernel: Kernel, horizon: int | None, early: str) -> None:
    """Refuses a kernel that has no mass within its horizon, or too much where the sum must converge."""
    if early not in EARLY:
        raise ValueError(f"kernel: early must be renormalise or sink, but is {early!r}")
    if horizon is not None and (not isinstance(horizon, int) or horizon < 1):
        raise ValueError(f"kernel: horizon must be at least 1 token, or null for an endless one, but is {horizon}")
    within = mass(kernel, horizon, 2)
    total = within.found[0] + within.missing[0]
    if isinstance(total, Tracer):
        return
    if reach(kernel, horizon) is None and early == "sink" and not jnp.isfinite(total):
        raise ValueError(
            "kernel: with early=sink the weights of all lags must have a finite sum, but an endless "
            f"{type(kernel).__name__.lower()} kernel has mass {total}; give a horizon, or early=renormalise"
        )
    if not total > 0:
        raise ValueError(f"kernel: some lag within the horizon {horizon} must have weight, but all of them have none")


def real(x: Any) -> Float[Array, "..."]:
    """An array of the default float type: float64 under `jax_enable_x64`."""
    return jnp.asarray(x, jnp.result_type(float))


def _between(name: str, number: str, value: ArrayLike, low: float, high: float, closed: bool = False) -> None:
    if isinstance(value, Tracer):
        return
    x = np.asarray(value)
    if not np.all(((low <= x) if closed else (low < x)) & (x < high)):
        raise ValueError(f"{name}: {number} must be in {'[' if closed else '('}{low}, {high}), but is {value}")
