"""Each scheme against its formula, its source's numbers, and the schemes it contains."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.position import ALiBi, Learned, RoPE, Sinusoidal, Size, slopes
from models.position.offset import frequencies
from tests.models.looks import SIZE, bias, look, rotated

SLOPES = {
    1: [2**-8],
    2: [2**-4, 2**-8],
    4: [2**-2, 2**-4, 2**-6, 2**-8],
    8: [2.0**-h for h in range(1, 9)],
    12: [*(2.0**-h for h in range(1, 9)), 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5],
    16: [2 ** (-h / 2) for h in range(1, 17)],
}


@pytest.mark.parametrize("heads", SLOPES)
def test_literal_slopes_are_the_papers(heads):
    assert np.allclose(slopes(heads), SLOPES[heads], rtol=1e-15)


def test_slopes_matched_to_the_trained_length_keep_the_papers_ratio():
    assert np.allclose(ALiBi("matched").numbers(8, 64), [2 ** (-5 * h / 8) for h in range(1, 9)])
    assert np.allclose(ALiBi("matched").numbers(8, 512), slopes(8))


def test_slopes_as_given():
    assert ALiBi([0.5, 0.25]).numbers(2, 64) == (0.5, 0.25)
    assert ALiBi(0.3).numbers(3, 64) == (0.3, 0.3, 0.3)
    assert hash(ALiBi([0.5])) == hash(ALiBi((0.5,)))
    for wrong, message in ((-0.1, "at least 0"), ([float("nan")], "finite"), ("steep", "one of literal, matched")):
        with pytest.raises(ValueError, match=message):
            ALiBi(wrong)
    with pytest.raises(ValueError, match="above 0 to be learned"):
        ALiBi(0.0, learned=True)


def test_alibi_is_minus_slope_times_gap():
    i, j = np.tril_indices(12)
    for h, m in enumerate(slopes(4)):
        assert np.allclose(bias(ALiBi())[h, i, j], -m * (i - j), rtol=1e-6)


def test_learned_slopes_start_where_they_are_told():
    assert np.allclose(bias(ALiBi(learned=True)), bias(ALiBi()), rtol=1e-5)


def test_rope_scores_depend_on_the_gap_alone():
    scores, *_ = rotated(RoPE())
    assert np.allclose(scores[:, 1:, 1:], scores[:, :-1, :-1], atol=1e-5)
    assert not np.allclose(scores[:, 1:, 0], scores[:, :-1, 0], atol=1e-2)


def test_rope_turns_as_complex_numbers_do():
    _, q, _ = rotated(RoPE(base=100.0))
    pairs = q[..., :2] + 1j * q[..., 2:]
    turn = np.exp(1j * np.arange(12)[:, None, None] * np.array([1.0, 100 ** (-2 / 4)]))
    assert np.allclose(pairs, pairs[:1] * turn, atol=1e-5)


def test_partial_rope_at_zero_is_nope_and_keeps_the_fastest_pairs():
    q, k = look(12).q, look(12).k
    same = RoPE(fraction=0.0)(SIZE, nnx.Rngs(0)).rotation(q, k, jnp.arange(12, dtype=jnp.float32))
    assert np.array_equal(same[0], q) and np.array_equal(same[1], k)
    assert frequencies(8, 16.0, 0.5) == (1.0, 0.5, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], but is 1.5"):
        RoPE(fraction=1.5)


def test_sinusoids_are_the_papers():
    waves = np.asarray(Sinusoidal()(SIZE, nnx.Rngs(0)).embedding(jnp.arange(40, dtype=jnp.float32)))
    t, i = np.arange(40)[:, None], np.arange(8)[None, :]
    assert np.allclose(waves[:, 0::2], np.sin(t / 10_000 ** (2 * i / 16)), atol=4e-6)  # float32 sines near 40
    assert np.allclose(waves[:, 1::2], np.cos(t / 10_000 ** (2 * i / 16)), atol=4e-6)
    with pytest.raises(ValueError, match="even width, but got 15"):
        Sinusoidal()(Size(1, 1, 15, 8), nnx.Rngs(0))


def test_learned_positions_say_how_far_they_reach():
    assert Learned().limit(64) == 64 and ALiBi().limit(64) is None
