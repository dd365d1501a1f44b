"""The window null is the exact reader of a window: closed forms on the urn, a finite chain that needs one token."""

import jax
import numpy as np
import pytest

from experiments.question.null import null, windowed
from worlds import base, decay, hmm, in_context, kernel, table, urn
from worlds.quantity import exact

URN = urn.dirichlet(3, 0.5)
LENGTH = 8


def observed(world, **more):
    numbers = dict(sequences=2048, readers=512, multiple=3) | more
    return null(**numbers).observe(lambda tokens: tokens, world, LENGTH, exact(0.0), exact(0.0), jax.random.key(5))


def test_on_the_urn_it_counts_the_last_tokens_only():
    """h_t - h_L in closed form: the null at any later position loses what a window of L - 1 tokens loses."""
    found = observed(URN)
    h = URN.bayes_floors(3 * LENGTH)
    error = 4 * found.curve[2].max() + 4 * 0.6 / 2048**0.5  # four standard errors, H(p) within ln 3 / 2 of its mean
    assert np.abs(found.curve[0] - h).max() < error
    assert np.all(found.curve[1, :LENGTH] == 0)
    late, due = found.curve[1, LENGTH:], h[LENGTH - 1] - h[LENGTH:]
    assert np.abs(late.mean() - due.mean()) < 4 * late.std() / len(late) ** 0.5 + 0.003
    assert np.isclose(found.expected.value - found.ceiling.value, found.curve[1].mean())


def test_it_is_the_world_s_rule_on_the_last_tokens():
    tokens = np.asarray(jax.vmap(base.sample, (None, 0, None))(URN, jax.random.split(jax.random.key(0), 2), 12))
    said = windowed(URN, tokens, 5)
    assert said.shape == (2, 7, 3)
    counts = np.array([(tokens[1, 3:7] == v).sum() for v in range(3)])  # what is read before token 7
    assert np.allclose(np.exp(said[1, 2]), (counts + 0.5) / (4 + 1.5))


def test_a_world_of_short_memory_has_a_null_without_loss():
    chain = decay.decay(3, kernel.offset(2), table.dirichlet)
    assert np.abs(observed(chain, sequences=64, readers=16).curve[1]).max() < 1e-12
    assert np.abs(observed(hmm.golden_mean(0.5), sequences=64, readers=16).curve[1]).max() < 1e-12


def test_switching_forgets_so_that_the_null_loses_little_and_less_the_faster():
    slow, fast = (observed(in_context.switching(3, 0.5, h), sequences=256, readers=64) for h in (0.01, 0.3))
    assert 0 < fast.curve[1].mean() < slow.curve[1].mean() < observed(URN, sequences=256, readers=64).curve[1].mean()


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="readers must be at most the 4 sequences"):
        null(4, 8, 2)
    with pytest.raises(ValueError, match="multiple must be at least 2"):
        null(4, 2, 1)
