"""Combined worlds against sums and products over all their clean sequences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import base, decay, grammar, hmm, kernel, recall, table, urn
from worlds.combinators import Mixture, mixture, noisy, product, through
from worlds.dyck import dyck
from worlds.finite import as_hmm

LENGTH = 4
score = jax.jit(jax.vmap(base.log_prob, (None, 0)))


@functools.cache
def words(vocab):
    return np.array(list(itertools.product(range(vocab), repeat=LENGTH)), np.int32)


def law(world):
    return np.exp(score(world, jnp.asarray(words(world.vocab_size))))


def seen_law(clean, channel):
    """p(seen) = sum over clean words of p(clean) times the product of channel[clean_t, seen_t]."""
    vocab, seen = channel.shape
    turns = np.prod(channel[words(vocab)[:, None, :], words(seen)[None, :, :]], axis=-1)
    return law(clean) @ turns


def lagged():
    return decay.decay(2, kernel.power(1.5), table.identity, noise=0.2, horizon=2)


CLEAN = {
    "hmm": lambda: hmm.golden_mean(0.4),
    "recall": lambda: recall.copy(1, 2),
    "lags of a finite horizon": lagged,
    "mixture": lambda: mixture([hmm.even(0.3), hmm.coin(0.2)], [0.25, 0.75]),
    "product": lambda: product([hmm.golden_mean(0.4), hmm.coin(0.3)]),
    "mixture of products": lambda: mixture(
        {"a": product([hmm.golden_mean(0.4), hmm.coin(0.3)]), "b": product([hmm.even(0.4), lagged()])},
        {"b": 0.4, "a": 0.6},
    ),
    "product with a mixture": lambda: product([mixture([hmm.even(0.3), lagged()], [0.5, 0.5]), hmm.coin(0.2)]),
}


@pytest.mark.parametrize("clean", CLEAN.values(), ids=CLEAN.keys())
def test_noise_is_a_sum_over_the_clean_past(clean):
    world, rate = clean(), 0.3
    vocab = world.vocab_size
    expected = seen_law(world, (1 - rate) * np.eye(vocab) + rate / vocab)
    assert np.allclose(law(noisy(world, rate)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("clean", CLEAN.values(), ids=CLEAN.keys())
def test_a_finite_world_is_a_hidden_markov_world(clean):
    assert np.allclose(law(as_hmm(clean())), law(clean()), rtol=1e-12, atol=1e-300)


def test_a_channel_may_have_other_tokens():
    channel = np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    world = through(hmm.golden_mean(0.4), channel)
    assert world.vocab_size == 3
    assert np.allclose(law(world), seen_law(hmm.golden_mean(0.4), channel), rtol=1e-13, atol=0)


def test_noise_twice_is_noise_once():
    """(1 - a)(1 - b) of the tokens stay, the rest are uniform; and a mixture stays one."""
    twice, once = noisy(noisy(hmm.even(0.4), 0.2), 0.5), noisy(hmm.even(0.4), 0.6)
    assert np.allclose(law(twice), law(once), rtol=1e-13, atol=0)
    assert isinstance(noisy(mixture([hmm.even(0.4)], [1.0]), 0.2), Mixture)


def test_a_mixture_is_the_mean_of_its_worlds():
    parts, weights = [hmm.mess3(0.1, 0.7), dyck(1, 0.4), grammar.pcfg("S -> a [.5] | S b [.5]")], [0.5, 0.2, 0.3]
    mixed = mixture(parts, weights)
    expected = sum(w * law(part) for w, part in zip(weights, parts, strict=True))
    assert np.allclose(law(mixed), expected, rtol=1e-12, atol=0)


def test_a_component_that_was_ruled_out_for_ages_is_not_lost():
    """10,000 ones from a coin of .9 put the coin of .1 ten thousands of nats behind; zeros bring it back."""
    world = mixture([hmm.coin(0.9), hmm.coin(0.1)], [0.5, 0.5])
    tokens = jnp.concatenate([jnp.ones(1000, jnp.int32), jnp.zeros(1400, jnp.int32)])
    for logs in (base.filtered(world, tokens), base.log_conditionals(world, tokens)):
        assert np.isclose(np.exp(logs[999, 1]), 0.9, rtol=1e-12)
        assert np.isclose(np.exp(logs[-1, 0]), 0.9, rtol=1e-12)
        assert np.isclose(np.exp(logs[2000, 0]), 0.5, rtol=1e-9)


def test_a_product_is_independent_and_counts_in_mixed_radix():
    world = product({"slow": hmm.mess3(0.1, 0.7), "fast": hmm.golden_mean(0.3)})
    slow, fast = world.digits(jnp.asarray(words(6)))
    assert np.array_equal(2 * slow + fast, words(6))
    assert np.allclose(law(world), np.exp(score(world.worlds[0], slow) + score(world.worlds[1], fast)), rtol=1e-13)


def test_entropy_rates_combine():
    coin, mess3, copy = hmm.coin(0.3), hmm.mess3(0.15, 0.6), recall.copy(2, 2)
    h = coin.entropy_rate().value
    assert np.isclose(mixture([coin, hmm.golden_mean(0.5)], [0.25, 0.75]).entropy_rate().value, h / 4 + np.log(2) / 2)
    assert np.isclose(product([coin, copy]).entropy_rate().value, h + 2 * np.log(2) / 6)
    assert product([coin, copy]).entropy_rate().kind == "exact"
    assert product([coin, mess3]).entropy_rate().kind == "certified"
    fair = noisy(hmm.coin(0.5), 0.4).entropy_rate()
    assert fair.kind == "exact" and np.isclose(fair.value, np.log(2), rtol=1e-14)


@pytest.mark.parametrize(
    "world, reason",
    [
        (lambda: dyck(1, 0.3), "Dyck world .* its memory grows with the past"),
        (lambda: grammar.palindrome(), "PCFG world .* its memory grows with the past"),
        (lambda: urn.dirichlet(2, 1.0), "more than 1024 states of its filter are reached"),
        (lambda: decay.decay(2, kernel.geometric(0.5), table.identity), "more than 1024 states"),
        (lambda: product([hmm.coin(0.5), dyck(1, 0.3)]), "Dyck world .* its memory grows with the past"),
    ],
)
def test_noise_without_an_exact_filter_is_refused_with_the_reason(world, reason):
    with pytest.raises(ValueError, match=reason):
        noisy(world(), 0.1)


@pytest.mark.parametrize(
    "build, rule",
    [
        (lambda: noisy(hmm.coin(0.5), 1.0), r"rate must lie in \[0, 1\), .* but is 1.0"),
        (lambda: noisy(hmm.coin(0.5), -0.1), r"rate must lie in \[0, 1\)"),
        (lambda: through(hmm.coin(0.5), np.array([[0.5, 0.499999], [0, 1]])), "rows of the channel .* sum to 1"),
        (lambda: through(hmm.coin(0.5), np.array([[1.5, -0.5], [0, 1]])), "rows of the channel .* at least 0"),
        (lambda: through(hmm.coin(0.5), np.eye(3)), r"with 2 rows, but is \(3, 3\)"),
        (lambda: mixture([hmm.coin(0.5), hmm.mess3(0.1, 0.5)], [0.5, 0.5]), r"equal vocabularies, but have \[2, 3\]"),
        (lambda: mixture([hmm.coin(0.5)] * 2, [0.5, 0.499999]), "at least 0 and sum to 1"),
        (lambda: mixture([hmm.coin(0.5)] * 2, [1.5, -0.5]), "at least 0 and sum to 1"),
        (lambda: mixture([hmm.coin(0.5)] * 2, [1.0]), "one weight per world, 2, but there are 1"),
        (lambda: mixture([], []), "at least one world"),
        (lambda: product([]), "at least one world"),
        (lambda: noisy(product([hmm.random_hmm(30, 2, 1.0, 0)] * 3), 0.1), "operators may hold at most"),
    ],
)
def test_bad_input_is_refused_with_the_rule(build, rule):
    with pytest.raises(ValueError, match=rule):
        build()
