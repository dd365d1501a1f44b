"""Attention without softmax: decaying sums of keys times values, with a parallel and a recurrent form that agree.

y_i = sum_{j <= i} (prod_{s=j+1}^i a_s) (q_i.k_j) v_j. Retention has constant decays a = 1 - 2^(-5-h) (Sun et al. 2023,
arXiv:2307.08621); the gated form has a_s = sigmoid(w.x_s + c) per head (Mamba-2's scalar gate, Dao & Gu 2024,
arXiv:2405.21060; gated linear attention, Yang et al. 2024, arXiv:2312.06635).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.attention import heads_of
from models.position.base import Position
from models.position.content import gate_logits


class LinearAttention(nnx.Module):
    """Decaying sums per head, each normalised to unit mean square, times a gate (RetNet's block)."""

    def __init__(self, spec: Any, position: Position, linear: Callable[..., nnx.Linear], gated: bool):
        self.heads = spec.heads
        self.position = position
        self.inward = linear(spec.width, 4 * spec.width)
        self.outward = linear(spec.width, spec.width, residual=True)
        times = [-1 / math.log1p(-(2.0 ** (-5 - h))) for h in range(spec.heads)]  # RetNet's, where gates start too
        self.decay = linear(spec.width, spec.heads) if gated else None
        self.times = tuple(times)

    def __call__(self, x: Float[Array, "time width"], where: Float[Array, "time"]) -> Float[Array, "time width"]:
        """Reads the past of each row, the row itself included."""
        q, k, v, gate = heads_of(self.inward(x), self.heads, parts=4)
        if self.position.rotation is not None:
            q, k = self.position.rotation(q, k, where)
        mixed = parallel(q * q.shape[-1] ** -0.5, k, v, self.log_decays(x))
        mixed = mixed * jax.lax.rsqrt(jnp.mean(mixed**2, axis=-1, keepdims=True) + 1e-6)
        return self.outward((jax.nn.silu(gate) * mixed.astype(gate.dtype)).reshape(x.shape))

    def log_decays(self, x: Float[Array, "time width"]) -> Float[Array, "time head"]:
        """Returns ln a_s, at least in float32."""
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        if self.decay is None:
            constant = -1 / jnp.asarray(self.times, dtype)
            return jnp.broadcast_to(constant[None, :], (len(x), self.heads))
        logits = self.decay(x).astype(dtype) + gate_logits(self.times).astype(dtype)[None, :]
        return jax.nn.log_sigmoid(logits)


def parallel(
    q: Float[Array, "time head size"],
    k: Float[Array, "time head size"],
    v: Float[Array, "time head size"],
    log_decays: Float[Array, "time head"],
) -> Float[Array, "time head size"]:
    """All rows at once, O(time^2)."""
    total = jnp.cumsum(log_decays, axis=0).T
    past = jnp.tri(len(q), dtype=bool)[None]
    weights = jnp.exp(jnp.where(past, total[:, :, None] - total[:, None, :], -jnp.inf))
    return jnp.einsum("hqk,khd->qhd", weights * jnp.einsum("qhd,khd->hqk", q, k), v)


def recurrent(
    q: Float[Array, "time head size"],
    k: Float[Array, "time head size"],
    v: Float[Array, "time head size"],
    log_decays: Float[Array, "time head"],
) -> Float[Array, "time head size"]:
    """One row after another, O(time): S_i = a_i S_{i-1} + k_i v_i^T, y_i = q_i S_i."""

    def step(state, row):
        q, k, v, log_decay = row
        state = jnp.exp(log_decay)[:, None, None] * state + k[:, :, None] * v[:, None, :]
        return state, jnp.einsum("hd,hde->he", q, state)

    heads, size = q.shape[1:]
    return jax.lax.scan(step, jnp.zeros((heads, size, size), log_decays.dtype), (q, k, v, log_decays))[1]
