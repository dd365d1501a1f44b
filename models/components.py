"""The named parts of a network: what `instantiation.norm=none`, `.feed_forward=gated`, `.mixer=mlp` choose from.

A mixer reads the past: (stream [time, width], positions [time]) -> [time, width]. All else acts on one position.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.attention import Attention
from models.linear_attention import LinearAttention
from models.position.base import Position
from models.products import dot_general

Linear = Callable[..., nnx.Linear]  # (read, write, residual=False) -> layer


def linear(read: int, write: int, rngs: nnx.Rngs, depth: int, dtype: Any, residual: bool = False) -> nnx.Linear:
    """A linear layer; those that write to the stream start smaller the deeper the network (Radford et al. 2019)."""
    scale = 1 / (2 * max(depth, 1)) if residual else 1.0
    init = nnx.initializers.variance_scaling(scale, "fan_in", "uniform")  # uniform draws compile fastest
    return nnx.Linear(
        read, write, kernel_init=init, dot_general=dot_general, dtype=dtype, param_dtype=stored(dtype), rngs=rngs
    )


def stored(dtype: Any) -> Any:
    """The float type of parameters: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def windowed(x: Float[Array, "time width"], taps: int) -> Float[Array, "time together"]:
    """The last `taps` rows side by side, the oldest first; zeros before the first."""
    padded = jnp.pad(x, ((taps - 1, 0), (0, 0)))
    return jnp.concatenate([padded[n : n + len(x)] for n in range(taps)], axis=1)


class MLP(nnx.Module):
    """Two layers, GELU between, over the last `taps` rows: one as feed-forward, more as an n-gram MLP (Bengio 2003)."""

    def __init__(self, spec: Any, linear: Linear, taps: int = 1):
        self.taps = taps
        self.inward = linear(taps * spec.width, 4 * spec.width)
        self.outward = linear(4 * spec.width, spec.width, residual=True)

    def __call__(self, x: Float[Array, "time width"], where: Any) -> Float[Array, "time width"]:
        """Reads a window of rows."""
        del where
        return self.outward(jax.nn.gelu(self.inward(windowed(x, self.taps) if self.taps > 1 else x)))


class GatedMLP(nnx.Module):
    """SwiGLU: (silu(x A) * x B) C with hidden width 8/3 of the stream (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, spec: Any, linear: Linear):
        hidden = 8 * spec.width // 3
        self.inward = linear(spec.width, 2 * hidden)
        self.outward = linear(hidden, spec.width, residual=True)

    def __call__(self, x: Float[Array, "time width"], where: Any) -> Float[Array, "time width"]:
        """Each row by itself."""
        del where
        gate, value = jnp.split(self.inward(x), 2, axis=-1)
        return self.outward(jax.nn.silu(gate) * value)


class Convolution(nnx.Module):
    """Causal convolution over the last `taps` rows, GELU, and a product back to the stream."""

    def __init__(self, spec: Any, linear: Linear):
        self.taps = spec.taps
        self.inward = linear(spec.taps * spec.width, spec.width)
        self.outward = linear(spec.width, spec.width, residual=True)

    def __call__(self, x: Float[Array, "time width"], where: Any) -> Float[Array, "time width"]:
        """Reads a window of rows."""
        del where
        return self.outward(jax.nn.gelu(self.inward(windowed(x, self.taps))))


class Recurrent(nnx.Module):
    """A gated recurrent cell of Flax (GRU, Cho et al. 2014; LSTM, Hochreiter & Schmidhuber 1997), read out per row."""

    def __init__(self, spec: Any, linear: Linear, rngs: nnx.Rngs, cell: Any):
        dtype = spec.dtype
        self.cell = cell(spec.width, spec.width, dtype=dtype, param_dtype=stored(dtype), rngs=rngs)
        self.outward = linear(spec.width, spec.width, residual=True)
        self.carried = 2 if cell is nnx.LSTMCell else 1

    def __call__(self, x: Float[Array, "time width"], where: Any) -> Float[Array, "time width"]:
        """Reads the whole past through the cell's state, which starts at zero."""
        del where
        zero = jnp.zeros(x.shape[1], x.dtype)
        return self.outward(jax.lax.scan(self.cell, (zero, zero) if self.carried == 2 else zero, x)[1])


class ShortConvolution(nnx.Module):
    """stream + a causal convolution of each feature over the last `taps` rows (Canon layers, Allen-Zhu 2025)."""

    def __init__(self, taps: int, width: int, dtype: Any):
        self.kernel = nnx.Param(jnp.zeros((taps, width), stored(dtype)))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time width"]:
        """Reads a window of rows; the newest last in the kernel."""
        kernel = self.kernel[...].astype(self.dtype)
        return x + (windowed(x, len(kernel)).reshape(len(x), *kernel.shape) * kernel[None]).sum(1)


class SoftmaxReadout(nnx.Module):
    """Log softmax(x W + c)."""

    def __init__(self, spec: Any, linear: Linear):
        self.logits = linear(spec.width, spec.vocab)

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time vocab"]:
        """Log probabilities, at least in float32."""
        return jax.nn.log_softmax(self.logits(x).astype(stored(x.dtype)))


class NormedReadout(nnx.Module):
    """Log softmax of logits brought to mean 0 and one learned size: no row can be surer than another by size alone."""

    def __init__(self, spec: Any, linear: Linear):
        self.logits = linear(spec.width, spec.vocab)
        self.size = nnx.Param(jnp.ones((), stored(spec.dtype)))

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time vocab"]:
        """Log probabilities, at least in float32."""
        logits = self.logits(x).astype(self.size[...].dtype)
        logits = logits - logits.mean(-1, keepdims=True)
        size = jnp.sqrt((logits**2).mean(-1, keepdims=True) + 1e-12)  # so that equal logits have a gradient
        return jax.nn.log_softmax(self.size[...] * logits / size)


class RoundedReadout(nnx.Module):
    """Log softmax of logits in four bits, -16, -14 ... 14; the gradient is that of the logits before they are rounded.

    (Straight through: Bengio et al. 2013, arXiv:1308.3432.)
    """

    def __init__(self, spec: Any, linear: Linear):
        self.logits = linear(spec.width, spec.vocab)

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time vocab"]:
        """Log probabilities, at least in float32."""
        logits = self.logits(x).astype(stored(x.dtype))
        return jax.nn.log_softmax(logits + jax.lax.stop_gradient(jnp.clip(2 * jnp.round(logits / 2), -16, 14) - logits))


class ProbabilityReadout(nnx.Module):
    """Log of a mixture: softmax(x) K, each feature of the stream having a row of probabilities K to say."""

    def __init__(self, spec: Any, rngs: nnx.Rngs):
        self.rows = nnx.Param(rngs.params.uniform((spec.width, spec.vocab), stored(spec.dtype), -1.0, 1.0))

    def __call__(self, x: Float[Array, "time width"]) -> Float[Array, "time vocab"]:
        """Log probabilities, summed in logs so that none is lost to underflow."""
        shares = jax.nn.log_softmax(x.astype(self.rows[...].dtype))
        return jax.nn.logsumexp(shares[:, :, None] + jax.nn.log_softmax(self.rows[...])[None], axis=1)


def _same(x: Array) -> Array:
    return x


Built = Callable[[Any, Position, Linear, nnx.Rngs], Any]

MIXERS: dict[str, Built] = {
    "attention": lambda spec, position, linear, rngs: Attention(spec, position, linear),
    "retention": lambda spec, position, linear, rngs: LinearAttention(spec, position, linear, gated=False),
    "gated_linear": lambda spec, position, linear, rngs: LinearAttention(spec, position, linear, gated=True),
    "gru": lambda spec, position, linear, rngs: Recurrent(spec, linear, rngs, nnx.GRUCell),
    "lstm": lambda spec, position, linear, rngs: Recurrent(spec, linear, rngs, nnx.LSTMCell),
    "convolution": lambda spec, position, linear, rngs: Convolution(spec, linear),
    "mlp": lambda spec, position, linear, rngs: MLP(spec, linear, spec.taps),
    "none": lambda *_: None,
}
FEED_FORWARDS: dict[str, Callable[[Any, Linear], Any]] = {"mlp": MLP, "gated": GatedMLP, "none": lambda *_: None}
READOUTS: dict[str, Callable[[Any, Linear, nnx.Rngs], Any]] = {
    "softmax": lambda spec, linear, rngs: SoftmaxReadout(spec, linear),
    "normed": lambda spec, linear, rngs: NormedReadout(spec, linear),
    "rounded": lambda spec, linear, rngs: RoundedReadout(spec, linear),
    "probability": lambda spec, linear, rngs: ProbabilityReadout(spec, rngs),
}
NORMS: dict[str, Any] = {"rms": nnx.RMSNorm, "layer": nnx.LayerNorm, "none": None}


def norm(spec: Any, rngs: nnx.Rngs) -> Any:
    """The spec's normalisation of a row."""
    kind = NORMS[spec.norm]
    return _same if kind is None else kind(spec.width, dtype=spec.dtype, param_dtype=stored(spec.dtype), rngs=rngs)


def linears(spec: Any, rngs: nnx.Rngs) -> Linear:
    """Linear layers in the spec's precision."""
    return partial(linear, rngs=rngs, depth=spec.layers, dtype=spec.dtype)
