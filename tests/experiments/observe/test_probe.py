"""A linear read of streams that carry the belief, a part of it, or nothing."""

import numpy as np
import pytest

from experiments.observe.probe import probe
from tests.experiments.observe.test_windows import KEY, LENGTH, MOVING, everything
from worlds.quantity import exact
from worlds.urn import dirichlet


class Streams:
    """Members whose residual stream is a linear image of the belief, its first entry, and a constant."""

    def __call__(self, tokens):
        return np.full((3, *tokens.shape, 3), -np.log(3))

    def residual(self, tokens):
        belief = beliefs(np.asarray(tokens))
        whole = belief @ np.array([[1.0, 2, 0], [0, 1, 1], [3, 0, 1]]) + 0.5
        first = belief[..., :1] * [1.0, 0, 0]
        return np.stack([whole, first, np.zeros_like(whole)])


def beliefs(tokens):
    """The belief before each token, by Bayes."""
    T = np.asarray(MOVING.transition)
    found = np.zeros((*tokens.shape, 3))
    for n, word in enumerate(tokens):
        b = np.asarray(MOVING.initial)
        for t, token in enumerate(word):
            found[n, t] = b
            b = b @ T[token]
            b = b / b.sum()
    return found


def test_what_is_carried_linearly_is_found_and_nothing_else():
    found = probe(64, 2, fitted=400, target="belief").observe(Streams(), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    whole, first, nothing = found.targets
    assert whole == pytest.approx(1, abs=1e-9) and found.scores[0] == pytest.approx(1, abs=1e-9)
    assert 0.3 < first < 0.99
    assert nothing == pytest.approx(0, abs=1e-12)
    assert found.ceiling == exact(1.0) and found.world.value == 1


def test_the_target_is_the_fitted_maps_share_over_the_law():
    """With the first entry alone: the fit on nearly all there is comes near the best linear map of the law."""
    words, chances = everything(MOVING, LENGTH)
    goal, weight = beliefs(words).reshape(-1, 3), chances.repeat(LENGTH)
    read = np.stack([goal[:, 0], np.ones(len(goal))], 1) * np.sqrt(weight)[:, None]
    rest = goal * np.sqrt(weight)[:, None]
    missed = ((rest - read @ np.linalg.lstsq(read, rest, rcond=None)[0]) ** 2).sum()
    best = 1 - missed / (weight[:, None] * (goal - weight @ goal / weight.sum()) ** 2).sum()
    found = probe(64, 2, fitted=4000, target="belief").observe(Streams(), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.targets[1] == pytest.approx(best, abs=0.005) and found.targets[1] <= best + 1e-12
    assert found.expected.kind == "exact"


def test_what_cannot_be_probed_is_refused():
    run = lambda p, predict, world: p.observe(predict, world, LENGTH, exact(1.0), exact(1.0), KEY)  # noqa: E731
    with pytest.raises(ValueError, match="must also offer residual"):
        run(probe(2, 2, 2, "belief"), lambda x: x, MOVING)
    with pytest.raises(ValueError, match="needs a world of hidden states, but got Urn"):
        run(probe(2, 2, 2, "belief"), Streams(), dirichlet(3, 1.0))
    with pytest.raises(ValueError, match="target must be belief or law"):
        probe(2, 2, 2, "state")
