"""Weighted sums over the past: every form against the sum as it is written."""

import jax.numpy as jnp
import numpy as np
import pytest

from worlds import lagged

TIME = 300  # more than one block, and more than one product holds
VALUES = jnp.asarray(np.random.default_rng(0).random((TIME, 3)))


def summed(weight):
    """sum_g weight_g values[t - g], position by position."""
    total, values = np.zeros((TIME, 3)), np.asarray(VALUES)
    for t in range(TIME):
        for g in range(1, min(t, len(weight)) + 1):
            total[t] += weight[g - 1] * values[t - g]
    return total


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1e-3])
def test_a_recurrence_and_its_blocks_are_the_sum(ratio):
    expected = summed(ratio ** np.arange(TIME))
    for form in (lagged.stepped, lagged.in_blocks, lagged.recur):
        np.testing.assert_allclose(form(jnp.array(ratio), VALUES), expected, rtol=1e-13)


@pytest.mark.parametrize("time", [5, lagged.WHOLE, TIME])
@pytest.mark.parametrize("lags", [1, lagged.SHORT, lagged.SHORT + 1, 400])
def test_every_form_of_a_convolution_is_the_sum(lags, time):
    weight = np.random.default_rng(1).random(lags)
    found = lagged.convolve(jnp.asarray(weight), VALUES[:time])
    np.testing.assert_allclose(found, summed(weight)[:time], rtol=1e-13)
