"""Differences of two runs: paired where they may be, never otherwise, and right against plain arithmetic."""

import numpy as np
import pytest
import scipy.stats

from experiments.contrasts import contrast, difference, truth
from experiments.fidelity.pairs import compared, order, tokens
from tests.experiments.fidelity.made import DOCUMENTS, SPREAD, TOKENS, side, written

GOOD, BAD = 0.02, 0.05


@pytest.fixture
def both(ledgers, tmp_path):
    """Builds two runs; returns their sides."""

    def build(member=None, second="same", exactly=False):
        made, _ = ledgers
        written(tmp_path / "a", made, 0, GOOD, exactly=exactly)
        written(tmp_path / "b", made, 1, BAD, second, exactly)
        return side(tmp_path / "a", member), side(tmp_path / "b", member)

    return build


def test_paired_differences_leave_out_the_documents_luck(both):
    found = contrast(*both(), "heldout")
    assert found.paired and found.favours == -1
    assert found.expected.value == pytest.approx(1.005 * (GOOD - BAD), abs=1e-12)  # the mean of two seeds
    noise = SPREAD  # two sides of two seeds each: sqrt(2 * 2) / 2
    assert found.hard.spread == pytest.approx(noise, rel=0.15)
    half = scipy.stats.t.ppf(0.975, DOCUMENTS - 1) * found.hard.spread / np.sqrt(DOCUMENTS)
    assert found.score.high - found.score.value == pytest.approx(half, rel=1e-9)
    assert found.score.contains(found.expected.value)
    assert found.hard.tokens.value == found.hard.documents.value * TOKENS


def test_strangers_are_not_paired(both):
    found = contrast(*both(second="others"), "heldout")
    assert not found.paired and found.hard.spread > 5 * SPREAD  # the luck of both samples
    assert found.score.high - found.score.low > 0.05


def test_a_protocol_made_in_another_way_is_not_compared(both):
    first, second = both()
    second.run.ledger["protocols"]["heldout"]["window"] = 16
    assert contrast(first, second, "heldout") is None
    assert contrast(first, second, "nowhere") is None


def test_one_seed_alone(both):
    found = contrast(*both(member=1), "heldout")
    assert found.expected.value == pytest.approx(1.01 * (GOOD - BAD), abs=1e-12)
    assert found.hard.spread == pytest.approx(np.sqrt(2) * SPREAD, rel=0.15)


def test_exact_losses_are_compared_on_the_same_prefixes(both):
    """Paired, the gamma noise that both share scales with the gap: far narrower than two intervals of 0.01."""
    first, second = both()
    found = truth(first, second, 32)
    assert found.value == pytest.approx(1.005 * (GOOD - BAD), rel=0.15) and found.kind == "estimated"
    assert found.high - found.low < 0.008 and found.contains(1.005 * (GOOD - BAD))
    second.arrays["floor/32"] = second.arrays["floor/32"] + 1e-9  # other prefixes
    apart = truth(first, second, 32)
    assert apart.high - apart.low == pytest.approx(0.04, abs=1e-9)


def test_enumerated_losses_and_expectations_are_exact(both):
    first, second = both(exactly=True)
    assert truth(first, second, 32).kind == "exact"
    found = contrast(first, second, "heldout")
    assert found.expected.kind == "exact" and found.soft.tokens.value == 0
    expected = (1.6448536269514722 * found.hard.spread / found.expected.value) ** 2
    assert found.hard.documents.value == pytest.approx(expected, rel=1e-9)


def test_a_protocol_that_reverses_the_exact_order_needs_infinitely_many_tokens(both):
    found = compared(*both(), 32)
    by_name = {x.label: x for x in found.said}
    assert [order(found.exact, by_name[k]) for k in ("heldout", "hits", "upside_down")] == ["the same"] * 2 + [
        "reversed"
    ]
    assert tokens(found.exact, by_name["upside_down"]).value == np.inf
    assert 0 < tokens(found.exact, by_name["heldout"]).value < np.inf


def test_welch_s_interval_is_scipy_s():
    rng = np.random.Generator(np.random.PCG64(0))
    a, b = rng.normal(0, 1, 20), rng.normal(0.3, 3, 35)
    interval = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = difference(a, b, paired=False)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert difference(a, np.append(b, np.inf), paired=False).kind == "undefined"
    assert difference(np.array([np.inf, 1.0]), np.array([np.inf, 2.0]), paired=True).value == -0.5
