"""Laws of every concept, and reference values recomputed from independent definitions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from models.perception import bag, decay, match, mixture, offset, order_free, untied, window
from models.perception.contexts import enumerated
from models.perception.linear import posteriors
from models.perception.profiles import ALL_LAGS, Geometric, Windows
from models.perception.projection import project
from tests.members import CONCEPTS
from worlds import hmm, kernel, positional, urn
from worlds import match as matched
from worlds.base import functional, log_conditionals
from worlds.decay import decay as attention
from worlds.quantity import ROUNDING
from worlds.steady import steady

ROWS = [[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]]
LENGTH = 4
HOMES = {  # a world, and the concepts that must find nothing to lose there
    "urn": (urn.dirichlet(3, 0.5), {"order_free", "decay", "power_decay", "monotone", "offset", "absolute"}),
    "geometric": (attention(3, kernel.geometric(0.6), ROWS), {"decay", "monotone", "offset", "absolute"}),
    "power": (attention(3, kernel.power(1.5), ROWS), {"power_decay", "absolute"}),
    "window": (attention(3, kernel.uniform(), ROWS, horizon=3, early="sink"), {"monotone", "offset", "absolute"}),
    "spike": (attention(3, kernel.offset(3), ROWS), {"offset", "absolute"}),
    "markov": (hmm.golden_mean(0.5), {"window", "offset", "absolute", "bag_and_last", "log_linear"}),
    "matched": (matched.match(urn.dirichlet(2, 0.5), 1), {"match"}),
}
NESTED = [  # smaller, larger: the larger dictionary or the finer feature cannot lose more
    ("unigram", "order_free"),
    ("unigram", "alibi"),
    ("unigram", "window, blind"),
    ("order_free", "decay"),
    ("order_free", "power_decay"),
    ("decay", "monotone"),
    ("decay", "offset"),
    ("monotone", "offset"),
    ("alibi", "decay"),
    *((name, "absolute") for name in ("order_free", "decay", "power_decay", "monotone", "offset", "alibi")),
    ("window, blind", "window"),
    ("bag", "bag_and_last"),
    *((name, "everything") for name in CONCEPTS),
]


@functools.cache
def perceived(concept: str, world: str):
    return CONCEPTS[concept].perceive(HOMES[world][0], LENGTH, LENGTH, jax.random.key(0), 64)


@functools.cache
def measured(concept: str, world: str):
    """The predictor's own excess, from its log probabilities."""
    law = HOMES[world][0]
    over = functional(law, LENGTH, jax.random.key(0), 64)
    logs = jax.lax.map(lambda x: log_conditionals(law, x), over.tokens)
    said = jax.lax.map(perceived(concept, world).predictor, over.tokens)
    some = logs > -jnp.inf
    lost = jnp.where(some, jnp.exp(logs) * (jnp.where(some, logs, 0) - said), 0).sum(-1)
    return float(over.weight @ lost @ over.position), said


DEAR = {  # two continua at once, in worlds that are no members: many rounds of column generation
    (concept, world)
    for concept in ("decay", "power_decay")
    for world, (_, members) in HOMES.items()
    if concept not in members and (concept, world) != ("decay", "power")
}


def cases(*rows):
    """The slow ones marked."""
    dear = [any((concept, row[-1]) in DEAR for concept in row[:-1]) for row in rows]
    return [pytest.param(*row, marks=pytest.mark.slow) if x else row for row, x in zip(rows, dear, strict=True)]


every_pair = pytest.mark.parametrize(("concept", "world"), cases(*itertools.product(CONCEPTS, HOMES)))


@pytest.mark.parametrize(("concept", "world"), cases(*itertools.product(CONCEPTS, ["power", "markov"])))
def test_the_predictor_loses_what_the_solver_says(concept, world):
    lost, said = measured(concept, world)
    assert perceived(concept, world).excess.value == pytest.approx(lost, abs=1e-12)
    assert np.abs(jax.nn.logsumexp(said, axis=-1)).max() < 1e-12  # probabilities


@every_pair
def test_brackets_are_narrow_and_parts_add_up(concept, world):
    found = perceived(concept, world)
    excess = found.excess
    assert excess.kind in ("exact", "certified")
    assert -ROUNDING <= excess.low <= excess.high
    assert excess.high - excess.low < 1e-8
    assert excess.contains(excess.value, 1e-12)
    assert found.readout.value + found.concept.value == pytest.approx(excess.value, abs=1e-15)


@pytest.mark.parametrize(("smaller", "larger", "world"), cases(*((*two, w) for two in NESTED for w in HOMES)))
def test_larger_concepts_lose_no_more(smaller, larger, world):
    assert perceived(larger, world).excess.low <= perceived(smaller, world).excess.high + ROUNDING


@pytest.mark.parametrize(("world", "concept"), [(w, c) for w, (_, found) in HOMES.items() for c in sorted(found)])
def test_a_concept_loses_nothing_at_home(world, concept):
    assert perceived(concept, world).excess.high < 1e-8


@pytest.mark.parametrize(
    ("weights", "floor", "values"),
    [
        ([0.6**d for d in range(4)], 0.97977982, (0.03341846, 0, 0, 0)),
        ([0.15, 0, 0.85, 0], 0.76112461, (0.22606274, 0.21727601, 0.14046655, 0)),
    ],
)
def test_steady_state_reference_values(weights, floor, values):
    """Stationary four-lag worlds over three tokens: uniform, four decays, windows, lags; the unigram beside each."""
    contexts = _steady(weights)
    slopes = (0.0625, 0.25, 0.5, 1.0)
    dictionaries = ((Geometric((0.0,), (0.0,)),), (Geometric(slopes, (0.0,)),), (Windows(),), (ALL_LAGS,))
    assert -(contexts.weight @ (contexts.target * np.log(contexts.target)).sum(1)) == pytest.approx(floor, abs=5e-9)
    for dictionary, value in zip(dictionaries, values, strict=True):
        found = project(contexts, dictionary)
        assert found.excess == pytest.approx(value, abs=5e-9 + found.certificate)
        assert found.certificate < 2e-9
    assert untied.project(contexts).excess == pytest.approx(0, abs=1e-9)


def _steady(weights):
    world = attention(3, kernel.table(weights), ROWS)
    return enumerated(world, steady(world, len(weights)))


def test_six_tokens_from_a_fresh_start():
    """Reference: floor 1.0280141883; offset with sink +0; order_free with pseudo-counts 0 or 1.5 +0.0136790734."""
    world = attention(3, kernel.geometric(0.6), ROWS, early="sink")
    contexts = enumerated(world, functional(world, 6, jax.random.key(0), 2))
    assert -(contexts.weight @ (contexts.target * np.log(contexts.target)).sum(1)) == pytest.approx(
        1.0280141883, abs=1e-10
    )
    found = order_free([0, 1.5]).perceive(world, 6, 6, jax.random.key(0), 2).excess
    assert found.value == pytest.approx(0.0136790734, abs=1e-9 + found.high - found.low)
    assert offset().perceive(world, 6, 6, jax.random.key(0), 2).excess.kind == "certified"
    assert offset().perceive(world, 6, 6, jax.random.key(0), 2).excess.high == 0


def test_membership_is_proved_at_any_length_and_the_solver_agrees():
    world = attention(3, kernel.geometric(0.6), ROWS, early="sink")
    assert decay().perceive(world, 200, 32, jax.random.key(0), 2).excess.high == 0
    assert decay([0.5]).perceive(world, 5, 5, jax.random.key(0), 2).excess.low > 1e-6  # another slope is no member
    contexts = enumerated(world, functional(world, 5, jax.random.key(0), 2))
    assert project(contexts, decay().dictionary).excess == pytest.approx(0, abs=1e-8)


TURNING = {
    "kernel": positional.periodic(3, 2, kernel.offset(1), ROWS, stride=2),
    "table": positional.periodic(3, 3, kernel.geometric(0.6), ROWS, "table", noise=0.1),
    "template": positional.template(3, 4, 0.5, 0),
}


@pytest.mark.parametrize("name", TURNING)
def test_what_turns_with_the_position_is_a_member_of_absolute_alone(name):
    world, length = TURNING[name], 5
    profiles, maps = world.reads(length)
    contexts = enumerated(world, functional(world, length, jax.random.key(0), 2))
    tokens = contexts.tokens[contexts.row]
    symbols = np.concatenate([np.zeros((len(tokens), 1), int), 1 + tokens[:, :length]], axis=1)[:, : 1 + length]
    said = np.einsum("hns,hnsy->ny", profiles[:, contexts.time], maps[:, symbols])
    np.testing.assert_allclose(said, contexts.target, atol=1e-12)
    assert mixture.absolute().perceive(world, 32, 32, jax.random.key(0), 2).excess.high == 0
    assert offset().perceive(world, length, length, jax.random.key(0), 2).excess.low > 1e-3


def test_renormalised_lags_are_no_sink_lags():
    """S and R are not nested: the renormalised world is outside sink lags, inside decay."""
    world = attention(3, kernel.geometric(0.6), ROWS)
    contexts = enumerated(world, functional(world, 6, jax.random.key(0), 2))
    assert project(contexts, (ALL_LAGS,)).excess > 1e-2
    assert offset().perceive(world, 6, 6, jax.random.key(0), 2).excess.high == 0


def test_absolute_says_nothing_beyond_its_trained_length_unless_told_how():
    world = attention(3, kernel.geometric(0.6), ROWS, early="sink")
    beyond = mixture.absolute().perceive(world, 6, 4, jax.random.key(0), 2)
    assert beyond.predictor is None
    assert beyond.excess.kind == beyond.concept.kind == "undefined"
    assert mixture.absolute("offset").perceive(world, 6, 4, jax.random.key(0), 2).excess.kind == "certified"


@pytest.mark.parametrize(
    ("world", "at_32"),
    [
        (hmm.golden_mean(0.5), 0.63101),
        (hmm.even(0.5), 0.62347),
        (hmm.rrxor(0.5, 0.5), 0.69193),
        (hmm.mess3(0.15, 0.6), 1.09771),
    ],
)
def test_the_bag_of_32_tokens(world, at_32):
    """H(x_32 | counts of the past), five digits known from another program."""
    feature = bag().feature(world.vocab_size, 32)
    *_, last = posteriors(world, 32, feature.advance)
    assert last.weight @ scipy.special.entr(last.law).sum(1) == pytest.approx(at_32, abs=5.1e-6)


def test_a_window_is_the_mean_over_what_it_hides():
    """The last two of at most nine tokens, position known: against plain enumeration."""
    world = hmm.even(0.5)
    over = functional(world, 9, jax.random.key(0), 2)
    contexts = enumerated(world, over)
    keys = [
        tuple(contexts.tokens[r, max(0, t - 2) : t]) + (t,) for r, t in zip(contexts.row, contexts.time, strict=True)
    ]
    loss = 0.0
    for key in set(keys):
        here = np.array([k == key for k in keys])
        joint = contexts.weight[here] @ contexts.target[here]
        law = joint / joint.sum()
        loss -= (joint * np.log(np.where(law > 0, law, 1))).sum()
    assert window(2).perceive(world, 9, 9, jax.random.key(0), 2).info["loss"] == pytest.approx(loss, abs=1e-13)


@pytest.mark.parametrize("bad", [lambda: order_free([-1]), lambda: decay("fast"), lambda: window(-1), lambda: match(0)])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        bad()
