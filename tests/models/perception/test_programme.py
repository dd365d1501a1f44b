"""The solver and its certificate, against a general-purpose optimiser and against their own theorems."""

import numpy as np
import pytest
import scipy.optimize

from models.perception import programme


def problem(seed: int, contexts: int = 12, heads: int = 2, symbols: int = 3, vocab: int = 2, forbid: bool = False):
    """Random features (rows of each head sum to one), targets and weights; some targets are impossible if asked."""
    rng = np.random.default_rng(seed)
    features = rng.dirichlet(np.full(symbols, 0.3), (contexts, heads))
    target = rng.dirichlet(np.full(vocab, 0.5), contexts)
    if forbid:
        target[::3] = np.eye(vocab)[0]
    return features, target, rng.dirichlet(np.ones(contexts))


def loss(maps, features, target, weight):
    guess = programme.mixed(features, maps)
    ratio = np.where(target > 0, target, 1) / np.where(target > 0, guess, 1)
    return weight @ (target * np.log(ratio)).sum(1)


def gradient(maps, features, target, weight):
    ratio = programme.ratios(target, weight, programme.mixed(features, maps))
    return (features.reshape(len(features), -1).T @ ratio).reshape(maps.shape)


def random_maps(rng, heads, symbols, vocab):
    return rng.dirichlet(np.ones(vocab), (heads, symbols)) * rng.dirichlet(np.ones(heads))[:, None, None]


def by_slsqp(features, target, weight):
    """The same programme in the variables (w, M), for a solver that knows nothing of it."""
    _, heads, symbols = features.shape
    vocab = target.shape[1]
    start = np.full(heads * symbols * vocab, 1 / (heads * vocab))

    def rows(x):
        sums = x.reshape(heads, symbols, vocab).sum(2)
        return np.concatenate([(sums[:, 1:] - sums[:, :1]).ravel(), [sums[:, 0].sum() - 1]])

    found = scipy.optimize.minimize(
        lambda x: loss(x.reshape(heads, symbols, vocab), features, target, weight),
        start,
        jac=lambda x: -gradient(x.reshape(heads, symbols, vocab), features, target, weight).ravel(),
        constraints={"type": "eq", "fun": rows},
        bounds=[(1e-12, 1)] * len(start),
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return found.fun


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("forbid", [False, True])
def test_the_optimum_is_that_of_a_general_optimiser(seed, forbid):
    data = problem(seed, forbid=forbid)
    found = programme.solve(*data)
    assert found.certificate < 1e-9
    assert loss(found.maps, *data) == pytest.approx(by_slsqp(*data), abs=1e-7)  # SLSQP's own accuracy


@pytest.mark.parametrize("seed", range(4))
def test_points_are_exactly_feasible(seed):
    data = problem(seed, heads=3, vocab=3)
    maps = programme.solve(*data).maps
    assert maps.min() >= 0
    assert np.abs(maps.sum(2) - maps.sum(2)[:, :1]).max() < 1e-15
    assert maps.sum(2)[:, 0].sum() == pytest.approx(1, abs=1e-14)
    assert np.abs(programme.mixed(data[0], maps).sum(1) - 1).max() < 1e-14


@pytest.mark.parametrize("seed", range(20))
def test_the_certificate_holds_at_any_feasible_point(seed):
    data = problem(seed, heads=3, vocab=3)
    best = loss(programme.solve(*data).maps, *data)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        maps = random_maps(rng, 3, 3, 3)
        gap = programme.certificate(programme.scores(gradient(maps, *data)).max())
        assert loss(maps, *data) - best <= gap


@pytest.mark.parametrize("seed", range(10))
def test_an_em_step_gains_at_least_what_it_moved(seed):
    data = problem(seed, heads=3, vocab=3)
    maps = random_maps(np.random.default_rng(seed), 3, 3, 3)
    slope = gradient(maps, *data)
    joint, moved = maps * slope, programme.em_step(maps, slope)
    old, new = maps / maps.sum(2, keepdims=True), moved / moved.sum(2, keepdims=True)
    weight, then = maps.sum(2)[:, 0], moved.sum(2)[:, 0]
    bound = (then * np.log(then / weight)).sum() + (joint.sum(2) * (new * np.log(new / old)).sum(2)).sum()
    assert bound > 0
    assert loss(maps, *data) - loss(moved, *data) >= bound - 1e-13
    assert np.abs(programme.feasible(moved) - moved).max() < 1e-14  # EM stays feasible


def test_symbols_that_nothing_reads_are_left_out_and_stay_feasible():
    features, target, weight = problem(0, symbols=3)
    padded = np.concatenate([features, np.zeros_like(features[:, :, :2])], axis=2)
    found, plain = programme.solve(padded, target, weight), programme.solve(features, target, weight)
    assert loss(found.maps, padded, target, weight) == pytest.approx(
        loss(plain.maps, features, target, weight), abs=1e-9
    )
    assert np.abs(found.maps.sum(2) - found.maps.sum(2)[:, :1]).max() < 1e-15
