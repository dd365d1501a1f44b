"""The law of a window, by each family's own rule, against the table of all documents."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.observe.base import conditionals
from experiments.observe.law import shifted, tabulated, window_law
from worlds.automata import flip_flop
from worlds.combinators import mixture
from worlds.decay import decay
from worlds.hmm import HMM, golden_mean, mess3
from worlds.kernel import geometric, offset
from worlds.reset import reset
from worlds.table import dirichlet as rows
from worlds.urn import dirichlet

WORLDS = {  # not in their stationary laws
    "hmm": HMM(mess3(0.05, 0.85).transition, jnp.array([1.0, 0.0, 0.0])),
    "with impossible tokens": HMM(golden_mean(0.5).transition, jnp.array([0.0, 1.0])),
    "urn": dirichlet(3, 0.4),
    "decay, renormalised": decay(3, geometric(0.6), rows, noise=0.1, horizon=2),
    "decay, sunk": decay(2, geometric(0.5), rows, horizon=3, early="sink", start=[0.9, 0.1]),
    "mixture": mixture([HMM(mess3(0.05, 0.85).transition, jnp.array([1.0, 0.0, 0.0])), dirichlet(3, 0.4)], [0.3, 0.7]),
    "urn with resets": reset(dirichlet(2, 0.4), 0.2),
    "an automaton": flip_flop(0.8),
    "decay at one lag": decay(2, offset(2), [[0.0, 1.0], [0.5, 0.5]], noise=0.0),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_rules_agree_with_enumeration(world):
    offsets = (0, 2, 2)
    law = shifted(world, offsets)
    assert law is not None
    every = jnp.array(list(itertools.product(range(world.vocab_size), repeat=3)))
    rule, table = (np.asarray(conditionals(x, every)) for x in (law, tabulated(world, offsets, 3)))
    possible = rule > -np.inf
    assert (possible == (table > -np.inf)).all()
    np.testing.assert_allclose(rule[possible], table[possible], atol=1e-12)


def test_a_window_at_the_start_has_the_worlds_own_law_and_endless_decay_has_none_that_is_exact():
    world = decay(4, geometric(0.6), rows)
    assert window_law(world, (0, 0), 16) is world
    assert window_law(world, (0, 16), 16) is None
    assert window_law(world, (0, 2), 4) is not None  # few enough to be enumerated
