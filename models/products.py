"""Matrix products that are as fast backward as forward on a CPU; loss and gradients are those of `x @ w` to rounding.

The weight gradient x^T g reads x transposed, for which XLA's CPU product takes a slow path. Here the transpose is
materialised first, and all leading axes, those of a batch mapped over included, are contracted in one product. It is
a primitive of its own, not a `custom_vjp`, because only so does it see the axes that `jax.vmap` adds.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int


def product(x: Float[Array, "*batch read"], w: Float[Array, "read write"]) -> Float[Array, "*batch write"]:
    """Returns x w, [..., read] x [read, write] -> [..., write], differentiable and mappable like any product."""
    if w.ndim != 2 or x.shape[-1:] != w.shape[:1] or x.dtype != w.dtype:
        raise TypeError(f"product: [..., read] and [read, write] of one float type are expected, but got {x} and {w}")
    return _product.bind(x, w)


def dot_general(x: Array, w: Array, dimensions: Any, **options: Any) -> Array:
    """As `jax.lax.dot_general`, for `nnx.Linear`, which contracts the last axis of x with the first of w."""
    del dimensions, options
    return product(x, w)


def lookup(tokens: Int[Array, "time"], table: Float[Array, "row feature"]) -> Float[Array, "time feature"]:
    """Rows of a small table as a one-hot product, because the backward pass of an index is a slow scatter."""
    return product(jax.nn.one_hot(tokens, len(table), dtype=table.dtype), table)


def _plain(x: Array, w: Array) -> Array:
    return x @ w


def _shape(x: Any, w: Any) -> ShapedArray:
    return ShapedArray((*x.shape[:-1], w.shape[1]), x.dtype)


def _gradient_of_x(g: Array, x: Any, w: Array) -> Array:
    del x
    return product(g, w.T)


def _gradient_of_w(g: Array, x: Array, w: Any) -> Array:
    del w
    return jax.lax.platform_dependent(
        x.reshape(-1, x.shape[-1]),
        g.reshape(-1, g.shape[-1]),
        cpu=_transposed_first,
        default=lambda x, g: x.T @ g,
    )


def _transposed_first(x: Array, g: Array) -> Array:
    """x^T g, the narrower of the two transposed in memory; barriers, because XLA would undo that."""
    kept = jax.lax.optimization_barrier
    if g.shape[1] < x.shape[1]:
        return kept(kept(g.T) @ x).T
    return kept(x.T) @ g


def _mapped(arguments: Any, axes: Any) -> tuple[Array, int]:
    x, w = arguments
    if axes[1] is None:  # one matrix for the whole batch: the batch is one more leading axis
        return product(jnp.moveaxis(x, axes[0], 0), w), 0
    return jax.vmap(_plain, axes)(x, w), 0  # members with weights of their own


_product = Primitive("mended_product")
_product.def_impl(jax.jit(_plain))
_product.def_abstract_eval(_shape)
mlir.register_lowering(_product, mlir.lower_fun(_plain, multiple_results=False))
ad.defbilinear(_product, _gradient_of_x, _gradient_of_w)
batching.primitive_batchers[_product] = _mapped
