"""Bounds over a continuum of profiles: no profile of a dense grid is above them, and they are close to the best."""

import jax
import numpy as np
import pytest

from models.perception import programme
from models.perception.contexts import enumerated
from models.perception.continuum import Field, first, highest
from models.perception.profiles import Geometric, Power
from models.perception.projection import project, pull, read, score
from worlds import kernel
from worlds.base import functional
from worlds.decay import decay

TIMES, VOCAB, SLACK = np.arange(4.0), 2, 1e-9
FAMILIES = {
    "one slope, any start": Geometric((0.7,), None),
    "order-free, any start": Geometric((0.0,), None),
    "any slope, no start": Geometric(None, (0.0,)),
    "any slope, given starts": Geometric(None, (0.5, 2.0)),
    "any slope, any start": Geometric(),
    "any exponent, any start": Power(1.0),
    "any exponent, sink": Power(0.5, True),
}


def field(seed, times=TIMES):
    """Random sums of either sign; lags beyond the first token are not read."""
    rng = np.random.default_rng(seed)
    lags = np.arange(1.0, 4.0)
    tokens = rng.normal(size=(len(times), 3, VOCAB, VOCAB)) * (lags[None] <= times[:, None])[..., None, None]
    return Field(times, tokens, rng.normal(size=(len(times), VOCAB)))


def dense(family):
    """Profiles that no search looked at."""
    slopes, starts = family.grid(4)
    last = family.steepest(TIMES, starts) if family.searched[0] else slopes[-1]
    rng = np.random.default_rng(1)
    if family.searched[0]:
        slopes = slopes[0] + np.concatenate([rng.uniform(0, 3, 200), rng.uniform(0, last - slopes[0], 200)])
        slopes = np.minimum(slopes, last)
    starts = np.r_[0.0, np.exp(rng.uniform(-9, 9, 200))] if family.searched[1] else starts
    return slopes, starts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_no_profile_is_above_the_bound_and_the_best_is_found(name, seed):
    family = FAMILIES[name]
    bound, found = highest(family, field(seed), 4, SLACK, 4_000_000)
    best = found[0][0]
    assert score(family, *dense(family), field(seed)).max() <= bound + 1e-12
    at = found[0][1]
    # what is said of a profile is its score; the far end of the slopes stands for all steeper ones, e^-24 away
    own = score(family, np.array([at.slope]), np.array([at.start]), field(seed))[0, 0]
    assert own == pytest.approx(best, abs=1e-8)
    assert best >= score(family, *dense(family), field(seed)).max() - 0.1 * max(best, 0) - 1e-3


def test_at_one_time_a_start_symbol_adds_nothing_to_the_unigram():
    boxes, _ = first(Geometric(), np.array([3.0]), 4)
    assert (boxes.low[:, 1] == boxes.high[:, 1]).all()


@pytest.mark.parametrize("family", [Geometric(None, (0.0,)), Geometric((0.25, 1.0), None)])
def test_a_certificate_over_a_continuum_is_not_beaten_by_any_of_its_profiles(family):
    """A grid of 40 slopes, refined around its peaks, once missed profiles that lowered the loss by 1e-5."""
    world = decay(3, kernel.offset(3), [[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]])
    contexts = enumerated(world, functional(world, 4, jax.random.key(0), 2))
    found = project(contexts, (family,))
    law = programme.mixed(read(found.columns, contexts), found.maps)
    assert found.certificate == found.proved < 2e-9
    assert np.log1p(score(family, *dense(family), pull(contexts, law)).max()) <= found.certificate
