"""The urn against enumeration, closed forms and the reference numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from worlds import base
from worlds.urn import dirichlet


@pytest.mark.parametrize(("vocab", "alpha"), [(2, 1.0), (3, 0.5), (4, 2.5), (1, 1.0)])
def test_closed_floors_equal_enumeration(vocab, alpha):
    world = dirichlet(vocab, alpha)
    np.testing.assert_allclose(world.bayes_floors(5), [h.value for h in base.floors(world, 5)], atol=1e-13)


def test_bernoulli_with_a_uniform_prior_has_the_reference_floors():
    floors = dirichlet(2, 1.0).bayes_floors(4)
    np.testing.assert_allclose(floors, [0.6931471806, 0.6365141683, 0.6059391566, 0.5867070453], atol=5e-11)
    # Clarke and Barron: the redundancy is about (V - 1) / (2 t).
    assert dirichlet(2, 1.0).bayes_floors(400)[-1] - 0.5 == pytest.approx(1 / 800, rel=0.01)


@pytest.mark.parametrize("vocab", [2, 3, 7])
def test_latent_aware_floor_is_a_harmonic_number_less_one(vocab):
    floor = dirichlet(vocab, 1.0).latent_aware_floor()
    assert floor.value == pytest.approx(sum(1 / k for k in range(1, vocab + 1)) - 1, abs=1e-14)
    assert floor.kind == "exact" and dirichlet(vocab, 1.0).entropy_rate() == floor


def test_probabilities_are_the_dirichlet_integral():
    """P(x) = Gamma(V a) prod Gamma(n_v + a) / (Gamma(a)^V Gamma(n + V a)): order-free."""
    a, counts = 0.7, np.array([3, 0, 2])
    logs = scipy.special.gammaln(counts + a).sum() - 3 * scipy.special.gammaln(a)
    logs += scipy.special.gammaln(3 * a) - scipy.special.gammaln(5 + 3 * a)
    for tokens in ([0, 0, 0, 2, 2], [2, 0, 0, 2, 0]):
        assert float(base.log_prob(dirichlet(3, a), jnp.array(tokens))) == pytest.approx(logs, abs=1e-13)


def test_reads_times_maps_are_the_law():
    world, tokens = dirichlet(3, 0.5), jnp.array([2, 0, 0, 1, 2])
    profiles, maps = world.reads(5)
    symbols = jnp.concatenate([jnp.zeros(1, int), 1 + tokens])
    law = jnp.einsum("hts,hsy->ty", profiles, maps[:, symbols])
    np.testing.assert_allclose(law, jnp.exp(base.filtered(world, tokens)), atol=1e-15)
    np.testing.assert_allclose(profiles.sum(-1), 1, atol=1e-15)


@pytest.mark.parametrize(
    ("vocab", "alpha", "message"),
    [(0, 1.0, "vocab must be at least 1"), (2, 0.0, "alpha must be a finite number above 0, but is 0.0")],
)
def test_bad_urns_are_refused(vocab, alpha, message):
    with pytest.raises(ValueError, match=message):
        dirichlet(vocab, alpha)
