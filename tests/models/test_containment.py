"""Containments that are claimed hold on random and on constructed weights, and nothing else is claimed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import perception
from models.base import pure
from models.containment import contained
from models.perception.profiles import Column, Geometric
from models.perception.profiles import table as profile_table
from models.position import ALiBi, FoX, FreeTable, HardALiBi, NoPE, Randomised, RoPE, Sinusoidal, Window
from models.positional import Positional
from models.transformer import Transformer

BASE = dict(vocab=3, length=12, layers=2, heads=2, width=8)
EVERYTHING, ORDER_FREE, OFFSET = perception.everything(), perception.order_free(), perception.offset()
DECAY, ALIBI = perception.decay(), perception.decay(slopes="alibi")


def positional(scheme, heads=2):
    return Positional(3, 12, scheme, heads)


CLAIMED = {
    "anything in everything": (Transformer(**BASE, scheme=RoPE()), EVERYTHING),
    "positional in everything": (positional(NoPE()), EVERYTHING),
    "uniform reads": (positional(NoPE()), ORDER_FREE),
    "uniform reads by slope": (positional(ALiBi(0.0)), ORDER_FREE),
    "uniform reads decay by nothing": (positional(NoPE()), DECAY),
    "decaying reads": (positional(ALiBi()), DECAY),
    "learned slopes": (positional(ALiBi(learned=True)), DECAY),
    "the paper's slopes": (positional(ALiBi()), ALIBI),
    "decay is by distance": (positional(ALiBi()), OFFSET),
    "one layer of windows": (Transformer(**(BASE | {"layers": 1}), scheme=Window(3)), perception.window(3, False)),
    "two layers of windows": (Transformer(**BASE, scheme=Window(3)), perception.window(5, False)),
    "windows of different widths": (Transformer(**BASE, scheme=HardALiBi(0, [2, 3])), perception.window(5, False)),
    "convolutions": (Transformer(**BASE, scheme=NoPE(), mixer="convolution", taps=3), perception.window(5, False)),
    "n-grams": (Transformer(**BASE, scheme=Sinusoidal(), mixer="mlp", taps=2), perception.window(3, True)),
    "one layer without positions": (Transformer(**(BASE | {"layers": 1}), scheme=NoPE()), perception.bag_and_last()),
    "no mixer": (Transformer(**BASE, scheme=NoPE(), mixer="none"), perception.window(1, False)),
    "with short convolutions": (
        Transformer(**BASE, scheme=Window(2), convolution=2, temperature="scalable"),
        perception.window(5, True),
    ),
}

NOT_CLAIMED = {
    "a decaying transformer": (Transformer(**BASE, scheme=ALiBi()), DECAY),
    "steeper reads": (positional(ALiBi(1.0)), ALIBI),
    "decaying reads are ordered": (positional(ALiBi()), ORDER_FREE),
    "given pseudo-counts": (positional(NoPE()), perception.order_free([0.0])),
    "a table of its own": (positional(FreeTable()), OFFSET),
    "two layers without positions": (Transformer(**BASE, scheme=NoPE()), perception.bag_and_last()),
    "one layer in the bag alone": (Transformer(**(BASE | {"layers": 1}), scheme=NoPE()), perception.bag()),
    "one layer that decays": (Transformer(**(BASE | {"layers": 1}), scheme=ALiBi()), perception.bag_and_last()),
    "a smaller window": (Transformer(**BASE, scheme=Window(3)), perception.window(4, False)),
    "time in a blind window": (Transformer(**BASE, scheme=Sinusoidal(), mixer="mlp"), perception.window(7, False)),
    "attention without end": (Transformer(**BASE, scheme=NoPE()), perception.window(5, True)),
    "a clock that reads the past": (
        Transformer(**BASE, scheme=Randomised(Window(3), 64)),
        perception.window(5, True),
    ),
    "gates read content": (Transformer(**BASE, scheme=FoX()), DECAY),
}


@pytest.mark.parametrize("spec, concept", CLAIMED.values(), ids=CLAIMED.keys())
def test_claimed_with_a_proof(spec, concept):
    assert len(contained(spec, concept).split()) > 8


@pytest.mark.parametrize("spec, concept", NOT_CLAIMED.values(), ids=NOT_CLAIMED.keys())
def test_not_claimed(spec, concept):
    assert contained(spec, concept) == ""


WINDOWS = [name for name, (_, concept) in CLAIMED.items() if concept.name.startswith("window")]


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_see_the_claimed_tokens_all_of_them_and_no_others(name):
    spec, concept = CLAIMED[name]
    net, last = pure(spec), concept.feature.last
    params = jax.jit(net.init)(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(jax.random.key(1), p.shape, p.dtype), params)
    tokens = jnp.array([0, 1, 2, 1, 0, 2, 2, 1, 0, 1, 2, 0])
    changed = jnp.stack([tokens] + [tokens.at[s].set((tokens[s] + 1) % 3) for s in range(11)])
    logs = jax.jit(jax.vmap(net.apply, (None, 0)))(params, changed)[:, 11]
    seen = jnp.abs(logs[1:] - logs[:1]).max(-1)
    assert (seen[: 11 - last] == 0).all() and (seen[11 - last :] > 1e-6).all()
    if not concept.aware:  # the same window says the same wherever it stands
        early = jax.jit(net.apply)(params, jnp.concatenate([tokens[:1], tokens[11 - last : 11], tokens[:1]]))
        assert jnp.allclose(early[last + 1], logs[0], atol=1e-5)


@pytest.mark.parametrize("name", ["decaying reads", "learned slopes", "uniform reads", "the paper's slopes"])
def test_positional_heads_are_profiles_of_the_dictionary(name):
    """At random start logits: the half-time tau = ln(1 + e^b (1 - e^-m)) / m is the profile's number, e^b at m = 0."""
    spec, _ = CLAIMED[name]
    module = Positional(3, 12, spec.scheme, 2, "float64")(nnx.Rngs(0))
    starts = np.array([-1.3, 0.7])
    module.start[...] = jnp.asarray(starts)
    seen = np.asarray(module.profiles(jnp.full(12, 3)))
    biases = np.asarray(module.biases(jnp.full(12, 3)))
    for head, start in enumerate(starts):
        m = float(biases[head, 1, 1] - biases[head, 1, 0])
        tau = np.exp(start) if m == 0 else np.log1p(np.exp(start) * -np.expm1(-m)) / m
        expected = profile_table(Column(Geometric(), m, float(tau)), 12)[:, :12]
        assert np.allclose(seen[head], expected, atol=1e-12)
