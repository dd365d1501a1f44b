"""What holds of the transformer beyond the laws of every network."""

import jax
import jax.numpy as jnp
import pytest

from models import attention
from models.attention import attend
from models.base import pure
from models.position import ALiBi, NoPE, RoPE
from models.position.decay import Linear
from models.transformer import Transformer
from tests import members

SPEC = dict(vocab=3, length=16, scheme=ALiBi(), layers=2, heads=2, width=8)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(heads=3), "heads must divide width, but width is 8 and heads 3"),
        (dict(width=0), "width must be at least 1, but is 0"),
        (dict(layers=-1), "layers must be at least 0, but is -1"),
        (dict(feed_forward="conv"), "feed_forward must be one of .*, but is 'conv'"),
        (dict(norm="batch"), "norm must be one of rms, layer, none, but is 'batch'"),
        (dict(scheme=RoPE(), width=6), "width / heads must be even, but is 3"),
        (dict(scheme=ALiBi([0.5])), "one slope per head is needed, so 2, but 1 are given"),
    ],
)
def test_impossible_specs_are_refused_with_the_rule(change, message):
    with pytest.raises(ValueError, match=message):
        Transformer(**{**SPEC, **change})


def test_equal_specs_are_one_program():
    calls = []

    @jax.jit
    def run(params, tokens):
        calls.append(1)
        return pure(Transformer(**SPEC)).apply(params, tokens)

    tokens = jnp.zeros(16, jnp.int32)
    for key in range(2):
        run(jax.jit(pure(Transformer(**SPEC)).init)(jax.random.key(key)), tokens)
    assert len(calls) == 1
    assert hash(Transformer(**SPEC)) == hash(Transformer(**SPEC))


@pytest.mark.parametrize("block", [7, 20])
def test_causal_blocks_equal_the_full_masked_product(block):
    q, k, v = jax.random.normal(jax.random.key(0), (3, 20, 2, 4), jnp.float32)
    x, where = jnp.zeros((20, 8), jnp.float32), jnp.arange(20, dtype=jnp.float32)
    slope, gap = jnp.array([0.5, 0.1], jnp.float32)[:, None, None], (where[:, None] - where[None, :])[None]
    scores = jnp.einsum("qhd,khd->hqk", q, k) / 2 - slope * gap
    weights = jax.nn.softmax(jnp.where(jnp.tri(20, dtype=bool)[None], scores, -jnp.inf))
    expected = jnp.einsum("hqk,khd->qhd", weights, v)
    ours = jax.jit(attend, static_argnums=(3, 6))(q, k, v, Linear((0.5, 0.1)), x, where, block)
    assert jnp.allclose(ours, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", members.SCHEMES)
def test_blocks_change_neither_loss_nor_gradient(name, monkeypatch):
    """Of any scheme: what a block of queries cannot see must not enter its bias either."""
    net = pure(members.NETWORKS[f"scheme {name}"])
    params, tokens = jax.jit(net.init)(jax.random.key(0)), jnp.arange(10, dtype=jnp.int32) % 3

    def loss(params):
        return -jnp.take_along_axis(net.apply(params, tokens), tokens[:, None], 1).mean()

    found = []
    for block in (3, 10):
        monkeypatch.setattr(attention, "BLOCK", block)
        monkeypatch.setattr(attention, "BLOCKS", 10)
        found.append(jax.jit(jax.value_and_grad(lambda params: loss(params)))(params))  # a function of its own each
    for ours, whole in zip(*(jax.tree.leaves(x) for x in found), strict=True):
        assert jnp.allclose(ours, whole, rtol=1e-4, atol=1e-6)  # float32 sums of 10 x 8 terms


def test_one_layer_without_positions_sees_the_last_token_and_the_bag():
    """Exactness T8: a one-layer NoPE network cannot tell orders of the earlier past apart; two layers can."""
    for layers, differs in ((1, False), (2, True)):
        net = pure(Transformer(**{**SPEC, "scheme": NoPE(), "layers": layers}))
        params = jax.jit(net.init)(jax.random.key(0))
        one, other = (jax.jit(net.apply)(params, jnp.array(t)) for t in ([0, 1, 2, 1, 0, 2], [1, 2, 0, 1, 0, 2]))
        assert bool(jnp.abs(one - other)[5].max() > 1e-3) == differs
        assert jnp.allclose(one[5], other[5], atol=1e-6) != differs


def test_parameters_that_layers_share_are_stored_once():
    net = pure(Transformer(**{**SPEC, "scheme": ALiBi(learned=True)}))
    own = pure(Transformer(**{**SPEC, "scheme": ALiBi(learned=True, shared=False)}))
    count = [len(jax.tree.leaves(jax.eval_shape(n.init, jax.random.key(0)))) for n in (net, own)]
    assert count[1] == count[0] + 1
