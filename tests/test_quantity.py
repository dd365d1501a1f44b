"""Numbers with their interval and class."""

import math

import pytest

from worlds.quantity import EmptyInterval, Quantity, certified, exact, undefined

KINDS = ["exact", "certified", "estimated", "witnessed"]  # from the strongest claim to the weakest


def test_differences_are_those_of_intervals():
    found = Quantity(2.0, 1.5, 2.5, "certified") - Quantity(1.0, 0.75, 1.5, "certified")
    assert (found.value, found.low, found.high) == (1.0, 0.0, 1.75)


@pytest.mark.parametrize("a", KINDS)
@pytest.mark.parametrize("b", KINDS)
def test_a_difference_is_as_weak_as_its_weaker_side(a, b):
    difference = Quantity(1.0, 1.0, 1.0, a) - Quantity(1.0, 1.0, 1.0, b)
    assert difference.kind == max(a, b, key=KINDS.index)


def test_a_difference_counts_the_fewest_sequences():
    many, few, none = (Quantity(1.0, 0.5, 1.5, "estimated", n) for n in (100, 10, 0))
    assert (many - few).count == (few - many).count == (few - none).count == (none - few).count == 10
    assert (none - none).count == 0


def test_losses_of_two_functionals_are_never_subtracted():
    near, far, free = (Quantity(1.0, 1.0, 1.0, "exact", of=of) for of in ("T = 8", "T = 16", ""))
    assert (near - near).of == (near - free).of == (free - near).of == "T = 8"
    with pytest.raises(ValueError, match="belong to one functional, but these are 'T = 8' and 'T = 16'"):
        near - far


def test_impossible_tokens_cancel_and_never_give_nan():
    infinite = exact(math.inf)
    assert infinite - infinite == exact(0.0)
    assert (infinite - exact(1.0)).value == math.inf
    assert (exact(1.0) - infinite).high == -math.inf


def test_what_is_undefined_stays_undefined():
    for found in (undefined() - exact(1.0), exact(1.0) - undefined(), undefined().at_least(0.0)):
        assert found.kind == "undefined"
        assert math.isnan(found.value)


def test_a_theorem_may_raise_the_lower_end_but_not_empty_the_interval():
    loss = certified(0.0, -1e-9, 1e-9)
    assert loss.at_least(0.0).low == 0.0
    assert loss.at_least(-1.0) == loss
    with pytest.raises(EmptyInterval, match="must not be empty"):
        loss.at_least(1e-6)


def test_what_rounding_left_below_the_bound_is_the_bound_but_an_estimate_stays():
    assert certified(-5e-17, -5e-17, 1e-12).at_least(0.0).value == 0.0
    single = certified(-7.6e-8, -1e-6, -7.6e-8)
    assert single.at_least(0.0, 2.0**-20) == certified(0.0, 0.0, 0.0)
    with pytest.raises(EmptyInterval, match="must not be empty"):
        single.at_least(0.0)
    estimate = Quantity(-0.01, -0.03, 0.01, "estimated", 9).at_least(0.0)
    assert (estimate.value, estimate.low) == (-0.01, 0.0)


def test_an_interval_holds_its_ends_and_a_little_more_for_rounding():
    found = certified(0.5, 0.25, 0.75)
    assert found.contains(0.25) and found.contains(0.75) and not found.contains(0.76)
    assert found.contains(0.76, slack=0.02)


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ((1.0, 2.0, 1.0, "certified"), EmptyInterval, r"must not be empty, but is \[2.0, 1.0\]"),
        ((1.0, math.nan, 1.0, "certified"), EmptyInterval, "must not be empty"),
    ],
)
def test_bad_intervals_are_refused_with_the_rule(numbers, error, message):
    with pytest.raises(error, match=message):
        Quantity(*numbers)
