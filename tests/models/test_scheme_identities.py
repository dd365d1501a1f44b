"""What each scheme becomes at special numbers, which of them depend on the gap alone, and their sources' numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.attention import attend
from models.position import (
    FIRE,
    GGD,
    KERPLE,
    NTK,
    T5,
    ALiBi,
    CoPE,
    FoX,
    FreeTable,
    HardALiBi,
    Interpolated,
    NoPE,
    Randomised,
    RoPE,
    Sandwich,
    Size,
    Window,
    XPos,
    YaRN,
    slopes,
)
from models.position.offset import frequencies
from models.position.rescaled import Rescaled
from models.position.table import bucket
from tests.members import SCHEMES
from tests.models.looks import SIZE, bias, look, rotated

PAST = np.tril_indices(12)


def attention(scheme, time=12):
    """What one layer reads, [time, head, size]."""
    it, position = look(time), scheme(SIZE, nnx.Rngs(0))
    v = jax.random.normal(jax.random.key(9), it.k.shape, jnp.float32)
    return np.asarray(attend(it.q, it.k, v, position.bias, it.x, it.position, 5))


def same_bias(one, other, rtol=1e-5, atol=1e-5):
    return np.allclose(bias(one)[:, *PAST], bias(other)[:, *PAST], rtol=rtol, atol=atol)


TIMES = [1 / m for m in slopes(4)]


def test_constant_gates_are_alibi():
    fixed, learned = FoX("fixed", 4.0, 256.0), FoX("bias_only", 4.0, 256.0)
    assert np.allclose(TIMES, [4.0, 16.0, 64.0, 256.0])  # log-spaced, as ALiBi's slopes are
    assert same_bias(fixed, ALiBi()) and same_bias(learned, ALiBi())
    full = FoX("full", 4.0, 256.0)(SIZE, nnx.Rngs(0)).bias
    full.w[...] = jnp.zeros_like(full.w[...])
    assert np.allclose(np.asarray(full(look(12)))[:, *PAST], bias(ALiBi())[:, *PAST], atol=1e-5)


def test_gates_sum_the_logs_of_what_lies_between():
    gates, it = FoX("full")(SIZE, nnx.Rngs(0)).bias, look(12)
    logs = np.log(1 / (1 + np.exp(-(np.asarray(it.x) @ np.asarray(gates.w[...]) + np.asarray(gates.c[...])))))
    seen = np.asarray(gates(it))
    for i, j in zip(*PAST, strict=True):
        assert np.allclose(seen[:, i, j], logs[j + 1 : i + 1].sum(0), atol=1e-4)


def test_generalised_gaussian_contains_alibi_and_its_learned_form_starts_there():
    assert np.allclose(attention(GGD(learned=False)), attention(ALiBi()), atol=1e-5)
    assert np.allclose(attention(GGD()), attention(ALiBi()), atol=1e-5)
    assert np.allclose(attention(GGD(slopes=0.0, learned=False)), attention(NoPE()), atol=1e-6)
    gauss = bias(GGD(slopes=0.1, shape=2.0, location=3.0))
    i, j = PAST
    assert np.allclose(gauss[:, i, j], -0.1 * (i - j - 3) ** 2, atol=1e-3)
    assert same_bias(GGD(slopes=0.1, shape=2.0, location=3.0), GGD(0.1, 2.0, 3.0, learned=False), atol=1e-4)


def test_kerple_is_inside_the_scaling_and_tends_to_alibi():
    kernel = KERPLE("log")(SIZE, nnx.Rngs(0)).bias
    m = np.array(slopes(4))
    kernel.log_r2[...] = jnp.full(4, np.log(1e-4), jnp.float32)
    kernel.log_r1[...] = jnp.asarray(np.log(m / 1e-4) + np.log(SIZE.head_width) / 2, jnp.float32)  # undoes 1/sqrt(size)
    ours, alibi = np.asarray(kernel(look(12)))[:, *PAST], bias(ALiBi())[:, *PAST]
    assert np.allclose(ours, alibi, rtol=1e-3)  # ln(1 + x) = x to x/2 = 5.5e-4
    new = KERPLE("log")(SIZE, nnx.Rngs(1)).bias
    r1, r2 = np.exp(np.asarray(new.log_r1[...])), np.exp(np.asarray(new.log_r2[...]))
    assert ((0 < r1) & (r1 < 2) & (0 < r2) & (r2 < 1)).all()
    expected = -r1[:, None] * np.log(1 + r2[:, None] * np.arange(12)) / 2  # sqrt(4)
    assert np.allclose(np.asarray(new(look(12)))[:, -1, ::-1], expected, rtol=1e-4)


def test_kerple_power():
    kernel = KERPLE("power")(SIZE, nnx.Rngs(1)).bias
    r1, r2 = np.exp(np.asarray(kernel.log_r1[...])), 2 / (1 + np.exp(-np.asarray(kernel.raw_r2[...])))
    expected = -r1[:, None] * np.arange(12.0) ** r2[:, None] / 2
    assert np.allclose(np.asarray(kernel(look(12)))[:, -1, ::-1], expected, rtol=1e-4)


def test_windows():
    assert np.array_equal(attention(Window()), attention(NoPE()))
    assert np.allclose(attention(Window(12)), attention(NoPE()), atol=1e-6)
    i, j = PAST
    assert np.array_equal(np.isinf(bias(Window(3))[0, i, j]), i - j >= 3)
    hard = bias(HardALiBi(free=1))
    for head, width in enumerate((1, 2, 3, np.inf)):
        assert np.array_equal(np.isinf(hard[head, i, j]), i - j >= width)
    with pytest.raises(ValueError, match="as many as heads, 4, but there are 2 windows and 1 free"):
        HardALiBi(widths=[2, 4])(SIZE, nnx.Rngs(0))


def test_sandwich_is_the_inner_product_of_sinusoids():
    i, j = PAST
    k = np.arange(1, 9)[:, None]
    total = np.cos((i - j) * 1e4 ** (-2 * k / 16)).sum(0) - 8
    for h in range(1, 5):
        assert np.allclose(bias(Sandwich(16))[h - 1, i, j], 4 / (8 * h) * total, atol=1e-4)


def test_t5_buckets_are_the_papers():
    """Mesh TensorFlow's function, one direction: 16 exact, then up to 31 at gap 128 and beyond."""
    gaps = jnp.array([0, 1, 15, 16, 17, 20, 32, 64, 100, 127, 128, 1000], jnp.float32)
    expected = [0, 1, 15, 16, 16, 17, 21, 26, 30, 31, 31, 31]
    halves = [16 + int(np.log(g / 16) / np.log(8) * 16) for g in (17, 20, 33, 65, 100, 127)]
    assert bucket(gaps, 32, 128).tolist() == pytest.approx(expected, abs=0)
    assert bucket(jnp.array([17, 20, 33, 65, 100, 127], jnp.float32), 32, 128).tolist() == halves
    table = T5(8, 16)(SIZE, nnx.Rngs(0)).bias
    table.table[...] = jnp.arange(32, dtype=jnp.float32).reshape(4, 8)
    assert np.asarray(table(look(12)))[1, 11, ::-1].tolist() == [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 14, 14]


def test_a_free_table_is_looked_up_and_declares_its_end():
    gaps = FreeTable()(SIZE, nnx.Rngs(0)).bias
    gaps.table[...] = jnp.arange(4 * 64, dtype=jnp.float32).reshape(4, 64)
    i, j = PAST
    assert np.array_equal(np.asarray(gaps(look(12)))[2, i, j], 128 + i - j)
    assert FreeTable().limit(64) == 64 and FreeTable("last").limit(64) is None


def test_fire_depends_on_how_much_past_there_is():
    scheme = FIRE(threshold=4.0)(SIZE, nnx.Rngs(0)).bias
    seen = np.asarray(scheme(look(12)))
    psi = lambda x: np.log1p(0.1 * x)  # noqa: E731
    for i, j in ((2, 0), (9, 3)):
        share = jnp.array([psi(i - j) / psi(max(i, 4))], jnp.float32)
        assert np.allclose(seen[:, i, j], scheme.outward(jax.nn.relu(scheme.inward(share))), atol=1e-5)


def test_contextual_positions_count_gates():
    counts, it = CoPE(positions=3)(SIZE, nnx.Rngs(0)).bias, look(12)
    counts.e[...] = jax.random.normal(jax.random.key(2), (3, SIZE.head_width), jnp.float32)
    seen, e = np.asarray(counts(it)), np.asarray(counts.e[...])
    q, k = np.asarray(it.q), np.asarray(it.k)
    for h, i, j in ((0, 5, 5), (1, 11, 2), (3, 7, 6)):
        gates = 1 / (1 + np.exp(-k[j : i + 1, h] @ q[i, h]))
        p = min(gates.sum(), 2)
        low, part = int(p), p - int(p)
        expected = (1 - part) * q[i, h] @ e[low] + part * q[i, h] @ e[min(low + 1, 2)]
        assert np.allclose(seen[h, i, j], expected, atol=1e-4)


GAP_ALONE = {name for name in SCHEMES if not name.startswith(("fire", "fox", "cope"))} | {"fox bias_only", "fox fixed"}


@pytest.mark.parametrize("name", SCHEMES)
def test_biases_depend_on_the_gap_alone_where_they_claim_it(name):
    size = Size(1, 2, 8, 12)
    made = SCHEMES[name](size, nnx.Rngs(0))
    if made.bias is None:
        return
    if name == "cope":
        made.bias.e[...] = jnp.ones_like(made.bias.e[...])
    seen = np.asarray(made.bias(look(12, size)))
    toeplitz = all(np.allclose(np.diagonal(seen, -g, 1, 2), seen[:, g, 0][:, None], atol=1e-5) for g in range(12))
    assert toeplitz == (name in GAP_ALONE)


@pytest.mark.parametrize("scheme", [ALiBi(), RoPE()])
def test_interpolation_by_one_changes_nothing(scheme):
    plain, slow = scheme(SIZE, nnx.Rngs(0)), Interpolated(scheme, 1.0)(SIZE, nnx.Rngs(0))
    inputs = jnp.zeros(12, jnp.int32)
    assert np.array_equal(plain.positions(inputs), slow.positions(inputs))
    auto = Interpolated(scheme)(SIZE, nnx.Rngs(0))
    assert np.array_equal(auto.positions(jnp.zeros(64, jnp.int32)), jnp.arange(64))
    assert np.allclose(auto.positions(jnp.zeros(256, jnp.int32)), jnp.arange(256) / 4)  # 4 times the trained length
    with pytest.raises(ValueError, match="factor must be at least 1"):
        Interpolated(scheme, 0.5)


@pytest.mark.parametrize("scheme", [NTK(factor=1.0), YaRN(factor=1.0), NTK(), YaRN()])
def test_rescaled_rotations_are_rope_within_the_trained_length(scheme):
    assert np.allclose(rotated(scheme)[0], rotated(RoPE())[0], atol=1e-5)


def test_rescaled_rotations_at_a_longer_length():
    size = Size(1, 1, 16, 64)
    fast, slow = frequencies(16, 1e4)[0], frequencies(16, 1e4)[-1]
    ntk, one = Rescaled(NTK(factor=4.0), size).speeds(8)
    assert ntk[0] == fast and one == 1.0 and np.isclose(ntk[-1], slow / 4)  # base s^(d/(d-2)): the slowest by s exactly
    yarn, factor = Rescaled(YaRN(factor=4.0, slow=1.0, fast=8.0), size).speeds(8)
    assert yarn[0] == fast and np.isclose(yarn[-1], slow / 4) and np.isclose(factor, 0.1 * np.log(4) + 1)
    turns = 64 * frequencies(16, 1e4)[1] / (2 * np.pi)  # 3.2 turns: between the two
    share = (turns - 1) / 7
    assert np.isclose(yarn[1], frequencies(16, 1e4)[1] * ((1 - share) / 4 + share))


def test_xpos_scores_decay_with_the_gap():
    scores, *_ = rotated(XPos(scale=8.0))
    assert np.allclose(scores[:, 1:, 1:], scores[:, :-1, :-1], atol=1e-4)  # of the gap alone
    q, k = rotated(XPos(base=1e30, scale=8.0))[1:]  # pair 1 hardly turns: its decay is (1/2 + 0.4)/1.4
    pair = (q[9, :, 1] * k[1, :, 1] + q[9, :, 3] * k[1, :, 3]) / (q[0, :, 1] * k[0, :, 1] + q[0, :, 3] * k[0, :, 3])
    assert np.allclose(pair, (0.9 / 1.4) ** (8 / 8), rtol=1e-4)


def test_random_positions_increase_differ_by_sequence_and_know_no_future():
    clock = Randomised(RoPE(), longest=100)(SIZE._replace(length=20), nnx.Rngs(0)).clock
    tokens = jax.random.randint(jax.random.key(0), (400, 20), 0, 10**6, jnp.int32)  # so that all draws are different
    drawn = np.asarray(jax.vmap(clock)(tokens))
    assert (np.diff(drawn) >= 1).all() and drawn.min() >= 0 and drawn.max() <= 99
    # The i-th of 20 uniform order statistics on [0, 81) has mean 81 i / 21; floor takes 1/2. Its s.d. is below 9.
    mean = 81 * np.arange(1, 21) / 21 - 0.5 + np.arange(20)
    assert np.abs(drawn.mean(0) - mean).max() < 4 * 9 / 20
    changed = np.asarray(jax.vmap(clock)(tokens.at[:, 10].set(3)))
    assert np.array_equal(changed[:, :10], drawn[:, :10]) and (changed[:, 10:] != drawn[:, 10:]).any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: KERPLE("sine"), "kind must be one of log, power, but is 'sine'"),
        (lambda: GGD(shape=0.0), "shape must be above 0, but is 0"),
        (lambda: Sandwich(3), "waves must be even"),
        (lambda: Window(0), "width must be at least 1, but is 0"),
        (lambda: T5(32, 16), "distance must be above half the buckets, 16, but is 16"),
        (lambda: FoX("half"), "kind must be one of full, bias_only, fixed"),
        (lambda: FoX(shortest=3.0, longest=2.0), "0 < shortest <= longest"),
        (lambda: CoPE(1), "positions must be at least 2"),
        (lambda: Randomised(RoPE(), 8)(SIZE, nnx.Rngs(0)), "longest must hold the trained 64 tokens, but is 8"),
        (lambda: NTK()(Size(1, 1, 2, 8), nnx.Rngs(0)), "head width of at least 4, but it is 2"),
    ],
)
def test_impossible_schemes_are_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()
