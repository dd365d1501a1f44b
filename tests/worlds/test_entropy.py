"""Entropy rates: closed forms with their source, and certified intervals that hold what is known by other means."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from worlds import automata, base, chain, entropy, generalised, hmm


def binary(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


CLOSED = {
    "coin": (hmm.coin(0.3), binary(0.3)),
    "golden_mean": (hmm.golden_mean(0.5), 0.46209812037329684),
    "golden_mean, other": (hmm.golden_mean(0.2), binary(0.2) / 1.2),
    "even": (hmm.even(0.3), binary(0.3) / 1.3),
    "z1r": (hmm.z1r(0.5), 0.23104906018664842),
    "rrxor": (hmm.rrxor(0.3, 0.2), (binary(0.3) + binary(0.2)) / 3),
    "flip_flop": (automata.flip_flop(0.8), (-0.8 * math.log(0.8) - 0.2 * math.log(0.1) + 0.9 * math.log(2)) / 2),
    "flip_flop, stationary": (automata.flip_flop(0.8, "stationary"), 0.6314321610770638),
    "dyck_bounded (1, 3)": (automata.dyck_bounded(1, 3, 0.5, 0.5), 3 * math.log(4) / 7),
    "dyck_bounded (2, 3)": (automata.dyck_bounded(2, 3, 0.5, 0.5), 3 * math.log(8) / 7),
    "dyck_bounded, endless": (automata.dyck_bounded(1, 4, 0.5, 0), 0.519860385420),
    "dyck_bounded, endless, of two kinds": (automata.dyck_bounded(2, 3, 0.4, 0, "stationary"), 0.789344423839),
    "tom_quantum": (generalised.tom_quantum(1, 1), 1.5 * math.log(2)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    world, rate = CLOSED[name]
    assert world.entropy_rate().kind == "exact"
    assert world.entropy_rate().value == pytest.approx(rate, abs=1e-11)


def test_mess3_lies_in_the_bracket_of_the_reference():
    found = hmm.mess3(0.15, 0.6).entropy_rate()
    assert found.kind == "certified"
    assert found.low <= 1.088888208867 and 1.088888208879 <= found.high
    assert found.high - found.low < 1e-6
    assert found.value == pytest.approx(1.088888208873, abs=1e-9)


def waits(survival):
    """The rate of a renewal process: H(wait) / mean wait, from p(wait > n), n = 0, 1, ..."""
    wait = survival[:-1] - survival[1:]
    wait = wait[wait > 0]
    return float(-(wait * np.log(wait)).sum() / survival.sum())


def test_renewal_processes_have_the_rate_of_their_waits():
    n, p, q = np.arange(400), 0.3, 0.6
    found = hmm.sns(p, q).entropy_rate()
    assert found.contains(waits((q * (1 - p) ** n - p * (1 - q) ** n) / (q - p)))  # a sum of two geometric waits
    assert found.high - found.low < 1e-9
    world = generalised.fanizza(2000, 0.49)
    after, turn = np.asarray(world.transition)
    belief, survival = after[0] / after[0].sum(), []
    for _ in n:
        survival.append(belief.sum())
        belief = belief @ turn
    found = world.entropy_rate()
    assert found.contains(waits(np.array(survival)))
    assert found.high - found.low < 1e-9


def hidden_twice(p):
    """The golden mean with its first state split into two that are told apart by nothing: not unifilar, same words."""
    zero = [[(1 - p) / 2, (1 - p) / 2, 0], [(1 - p) / 3, (1 - p) * 2 / 3, 0], [0.4, 0.6, 0]]
    operators = jnp.array([zero, [[0, 0, p], [0, 0, p], [0, 0, 0]]])
    return hmm.HMM(operators, chain.stationary(operators))


def test_finitely_many_beliefs_are_a_closed_form_though_states_are_hidden():
    found = hidden_twice(0.3).entropy_rate()
    assert found.value == pytest.approx(binary(0.3) / 1.3, abs=1e-11)


@pytest.mark.parametrize("world", [hmm.mess3(0.05, 0.85), hmm.random_hmm(4, 3, 1.0, 1)], ids=["mess3", "random"])
def test_the_sandwich_is_that_of_all_words(world):
    """Against H(x_n | x_<n) and H(x_n | x_<n, s_0) summed over every word, with a budget that stops at n = 5."""
    operators, law = np.asarray(world.transition), np.asarray(world.initial)

    def conditional(n, start):
        entropies = []
        for length in (n - 1, n):
            words = itertools.product(range(len(operators)), repeat=length)
            p = np.array([_chain(operators, word, start).sum() for word in words])
            entropies.append(-(p[p > 0] * np.log(p[p > 0])).sum())
        return entropies[1] - entropies[0]

    states = len(law)
    low = sum(law[s] * conditional(5, np.eye(states)[s]) for s in range(states))
    found = entropy.entropy_rate(operators, law, budget=states * len(operators) ** 4 * operators.size)
    assert found.low == pytest.approx(low, abs=1e-11)
    assert found.high == pytest.approx(conditional(5, law), abs=1e-11)
    whole = world.entropy_rate()
    assert found.low <= whole.low <= whole.high <= found.high


def _chain(operators, word, start):
    for token in word:
        start = start @ operators[token]
    return start


def test_a_start_that_is_not_stationary_and_a_world_with_several_ends():
    """The rate is that of the long run: here the mean over two coins that are never left, 0.6 and 0.4."""
    zero, one = np.diag([0, 0.7, 0.1]), np.diag([0, 0.3, 0.9])
    zero[0], one[0] = [0, 0.6, 0], [0, 0, 0.4]
    found = entropy.entropy_rate(np.stack([zero, one]), np.array([1.0, 0, 0]))
    assert found.value == pytest.approx(0.6 * binary(0.3) + 0.4 * binary(0.1), abs=1e-12)


def test_signed_worlds_without_a_renewing_token_say_how_wide_they_are():
    world = generalised.tom_quantum(1, 3)
    found = world.entropy_rate()
    assert found.kind == "certified"
    assert found.high <= base.floors(world, 2)[-1].value
    assert found.low <= found.value <= found.high


def test_rounding_does_not_empty_an_interval():
    for world in (hmm.sns(0.5, 0.5), hmm.mess3(0.4, 0.35), hmm.random_hmm(1, 3, 1.0, 0)):
        found = world.entropy_rate()
        assert found.low <= found.value <= found.high
