"""Recall worlds against the enumeration of all their documents, drawn the plain way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worlds import automata, base
from worlds.recall import Answers, copy, flip_flop_answers, induction, recall


def copies():
    for word in itertools.product(range(2), repeat=3):
        yield (*word, 2, *word, 3), 1 / 8


def inductions():
    for word in itertools.product(range(2), repeat=3):
        for place in range(3):
            yield (*word[:place], 2, *word[place:], 2, word[place], 3), 1 / 24


def recalls(gap=0.5):
    for keys in itertools.permutations(range(3), 2):
        for values in itertools.product((3, 4), repeat=2):
            pairs = dict(zip(keys, values, strict=True))
            for asked in itertools.product(range(2), repeat=2):
                p = 1 / 6 / 4
                for i, j in enumerate(asked, start=2):
                    weights = [(i - k) ** (gap - 1) for k in range(2)]
                    p *= weights[j] / sum(weights)
                questions = [token for j in asked for token in (keys[j], pairs[keys[j]])]
                yield (keys[0], values[0], keys[1], values[1], *questions, 5), p


WORLDS = {
    "copy": (copy(3, 2), copies),
    "induction": (induction(3, 2), inductions),
    "recall": (recall(2, 2, 0.5, keys=3, values=2), recalls),
}
every_world = pytest.mark.parametrize("world, documents", WORLDS.values(), ids=WORLDS.keys())


@every_world
def test_documents_have_the_probabilities_of_their_plan(world, documents):
    words, law = zip(*documents(), strict=True)
    found = jax.jit(jax.vmap(base.log_prob, (None, 0)))(world, jnp.array(words, jnp.int32))
    assert np.isclose(sum(law), 1, rtol=1e-14)
    assert len(words[0]) == world.plan.period
    assert np.allclose(np.exp(found), law, rtol=1e-13, atol=0)


@every_world
def test_entropy_rate_is_that_of_a_document(world, documents):
    law = np.array([p for _, p in documents()])
    rate = world.entropy_rate()
    assert rate.kind == "exact"
    assert np.isclose(rate.value, -(law * np.log(law)).sum() / world.plan.period, rtol=1e-13)


@every_world
def test_answers_are_sure_and_nothing_else_is_left_out(world, documents):
    """The mask: tokens that are certain but need the document to tell. Over all documents, they vary."""
    words = np.array([word for word, _ in documents()], np.int32)
    mask = np.asarray(world.answers(jnp.asarray(words[0])))
    logs = np.asarray(jax.jit(jax.vmap(base.log_conditionals, (None, 0)))(world, jnp.asarray(words)))
    sure = np.isclose(logs.max(-1), 0, atol=1e-12).all(0)
    varied = np.array([len(set(column)) > 1 for column in words.T])
    assert isinstance(world, Answers) and mask.dtype == bool
    assert np.array_equal(mask, sure & varied)


@every_world
def test_documents_follow_one_another(world, documents):
    words = [word for word, _ in documents()]
    two = jnp.array([*words[-1], *words[3]], jnp.int32)
    logs = np.asarray(base.log_conditionals(world, two))
    alone = np.asarray(base.log_conditionals(world, jnp.array(words[3], jnp.int32)))
    assert np.array_equal(logs[world.plan.period :], alone)
    assert np.array_equal(world.answers(two), np.tile(world.answers(two[: world.plan.period]), 2))


def test_a_loss_can_be_masked_to_the_answers():
    """The uniform predictor pays log V on the answers, where the world pays nothing."""
    world = recall(2, 2, 1.0, keys=3, values=2)
    mask = world.answers(jnp.zeros(9, jnp.int32)).astype(float)
    measured = base.functional(world, 9, jax.random.key(0), 16, position=mask / mask.sum())
    floors = jax.vmap(lambda tokens: base.entropy(base.log_conditionals(world, tokens)))(measured.tokens)
    assert np.isclose((measured.weight @ floors) @ measured.position, 0, atol=1e-13)


def test_flip_flop_answers_are_the_bits_after_reads():
    tokens = base.sample(automata.flip_flop(0.5), jax.random.key(0), 400)
    mask, entropies = (
        np.asarray(flip_flop_answers(tokens)),
        base.entropy(base.log_conditionals(automata.flip_flop(0.5), tokens)),
    )
    assert 30 < mask.sum() < 80  # a quarter of 200 bits
    assert np.allclose(np.asarray(entropies)[mask], 0, atol=1e-12)
    assert np.asarray(entropies)[1:][~mask[1:]].min() > 0.5  # bits after write and ignore, and instructions, are open


def test_gap_turns_the_questions_towards_the_past_or_the_present():
    past = jnp.array([0, 6, 1, 6, 2, 6], jnp.int32)
    for gap, order in ((0.01, [0, 1, 2]), (3.0, [2, 1, 0])):
        asks = np.exp(
            base.log_conditionals(recall(3, 1, gap, keys=6, values=2), jnp.append(past, jnp.zeros(1, jnp.int32)))[
                -1, :3
            ]
        )
        assert np.array_equal(np.argsort(asks), order)
        assert np.allclose(asks, np.array([3.0, 2, 1]) ** (gap - 1) / (np.array([3.0, 2, 1]) ** (gap - 1)).sum())


@pytest.mark.parametrize(
    "build, rule",
    [
        (lambda: copy(0, 2), "copy: length must be at least 1, but is 0"),
        (lambda: copy(2, 0), "copy: vocab must be at least 1, but is 0"),
        (lambda: induction(0, 2), "induction: length must be at least 1, but is 0"),
        (lambda: recall(0, 1, 1.0), "recall: pairs must be at least 1, but is 0"),
        (lambda: recall(1, 0, 1.0), "recall: queries must be at least 1, but is 0"),
        (lambda: recall(3, 1, 1.0, keys=2), "keys must be at least pairs = 3, so that no key repeats, but is 2"),
        (lambda: recall(3, 1, 0.0), "recall: gap must be above 0, but is 0.0"),
    ],
)
def test_bad_numbers_are_refused_with_the_rule(build, rule):
    with pytest.raises(ValueError, match=rule):
        build()
