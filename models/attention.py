"""Causal softmax attention with one additive bias, in static blocks of queries that never look at the future.

softmax_j(q_i.k_j / sqrt(size) + b(i, j)) over j <= i. A block of queries multiplies only the keys before its end, which
saves up to half of the score work; results are those of the full masked product to rounding.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.position.base import Look, Position

BLOCK = 64  # queries per block at least: smaller blocks cost more in calls than they save in products
BLOCKS = 8  # at most, so that long sequences do not make long programs

Bias = Callable[[Look], Float[Array, "head query key"]]


class Attention(nnx.Module):
    """Queries, keys and values from one product, causal attention per head, and a product back to the stream."""

    def __init__(self, heads: int, width: int, position: Position, linear: Callable[..., nnx.Linear]):
        self.heads = heads
        self.position = position
        self.inward = linear(width, 3 * width)
        self.outward = linear(width, width, residual=True)

    def __call__(self, x: Float[Array, "time width"], where: Float[Array, "time"]) -> Float[Array, "time width"]:
        """Reads the past of each row, the row itself included."""
        time, width = x.shape
        q, k, v = jnp.split(self.inward(x), 3, axis=-1)
        q, k, v = (a.reshape(time, self.heads, width // self.heads) for a in (q, k, v))
        if self.position.rotation is not None:
            q, k = self.position.rotation(q, k, where)
        return self.outward(attend(q, k, v, self.position.bias, x, where).reshape(time, width))


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
