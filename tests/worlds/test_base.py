"""The free functions that are written once over every world."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import struct

from worlds import base, hmm

KEY = jax.random.key(0)


@struct.dataclass
class Counting:
    """Token v with probability (v + 1 + n) / sum, n tokens into the past: small, and remembers its own room."""

    vocab_size: int = struct.field(pytree_node=False, default=3)
    room: int = struct.field(pytree_node=False, default=0)

    def sized(self, length):
        return self.replace(room=length)

    def start(self):
        return jnp.zeros((), jnp.int32)

    def log_next(self, state):
        weight = jnp.arange(1.0, self.vocab_size + 1) + state.astype(float)
        return jnp.log(weight / weight.sum())

    def advance(self, state, token):
        del token
        return state + 1


def words(world, length):
    return np.array(list(itertools.product(range(world.vocab_size), repeat=length)), np.int32)


def test_protocols_tell_worlds_apart():
    assert isinstance(Counting(), base.World) and isinstance(Counting(), base.Growing)
    assert not isinstance(Counting(), base.Parallel | base.HasEntropyRate)
    assert isinstance(hmm.coin(0.5), base.HasEntropyRate) and not isinstance(hmm.coin(0.5), base.Growing)
    assert base.sized(Counting(), 7).room == 7
    assert base.sized(hmm.coin(0.5), 7) is not None


def test_cast_changes_floats_alone():
    tree = {"float": jnp.ones(2), "int": jnp.ones(2, jnp.int32)}
    assert {k: v.dtype for k, v in base.cast(tree, jnp.float32).items()} == {"float": jnp.float32, "int": jnp.int32}


def test_log_prob_is_the_sum_of_the_chosen_conditionals():
    tokens = jnp.array([2, 0, 1])
    assert float(base.log_prob(Counting(), tokens)) == pytest.approx(math.log(3 / 6 * 2 / 9 * 4 / 12), abs=1e-14)
    assert base.log_conditionals(Counting(), tokens).shape == (3, 3)


def test_states_are_those_before_each_token():
    assert base.states(Counting(), jnp.array([0, 0, 0])).tolist() == [0, 1, 2]


def test_samples_repeat_with_their_key_and_differ_with_another():
    draw = jax.jit(base.sample_with_law, static_argnums=2)
    one, law = draw(hmm.mess3(0.15, 0.6), KEY, 50)
    np.testing.assert_array_equal(one, base.sample(hmm.mess3(0.15, 0.6), KEY, 50))
    np.testing.assert_allclose(law, base.log_conditionals(hmm.mess3(0.15, 0.6), one), atol=1e-13)
    assert not np.array_equal(one, draw(hmm.mess3(0.15, 0.6), jax.random.key(1), 50)[0])


def test_entropy_counts_nothing_for_what_is_impossible():
    logs = jnp.log(jnp.array([[0.5, 0.5, 0], [1, 0, 0]]))
    np.testing.assert_allclose(base.entropy(logs), [math.log(2), 0], atol=1e-15)
    assert jnp.isfinite(
        jax.grad(lambda p: base.entropy(jnp.where(p > 0, jnp.log(p), -jnp.inf)))(jnp.array([0.5, 0.5]))
    ).all()


def test_prefixes_are_all_possible_words_with_their_probabilities():
    world = hmm.golden_mean(0.3)
    levels = list(base.prefixes(world, 4))
    assert [len(tokens) for tokens, _, _ in levels] == [1, 2, 3, 5, 8]  # Fibonacci: no two ones in a row
    tokens, logs, state = levels[-1]
    law = np.asarray(jax.jit(jax.vmap(base.log_prob, (None, 0)))(world, words(world, 4)))
    np.testing.assert_array_equal(tokens, words(world, 4)[law > -np.inf])
    np.testing.assert_allclose(logs, law[law > -np.inf], atol=1e-13)
    assert state.log.shape == (8, 2)


def test_an_enumerated_functional_is_exact():
    measured = base.functional(hmm.golden_mean(0.3), 4, KEY, 0)
    assert measured.exact and measured.tokens.shape == (5, 4)
    assert float(measured.weight.sum()) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(measured.position, 0.25)
    found = base.estimate(jnp.ones(5), measured)
    assert (found.kind, found.low, found.high) == ("exact", found.value, found.value)


def test_a_sampled_functional_is_reproducible_and_says_so():
    position = np.array([0.0, 0.0, 1.0])
    measured = base.functional(hmm.mess3(0.15, 0.6), 3, KEY, 8, position, limit=1)
    again = base.functional(hmm.mess3(0.15, 0.6), 3, KEY, 8, position, limit=1)
    assert not measured.exact and measured.tokens.shape == (8, 3)
    np.testing.assert_array_equal(measured.tokens, again.tokens)
    np.testing.assert_array_equal(measured.position, position)


def test_estimates_are_student_intervals_by_sequence():
    values = jnp.array([1.0, 2.0, 4.0, 8.0])
    measured = base.Functional(jnp.zeros((4, 1), jnp.int32), jnp.full(4, 0.25), jnp.ones(1), False)
    found = base.estimate(values, measured)
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(values), scipy.stats.sem(values))
    assert (found.kind, found.count) == ("estimated", 4)
    np.testing.assert_allclose((found.value, found.low, found.high), (3.75, low, high))


def test_an_impossible_token_costs_infinity_for_certain():
    measured = base.Functional(jnp.zeros((2, 1), jnp.int32), jnp.full(2, 0.5), jnp.ones(1), False)
    with np.errstate(invalid="ignore"):
        found = base.estimate(jnp.array([1.0, jnp.inf]), measured)
    assert found.value == found.low == found.high == math.inf


def test_floors_are_entropies_of_the_law():
    found = base.floors(Counting(), 3)
    expected = [[1 / 6, 2 / 6, 3 / 6], [2 / 9, 3 / 9, 4 / 9], [3 / 12, 4 / 12, 5 / 12]]
    np.testing.assert_allclose([q.value for q in found], [scipy.stats.entropy(p) for p in expected], atol=1e-14)
    assert {q.kind for q in found} == {"exact"}


def test_sampled_floors_hold_the_enumerated_ones():
    world = hmm.mess3(0.05, 0.85)
    exact = base.floors(world, 4)
    sampled = base.floors(world, 4, KEY, 512, limit=1)
    assert {q.kind for q in sampled} == {"estimated"}
    for h, estimate in zip(exact, sampled, strict=True):
        assert abs(h.value - estimate.value) <= 2.3 * (estimate.high - estimate.value) + 1e-12  # 4.5 standard errors


@pytest.mark.parametrize(
    ("length", "sequences", "message"),
    [(0, 2, "length must be at least 1 token, but is 0"), (3, 1, "at least 2 sequences, but got 1")],
)
def test_bad_functionals_are_refused_with_the_rule(length, sequences, message):
    with pytest.raises(ValueError, match=message):
        base.functional(hmm.mess3(0.15, 0.6), length, KEY, sequences, limit=0)


@pytest.mark.parametrize("function", [base.log_conditionals, base.filtered, base.log_prob, base.states])
@pytest.mark.parametrize(("tokens", "wrong"), [([0, 3, 1], 3), ([0, -1], -1)])
def test_tokens_outside_the_vocabulary_are_refused_with_the_rule(function, tokens, wrong):
    with pytest.raises(ValueError, match=f"all must lie in 0 ... 2, the vocabulary, but one is {wrong}"):
        function(hmm.mess3(0.15, 0.6), jnp.array(tokens))


def test_an_empty_sample_is_refused_with_the_rule():
    with pytest.raises(ValueError, match="sample: length must be at least 1 token, but is 0"):
        base.sample(hmm.mess3(0.15, 0.6), KEY, 0)
