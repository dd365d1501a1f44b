"""Laws that every network and every scheme obeys. A new one is one new row of tests/members.py."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from models.base import pure
from tests.members import NETWORKS

every_network = pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
KEYS = jax.random.split(jax.random.key(0), 3)
LONG = 4  # times the trained length


def drawn(spec, count, length):
    return jax.random.randint(KEYS[0], (count, length), 0, spec.vocab, jnp.int32)


@functools.cache
def measured(spec):
    """Everything that the laws look at, from one program per member: compilation is what these tests cost."""
    net = pure(spec)
    limit = spec.scheme.limit(spec.length)

    def loss(params, tokens):
        logs = jax.vmap(net.apply, (None, 0))(params, tokens)
        return -jnp.take_along_axis(logs, tokens[:, :, None], axis=-1).mean(), logs

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def program(params, tokens, changed, long):
        (value, logs), grads = jax.value_and_grad(loss, has_aux=True)(params, tokens)
        moved = jax.tree.map(lambda p, g: p - 0.02 * g, params, grads)
        return dict(
            value=value,
            logs=logs,
            grads=grads,
            next_value=loss(moved, tokens)[0],
            changed=loss(params, changed)[1],
            short=net.apply(params, tokens[2, : spec.length // 2]),
            single=net.apply(params, tokens[2]),
            long=net.apply(params, long) if limit is None or len(long) <= limit else None,
        )

    params, tokens = jax.jit(net.init)(KEYS[1]), drawn(spec, 4, spec.length)
    cut = spec.length // 2
    changed = tokens.at[:, cut].set((tokens[:, cut] + 1) % spec.vocab)
    long = drawn(spec, 1, LONG * spec.length)[0]
    seen = program(params, tokens, changed, long)
    program(jax.tree.map(jnp.negative, params), tokens, changed, long)
    return SimpleNamespace(net=net, params=params, cut=cut, limit=limit, programs=program._cache_size(), **seen)


@every_network
def test_rows_are_normalised_log_probabilities_in_float32(spec):
    it = measured(spec)
    assert {leaf.dtype for leaf in jax.tree.leaves(it.params)} <= {jnp.dtype("float32")}  # under x64 too
    assert it.logs.dtype == jnp.float32 and it.logs.shape == (4, spec.length, spec.vocab)
    assert jnp.allclose(jax.nn.logsumexp(it.logs, axis=-1), 0, atol=1e-5)


@every_network
def test_row_t_knows_the_tokens_before_t_and_no_others(spec):
    it = measured(spec)
    assert jnp.allclose(it.changed[:, : it.cut + 1], it.logs[:, : it.cut + 1], atol=1e-6)
    assert jnp.abs(it.changed[:, it.cut + 1] - it.logs[:, it.cut + 1]).max() > 1e-4


@every_network
def test_batched_equals_single_and_longer_sequences_begin_as_shorter_ones(spec):
    it = measured(spec)
    assert jnp.allclose(it.single, it.logs[2], atol=1e-5)
    assert jnp.allclose(it.short, it.logs[2, : len(it.short)], atol=1e-5)


@every_network
def test_a_step_down_its_finite_gradient_lowers_the_loss_in_one_program(spec):
    it = measured(spec)
    assert all(jnp.isfinite(g).all() and g.dtype == jnp.float32 for g in jax.tree.leaves(it.grads))
    assert it.next_value < it.value
    assert it.programs == 1


@every_network
def test_runs_beyond_its_trained_length_or_says_where_it_ends(spec):
    it = measured(spec)
    if it.long is None:
        with pytest.raises(ValueError, match=f"defined up to {it.limit} tokens, but got a sequence of {it.limit + 1}"):
            jax.eval_shape(it.net.apply, it.params, drawn(spec, 1, it.limit + 1)[0])
    else:
        assert jnp.isfinite(it.long).all()
