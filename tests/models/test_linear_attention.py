"""Attention without softmax: its two forms, its decays, and the components that it shares a place with."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from models import components
from models.base import pure
from models.linear_attention import parallel, recurrent
from models.position import NoPE, RoPE
from models.transformer import Transformer

SPEC = Transformer(vocab=3, length=16, scheme=NoPE(), layers=1, heads=2, width=8, mixer="gated_linear")


def test_parallel_and_recurrent_forms_agree():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 40, 2, 4))
    logs = jax.nn.log_sigmoid(jax.random.normal(jax.random.key(1), (40, 2)))
    one, other = jax.jit(parallel)(q, k, v, logs), jax.jit(recurrent)(q, k, v, logs)
    assert one.dtype == jnp.float64 and jnp.allclose(one, other, atol=1e-12)
    single = jax.jit(parallel)(*(a.astype(jnp.float32) for a in (q, k, v, logs)))
    assert single.dtype == jnp.float32 and jnp.allclose(single, other, atol=1e-4)


def test_retention_decays_as_the_paper_says_and_gates_start_there():
    retention, gated = (
        components.MIXERS[m](
            SPEC, SPEC.scheme(SPEC.size, nnx.Rngs(0)), components.linears(SPEC, nnx.Rngs(0)), nnx.Rngs(0)
        )
        for m in ("retention", "gated_linear")
    )
    x = jnp.zeros((5, 8), jnp.float32)
    expected = np.log([1 - 2.0**-5, 1 - 2.0**-6])
    assert np.allclose(retention.log_decays(x), expected[None], rtol=1e-5)
    assert np.allclose(gated.log_decays(x), expected[None], rtol=1e-4)
    assert not np.allclose(gated.log_decays(x + 1), expected[None], rtol=1e-2)


def test_windowed_rows_stand_side_by_side_the_oldest_first():
    x = jnp.arange(1.0, 7.0).reshape(3, 2)
    assert components.windowed(x, 2).tolist() == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6]]


def test_precision_is_a_choice():
    """Bfloat16 products keep float32 parameters and log probabilities; float64 is float64 throughout."""
    tokens, results = jnp.array([0, 1, 2, 2, 1, 0, 1, 1]), {}
    for name, kept in (("float32", jnp.float32), ("bfloat16", jnp.float32), ("float64", jnp.float64)):
        net = pure(Transformer(vocab=3, length=8, scheme=RoPE(), layers=1, heads=2, width=8, precision=name))
        params = jax.jit(net.init)(jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(kept)}
        if name == "float32":
            start = params
        params = jax.tree.map(lambda p, q: p.astype(q.dtype), start, params)
        results[name] = jax.jit(net.apply)(params, tokens)
        assert results[name].dtype == kept
    assert jnp.allclose(results["float32"], results["float64"], atol=1e-5)
    assert 1e-4 < jnp.abs(results["bfloat16"] - results["float64"]).max() < 0.1  # 8 bits of mantissa


def test_scalable_temperature_is_one_at_the_trained_length():
    """Logits x s ln n with s = 1 / ln(trained length): the row that sees so many inputs is as it was."""
    base = dict(vocab=3, length=16, scheme=NoPE(), layers=1, heads=2, width=8)
    plain, scalable = (pure(Transformer(**base, temperature=t)) for t in (1.0, "scalable"))
    params = jax.jit(plain.init)(jax.random.key(0))
    like = jax.jit(scalable.init)(jax.random.key(0))
    tokens = jnp.arange(16) % 3
    one, other = jax.jit(plain.apply)(params, tokens), jax.jit(scalable.apply)(like, tokens)
    assert jnp.allclose(one[15], other[15], atol=1e-5) and not jnp.allclose(one[5], other[5], atol=1e-4)
