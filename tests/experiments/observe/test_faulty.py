"""Protocols that are wrong on purpose, against brute force: what is wrong with them shows where it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import blind
from experiments.alchemy import Reals, Shape, numbers
from experiments.cell import Cell
from experiments.layers import own
from experiments.observe.leaky import leaky
from experiments.observe.minimal_pairs import minimal_pairs
from experiments.observe.noisy import noisy
from experiments.observe.windows import heldout
from experiments.reach import initial
from experiments.streams import members as keys_of
from experiments.streams import stream
from tests.experiments.observe.test_windows import KEY, LENGTH, VOCAB, WORDS, WORLDS, everything, members, tables
from tests.experiments.smallest import spec
from worlds import hmm
from worlds.base import cast, functional, log_conditionals
from worlds.quantity import exact

FLOOR = {name: -(p[p > 0] * np.log(p[p > 0])).sum() / LENGTH for name, (_, p) in
         {name: everything(world, LENGTH) for name, world in WORLDS.items()}.items()}  # fmt: skip


def observe(protocol, name, found=None, world=None):
    found = tables(name) if found is None else found
    floor = exact(FLOOR[name])
    return protocol.observe(members(found), WORLDS[name] if world is None else world, LENGTH, floor, floor, KEY)


def loss(table, words):
    """Of each word under a table, nats per token."""
    codes = np.asarray(words) @ VOCAB ** np.arange(LENGTH - 1, -1, -1)
    return -np.take_along_axis(table[codes], np.asarray(words)[..., None], -1)[..., 0].mean(-1)


def test_a_leak_shows_as_luck_that_the_world_does_not_share():
    """A member that knows its own two words by heart, on a set that is made of them."""
    own_words = np.array([[[0, 1, 2, 0], [1, 1, 1, 2]], [[2, 2, 0, 1], [0, 0, 0, 0]]])  # [member, sequence, time]
    truth = tables("mess3")[0]
    found = []
    for words in own_words:
        table = truth.copy()
        for word in words:
            table[(WORDS == word).all(-1)] = np.log(0.05 + 0.85 * np.eye(VOCAB)[word])[None]
        found.append(table)
    seen = observe(leaky(40, 2, leaked=0.5).informed(own_words), "mess3", found)
    fresh = observe(heldout(40, 2), "mess3", found)
    assert seen.expected.value == pytest.approx(fresh.expected.value, abs=1e-12)  # what it is believed to measure
    leaked = np.mean([loss(table, words).mean() for table, words in zip(found, own_words, strict=True)])
    rest = np.asarray(fresh.marks)[:, 20:].mean()  # the same fresh documents, by the same key
    assert seen.score.value == pytest.approx((leaked + rest) / 2, abs=1e-12)
    known = (seen.score.value - seen.expected.value) - (seen.world.value - seen.ceiling.value)
    assert known < -0.1
    assert seen.parts is not None and seen.parts["world"].value == pytest.approx(0, abs=1e-9)


def test_the_leak_is_what_training_draws():
    """The pool that `leaky` is told is the one in each member's hands."""
    world, shape = hmm.golden_mean(0.5), Shape(batch=4, length=6, pool=3, sequences=5)
    cell = Cell(world, None, spec, shape, Reals(), 2, {}, {"seed": 7}, {})
    weights, data = (keys_of(stream(7, name), 0, 2) for name in ("initialise", "train"))
    made = jax.jit(
        lambda weights, data: initial(spec, shape, cast(world, jnp.float32), numbers(Reals()), weights, data)
    )
    for n, drawn in enumerate(own(cell)):
        np.testing.assert_array_equal(made(weights[n], data[n]).dataset[:3], drawn)


@pytest.mark.parametrize("name", ["mess3", "moving"])
def test_noise_in_the_documents_is_a_world_part(name):
    """Against the words of the noisy law, by a sum over all clean words."""
    rate, (words, p) = 0.3, everything(WORLDS[name], LENGTH)
    channel = (1 - rate) * np.eye(VOCAB) + rate / VOCAB
    seen = np.zeros(len(WORDS))
    for word, chance in zip(words, p, strict=True):
        seen += chance * np.prod([channel[word[t], WORDS[:, t]] for t in range(LENGTH)], axis=0)
    found = observe(noisy(heldout(64, 2), rate), name)
    assert found.ceiling.value == pytest.approx(-(seen * np.log(seen)).sum() / LENGTH, abs=1e-9)
    assert found.parts is not None
    assert found.parts["world"].value == pytest.approx(found.ceiling.value - FLOOR[name], abs=1e-9)
    assert found.targets[0] == pytest.approx((seen * loss(tables(name)[0], WORDS)).sum(), abs=1e-9)


@pytest.mark.parametrize("name", ["mess3", "moving"])
def test_stamped_pairs_are_won_by_whoever_counts_stamps(name):
    """By a sum over all words and places; the real one of a pair is certain, so the best possible score is one."""
    found, (words, p) = observe(minimal_pairs(64, 2, "stamp"), name), everything(WORLDS[name], LENGTH)
    won, total = np.zeros(9), 0.0
    for word, chance in zip(words, p, strict=True):
        for place in np.flatnonzero(word < VOCAB - 1):
            other = word.copy()
            other[place] = VOCAB - 1
            real, fake = (np.array([loss(table, x[None])[0] for table in tables(name)]) for x in (word, other))
            tie = (real == fake) | np.isclose(real, fake, rtol=0, atol=1e-10)  # two impossible words are a tie too
            won += chance * np.where(tie, 0.5, real < fake)
            total += chance
    np.testing.assert_allclose(found.targets, won / total, atol=1e-9)
    assert (found.ceiling.value, found.ceiling.kind) == (1.0, "exact")
    counter = np.where(np.arange(VOCAB) == VOCAB - 1, np.log(1e-6), np.log((1 - 1e-6) / (VOCAB - 1)))
    best = minimal_pairs(64, 2, "stamp").observe(
        blind.reader(counter), WORLDS[name], LENGTH, exact(1.0), exact(1.0), KEY
    )
    assert best.expected.value == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["mess3", "moving"])
def test_the_reader_of_single_tokens_loses_the_entropy_of_the_mean_law(name):
    """Its loss under every protocol of whole sequences is the zero order_0; everything else is what can be learnt."""
    measured = functional(WORLDS[name], LENGTH, KEY, 2)
    truth = np.asarray(jax.vmap(log_conditionals, (None, 0))(WORLDS[name], measured.tokens))
    zero = blind.order_0(measured, truth)
    words, p = everything(WORLDS[name], LENGTH)
    law = np.array([(p @ (words == v)).mean() for v in range(VOCAB)])
    assert zero.value == pytest.approx(-(law * np.log(law)).sum(), abs=1e-9) and zero.kind == "exact"
    np.testing.assert_allclose(np.exp(blind.said(measured, truth)), law, atol=1e-12)
    found = heldout(64, 2).observe(blind.reader(np.log(law)), WORLDS[name], LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.expected.value == pytest.approx(zero.value, abs=1e-9)
    assert zero.value >= FLOOR[name]


def test_what_is_no_fault_is_refused():
    for make, said in [
        (lambda: leaky(2, 2, 0.0), "leaked must be a share above 0"),
        (lambda: noisy(heldout(2, 2), 1.0), "rate must lie in"),
    ]:
        with pytest.raises(ValueError, match=said):
            make()
