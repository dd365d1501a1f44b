"""Oracle fits on the exact loss: against measurement, against what is known to be reachable, and stopped midway."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra import compose, initialize_config_module

import experiments.schema  # noqa: F401  the types of the config
from experiments import fit, measure, oracle
from experiments.cell import build
from experiments.reach import Curve
from experiments.screen import Screen
from models.base import pure
from worlds.base import functional

TINY = [
    *("world.vocab=2", "world.early=sink", "reach.length=5", "oracle.restarts=3", "oracle.steps=40"),
    *("instantiation=positional", "instantiation.heads=1", "perception/scheme=alibi_learned"),
]


@functools.cache
def cell(*more):
    with initialize_config_module("conf", version_base="1.3"):
        return build(compose("config", [*TINY, *more]))


def trained(cell, count=2):
    """Members as training leaves them, but untrained: fresh weights, and a curve that tells them apart."""
    keys = jax.random.split(jax.random.key(5), count)
    excess = jnp.tile(jnp.arange(count, dtype=jnp.float32)[::-1, None], (1, 4))
    return jax.vmap(pure(cell.spec).init)(keys), Curve(excess, excess)


@functools.cache
def fitted(tmp):
    return oracle.fits(cell(), *trained(cell()), tmp, Screen())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("oracle"))


def excess(cell, params):
    over = functional(cell.world, cell.shape.length, jax.random.key(0), 2)
    truth = measure.law(cell.world, over.tokens)
    return [m.mean().value for m in measure.measure(measure.network(cell.spec, params), over, truth)]


def test_what_it_minimises_is_what_is_measured(found):
    """Two programs: the parts of the fit's own objective, and the measurement of float32 weights."""
    params, curve = found
    assert excess(cell(), params) == pytest.approx(np.nanmin(curve.excess, axis=1), abs=1e-7)


def test_a_world_that_one_head_holds_is_reached(found):
    """A head with a free slope and start logit is the geometric sink world: the optimum is 0."""
    assert min(excess(cell(), found[0])) < 1e-8


def test_the_best_member_comes_first_and_the_rest_is_fresh():
    params, curve = trained(cell())
    params = jax.tree.map(lambda x: x.at[1].set(jnp.nan), params)  # the member of the lower excess diverged
    order = np.argsort(np.asarray(curve.excess[:, -1]))
    begun = oracle.starts(cell(), params, order, 3)
    assert jax.tree.all(jax.tree.map(lambda x, y: jnp.array_equal(x[0], y), params, begun[0]))
    assert len(begun) == 3 and all(jnp.isfinite(x).all() for x in jax.tree.leaves(begun))
    assert not jnp.array_equal(begun[1]["values"][...], begun[2]["values"][...])


def test_a_fit_that_was_stopped_goes_on_to_the_same_weights(found, tmp_path, monkeypatch):
    saved = fit.save

    def save_and_die(path, tree):
        saved(path, tree)
        raise KeyboardInterrupt

    for _ in range(3 + oracle.STRETCH - 1):  # three first stretches and the rest of the best
        with monkeypatch.context() as patch:
            patch.setattr(fit, "save", save_and_die)
            with pytest.raises(KeyboardInterrupt):
                oracle.fits(cell(), *trained(cell()), tmp_path, Screen())
    params, curve = oracle.fits(cell(), *trained(cell()), tmp_path, Screen())
    assert jax.tree.all(jax.tree.map(jnp.array_equal, params, found[0]))
    assert np.array_equal(curve.excess, found[1].excess, equal_nan=True)


def test_long_sequences_are_fitted_by_endless_data():
    assert oracle.exact(cell()) and not oracle.exact(cell("reach.length=32"))


def test_every_sequence_has_its_weight_once_whatever_the_parts():
    over = functional(cell().world, 5, jax.random.key(0), 2)
    parts = oracle.divided(over, measure.law(cell().world, over.tokens))
    assert float(parts.weight.sum()) == pytest.approx(1, abs=1e-15)
    assert parts.tokens.shape[-2] == oracle.MICRO and int((parts.weight > 0).sum()) == over.tokens.size


def test_the_fine_spec_differs_in_precision_alone():
    spec = cell("instantiation=transformer").spec
    assert repr(oracle.fine(spec)) == repr(spec).replace("float32", "float64")
