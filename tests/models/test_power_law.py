"""A fixed power law: its weights, what it becomes at special exponents, and when their sum is finite."""

import numpy as np
import pytest
import scipy.special
from flax import nnx

from models.position import KERPLE, NoPE, PowerLaw
from tests.models.looks import SIZE, bias, look

PAST = np.tril_indices(12)


def test_a_row_reads_gap_g_with_weight_one_over_one_plus_g_to_the_exponent():
    b = bias(PowerLaw(1.5))[:, *PAST]
    gaps = PAST[0] - PAST[1]
    assert np.allclose(b, np.broadcast_to(-1.5 * np.log1p(gaps), b.shape), rtol=1e-6, atol=1e-6)


def test_exponent_0_is_no_position_at_all():
    assert np.all(bias(PowerLaw(0.0))[:, *PAST] == 0)
    assert NoPE()(SIZE, nnx.Rngs(0)).bias is None


def test_it_is_one_of_kerple_s_logarithms():
    kernel = KERPLE("log")(SIZE, nnx.Rngs(0)).bias
    kernel.log_r1[...] = np.full(SIZE.heads, np.log(2.0 * SIZE.head_width**0.5), np.float32)
    kernel.log_r2[...] = np.zeros(SIZE.heads, np.float32)

    assert np.allclose(np.asarray(kernel(look(12)))[:, *PAST], bias(PowerLaw(2.0))[:, *PAST], rtol=1e-5, atol=1e-5)


def test_its_mass_converges_above_exponent_1_only():
    """The sum over gaps is zeta(exponent): 4,096 gaps leave 1/4096 of it at 2; at 1/2 it grows as 2 sqrt(n)."""
    gaps = np.arange(4096)
    assert abs((1 + gaps) ** -2.0 @ np.ones(4096) - scipy.special.zeta(2)) < 1 / 4096
    assert abs((1 + gaps) ** -0.5 @ np.ones(4096) / (2 * 4096**0.5) - 1) < 0.02


def test_a_negative_exponent_is_refused():
    with pytest.raises(ValueError, match="at least 0, but is -1"):
        PowerLaw(-1)
