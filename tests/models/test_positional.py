"""Position-only attention: worlds that it holds exactly, and what it is not given."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.base import pure
from models.position import ALiBi, Learned, NoPE, RoPE
from models.positional import Positional
from worlds import base
from worlds.decay import decay, decay_heads, head
from worlds.hmm import mess3
from worlds.kernel import geometric, offset, uniform
from worlds.table import dirichlet as rows
from worlds.urn import dirichlet

LENGTH = 24
M = -np.log(0.6)  # 0.5108256238, the slope of the geometric world of rate 0.6
NEAR, FAR = head(geometric(0.6), rows, 0.3), head(geometric(0.9), rows, 0.7)

HELD = {
    "geometric sink": (decay(3, geometric(0.6), rows, early="sink"), ALiBi(M), 1),
    "geometric renormalised": (decay(3, geometric(0.6), rows), ALiBi(M), 1),
    "with noise, among other heads": (decay(3, geometric(0.6), rows, noise=0.1), ALiBi([1.0, M, 0.1]), 3),
    "urn": (dirichlet(3, 0.4), NoPE(), 1),
    "urn by slope 0": (dirichlet(3, 0.4), ALiBi([0.5, 0.0]), 2),
    "uniform": (decay(3, uniform(), rows), NoPE(), 2),
    "two heads": (decay_heads(3, {"a": NEAR, "b": FAR}, early="sink"), ALiBi([-np.log(0.9), M]), 2),
    "learned slopes": (decay_heads(3, {"a": NEAR, "b": FAR}), ALiBi(learned=True), 4),
}


@functools.partial(jax.jit, static_argnums=0)
def divergence(spec, params, world):
    """KL(world || network) of each row, [sequence, time]."""
    tokens = jax.vmap(base.sample, (None, 0, None))(world, jax.random.split(jax.random.key(0), 8), LENGTH)
    truth = jax.vmap(base.log_conditionals, (None, 0))(world, tokens)
    ours = jax.vmap(pure(spec).apply, (None, 0))(params, tokens)
    return (jnp.exp(truth) * jnp.where(truth > -jnp.inf, truth - ours, 0)).sum(-1)


@pytest.mark.parametrize("world, scheme, heads", HELD.values(), ids=HELD.keys())
def test_enlightened_weights_hold_the_world_exactly(world, scheme, heads):
    for precision, bound in (("float64", 1e-13), ("float32", 1e-5)):
        spec = Positional(world.vocab_size, LENGTH, scheme, heads, precision)
        params = spec.enlightened(world, LENGTH)
        assert params is not None
        assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(pure(spec).init, jax.random.key(0)))
        # Learned slopes are kept in float32: the table is off by 1e-7, and the divergence by its square.
        assert jnp.abs(divergence(spec, params, world)).max() < bound


def test_weights_are_the_references():
    """Start logits b: -ln(1 - e^-m) for the sink, -inf renormalised, and ln(V alpha) for the urn."""
    starts = {}
    for name in ("geometric sink", "geometric renormalised", "urn"):
        world, scheme, heads = HELD[name]
        starts[name] = Positional(3, LENGTH, scheme, heads, "float64").enlightened(world, LENGTH)["start"][...]
    assert np.allclose(starts["geometric sink"], 0.9162907319, atol=1e-9)
    assert np.array_equal(starts["geometric renormalised"], [-np.inf])
    assert np.allclose(starts["urn"], np.log(3 * 0.4), atol=1e-12)


NOT_HELD = {
    "an offset": (decay(3, offset(3), rows, early="sink"), ALiBi(M)),
    "logits": (decay(3, geometric(0.6), rows, readout="loglinear"), ALiBi(M)),
    "a hidden state": (mess3(0.15, 0.6), ALiBi(M)),
    "more profiles than heads": (decay_heads(3, {"a": NEAR, "b": FAR}), ALiBi(M)),
}


@pytest.mark.parametrize("world, scheme", NOT_HELD.values(), ids=NOT_HELD.keys())
def test_other_worlds_have_no_construction(world, scheme):
    assert Positional(3, LENGTH, scheme).enlightened(world, LENGTH) is None


@pytest.mark.parametrize("scheme", [RoPE(), Learned()])
def test_schemes_that_act_on_content_are_refused(scheme):
    with pytest.raises(ValueError, match="needs a scheme that is a bias or nothing"):
        Positional(3, 8, scheme, heads=2)


def test_a_head_that_never_says_a_token_scores_it_impossible():
    world = decay(2, geometric(0.5), jnp.eye(2), start=jnp.array([1.0, 0.0]))
    params = (spec := Positional(2, 8, ALiBi(float(np.log(2))))).enlightened(world, 8)
    logs = jax.jit(pure(spec).apply)(params, jnp.zeros(8, jnp.int32))
    assert jnp.array_equal(logs[:, 1], jnp.full(8, -jnp.inf)) and jnp.allclose(logs[:, 0], 0, atol=1e-6)
