"""Causal softmax attention with one additive bias, in static blocks of queries that never look at the future.

softmax_j(q_i.k_j / sqrt(size) / temperature + b(i, j)) over j <= i. A block of queries multiplies only the keys before
its end, which saves up to half of the score work; results are those of the full masked product to rounding.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Look, Position

BLOCK = 32  # queries per block at least: smaller blocks cost more in calls than they save in products
BLOCKS = 4  # at most, so that long sequences do not make long programs

Bias = Callable[[Look], Float[Array, "head query key"]]


class Attention(nnx.Module):
    """Queries, keys and values from one product, causal attention per head, and a product back to the stream.

    The temperature divides q.k/sqrt(size), not the bias, which is a prior over gaps. "scalable" multiplies by s_h ln n
    instead, n the inputs that a row sees, s_h learned from 1/ln(trained length) on (Nakanishi 2025, arXiv:2501.19399).
    """

    def __init__(self, spec: Any, position: Position, linear: Callable[..., nnx.Linear]):
        self.heads = spec.heads
        self.position = position
        self.inward = linear(spec.width, 3 * spec.width)
        self.outward = linear(spec.width, spec.width, residual=True)
        scalable = spec.temperature == "scalable"
        self.temperature = 1.0 if scalable else float(spec.temperature)
        start = 1 / math.log(max(spec.length, 2))
        self.scale = nnx.Param(jnp.full(spec.heads, start, jnp.float32)) if scalable else None

    def __call__(self, x: Float[Array, "time width"], where: Float[Array, "time"]) -> Float[Array, "time width"]:
        """Reads the past of each row, the row itself included."""
        q, k, v = heads_of(self.inward(x), self.heads)
        if self.position.rotation is not None:
            q, k = self.position.rotation(q, k, where)
        if self.scale is not None:
            seen = jnp.log1p(jnp.arange(len(x), dtype=q.dtype))
            q = q * (seen[:, None] * self.scale[...].astype(q.dtype)[None, :])[:, :, None]
        mixed = attend(q / self.temperature, k, v, self.position.bias, x, where)
        return self.outward(mixed.reshape(x.shape))


def heads_of(
    x: Float[Array, "time together"], heads: int, parts: int = 3
) -> tuple[Float[Array, "time head size"], ...]:
    """Queries, keys and values (or more parts), per head."""
    return tuple(part.reshape(len(x), heads, -1) for part in jnp.split(x, parts, axis=-1))


def attend(
    q: Float[Array, "time head size"],
    k: Float[Array, "time head size"],
    v: Float[Array, "time head size"],
    bias: Bias | None,
    x: Float[Array, "time width"],
    where: Float[Array, "time"],
    block: int | None = None,
) -> Float[Array, "time head size"]:
    """Causal attention; scores, bias and softmax at least in float32.

    Args:
      q: queries.
      k: keys.
      v: values.
      bias: from a `Look` to [head, query, key]; None adds nothing.
      x: the layer's input, for biases that depend on content.
      where: the position of each row.
      block: queries per block; chosen from the length if None.
    """
    time = len(q)
    block = max(BLOCK, -(-time // BLOCKS)) if block is None else block
    q = q * q.shape[-1] ** -0.5
    return jnp.concatenate([_rows(s, min(s + block, time), q, k, v, bias, x, where) for s in range(0, time, block)])


def _rows(start, stop, q, k, v, bias, x, where):
    q, k, v, x, where = q[start:stop], k[:stop], v[:stop], x[:stop], where[:stop]
    scores = jnp.einsum("qhd,khd->hqk", q, k)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if bias is not None:
        scores = scores + bias(Look(x, q, k, where))
    seen = jnp.arange(stop)[None, :] <= jnp.arange(start, stop)[:, None]
    weights = jax.nn.softmax(jnp.where(seen[None], scores, -jnp.inf))
    return jnp.einsum("hqk,khd->qhd", weights.astype(v.dtype), v)
