"""Constructed weights, each with the bound of its theory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.base import pure
from models.enlightened import attention, mixed
from models.position import ALiBi, FreeTable, NoPE, RoPE
from models.positional import Positional
from models.transformer import Transformer
from worlds import base
from worlds.decay import decay, decay_heads, head
from worlds.hmm import golden_mean, mess3
from worlds.kernel import geometric, offset, power, profile, table, uniform
from worlds.table import dirichlet as rows

LENGTH = 16


@functools.partial(jax.jit, static_argnums=0)
def divergence(spec, params, world):
    """KL(world || network) of each row, [sequence, time]."""
    tokens = jax.vmap(base.sample, (None, 0, None))(world, jax.random.split(jax.random.key(0), 8), LENGTH)
    truth = jax.vmap(base.log_conditionals, (None, 0))(world, tokens)
    ours = jax.vmap(pure(spec).apply, (None, 0))(params, tokens)
    return (jnp.exp(truth) * jnp.where(truth > -jnp.inf, truth - ours, 0)).sum(-1)


def lost(spec, world):
    params = spec.enlightened(world, LENGTH)
    assert params is not None
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(pure(spec).init, jax.random.key(0)))
    return float(divergence(spec, params, world).max())


@pytest.mark.parametrize("lag", [1, 5])
@pytest.mark.parametrize("early", ["sink", "renormalise"])
def test_offset_by_a_table_whose_gap_is_the_bound(lag, early):
    """Missed mass at most t e^-40, so KL <= -ln(1 - t e^-40): nothing beside float64."""
    world = decay(3, offset(lag), rows, early=early)
    assert abs(lost(Positional(3, LENGTH, FreeTable(), 2, "float64"), world)) < 1e-13


@pytest.mark.parametrize("gap", [3.0, 6.0, 9.0])
def test_offset_by_a_smaller_gap_misses_no_more_than_the_bound(gap):
    """Exactness 4: a head whose logits are `gap` at its lag and 0 elsewhere misses at most (t-1) e^-gap."""
    lag, t = 3, np.arange(LENGTH)
    bias = np.where(t[:, None] - t[None, :] == lag - 1, gap, 0.0)
    seen, wanted = attention(bias, -np.inf), np.asarray(profile(offset(lag), LENGTH))[:, :LENGTH]
    missed = 1 - (seen * wanted).sum(1)[lag + 1 :]
    bound = (t[lag + 1 :] - 1) * np.exp(-gap)
    assert (missed <= bound).all() and (missed > 0.3 * bound).all()
    K = np.asarray(rows(3, "mixture"))
    symbols = np.random.default_rng(0).integers(0, 3, (64, LENGTH))
    truth, ours = (np.einsum("ts,nsy->nty", a[lag + 1 :, 1:], K[symbols[:, :-1]]) for a in (wanted, seen))
    divergences = (truth * np.log(truth / ours)).sum(-1)
    assert (divergences <= -np.log1p(-np.minimum(bound, 1 - 1e-12))[None]).all()


def test_any_kernel_renormalised_is_a_free_table():
    world = decay(3, table([0.5, 0.1, 0.3, 0.1] + [0.05] * 11), rows)
    assert abs(lost(Positional(3, LENGTH, FreeTable(), 1, "float64"), world)) < 1e-12


@pytest.mark.parametrize("early", ["sink", "renormalise"])
@pytest.mark.parametrize("heads, bar", [(2, 0.8), (4, 0.2)])
def test_power_laws_by_mixtures_of_geometrics_within_the_ratio_bound(early, heads, bar):
    """Exactness T11: if |q/p - 1| <= eps on what is read, KL <= -eps - ln(1 - eps)."""
    world = decay(3, power(1.5), rows, early=early)
    slopes = np.geomspace(1.5, 0.02, heads)
    i, j = np.arange(LENGTH)[:, None], np.arange(LENGTH)[None, :]
    profiles = np.asarray(profile(power(1.5), LENGTH, early))[None, :, :LENGTH]
    starts, shares = mixed(profiles, -slopes[:, None, None] * (i - j)[None])
    tables = np.stack([attention(-m * (i - j), start) for m, (_, start) in zip(slopes, starts, strict=True)])
    read = profiles[0] > 0
    eps = np.abs(np.einsum("h,hts->ts", shares[:, 0], tables)[read] / profiles[0][read] - 1).max()
    assert eps < bar
    assert 0 < lost(Positional(3, LENGTH, ALiBi(slopes.tolist()), heads, "float64"), world) <= -eps - np.log1p(-eps)


TEACHERS = {
    "geometric sink": (decay(3, geometric(0.6), rows, readout="loglinear", early="sink"), ALiBi(-np.log(0.6)), 1),
    "renormalised, among heads": (decay(3, geometric(0.6), rows, readout="loglinear"), ALiBi([1.0, -np.log(0.6)]), 2),
    "uniform": (decay(3, uniform(), rows, readout="loglinear"), NoPE(), 2),
    "learned slope": (decay(3, geometric(0.8), rows, readout="loglinear"), ALiBi(learned=True), 2),
    "offset": (decay(3, offset(3), rows, readout="loglinear", early="sink"), FreeTable(), 2),
    "two heads": (
        decay_heads(3, {"a": head(geometric(0.5), rows, 2.0), "b": head(offset(2), rows)}, readout="loglinear"),
        FreeTable(),
        2,
    ),
}


@pytest.mark.parametrize("world, scheme, heads", TEACHERS.values(), ids=TEACHERS.keys())
def test_a_log_linear_world_is_one_layer_of_the_transformer(world, scheme, heads):
    spec = Transformer(3, LENGTH, scheme, layers=2, heads=heads, width=24, norm="none", precision="float64")
    assert abs(lost(spec, world)) < 1e-11  # learned numbers are float32: 1e-7, squared
    single = Transformer(3, LENGTH, scheme, layers=1, heads=heads, width=16, precision="float32")
    assert abs(lost(single, world)) < 1e-5  # with RMS norm: beside a constant 1,000 times larger


@pytest.mark.slow  # compilation alone
def test_k_markov_by_lookup_is_exact():
    spec = Transformer(2, LENGTH, NoPE(), 1, 1, 8, "none", "none", "mlp", taps=1, precision="float64")
    assert abs(lost(spec, golden_mean(0.5))) < 1e-12
    world = decay(3, table([0.5, 0.2, 0.3]), rows)
    spec = Transformer(3, LENGTH, NoPE(), 1, 1, 16, "none", "rms", "mlp", taps=3, precision="float64")
    assert abs(lost(spec, world)) < 1e-10


@pytest.mark.parametrize("taps, gap", [(1, 2.180e-3), (2, 5.03e-4), (3, 1.16e-4)])
def test_a_hidden_state_by_lookup_loses_the_information_that_the_window_loses(taps, gap):
    """Exactness 7.2: Mess3's steady gaps of the last n tokens; at position n + 1 and before nothing is lost."""
    world = mess3(0.15, 0.6)
    spec = Transformer(3, 9, NoPE(), 1, 1, 16, "none", "none", "mlp", taps=taps, precision="float64")
    *_, (tokens, logs, _) = base.prefixes(world, 8)
    tokens = jnp.concatenate([jnp.asarray(tokens), jnp.zeros((len(tokens), 1), jnp.int32)], axis=1)
    truth = jax.jit(jax.vmap(base.log_conditionals, (None, 0)))(world, tokens)
    ours = jax.jit(jax.vmap(pure(spec).apply, (None, 0)))(spec.enlightened(world, 9), tokens)
    by_position = jnp.exp(jnp.asarray(logs)) @ (jnp.exp(truth) * (truth - ours)).sum(-1)
    assert np.allclose(by_position[: taps + 1], 0, atol=1e-12)
    # The steady gap is measured from h_inf, ours at position 9 from h_9, which is 5e-8 above it.
    assert np.isclose(by_position[8], gap, atol=6e-7)


@pytest.mark.slow
def test_architectures_without_room_have_no_construction():
    world = decay(3, geometric(0.6), rows, readout="loglinear")
    fits = dict(vocab=3, length=LENGTH, scheme=ALiBi(-np.log(0.6)), layers=1, heads=1, width=16)
    assert Transformer(**fits).enlightened(world, LENGTH) is not None
    for change in (
        dict(width=7),
        dict(heads=8),  # heads of two features cannot say three tokens
        dict(layers=0),
        dict(norm="layer"),
        dict(readout="probability"),
        dict(scheme=ALiBi(1.0)),
        dict(scheme=RoPE()),
        dict(temperature="scalable"),
        dict(mixer="gru"),
        dict(mixer="mlp", taps=6),
    ):
        assert Transformer(**(fits | change)).enlightened(world, LENGTH) is None
    assert (
        Transformer(**fits).enlightened(decay(3, geometric(0.6), rows), LENGTH) is None
    )  # a mixture needs a logarithm
    assert Transformer(**fits).enlightened(mess3(0.15, 0.6), LENGTH) is None
