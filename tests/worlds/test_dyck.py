"""The unbounded brackets against their grammar, and against their coin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import base, grammar
from worlds.dyck import dyck

score = jax.jit(base.log_conditionals)


def test_the_stack_is_the_grammar():
    """The same law from S -> v S w S [.2 each] | empty [.6], through the chart; the tokens are numbered otherwise."""
    world, rules = dyck(2, 0.4), grammar.pcfg("S -> a S x S [.2] | b S y S [.2] | [.6]")
    order = np.array([["a", "b", "x", "y"].index(name) for name in rules.names] + [4])
    for key in range(3):
        tokens = np.asarray(base.sample(rules, jax.random.key(key), 14))
        expected = np.exp(score(rules, jnp.asarray(tokens)))
        found = np.exp(score(world, jnp.asarray(order[tokens], jnp.int32)))
        assert np.allclose(found[:, order], expected, rtol=1e-12, atol=0)


def test_every_decision_is_one_coin():
    world, p = dyck(3, 0.45), 0.45
    tokens = base.sample(world, jax.random.key(0), 5000)
    entropies = base.entropy(score(world, tokens))
    rate = world.entropy_rate()
    assert rate.kind == "exact" and np.isclose(rate.value, -p * np.log(p / 3) - (1 - p) * np.log(1 - p), rtol=1e-14)
    assert np.allclose(entropies, rate.value, rtol=1e-13)


def test_a_wrong_bracket_and_an_early_end_are_impossible_for_ever():
    for wrong in ([0, 3, 2, 4, 0], [0, 4, 4, 0, 0], [2, 4, 0, 2, 4], [0] * 3 + [3, 2]):
        assert base.log_prob(dyck(2, 0.3), jnp.array(wrong, jnp.int32)) == -np.inf
    assert np.isclose(base.log_prob(dyck(2, 0.3), jnp.array([0, 1, 3, 2, 4])), 2 * np.log(0.15) + 3 * np.log(0.7))


def test_ten_thousand_open_brackets_close_again():
    tokens = jnp.array([0, 1] * 2500 + [3, 2] * 2500, jnp.int32)
    assert np.isclose(jax.jit(base.log_prob)(dyck(2, 0.3), tokens), 5000 * np.log(0.15 * 0.7), rtol=1e-12)


@pytest.mark.parametrize(
    "kinds, p, rule",
    [(0, 0.3, "kinds must be at least 1"), (1, 0.6, "below 1, but is 1.2"), (1, 0.0, "strictly between 0")],
)
def test_bad_numbers_are_refused_with_the_rule(kinds, p, rule):
    with pytest.raises(ValueError, match=rule):
        dyck(kinds, p)
