"""Protocols that are no average of one loss, against brute force over a tiny world."""

import itertools
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.observe.calibration import calibration
from experiments.observe.exact_match import exact_match
from experiments.observe.fixed_target import fixed_target
from experiments.observe.free_run import free_run
from experiments.observe.generate import likeliest_continuation
from experiments.observe.minimal_pairs import minimal_pairs
from experiments.observe.needle import needle
from tests.experiments.observe.test_windows import (
    KEY,
    LENGTH,
    VOCAB,
    WORDS,
    WORLDS,
    everything,
    look_up,
    members,
    tables,
)
from tests.members import PROTOCOLS
from worlds.quantity import exact
from worlds.recall import copy

NAMES = ["mess3", "strict", "moving"]
every_world = pytest.mark.parametrize("name", NAMES)


def run(protocol, name, found=None):
    found = tables(name) if found is None else found
    return protocol.observe(members(found), WORLDS[name], LENGTH, exact(1.0), exact(1.0), KEY)


@cache
def chances(name):
    """The probability of every word."""
    words, p = everything(WORLDS[name], LENGTH)
    found = np.zeros(len(WORDS))
    found[words @ VOCAB ** np.arange(LENGTH)[::-1]] = p
    return found


def log_total(table):
    return np.take_along_axis(table, WORDS[:, :, None], -1)[..., 0].sum(-1)


def greedy(table, prompt, answer):
    word = list(prompt)
    for _ in range(answer):
        code = np.array([*word, *[0] * (LENGTH - len(word))])
        word.append(int(np.exp(look_up(table, code[None])[0, len(word)]).round(13).argmax()))
    return tuple(word)


@every_world
def test_exact_match_is_the_chance_of_the_greedy_continuation(name):
    found, p = run(exact_match(64, 2, answer=2, beam=9), name), chances(name).reshape([VOCAB] * LENGTH)
    prompts = list(itertools.product(range(VOCAB), repeat=LENGTH - 2))
    expected = [sum(p[greedy(table, x, 2)] for x in prompts) for table in tables(name)]
    np.testing.assert_allclose(found.targets, expected, atol=1e-12)
    assert found.ceiling.value == pytest.approx(p.max((2, 3)).sum(), abs=1e-12)
    assert found.ceiling.kind == "exact" and found.ceiling.low == found.ceiling.high
    assert max(found.targets) <= found.ceiling.value + 1e-12


def test_a_narrow_beam_brackets_the_likeliest_continuation():
    world = WORLDS["mess3"]
    prompts = np.zeros((1, LENGTH), int)
    for beam in (1, 2, 5):
        low, high = likeliest_continuation(world, prompts, 0, beam)
        assert low <= np.log(chances("mess3").max()) + 1e-12 and np.log(chances("mess3").max()) <= high + 1e-12
    low, high = likeliest_continuation(world, prompts, 0, 81)
    assert low == high == pytest.approx(np.log(chances("mess3").max()))


@every_world
@pytest.mark.parametrize("corruption", ["swap", "substitute"])
def test_minimal_pairs_count_the_pairs_won(name, corruption):
    found, p = run(minimal_pairs(64, 2, corruption), name), chances(name)
    places = np.arange(LENGTH - 1 if corruption == "swap" else LENGTH)
    won, total, best = np.zeros(9), 0.0, 0.0
    held = np.exp(np.stack([log_total(table) for table in tables(name)]))
    for code, word in enumerate(WORDS):
        for place, step in itertools.product(places, [1] if corruption == "swap" else [1, 2]):
            other = word.copy()
            if corruption == "swap":
                other[[place, place + 1]] = word[[place + 1, place]]
            else:
                other[place] = (word[place] + step) % VOCAB
            mate = other @ VOCAB ** np.arange(LENGTH)[::-1]
            if mate != code:
                tie = abs(held[:, code] - held[:, mate]) <= 1e-9 * held[:, code]
                won += p[code] * np.where(tie, 0.5, held[:, code] > held[:, mate])
                total, best = total + p[code], best + max(p[code], p[mate]) / 2
    np.testing.assert_allclose(found.targets, won / total, atol=1e-9)
    assert found.ceiling.value == pytest.approx(best / total, abs=1e-9)
    assert max(found.targets) <= found.ceiling.value + 1e-9


@every_world
def test_free_runs_are_judged_by_the_world(name):
    p, law = chances(name), tables(name)[0]
    drawers = [np.logaddexp(np.log(0.8) + law, np.log(0.2 / VOCAB)), tables(name)[0]]
    if name == "strict":
        drawers = drawers[1:]  # the other would say what is impossible, which costs infinity
    q = np.stack([np.exp(log_total(table)) for table in drawers])
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(q > 0, -q * np.log(p), 0).sum(-1) / LENGTH
        own = np.where(q > 0, -q * np.log(q), 0).sum(-1) / LENGTH
    q_sums_to_one = abs(q.sum(-1) - 1) < 1e-9  # the mixture is no law after an impossible past
    assert q_sums_to_one.all()
    found = run(free_run(64, 2, minus_own=False, beam=100), name, drawers)
    np.testing.assert_allclose(found.targets, surprise, atol=1e-9)
    assert found.ceiling.value == pytest.approx(-np.log(p.max()) / LENGTH, abs=1e-12)
    narrow = run(free_run(2, 2, minus_own=False, beam=1), name, drawers).ceiling
    assert narrow.kind == ("certified" if narrow.low < narrow.high else "exact") and narrow.contains(
        found.ceiling.value
    )
    against = run(free_run(64, 2, minus_own=True, beam=1), name, drawers)
    np.testing.assert_allclose(against.targets, surprise - own, atol=1e-9)
    assert against.targets[-1] == pytest.approx(0, abs=1e-12) and against.ceiling == exact(0.0)
    for seen in (found, against):
        assert abs(seen.score.value - seen.expected.value) <= 4.5 / 1.96 * (seen.score.high - seen.score.value) + 1e-12


@every_world
def test_needle_scores_answers_alone(name):
    found, law = run(needle(64, 2, short=1, sure=0.75, unsure=0.8), name), np.exp(tables(name)[0])
    protocol = needle(2, 2, short=1, sure=0.75, unsure=0.8)
    entropies = lambda p: -(p * np.log(np.where(p > 0, p, 1))).sum(-1)  # noqa: E731
    rule = np.stack([law[WORDS[:, t - 1] * VOCAB ** (LENGTH - 1), 1] for t in range(2, LENGTH)], 1)  # restarted on one
    answers = np.zeros(WORDS.shape, bool)
    answers[:, 2:] = (entropies(law[:, 2:]) <= 0.75) & (entropies(rule) >= 0.8)
    assert answers[chances(name) > 0].any()
    np.testing.assert_array_equal(protocol.answers(WORLDS[name], WORDS)[chances(name) > 0], answers[chances(name) > 0])
    for target, table in zip(found.targets, tables(name), strict=True):
        losses = np.where(answers, -np.take_along_axis(table, WORDS[:, :, None], -1)[..., 0], 0).sum(-1)
        possible = chances(name) > 0
        expected = chances(name)[possible] @ losses[possible] / (chances(name) @ answers.sum(-1))
        assert target == pytest.approx(expected, abs=1e-9)
    assert found.ceiling.value == pytest.approx(min(found.targets), abs=1e-12)


def test_needle_is_undefined_where_nothing_is_an_answer():
    found = run(needle(8, 8, short=1, sure=1e-6, unsure=1.0), "mess3")
    assert found.score.kind == found.expected.kind == found.ceiling.kind == found.parts["world"].kind == "undefined"


@every_world
def test_fixed_targets_are_the_same_tokens_after_several_contexts(name):
    """The last two of four tokens after none and after both others: over all documents, for all nine predictors."""
    contexts, targets, length = [0, 2], 2, 4
    words, p = everything(WORLDS[name], length)
    expected = np.zeros((len(contexts), 9))
    for row, context in enumerate(contexts):
        shown = words[:, length - context - targets :]
        for n, table in enumerate(tables(name)):
            lost = -np.take_along_axis(look_up(table, shown), shown[..., None], -1)[..., -targets:, 0].mean(-1)
            expected[row, n] = p @ lost
    found = run(fixed_target(64, 2, targets, contexts), name)
    np.testing.assert_allclose(found.targets, expected[-1], atol=1e-12)
    np.testing.assert_allclose(found.curve[1], expected.mean(1), atol=1e-12)  # of the mean over members
    alone = run(fixed_target(64, 2, targets, contexts), name, tables(name)[:1])
    np.testing.assert_allclose(alone.curve[1], expected[:, 0], atol=1e-12)
    assert (np.diff(alone.curve[2]) <= 1e-12).all()  # more context never hurts the best predictor
    last = run(fixed_target(64, 2, targets=1), name)
    whole = run(PROTOCOLS["last_token"], name)
    np.testing.assert_allclose(last.targets, whole.targets, atol=1e-12)
    assert fixed_target(2, 2, targets=2).contexts_at(10) == (0, 2, 4, 8)


@every_world
@pytest.mark.parametrize("bins", [1, 4, 10])
def test_calibration_errors_are_those_of_the_bins(name, bins):
    """Every token of every document falls in one bin (l, h] and is right or not: nothing but counting."""
    words, p = everything(WORLDS[name], LENGTH)
    expected = []
    for table in tables(name):
        gaps = np.zeros(bins)
        for word, chance in zip(words, p, strict=True):
            for t, token in enumerate(word):
                q = np.exp(look_up(table, word[None])[0, t]).round(13)
                inside = sum(q.max() > edge + 1e-12 for edge in np.arange(1, bins) / bins)
                gaps[inside] += chance * ((q.argmax() == token and q.max() > 0) - q.max()) / LENGTH
        expected.append(abs(gaps).sum())
    found = run(calibration(64, 2, bins), name)
    np.testing.assert_allclose(found.targets, expected, atol=1e-9)
    assert found.expected.kind == "exact" and found.ceiling == exact(0.0)
    assert found.targets[0] == pytest.approx(0, abs=1e-12)  # the truth is calibrated
    assert found.curve.shape == (3, bins) and found.curve[2].sum() == pytest.approx(1, abs=1e-12)


def test_a_calibrated_member_s_interval_holds_zero_although_its_score_is_biased():
    found = run(calibration(64, 2, 10), "mess3", tables("mess3")[:1])
    assert found.score.value == found.world.value > 0.01 and found.score.low == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exact_match(2, 2, 0, 1), "answer must be at least 1, but is 0"),
        (lambda: run(exact_match(2, 2, 5, 1), "mess3"), "answers must fit in the 4 trained tokens, but have 5"),
        (lambda: minimal_pairs(2, 2, "shuffle"), "corruption must be one of swap, substitute, stamp, but is 'shuffle'"),
        (lambda: needle(2, 2, 1, 0.5, 0.5), "0 <= sure < unsure"),
        (lambda: fixed_target(2, 2, 1, [2, 1]), "contexts must be increasing"),
        (lambda: fixed_target(2, 2, 4).contexts_at(4), "targets must be fewer than the 4 trained tokens"),
        (lambda: calibration(2, 1, 1), "soft must be at least 2"),
        (lambda: free_run(1, 2, False, 1), "sequences must be at least 2"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_world_that_poses_questions_says_which_tokens_are_answers():
    law = copy(2, 2)
    stream = np.asarray(law.answers(jnp.zeros(10, int)))
    found = needle(2, 2, short=1, sure=0.1, unsure=0.5).answers(law, np.zeros((3, 10), int))
    assert stream.any() and (found == stream).all()
