"""Window protocols against brute force: every document of a tiny world, with its probability."""

import itertools
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from experiments.observe.law import window_law
from experiments.observe.windows import heldout, nonoverlapping, sliding
from tests.members import PROTOCOLS
from worlds.hmm import HMM, mess3
from worlds.quantity import exact

LENGTH = 4
VOCAB = 3
KEY = jax.random.key(11)
MOVING = HMM(mess3(0.05, 0.85).transition, jnp.array([1.0, 0.0, 0.0]))  # not in its stationary law
STRICT = HMM(  # many tokens are impossible
    jnp.array(
        [[[0, 0.5, 0], [0, 0, 1], [0.2, 0, 0]], [[0, 0, 0.5], [0, 0, 0], [0, 0.3, 0]], [[0] * 3, [0] * 3, [0.5, 0, 0]]]
    ),
    jnp.array([0.0, 1.0, 0.0]),
)
WORLDS = {"mess3": mess3(0.05, 0.85), "strict": STRICT, "moving": MOVING}
WORDS = np.array(list(itertools.product(range(VOCAB), repeat=LENGTH)))  # the longest windows


def answers(world, memory=LENGTH):
    """What a world's rule says of all words, restarted so that it reads the last `memory` tokens only: by products."""
    T, start = np.asarray(world.transition), np.asarray(world.initial)
    table = np.zeros((len(WORDS), LENGTH, VOCAB))
    for n, word in enumerate(WORDS):
        for t in range(LENGTH):
            belief = start
            for token in word[max(0, t - memory) : t]:
                belief = belief @ T[token]
            table[n, t] = np.einsum("s,vst->v", belief, T) / max(belief.sum(), 1e-300)
    return logs(table)


def logs(chances):
    with np.errstate(divide="ignore"):
        return np.log(chances)


@cache
def tables(world):
    """Nine predictors, good and bad; the first is the truth, and some hold possible tokens impossible."""
    law = WORLDS[world]
    truth, other = np.exp(answers(law)), np.exp(answers(mess3(0.2, 0.5)))
    flat, copied = np.full_like(truth, 1 / VOCAB), np.zeros_like(truth)
    copied[:, 0, 0] = 1
    copied[:, 1:] = np.eye(VOCAB)[WORDS[:, :-1]]
    early = np.where(np.arange(LENGTH)[:, None] < 2, flat, truth)
    sharp = np.where(
        truth.sum(-1, keepdims=True) > 0, truth**2 / np.maximum((truth**2).sum(-1, keepdims=True), 1e-300), flat
    )
    limited = [np.exp(answers(law, memory)) for memory in (0, 1, 2)]
    return [logs(x) for x in (truth, *limited, flat, other, early, sharp * 0.9 + flat * 0.1, copied)]


def look_up(table, tokens):
    """The answers for windows [window, time], time at most LENGTH."""
    codes = tokens @ VOCAB ** np.arange(LENGTH - 1, LENGTH - 1 - tokens.shape[-1], -1)
    return table[codes][..., : tokens.shape[-1], :]


def members(tables):
    return lambda tokens: np.stack([look_up(table, np.asarray(tokens)) for table in tables])


def everything(world, length):
    """All documents and their probabilities, by products of matrices: nothing of the code under test."""
    T, start = np.asarray(world.transition), np.asarray(world.initial)
    documents = np.array(list(itertools.product(range(len(T)), repeat=length)))
    chances = np.array([np.linalg.multi_dot([start, *T[list(x)], np.ones(len(start))]) for x in documents])
    return documents[chances > 0], chances[chances > 0]


def windows_of(world, protocol):
    """All windows [document offset time] with the probabilities of their documents."""
    cut = protocol.cut(LENGTH)
    documents, chances = everything(world, cut.stream)
    return np.stack([documents[:, k : k + cut.window] for k in cut.offsets], 1), chances, cut.position


def by_hand(name, world, protocol, table):
    """E over documents of the mean over windows of the points of the tokens that count: the protocol's definition."""
    shown, chances, position = windows_of(world, protocol)
    logs = look_up(table, shown)
    if name == "accuracy":
        marks = (np.exp(logs).round(13).argmax(-1) == shown) & (logs.max(-1) > -np.inf)
    else:
        marks = -np.take_along_axis(logs, shown[..., None], -1)[..., 0]
    return chances @ (marks[..., position > 0] @ position[position > 0]).mean(1)


def best_by_hand(world, protocol):
    """The best predictor given the window only, from frequencies of all windows: window prefix -> what follows."""
    shown, chances, _ = windows_of(world, protocol)
    counts = np.zeros((LENGTH, *[VOCAB] * LENGTH))  # [t, x_0 ... x_t, zeros]
    for window, chance in zip(shown.reshape(-1, shown.shape[-1]), chances.repeat(shown.shape[1]), strict=True):
        for t in range(len(window)):
            counts[(t, *window[: t + 1], *[0] * (LENGTH - 1 - t))] += chance
    table = np.zeros((len(WORDS), LENGTH, VOCAB))
    for code, word in enumerate(WORDS):
        for t in range(shown.shape[-1]):
            follow = np.array([counts[(t, *word[:t], v, *[0] * (LENGTH - 1 - t))] for v in range(VOCAB)])
            table[code, t] = follow / max(follow.sum(), 1e-300)
    return logs(table)


@cache
def finite(world):
    """The predictors among the nine that hold no possible document impossible, and their exact losses."""
    losses = {n: by_hand("heldout", WORLDS[world], heldout(2, 2), table) for n, table in enumerate(tables(world))}
    return [tables(world)[n] for n in losses if losses[n] < np.inf], [x for x in losses.values() if x < np.inf]


@cache
def seen(name, world, members_of):
    """What a protocol reports of all nine, or of the finite ones, whose losses and floor are exact."""
    found, losses = finite(world) if members_of == "finite" else (tables(world), [np.inf])
    floor = by_hand("heldout", WORLDS[world], heldout(2, 2), tables(world)[0])  # the first of the nine is the truth
    return PROTOCOLS[name].observe(members(found), WORLDS[world], LENGTH, exact(np.mean(losses)), exact(floor), KEY)


every_world = pytest.mark.parametrize("world", WORLDS)
every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


@every_world
@every_protocol
def test_targets_are_means_over_all_documents(name, world):
    found = seen(name, world, "nine")
    assert found.expected.kind == "exact" and len(found.targets) == 9
    expected = [by_hand(name, WORLDS[world], PROTOCOLS[name], table) for table in tables(world)]
    np.testing.assert_allclose(found.targets, expected, atol=1e-9)
    assert found.expected.value == pytest.approx(np.mean(expected), abs=1e-9)


@every_world
@every_protocol
def test_ceilings_are_those_of_the_best_predictor_given_the_window(name, world):
    found, law = seen(name, world, "nine"), WORLDS[world]
    assert found.ceiling.kind == "exact"
    best = by_hand(name, law, PROTOCOLS[name], best_by_hand(law, PROTOCOLS[name]))
    assert found.ceiling.value == pytest.approx(best, abs=1e-9)
    assert max(found.targets) <= best + 1e-12 if name == "accuracy" else min(found.targets) >= best - 1e-12


@every_protocol
def test_scores_are_means_over_members_and_hold_the_target(name):
    found = seen(name, "moving", "finite")
    assert found.score.value == pytest.approx(np.mean(found.scores), abs=1e-12)
    assert found.score.count == PROTOCOLS[name].sequences
    half = found.score.high - found.score.value
    assert 0 < abs(found.score.value - found.expected.value) < 4.5 / 1.96 * half  # 4.5 sigma, and not the target itself


@every_protocol
def test_the_split_sums_to_the_difference(name):
    """O - L_R = world + model + sampling in point values; world and model are zero where nothing is hidden."""
    found = seen(name, "moving", "finite")
    if name == "accuracy":
        assert found.parts is None and found.unit == "fraction"
        return
    reached = np.mean(finite("moving")[1])
    assert sum(part.value for part in found.parts.values()) == pytest.approx(found.score.value - reached, abs=1e-12)
    hides = name not in ("heldout", "per_position")
    assert (abs(found.parts["world"].value) > 1e-3) == hides
    assert (abs(found.parts["model"].value) > 1e-6) == hides


def test_an_impossible_token_costs_infinity_and_its_parts_are_undefined():
    found = seen("nonoverlapping", "strict", "nine")
    assert found.score.value == found.expected.value == np.inf
    assert found.parts["sampling"].kind == found.parts["model"].kind == "undefined"
    assert np.isfinite(found.parts["world"].value)


def test_per_position_curves_are_the_exact_floors():
    found = seen("per_position", "moving", "finite")
    h = [by_hand("", MOVING, heldout(2, 2, window=t), tables("moving")[0]) * t for t in range(1, LENGTH + 1)]
    np.testing.assert_allclose(found.curve[2], np.diff([0, *h]), atol=1e-9)
    assert found.curve.shape == (3, LENGTH)
    assert found.curve[0].mean() == pytest.approx(found.score.value, abs=1e-12)
    assert found.curve[1].mean() == pytest.approx(found.expected.value, abs=1e-12)


@struct.dataclass
class Stranger:
    """A world of a family that has no rule for its windows."""

    hidden: HMM
    vocab_size: int = struct.field(pytree_node=False, default=3)

    def start(self):
        return self.hidden.start()

    def log_next(self, state):
        return self.hidden.log_next(state)

    def advance(self, state, token):
        return self.hidden.advance(state, token)


def test_where_the_law_is_unknown_the_ceiling_is_an_interval_that_holds_it():
    """Sampled soft labels: between the truth that knows the past and the rule restarted, or the best member."""
    law, protocol = Stranger(MOVING), nonoverlapping(256, 256, windows=6, window=4)
    assert window_law(law, protocol.cut(LENGTH).offsets, 4) is None
    floor, (found, losses) = exact(1.0), finite("moving")
    blind = protocol.observe(members(found), law, LENGTH, exact(np.mean(losses)), floor, KEY)
    known = protocol.observe(members(found), MOVING, LENGTH, exact(np.mean(losses)), floor, KEY)
    assert known.ceiling.kind == "exact" and blind.ceiling.kind == "estimated"
    assert blind.ceiling.low < known.ceiling.value < blind.ceiling.high
    assert blind.parts["world"].contains(known.parts["world"].value)
    assert blind.parts["model"].contains(known.parts["model"].value)
    assert blind.score == known.score
    assert blind.expected.contains(known.expected.value)
    total = sum(part.value for part in blind.parts.values())
    assert total == pytest.approx(blind.score.value - np.mean(losses), abs=1e-12)


def test_samples_depend_on_the_key_alone():
    first, again, other = (
        PROTOCOLS["heldout"].observe(members(tables("moving")[:1]), MOVING, LENGTH, exact(1.0), exact(1.0), key)
        for key in (KEY, KEY, jax.random.key(12))
    )
    assert first.score == again.score != other.score


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: heldout(1, 2), "sequences must be at least 2, but is 1"),
        (lambda: nonoverlapping(2, 2, windows=0), "windows must be at least 1, but is 0"),
        (lambda: sliding(2, 2, 1, 5).cut(4), "at most the 4 tokens of a window can be scored, but scored is 5"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_predictors_that_are_no_laws_are_refused():
    with pytest.raises(ValueError, match="must sum to one"):
        PROTOCOLS["heldout"].observe(lambda x: np.zeros((1, *x.shape, 3)), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROTOCOLS)
def test_intervals_cover_their_targets(name):
    """The stated 95 % intervals of the score cover the exact target; 400 draws, so 95 +- 3.3 % at 3 sigma."""
    table = finite("moving")[0][-2:]
    protocol, hits = replace(PROTOCOLS[name], sequences=200), []
    for key in jax.random.split(jax.random.key(5), 400):
        found = protocol.observe(members(table), MOVING, LENGTH, exact(1.0), exact(1.0), key)
        hits.append(found.score.contains(found.expected.value))
    assert 0.917 <= np.mean(hits) <= 0.983
