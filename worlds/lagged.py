"""Weighted sums over the past: all positions at once, in blocks, so that long sequences fit in memory; and in logs."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from worlds import kernel
from worlds.kernel import Kernel

BLOCK = 128  # positions per matrix product
WHOLE = 256  # up to so many positions are one product
SHORT = 32  # up to so many lags are summed one by one: measured faster than products up to 48


def reads(
    lags: Kernel, horizon: int | None, early: str, rows: Float[Array, "symbol vocab"], tokens: Int[Array, "time"]
) -> Float[Array, "time vocab"]:
    """sum_g phi_g rows[x_{t-g}] for every position t, with what no token is found for read from row 0."""
    weight, found, missing = kernel.mass(lags, horizon, len(tokens))
    values = rows[1 + tokens]
    total = convolve(weight, values) if lags.ratio is None or horizon else recur(lags.ratio, values)
    if early == "sink":
        return (total + missing[:, None] * rows[:1]) / (found[0] + missing[0])
    empty = (found == 0)[:, None]
    return jnp.where(empty, rows[:1], total / jnp.where(empty, 1, found[:, None]))


def recur(ratio: Float[Array, ""], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """sum_{s < t} ratio^(t-1-s) values[s]: a CPU takes a step in 0.01 microseconds; an accelerator had better not."""
    return (stepped if jax.default_backend() == "cpu" else in_blocks)(ratio, values)


def stepped(ratio: Float[Array, ""], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """The recurrence itself."""
    step = lambda sum, value: (ratio * sum + value, sum)  # noqa: E731
    return jax.lax.scan(step, jnp.zeros_like(values[0]), values)[1]


def in_blocks(ratio: Float[Array, ""], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """The same: a triangular product within blocks, the recurrence between them."""
    time, vocab = values.shape
    size = min(time, BLOCK)
    blocks = -(-time // size)
    values = jnp.pad(values, ((0, blocks * size - time), (0, 0))).reshape(blocks, size, vocab)
    powers = ratio ** jnp.arange(size + 1).astype(ratio.dtype)
    lag = np.arange(size)[:, None] - np.arange(size)[None, :]
    inside = jnp.einsum("ij,njv->niv", jnp.where(lag >= 1, powers[np.maximum(lag - 1, 0)], 0), values)
    ends = jnp.einsum("j,njv->nv", powers[:size][::-1], values)
    before = stepped(powers[size], ends)
    return (inside + powers[None, :size, None] * before[:, None, :]).reshape(blocks * size, vocab)[:time]


def convolve(weight: Float[Array, "lag"], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """sum_{g <= t} weight_g values[t - g], by the form that is fastest for so many lags."""
    lags = min(len(weight), len(values))
    return shifted(weight[:lags], values) if lags <= SHORT else banded(weight[:lags], values)


def shifted(weight: Float[Array, "lag"], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """Lag by lag, in one pass over the values."""
    lags, time = len(weight), len(values)
    padded = jnp.pad(values, ((lags, 0), (0, 0)))
    return sum((weight[g - 1] * padded[lags - g : lags - g + time] for g in range(1, lags + 1)), jnp.zeros_like(values))


def banded(weight: Float[Array, "lag"], values: Float[Array, "time vocab"]) -> Float[Array, "time vocab"]:
    """One triangular product; of a long sequence, block by block, each with a window of as many lags as have weight."""
    time, vocab = values.shape
    if time <= WHOLE:
        return band(weight, time, 0) @ values
    lags, blocks = len(weight), -(-time // BLOCK)
    padded = jnp.pad(values, ((lags, blocks * BLOCK - time), (0, 0)))
    window = band(weight, BLOCK, lags)
    one = lambda n: window @ jax.lax.dynamic_slice_in_dim(padded, n * BLOCK, lags + BLOCK)  # noqa: E731
    return jax.lax.map(one, jnp.arange(blocks)).reshape(blocks * BLOCK, vocab)[:time]


def band(weight: Float[Array, "lag"], size: int, before: int) -> Float[Array, "{size} {before+size}"]:
    """What each of `size` positions gives to each of those from `before` places ahead of the first one on."""
    lag = before + np.arange(size)[:, None] - np.arange(before + size)[None, :]
    return jnp.where((lag >= 1) & (lag <= len(weight)), weight[np.clip(lag, 1, len(weight)) - 1], 0)


def log(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log x; exactly -inf at zero, without a slope there."""
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), -jnp.inf)


def log_mixture(
    total: Float[Array, "vocab"], logs: Float[Array, "read"], rows: Float[Array, "read vocab"]
) -> Float[Array, "vocab"]:
    """Log of total = exp(logs) @ rows, from the logs where the total underflows to zero though it is not."""
    return jnp.where(total > 0, log(total), log_sum(logs[:, None] + log(rows)))


def log_sum(terms: Float[Array, "read *vocab"]) -> Float[Array, "*vocab"]:
    """Log of the sum of exponentials along the first axis; exactly -inf if all are, without a slope there."""
    top = terms.max(0)
    top = jax.lax.stop_gradient(jnp.where(top > -jnp.inf, top, 0))
    return log(jnp.exp(terms - top[None]).sum(0)) + top
