"""Lag kernels against sums over their lags, one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import base, kernel

KERNELS = {
    "geometric": (kernel.geometric(0.6), lambda g: 0.6 ** (g - 1)),
    "power": (kernel.power(2.5), lambda g: g**-2.5),
    "power scaled": (kernel.power(3.0, 0.25), lambda g: (1 + 0.25 * (g - 1)) ** -3.0),
    "near_far": (kernel.near_far(0.5, 4, 0.3), lambda g: 0.3 * 0.5**g + 0.7 * (g == 4)),
    "offset": (kernel.offset(3), lambda g: 1.0 * (g == 3)),
    "hump": (kernel.hump(2.5, 0.7), lambda g: np.exp(-((g - 2.5) ** 2) / (2 * 0.7**2)) * (g <= 9)),
    "table": (kernel.table([1, 0, 2]), lambda g: 1.0 * (g == 1) + 2.0 * (g == 3)),
    "uniform": (kernel.uniform(), lambda g: 1.0 + 0 * g),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


profile = jax.jit(kernel.profile, static_argnums=(1, 2, 3))


@functools.cache
def lags(count):
    return np.arange(1, count + 1, dtype=np.float64)


@every_kernel
def test_weights_follow_the_formula_up_to_scale(name):
    member, formula = KERNELS[name]
    weights, expected = np.asarray(member.weights(jnp.arange(1, 21))), formula(lags(20))
    np.testing.assert_allclose(weights / weights.sum(), expected / expected.sum(), rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("name", [n for n in KERNELS if n != "uniform"])
@pytest.mark.parametrize("lag", [0, 1, 3, 8])
def test_tails_are_the_sums_of_all_further_weights(name, lag):
    member, _ = KERNELS[name]
    count = 200_000 if "power" in name else 2_000
    further = np.asarray(member.weights(jnp.arange(lag + 1, count)))
    # The steepest sum that is cut is that of g^-2.5: the integral of its rest is below 2e5^-1.5 / 1.5 = 8e-9.
    np.testing.assert_allclose(member.tail(lag), further.sum(), rtol=1e-12, atol=1e-8)


@every_kernel
@pytest.mark.parametrize("early", ["renormalise", "sink"])
@pytest.mark.parametrize("horizon", [None, 4])
def test_profiles_are_the_stated_attention(name, early, horizon):
    member, formula = KERNELS[name]
    if (name, early, horizon) == ("uniform", "sink", None):
        pytest.skip("infinite mass")
    table = np.asarray(profile(member, 7, early, horizon))
    every = formula(lags(horizon or 100_000))
    for t in range(7):
        weight = np.zeros(8)
        found = every[:t]
        weight[1 + t - np.arange(1, len(found) + 1)] = found
        total = every.sum() if early == "sink" else found.sum()
        expected = weight / total if total else weight
        expected[0] = 1 - expected.sum()
        # 1e5 lags of g^-2.5 leave 2e-8 of the mass out.
        np.testing.assert_allclose(table[t], expected, atol=3e-8 if "power" in name else 1e-14)
    np.testing.assert_allclose(table.sum(1), 1, rtol=1e-14)
    assert np.all(table >= 0) and np.all(np.triu(table[:, 1:]) == 0)


def test_missing_mass_stays_positive_where_a_difference_would_lose_it():
    missing = kernel.mass(kernel.geometric(0.5), None, 200).missing
    np.testing.assert_allclose(missing, 2.0 * 0.5 ** np.arange(200.0), rtol=1e-12)


def test_kernels_stack_map_and_cast():
    profiles = jax.vmap(lambda rate: kernel.profile(kernel.geometric(rate), 5, "sink"))(jnp.array([0.3, 0.6]))
    np.testing.assert_allclose(profiles[1], kernel.profile(kernel.geometric(0.6), 5, "sink"), rtol=1e-14)
    for member, _ in KERNELS.values():
        low = profile(base.cast(member, jnp.float32), 9, "renormalise", None)
        assert low.dtype == jnp.float32
        np.testing.assert_allclose(low, profile(member, 9, "renormalise", None), atol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: kernel.geometric(1.0), r"geometric: rate must be in \(0, 1\), but is 1.0"),
        (lambda: kernel.geometric(0.0), r"geometric: rate must be in \(0, 1\), but is 0.0"),
        (lambda: kernel.geometric(float("nan")), "rate must be"),
        (lambda: kernel.power(-1.0), r"power: exponent must be in \(0, inf\), but is -1.0"),
        (lambda: kernel.power(1.0, 0.0), "power: scale must be"),
        (lambda: kernel.offset(0), "offset: lag must be a whole number of tokens, at least 1 .*, but is 0"),
        (lambda: kernel.hump(0.5, 1.0), "hump: centre must be"),
        (lambda: kernel.hump(2.0, 0.0), "hump: width must be"),
        (lambda: kernel.near_far(0.5, 0), "near_far: far must be"),
        (lambda: kernel.near_far(0.5, 3, 1.0), "near_far: share must be"),
        (lambda: kernel.table([]), "table: weights must be"),
        (lambda: kernel.table([0.0, 0.0]), "table: weights must be"),
        (lambda: kernel.table([0.5, -0.1]), "table: weights must be .* but are"),
        (lambda: kernel.table([float("inf")]), "table: weights must be"),
        (lambda: kernel.check(kernel.uniform(), None, "sink"), "geometric kernel has mass inf; give a horizon"),
        (lambda: kernel.check(kernel.power(1.0), None, "sink"), "finite sum, but an endless power kernel has mass inf"),
        (lambda: kernel.check(kernel.offset(3), 2, "sink"), "some lag within the horizon 2 must have weight"),
        (lambda: kernel.check(kernel.offset(3), 0, "sink"), "horizon must be at least 1 token"),
        (lambda: kernel.check(kernel.offset(3), None, "drop"), "early must be renormalise or sink, but is 'drop'"),
    ],
)
def test_bad_kernels_are_refused_with_the_rule(build, message):
    with pytest.raises(ValueError, match=message):
        build()
