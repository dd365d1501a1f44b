"""Kendall's tau-b against scipy, and the calculator of evaluation tokens by simulation."""

import numpy as np
import pytest
import scipy.stats

from experiments.observe.fidelity import fidelity, needed, tau_b


def test_tau_b_is_scipys():
    rng = np.random.Generator(np.random.PCG64(3))
    a, b = rng.integers(0, 5, 12).astype(float), rng.integers(0, 5, 12).astype(float)
    assert len(set(a)) < 12 and tau_b(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic, abs=1e-12)
    assert np.isnan(tau_b(a, np.ones(12)))


def test_perfect_and_reversed_rankings_and_none():
    losses = np.arange(6.0)
    assert fidelity(losses * 2, losses, True).value == pytest.approx(1, abs=1e-12)
    assert fidelity(-losses, losses, False).value == pytest.approx(1, abs=1e-12)
    assert fidelity(-losses, losses, True).value == pytest.approx(-1, abs=1e-12)
    assert fidelity(np.ones(6), losses, True).kind == "undefined"
    noisy = fidelity(losses + np.array([0, 2, 0, -2, 0, 0.5]), losses, True)
    assert noisy.low < noisy.value < 1 and noisy.kind == "estimated" and noisy.count == 6
    with pytest.raises(ValueError, match="same models"):
        fidelity(losses[:1], losses[:1], True)


def test_so_many_documents_rank_two_models_rightly_in_95_of_100():
    rng = np.random.Generator(np.random.PCG64(4))
    first, second = rng.normal(1.0, 0.5, 40_000), rng.normal(1.05, 0.5, 40_000)
    need = needed(first, second, tokens=10)
    assert need.tokens == 10 * need.documents and need.gap < 0
    draws = rng.normal(0.05, np.sqrt(0.5), (4000, round(need.documents))).mean(1)
    spread = 4.5 * np.sqrt(0.95 * 0.05 / 4000) + 0.015  # of the draws, and of the gap that was measured
    assert np.mean(draws > 0) == pytest.approx(0.95, abs=spread)
    assert needed(first, first, 10).tokens == np.inf
    with pytest.raises(ValueError, match="confidence in"):
        needed(first, second, 10, 0.5)
