"""The figures that the project's mathematics prints for observation, found again with the protocols themselves.

Mess3(.05, .85) over seven tokens, all prefixes enumerated. The predictors are written in NumPy here.
"""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.observe.adapter import callables
from experiments.observe.exact_match import exact_match
from experiments.observe.fidelity import fidelity, tau_b
from experiments.observe.minimal_pairs import minimal_pairs
from experiments.observe.windows import heldout, last_token, nonoverlapping
from worlds.hmm import HMM, mess3
from worlds.quantity import Quantity, exact

WORLD, LENGTH, KEY = mess3(0.05, 0.85), 7, jax.random.key(3)
WORDS = np.array(list(itertools.product(range(3), repeat=LENGTH)))


@cache
def law(memory=LENGTH):
    """p(v | the last `memory` tokens) along every word, from products of the operators; the start is stationary."""
    T, start, places = np.asarray(WORLD.transition), np.full(3, 1 / 3), np.arange(LENGTH)
    found = np.zeros((*WORDS.shape, 3))
    for word, row in zip(WORDS, found, strict=True):
        for t in places:
            belief = start
            for token in word[max(0, t - memory) : t]:
                belief = belief @ T[token]
            row[t] = np.einsum("s,vst->v", belief, T) / belief.sum()
    return found


def says(table):
    """A predictor that looks its answers up, for windows of at most seven tokens."""

    def said(tokens):
        code = tokens @ 3 ** np.arange(LENGTH - 1, LENGTH - 1 - tokens.shape[1], -1)
        return np.log(table[code, : tokens.shape[1]])

    return callables(said)


def early_bad(share):
    """The truth, of which a share is uniform at the first two tokens."""
    return np.where(np.arange(LENGTH)[:, None] < 2, (1 - share) * law() + share / 3, law())


def observed(protocol, table, reached=None, floor=None):
    nothing = exact(0.0)
    return protocol.observe(says(table), WORLD, LENGTH, reached or nothing, floor or nothing, KEY)


@pytest.mark.parametrize(("predictor", "model"), [("win2", -0.0160), ("early-bad2", 0.0212)])
def test_the_three_parts_of_a_short_window_against_the_last_token(predictor, model):
    """Non-overlapping windows of 4, the target being the loss of the seventh token: the world part is one for all."""
    table = {"win2": law(2), "early-bad2": early_bad(0.6)}[predictor]
    last = last_token(2, 2)
    floor, reached = observed(last, law()).expected, observed(last, table).expected
    parts = observed(nonoverlapping(2, 2, windows=2, window=4), table, reached, floor).parts
    assert parts["world"].value == pytest.approx(0.0984, abs=5e-5) and parts["world"].kind == "exact"
    assert parts["model"].value == pytest.approx(model, abs=5e-5) and parts["model"].kind == "exact"


def test_the_truth_s_score_of_minimal_pairs_is_not_one():
    found = observed(minimal_pairs(2, 2, "swap"), law())
    assert found.ceiling.value == pytest.approx(0.597, abs=5e-4)
    assert found.expected.value == pytest.approx(found.ceiling.value, abs=1e-12)


def test_greedy_decoding_of_the_truth_is_not_the_best_at_exact_match():
    """The first token is a with .4, then one of four; or b with .35, then one for certain; or c."""
    first, then = [0.4, 0.35, 0.25, 0.0], [[0.25] * 4, [1.0, 0, 0, 0], [0.25] * 4]
    transition = np.zeros((4, 4, 4))  # states: nothing said, a, b, c
    for token, chance in enumerate(first[:3]):
        transition[token, 0, 1 + token] = chance
        transition[:, 1 + token, 0] = then[token]
    world = HMM(jnp.asarray(transition), jnp.array([1.0, 0, 0, 0]))
    truth = callables(
        lambda x: np.log(np.where(np.arange(2)[:, None] == 0, first, np.asarray(then)[x[:, :1]]) + 1e-300)
    )
    found = exact_match(2, 2, answer=2, beam=16).observe(truth, world, 2, exact(0.0), exact(0.0), KEY)
    assert found.expected.value == pytest.approx(0.10, abs=1e-12)
    assert found.ceiling.value == pytest.approx(0.35, abs=1e-12) and found.ceiling.kind == "exact"


def test_protocols_rank_models_otherwise_than_their_loss_does():
    """Over fifteen models: tau-b with the exact loss is 1 for the loss itself, and less for a short window.

    The printed row (.83, .64) is of models that are not named; these are windows, tempers, mixtures and early faults.
    """
    tables = [law(n) for n in range(5)] + [early_bad(x) for x in (0.3, 0.6, 1.0)]
    tables += [0.98 * law(n) + 0.02 / 3 for n in (1, 2, 6)] + [0.8 * law() + 0.2 / 3, 0.5 * law() + 0.5 / 3]
    tables += [law() ** p / (law() ** p).sum(-1, keepdims=True) for p in (0.5, 1.5)]
    losses = np.array([observed(heldout(2, 2), table).expected.value for table in tables])
    assert len(tables) == 15
    taus = {}
    for protocol in (heldout(2, 2), nonoverlapping(2, 2, windows=2, window=4), last_token(2, 2)):
        scores = np.array([observed(protocol, table).expected.value for table in tables])
        found = fidelity(scores, losses, smaller_is_better=True)
        assert isinstance(found, Quantity) and found.value == tau_b(scores, losses)
        taus[protocol.name] = found.value
    assert taus["heldout"] == pytest.approx(1, abs=1e-12)
    assert 0.4 < taus["last_token"] < taus["nonoverlapping"] < 1
