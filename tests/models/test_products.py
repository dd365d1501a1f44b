"""The mended product is the plain product: values, gradients, and every order of mapping and differentiating."""

import jax
import jax.numpy as jnp
import pytest

from models.products import lookup, product

KEYS = jax.random.split(jax.random.key(0), 2)
X, W = jax.random.normal(KEYS[0], (5, 7, 3), jnp.float32), jax.random.normal(KEYS[1], (3, 4), jnp.float32)


def square(multiply):
    return lambda x, w: (jnp.sin(multiply(x, w)) ** 2).sum()


def same(ours, theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(a.shape == b.shape and jnp.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)  # float32 sums of 35


TRANSFORMS = {
    "value": lambda f: f(X, W),
    "grad": lambda f: jax.grad(f, (0, 1))(X, W),
    "grad of a mapped sum": lambda f: jax.grad(lambda x, w: jax.vmap(f, (0, None))(x, w).sum(), (0, 1))(X, W),
    "grad, fewer written than read": lambda f: jax.grad(f, (0, 1))(X, W[:, :2]),
    "mapped grad": lambda f: jax.vmap(jax.grad(f, (0, 1)), (0, None))(X, W),
    "grad, members": lambda f: jax.vmap(jax.grad(f, (0, 1)), (None, 0))(X, jnp.stack([W, 2 * W])),
    "members of mapped": lambda f: jax.vmap(jax.vmap(jax.grad(f, 1), (0, None)), (None, 0))(X, jnp.stack([W, 2 * W])),
    "rows of their own": lambda f: jax.vmap(f)(X, jnp.stack([W * n for n in range(5)])),
    "one row, many matrices": lambda f: jax.vmap(f, (None, 2))(X[0, 0], jnp.stack([W, 2 * W], axis=2)),
    "forward mode": lambda f: jax.jvp(f, (X, W), (X, 2 * W)),
    "curvature": lambda f: jax.jvp(jax.grad(f, 1), (X, W), (X, W)),
    "jit of grad": lambda f: jax.jit(jax.grad(f, (0, 1)))(X, W),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_product_is_the_plain_product_under(transform):
    assert same(transform(square(product)), transform(square(lambda x, w: x @ w)))


def test_lookup_is_indexing():
    table, tokens = W, jnp.array([2, 0, 1, 1])
    assert same(lookup(tokens, table), table[tokens])
    ours, theirs = (
        jax.grad(lambda w, f=f: (f(w) ** 3).sum())(table) for f in (lambda w: lookup(tokens, w), lambda w: w[tokens])
    )
    assert same(ours, theirs)


def test_mixed_float_types_are_refused():
    with pytest.raises(TypeError, match="one float type are expected"):
        product(X, W.astype(jnp.float64))
