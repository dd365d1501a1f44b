"""Read-outs that are wrong on purpose, and a start symbol that is missing: what they can say, and what they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.base import pure
from models.components import READOUTS, linears
from models.position import ALiBi, FreeTable, NoPE
from models.positional import Positional
from models.transformer import Transformer

SPEC = Transformer(3, 6, NoPE(), layers=1, heads=2, width=8)


def said(name, stream):
    """What a read-out says of given rows of the stream."""
    rngs = nnx.Rngs(0)
    return READOUTS[name](SPEC, linears(SPEC, rngs), rngs)(stream)


STREAM = jax.random.normal(jax.random.key(0), (64, 8), jnp.float32) * jnp.geomspace(0.01, 100, 64)[:, None]


def test_normed_logits_have_one_size():
    logs = np.asarray(said("normed", STREAM))
    np.testing.assert_allclose(np.exp(logs).sum(-1), 1, atol=1e-6)
    centred = logs - logs.mean(-1, keepdims=True)
    np.testing.assert_allclose((centred**2).mean(-1), 1, rtol=1e-3)


def test_rounded_logits_are_even_numbers_within_four_bits():
    logs = np.asarray(said("rounded", STREAM))
    steps = (logs - logs[:, :1]) / 2
    np.testing.assert_allclose(steps, steps.round(), atol=1e-5)
    assert np.abs(steps).max() <= 15 and len(np.unique(steps.round())) > 5


def test_rounded_logits_learn_as_if_they_were_not():
    def loss(name):
        rngs = nnx.Rngs(0)
        module = READOUTS[name](SPEC, linears(SPEC, rngs), rngs)
        graph, params = nnx.split(module)
        found = jax.grad(lambda p: (nnx.merge(graph, p)(STREAM[:20]) * jnp.arange(3.0)[None]).sum())(params)
        return [np.abs(x).max() for x in jax.tree.leaves(found)]

    assert min(loss("rounded")) > 0


@pytest.mark.parametrize("scheme", [NoPE(), ALiBi(learned=True), FreeTable()])
def test_without_a_start_symbol_nothing_but_the_first_row_reads_it(scheme):
    """The tokens' share is one from the second row on; with equal rows for all tokens time cannot be told."""
    spec = Positional(3, 6, scheme, 2, start="none")
    params = pure(spec).init(jax.random.key(0))
    module = nnx.merge(nnx.split(nnx.eval_shape(lambda: spec(nnx.Rngs(0))), nnx.Param)[0], params)
    read = np.asarray(module.profiles(jnp.array([3, 0, 1, 2, 0, 1])))
    np.testing.assert_allclose(read[:, 1:, 1:].sum(-1), 1, atol=1e-6)
    assert (read[:, 1:, 0] == 0).all() and (read[:, 0, 0] == 1).all()
    assert np.isfinite(np.asarray(pure(spec).apply(params, jnp.array([0, 1, 2, 0, 1, 2])))).all()


def test_the_start_symbol_is_there_or_it_is_not():
    with pytest.raises(ValueError, match="start must be one of learned, none, but is 'maybe'"):
        Positional(3, 6, NoPE(), 2, start="maybe")
