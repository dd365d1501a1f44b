"""Kendall's tau-b against scipy, and the calculator of evaluation tokens by simulation."""

import numpy as np
import pytest
import scipy.stats

from experiments.observe.fidelity import _taus, discordant, fidelity, needed, tau_b


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
    assert fidelity(losses * 2, losses, True).high == 1
    with pytest.raises(ValueError, match="same models"):
        fidelity(losses[:1], losses[:1], True)


def test_resampling_counts_is_resampling_models():
    """The vectorised bootstrap against tau-b of models drawn again, one sample at a time."""
    rng = np.random.Generator(np.random.PCG64(5))
    scores, losses = rng.normal(size=8), rng.normal(size=8)
    draws = rng.integers(0, 8, (50, 8))
    counts = np.stack([np.bincount(draw, minlength=8) for draw in draws]).astype(float)
    expected = [scipy.stats.kendalltau(scores[draw], losses[draw]).statistic for draw in draws]
    np.testing.assert_allclose(_taus(counts, scores, losses), expected, atol=1e-12)


def test_seeds_of_a_run_are_resampled_together():
    rng = np.random.Generator(np.random.PCG64(6))
    losses = np.repeat(np.arange(8.0), 3) + rng.normal(0, 0.01, 24)
    scores = losses + np.repeat(rng.normal(0, 2, 8), 3)
    runs = fidelity(scores, losses, True, groups=np.repeat(np.arange(8), 3))
    alone = fidelity(scores, losses, True)
    assert runs.value == alone.value and (runs.count, alone.count) == (8, 24)
    assert runs.high - runs.low > 1.3 * (alone.high - alone.low)  # seeds are no models of their own


def test_a_perfect_order_of_few_models_is_not_certain():
    """Three independent pairs that agree: discord is up to 1 - 0.05^(1/3) likely, so tau may be -0.26."""
    found = fidelity(np.arange(6.0), np.arange(6.0), True)
    assert (found.value, found.high) == (1, 1) and found.low == pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 3)), abs=1e-12)
    assert fidelity(-np.arange(6.0), np.arange(6.0), True).high == pytest.approx(-found.low, abs=1e-12)


def test_two_infinite_losses_tie_and_an_infinite_one_is_the_worst():
    losses = np.array([1.0, 2.0, np.inf, np.inf])
    assert tau_b(losses, losses) == 1
    assert fidelity(np.array([1.0, 2.0, 3.0, 4.0]), losses, True).value == pytest.approx(5 / np.sqrt(5 * 6), abs=1e-12)


def test_reversed_pairs_are_found():
    found = discordant(np.array([0.1, 0.2, 0.2]), np.array([1.0, 2.0, 3.0]), smaller_is_better=False)
    assert found.tolist() == [[False, True, True], [True, False, False], [True, False, False]]


def test_so_many_documents_rank_two_models_rightly_in_95_of_100():
    rng = np.random.Generator(np.random.PCG64(4))
    first, second = rng.normal(1.0, 0.5, 40_000), rng.normal(1.05, 0.5, 40_000)
    need = needed(first, second, tokens=10)
    assert need.tokens.value == 10 * need.documents.value and need.gap < 0
    assert need.documents.low < need.documents.value < need.documents.high
    exact = needed(first, second, tokens=10, gap=-0.05)
    assert exact.documents.contains(1.6448536**2 * 0.5 / 0.05**2)  # z^2 (0.25 + 0.25) / gap^2
    for count in (round(exact.documents.value),):
        draws = rng.normal(0.05, np.sqrt(0.5), (4000, count)).mean(1)
        assert np.mean(draws > 0) == pytest.approx(0.95, abs=4.5 * np.sqrt(0.95 * 0.05 / 4000))
    assert needed(first, first, 10).tokens.value == np.inf
    with pytest.raises(ValueError, match="confidence in"):
        needed(first, second, 10, 0.5)


def test_pairs_need_fewer_documents_than_strangers():
    rng = np.random.Generator(np.random.PCG64(7))
    shared = rng.normal(size=4000)
    first, second = shared + rng.normal(0, 0.1, 4000), shared + 0.05 + rng.normal(0, 0.1, 4000)
    paired, apart = needed(first, second, 1), needed(first, second[::-1].copy(), 1, paired=False)
    assert apart.documents.value / paired.documents.value == pytest.approx(2.02 / 0.02, rel=0.3)
    assert needed(first, second[:100], 1, paired=False).documents.count == 100
    with pytest.raises(ValueError, match="the same for both if they are paired"):
        needed(first, second[:100], 1)


def test_an_infinite_score_needs_no_number_of_documents_that_is_known():
    found = needed(np.array([1.0, np.inf]), np.array([1.0, 2.0]), 4)
    assert found.documents.kind == found.tokens.kind == "undefined"


@pytest.mark.slow
@pytest.mark.parametrize(("models", "correlation"), [(10, 0.6), (16, 0.9), (32, 0.0)])
def test_intervals_cover_the_tau_of_the_population(models, correlation):
    """Normal pairs: tau = 2 / pi arcsin(correlation). At least 92 % of 1000 samples; few models cover more."""
    rng, hits = np.random.Generator(np.random.PCG64(8)), []
    for seed in range(1000):
        first = rng.normal(size=models)
        second = correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=models)
        found = fidelity(first, second, True, resamples=400, seed=seed)
        hits.append(found.contains(2 / np.pi * float(np.arcsin(correlation)), slack=1e-12))
    print(f"{models} models, correlation {correlation}: {np.mean(hits):.3f} cover")
    assert np.mean(hits) >= 0.92
