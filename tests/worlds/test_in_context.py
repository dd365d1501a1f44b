"""Worlds learnt in context, resets and content gating against brute force over what they hide."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from worlds import base, kernel
from worlds.decay import decay
from worlds.in_context import markov_in_context, switching, unknown_lag
from worlds.latent import latent_floors
from worlds.match import match
from worlds.reset import reset
from worlds.urn import dirichlet

ROWS = np.array([[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]])
OTHER = np.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.1, 0.0, 0.9]])
TOKENS = [2, 0, 1, 1, 2, 0, 0, 2]


def urn_evidence(tokens, vocab, alpha):
    """p(tokens) under the Dirichlet integral."""
    counts = np.bincount(tokens, minlength=vocab)
    log = scipy.special.gammaln(counts + alpha).sum() - vocab * scipy.special.gammaln(alpha)
    return np.exp(log + scipy.special.gammaln(vocab * alpha) - scipy.special.gammaln(len(tokens) + vocab * alpha))


score = jax.jit(base.filtered)  # compiled once for each length and kind of world


def probability(world, tokens):
    logs = np.asarray(score(world, jnp.array(tokens, jnp.int32)))
    return np.exp(logs[np.arange(len(tokens)), tokens].sum())


@pytest.mark.parametrize("order", [1, 2])
def test_markov_in_context_is_a_product_of_dirichlet_integrals(order):
    tokens, alpha = [0, 1, 1, 0, 1, 1, 0, 0, 1], 0.7
    rows = {}
    for t in range(order, len(tokens)):
        rows.setdefault(tuple(tokens[t - order : t]), []).append(tokens[t])
    expected = 0.5**order * np.prod([urn_evidence(row, 2, alpha) for row in rows.values()])
    assert probability(markov_in_context(2, order, alpha), tokens) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("hazard", [0.0, 0.2])
def test_switching_sums_over_all_segmentations(hazard):
    tokens, total = TOKENS[:6], 0.0
    for cuts in itertools.product([0, 1], repeat=5):
        edges = [0, *(t + 1 for t in range(5) if cuts[t]), 6]
        segments = [tokens[a:b] for a, b in itertools.pairwise(edges)]
        prior = hazard ** sum(cuts) * (1 - hazard) ** (5 - sum(cuts))
        total += prior * np.prod([urn_evidence(segment, 3, 0.5) for segment in segments])
    assert probability(switching(3, 0.5, hazard), tokens) == pytest.approx(total, rel=1e-12)


def test_hidden_resets_of_a_decaying_world_sum_over_all_segmentations():
    inner, hazard, tokens = decay(3, kernel.geometric(0.6), OTHER, early="sink"), 0.2, TOKENS[:5]
    total, alone = 0.0, functools.cache(lambda a, b: probability(inner, tokens[a:b]))
    for cuts in itertools.product([0, 1], repeat=4):
        edges = [0, *(t + 1 for t in range(4) if cuts[t]), 5]
        prior = hazard ** sum(cuts) * (1 - hazard) ** (4 - sum(cuts))
        total += prior * np.prod([alone(a, b) for a, b in itertools.pairwise(edges)])
    assert probability(reset(inner, hazard), tokens) == pytest.approx(total, rel=1e-12)


def test_visible_resets_begin_again():
    inner, hazard = decay(3, kernel.power(1.5), ROWS), 0.2
    tokens, runs = [2, 0, 3, 1, 1, 3, 3, 2], [[2, 0], [1, 1], [2]]
    expected = hazard**3 * (1 - hazard) ** 5 * np.prod([probability(inner, run) for run in runs])
    assert probability(reset(inner, hazard, visible=True), tokens) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rows", "noise"), [(ROWS, 0.0), (OTHER, 0.1)])
def test_unknown_lag_is_the_average_over_lags(rows, noise):
    lags, law = [1, 3, 4], noise / 3 + (1 - noise) * rows
    each = [np.prod([law[TOKENS[t - k], TOKENS[t]] if t >= k else 1 / 3 for t in range(len(TOKENS))]) for k in lags]
    assert probability(unknown_lag(3, lags, rows, noise), TOKENS) == pytest.approx(np.mean(each), rel=1e-12)


def test_the_lag_is_never_worth_more_than_its_entropy():
    world = unknown_lag(3, [1, 3], ROWS)
    bayes, told = base.floors(world, 6), latent_floors(world, 6)
    price = sum(b.value - t.value for b, t in zip(bayes, told, strict=True))
    assert 0 < price < np.log(2)
    rate = world.entropy_rate()
    assert rate.value == pytest.approx(decay(3, kernel.offset(1), ROWS).entropy_rate().value, abs=1e-12)


def test_after_impossible_tokens_no_lag_is_left():
    logs = base.filtered(unknown_lag(3, [1, 2], OTHER), jnp.array([1, 1, 0, 2]))
    assert logs[2, 0] == -jnp.inf and jnp.all(logs[3] == -jnp.inf)


@pytest.mark.parametrize("lags", [kernel.offset(1), kernel.geometric(0.6)])
def test_gated_reads_see_what_followed_the_same_tokens(lags):
    inner = decay(3, lags, ROWS, 0.1)
    tokens, n = [2, 0, 1, 2, 0, 2, 0, 0, 2, 0, 1], 2
    logs = np.exp(base.filtered(match(inner, n), jnp.array(tokens)))
    np.testing.assert_allclose(logs[:n], 1 / 3, rtol=1e-14)
    for t in range(n, len(tokens)):
        followed = [tokens[s] for s in range(n, t) if tokens[s - n : s] == tokens[t - n : t]]
        expected = np.exp(score(inner, jnp.array(followed + [0] * (9 - len(followed))))[len(followed)])
        np.testing.assert_allclose(logs[t], expected, rtol=1e-12)


@pytest.mark.parametrize("vocab", [2, 3])
def test_latent_aware_floors_of_dirichlet_rows_are_the_reference_numbers(vocab):
    """Dirichlet(1) over V symbols: the harmonic number H_V - 1, at every position of an urn, switching or not."""
    expected = sum(1 / k for k in range(2, vocab + 1))
    for world in (dirichlet(vocab, 1.0), switching(vocab, 1.0, 0.2)):
        np.testing.assert_allclose([h.value for h in latent_floors(world, 5)], expected, atol=1e-13)


def test_latent_aware_floors_of_a_chain_are_its_integral():
    """V = 2, order 1, alpha = 1: E H(row of the third token's context), rows theta_0, theta_1 uniform on (0, 1)."""

    def h(p):
        return scipy.special.entr(p) + scipy.special.entr(1 - p)

    def third(a, b):  # a = p(1 | 0), b = p(1 | 1); the first token is uniform, so the second is 1 with (a + b) / 2
        one = (a + b) / 2
        return (1 - one) * h(a) + one * h(b)

    expected = scipy.integrate.dblquad(third, 0, 1, 0, 1, epsabs=1e-10)[0]
    told = [q.value for q in latent_floors(markov_in_context(2, 1, 1.0), 3)]
    np.testing.assert_allclose(told, [np.log(2), 0.5, expected], atol=1e-9)


def test_hidden_resets_refuse_to_forget():
    world = switching(2, 1.0, 0.1).sized(2)
    state = world.start()
    for token in (0, 1):
        state = world.advance(state, jnp.asarray(token))
    with pytest.raises(ValueError, match="room for its past, but 2 tokens fill it"):
        world.advance(state, jnp.asarray(0))


def test_ten_thousand_tokens_score_finitely():
    tokens = jax.random.randint(jax.random.key(0), (10_000,), 0, 3)
    for world in (markov_in_context(3, 2, 0.5), unknown_lag(3, [1, 7], ROWS)):
        assert jnp.all(jnp.isfinite(jax.jit(base.filtered)(world, tokens)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: markov_in_context(3, 0, 1.0), "n must be at least 1 token, but is 0"),
        (lambda: markov_in_context(0, 1, 1.0), "vocab must be at least 1 token, but is 0"),
        (lambda: switching(3, 0.0, 0.1), "alpha must be a finite number above 0"),
        (lambda: switching(3, 1.0, 1.0), r"hazard must be in \[0, 1\), but is 1.0"),
        (lambda: unknown_lag(3, [], ROWS), "lags must be different whole numbers"),
        (lambda: unknown_lag(3, [0, 1], ROWS), "lags must be different whole numbers"),
        (lambda: unknown_lag(3, [2, 2], ROWS), "lags must be different whole numbers"),
        (lambda: unknown_lag(0, [1], ROWS), "vocab must be at least 1 token"),
        (lambda: unknown_lag(3, [1], ROWS, 1.0), r"noise must be in \[0, 1\), but is 1.0"),
        (lambda: unknown_lag(3, [1], ROWS + 1e-6), "sum to 1 within"),
    ],
)
def test_bad_numbers_are_refused_with_the_rule(build, message):
    with pytest.raises(ValueError, match=message):
        build()
