"""What the tests of position schemes let a scheme look at."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models.position import Look, Size

SIZE = Size(layers=2, heads=4, width=16, length=64)


def look(time, size=SIZE, seed=0):
    """Random content at positions 0, 1, ..."""
    q, k = jax.random.normal(jax.random.key(seed), (2, time, size.heads, size.head_width), jnp.float32)
    x = jax.random.normal(jax.random.key(seed + 1), (time, size.width), jnp.float32)
    return Look(x, q, k, jnp.arange(time, dtype=jnp.float32))


def bias(scheme, time=12, size=SIZE):
    """[head, query, key]; the future means nothing."""
    return np.asarray(scheme(size, nnx.Rngs(0)).bias(look(time, size)))


def rotated(scheme, time=12):
    """Scores [head, query, key], queries and keys of the same content everywhere."""
    q, k = jax.random.normal(jax.random.key(3), (2, SIZE.heads, SIZE.head_width), jnp.float32)
    q, k = (jnp.broadcast_to(a[None], (time, *a.shape)) for a in (q, k))
    q, k = scheme(SIZE, nnx.Rngs(0)).rotation(q, k, jnp.arange(time, dtype=jnp.float32))
    return np.asarray(jnp.einsum("qhd,khd->hqk", q, k)), np.asarray(q), np.asarray(k)
