"""Laws that every network and every scheme obeys. A new one is one new row of tests/members.py."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from models.base import pure
from models.position import NTK, Interpolated, Randomised, YaRN
from tests.members import NETWORKS

every_network = pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
KEYS = jax.random.split(jax.random.key(0), 3)
LONG = 4  # times the trained length
DEPENDS_ON_LENGTH = (Randomised, Interpolated, NTK, YaRN)  # by their definition, beyond the trained length


def drawn(spec, count, length):
    return jax.random.randint(KEYS[0], (count, length), 0, spec.vocab, jnp.int32)


@functools.cache
def measured(spec):
    """Everything that the laws look at, from one program per member: compilation is what these tests cost."""
    net = pure(spec)
    limit = spec.scheme.limit(spec.length)
    reached = LONG * spec.length if limit is None else min(limit, LONG * spec.length)

    def loss(params, tokens):
        logs = jax.vmap(net.apply, (None, 0))(params, tokens)
        return -jnp.take_along_axis(logs, tokens[:, :, None], axis=-1).mean(), logs

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def program(params, other, tokens, long):
        (value, logs), grads = jax.value_and_grad(loss, has_aux=True)(params, tokens)
        members = jax.tree.map(lambda *x: jnp.stack(x), params, other)
        return dict(
            value=value,
            logs=logs,
            grads=grads,
            members=jax.vmap(net.apply, (0, None))(members, tokens[2]),
            long=net.apply(params, long),
        )

    params, tokens = jax.jit(net.init)(KEYS[1]), drawn(spec, 4, spec.length)
    cut = spec.length // 2
    changed = tokens.at[:, cut].set((tokens[:, cut] + 1) % spec.vocab)
    both = jnp.concatenate([tokens, changed])
    long = drawn(spec, 1, reached)[0].at[: spec.length].set(tokens[2])
    seen = program(params, params, both, long)
    moved = jax.tree.map(lambda p, g: p - 0.02 * g, params, seen["grads"])
    after = program(moved, params, both, long)
    changed = seen["logs"][4:]
    return SimpleNamespace(**seen, net=net, params=params, cut=cut, limit=limit, changed=changed, after=after,
                           programs=program._cache_size())  # fmt: skip


@every_network
def test_rows_are_normalised_log_probabilities_in_float32(spec):
    it = measured(spec)
    assert {leaf.dtype for leaf in jax.tree.leaves(it.params)} <= {jnp.dtype("float32")}  # under x64 too
    assert it.logs.dtype == jnp.float32 and it.logs.shape == (8, spec.length, spec.vocab)
    assert jnp.allclose(jax.nn.logsumexp(it.logs, axis=-1), 0, atol=1e-5)


@every_network
def test_row_t_knows_the_tokens_before_t_and_no_others(spec):
    it = measured(spec)
    assert jnp.allclose(it.changed[:, : it.cut + 1], it.logs[:4, : it.cut + 1], atol=1e-6)
    assert jnp.abs(it.changed[:, it.cut + 1] - it.logs[:4, it.cut + 1]).max() > 1e-4


@every_network
def test_batched_equals_single_and_longer_sequences_begin_as_shorter_ones(spec):
    it = measured(spec)
    assert jnp.allclose(it.members[1], it.logs[2], atol=1e-5)
    assert jnp.allclose(it.after["members"][0], it.after["logs"][2], atol=1e-5)  # members with numbers of their own
    assert jnp.allclose(it.after["members"][1], it.logs[2], atol=1e-5)
    if not isinstance(spec.scheme, DEPENDS_ON_LENGTH):
        assert jnp.allclose(it.long[: spec.length], it.logs[2], atol=1e-5)


@every_network
def test_a_step_down_its_finite_gradient_lowers_the_loss_in_one_program(spec):
    it = measured(spec)
    assert all(jnp.isfinite(g).all() and g.dtype == jnp.float32 for g in jax.tree.leaves(it.grads))
    assert it.after["value"] < it.value
    assert it.programs == 1


@every_network
def test_runs_beyond_its_trained_length_or_says_where_it_ends(spec):
    it = measured(spec)
    assert jnp.isfinite(it.long).all()
    if it.limit is not None:
        with pytest.raises(ValueError, match=f"defined up to {it.limit} tokens, but got a sequence of {it.limit + 1}"):
            jax.eval_shape(it.net.apply, it.params, drawn(spec, 1, it.limit + 1)[0])
