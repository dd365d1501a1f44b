"""Members that differ in their numbers, their worlds and their duration are what they would be alone."""

import jax
import numpy as np
import pytest

from experiments import backend, fit
from experiments.alchemy import Reals, Shape, numbers
from tests.experiments.smallest import SHAPE, SPEC, keys
from worlds import hmm

WORLDS = [hmm.golden_mean(p) for p in (0.5, 0.2, 0.7)]
REALS = [
    Reals(steps=4, rate=0.1, schedule="linear"),
    Reals(steps=9, rate=0.3, corruption=0.2, softness=0.5),
    Reals(steps=7, clip=0.1, curriculum=0.5, decay=0.1),
]


def together(reals=REALS, worlds=WORLDS, **more):
    longest = max(r.steps for r in reals)
    return fit.fit(SPEC, SHAPE, worlds, numbers(reals), longest, *keys(0, len(reals)), **more)


def alone(n, reals, world):
    weights, data = (x[n : n + 1] for x in keys(0, n + 1))
    return fit.fit(SPEC, SHAPE, world, numbers(reals), reals.steps, weights, data)


def close(a, b):
    return all(np.allclose(x, y, atol=1e-6) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_population_is_its_members_alone():
    """Other numbers, other worlds, other durations; where a schedule is over the curve says nothing."""
    params, curve = together()
    for n, (reals, world) in enumerate(zip(REALS, WORLDS, strict=True)):
        own, seen = alone(n, reals, world)
        assert close(jax.tree.map(lambda x, n=n: x[n : n + 1], params), own)
        for name in ("loss", "excess"):
            assert np.allclose(getattr(curve, name)[n, : reals.steps], getattr(seen, name)[0], atol=1e-6)
            assert np.isnan(getattr(curve, name)[n, reals.steps :]).all()


def test_a_population_resumes_in_any_order_of_its_members(tmp_path):
    class Killed(Exception):
        pass

    def kill(steps, loss, excess):
        if steps == 6:
            raise Killed

    with pytest.raises(Killed):
        together(checkpoint=tmp_path / "c.npz", report=kill)
    for a, b in zip(jax.tree.leaves(together()), jax.tree.leaves(together(checkpoint=tmp_path / "c.npz")), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_a_member_that_diverges_takes_nobody_with_it():
    """Its step is known: the first loss that is no number; the others end as they would without it."""
    told, wild = [], [REALS[0], Reals(steps=9, rate=1e38, clip=float("inf")), REALS[2]]
    params, curve = together(wild, report=lambda *news: told.append(news))
    steps = np.array([r.steps for r in wild])
    assert list(found := fit.diverged(params, curve, steps)) == [1]
    assert np.isfinite(curve.loss[1, : found[1]]).all() and not np.isfinite(curve.loss[1, found[1]])
    assert [news[0] for news in told] == [3, 6, 9] and np.isfinite([news[1:] for news in told[:2]]).all()
    for n in (0, 2):
        own, _ = alone(n, wild[n], WORLDS[n])
        assert close(jax.tree.map(lambda x, n=n: x[n : n + 1], params), own)


def test_weights_that_break_in_the_last_step_have_diverged_too():
    curve = fit.Curve(np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32))
    assert fit.diverged({"w": np.array([[1.0, 2.0], [np.inf, 0.0]])}, curve, 5) == {1: 5}


def test_watching_changes_nothing_and_sees_the_evaluated_weights(tmp_path):
    """At any moments, on chunk boundaries or not; a resumed run has seen the same."""

    class Killed(Exception):
        pass

    def kill(steps, loss, excess):
        if steps == 3:
            raise Killed

    shape = Shape(batch=4, length=6, chunk=3, average="ema")

    def train(**more):
        return fit.fit(SPEC, shape, WORLDS[0], numbers(Reals(steps=7)), 7, *keys(0), **more)

    def first_six(params):
        return np.stack([np.ravel(jax.tree.leaves(jax.tree.map(lambda x, n=n: x[n], params))[-1])[:6] for n in (0, 1)])

    watch = fit.Watch([0, 2, 3, 7, 99], first_six)
    params, curve = train(watch=watch)
    plain, blind = train()
    assert blind.watched is None and np.array_equal(curve.loss, blind.loss)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(plain), strict=True))
    assert curve.watched.tolist() == [0, 2, 3, 7] and curve.by_position.shape == (2, 4, 6)
    assert np.array_equal(curve.by_position[:, -1], first_six(params))
    with pytest.raises(Killed):
        train(watch=watch, checkpoint=tmp_path / "c.npz", report=kill)
    again = train(watch=watch, checkpoint=tmp_path / "c.npz")[1]
    assert all(np.array_equal(a, b) for a, b in zip(curve, again, strict=True))


def test_worlds_of_a_population_have_one_shape():
    with pytest.raises(ValueError, match="worlds of a population may differ in their numbers only"):
        together(REALS[:2], [hmm.golden_mean(0.5), hmm.mess3(0.1, 0.8)])


@pytest.mark.parametrize(("work", "devices"), [([5, 1, 1, 9, 3], 2), ([1, 1, 1], 2), ([2], 4), ([8, 1, 1, 1, 8, 1], 3)])
def test_work_is_dealt_out_evenly_and_everybody_is_found_again(work, devices):
    place, back = backend.dealt(np.array(work), devices)
    assert len(place) % devices == 0 and set(place.tolist()) == set(range(len(work)))
    assert np.array_equal(place[back], np.arange(len(work)))
    loads = np.array(work)[place].reshape(devices, -1).sum(1)
    assert loads.max() - loads.min() <= max(work)
