"""A linear read of streams that carry the belief, a part of it, or nothing."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from experiments.measure import network
from experiments.observe.base import documents, laws
from experiments.observe.probe import goal, probe
from experiments.observe.state_probe import softmax_read, state_probe
from models.base import pure
from models.position import ALiBi
from models.positional import Positional
from models.transformer import Transformer
from tests.experiments.observe.test_windows import KEY, LENGTH, MOVING, WORLDS, everything
from tests.members import SMALL
from worlds.automata import flip_flop
from worlds.generalised import tom_quantum
from worlds.quantity import exact
from worlds.urn import dirichlet

STEADY = WORLDS["mess3"]


class Streams:
    """Members whose residual stream is a linear image of the belief, its first entry, and a constant."""

    def __call__(self, tokens):
        return np.full((3, *tokens.shape, 3), -np.log(3))

    def residual(self, tokens):
        belief = beliefs(np.asarray(tokens))
        whole = belief @ np.array([[1.0, 2, 0], [0, 1, 1], [3, 0, 1]]) + 0.5
        first = belief[..., :1] * [1.0, 0, 0]
        return np.stack([whole, first, np.zeros_like(whole)])


def beliefs(tokens, world=MOVING):
    """The belief before each token, by Bayes."""
    T = np.asarray(world.transition)
    found = np.zeros((*tokens.shape, 3))
    for n, word in enumerate(tokens):
        b = np.asarray(world.initial)
        for t, token in enumerate(word):
            found[n, t] = b
            b = b @ T[token]
            b = b / b.sum()
    return found


def test_what_is_carried_linearly_is_found_and_nothing_else():
    found = probe(64, 2, fitted=400, target="belief").observe(Streams(), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    whole, first, nothing = found.targets
    assert whole == pytest.approx(1, abs=1e-9) and found.scores[0] == pytest.approx(1, abs=1e-9)
    assert 0.3 < first < 0.99
    assert nothing == pytest.approx(0, abs=1e-12)
    assert found.ceiling == exact(1.0) and found.world.value == 1


def test_the_target_is_the_fitted_maps_share_over_the_law():
    """With the first entry alone: the fit on nearly all there is comes near the best linear map of the law."""
    words, chances = everything(MOVING, LENGTH)
    goal, weight = beliefs(words).reshape(-1, 3), chances.repeat(LENGTH)
    read = np.stack([goal[:, 0], np.ones(len(goal))], 1) * np.sqrt(weight)[:, None]
    rest = goal * np.sqrt(weight)[:, None]
    missed = ((rest - read @ np.linalg.lstsq(read, rest, rcond=None)[0]) ** 2).sum()
    best = 1 - missed / (weight[:, None] * (goal - weight @ goal / weight.sum()) ** 2).sum()
    found = probe(64, 2, fitted=4000, target="belief").observe(Streams(), MOVING, LENGTH, exact(1.0), exact(1.0), KEY)
    assert found.targets[1] == pytest.approx(best, abs=0.005) and found.targets[1] <= best + 1e-12
    assert found.expected.kind == "exact"


class Logs:
    """Members whose residual stream holds the log of the belief before each token, and nothing."""

    def __call__(self, tokens):
        return np.full((2, *tokens.shape, 3), -np.log(3))

    def residual(self, tokens):
        logs = np.log(beliefs(np.asarray(tokens), STEADY))
        return np.stack([logs @ np.array([[1.0, 2], [-1, 0], [0, -2]]) + 0.5, np.zeros((*tokens.shape, 2))])


@cache
def certainty(of):
    """E mean_t H over all documents, of the belief or of the next token's law; and H of their means, without a past."""
    words, chances = everything(STEADY, LENGTH)
    known = beliefs(words, STEADY)
    if of == "law":
        known = np.einsum("nts,vsu->ntv", known, np.asarray(STEADY.transition))
    entropy = lambda p: -(p * np.log(p)).sum(-1)  # noqa: E731
    return chances @ entropy(known).mean(-1), entropy(np.einsum("n,nts->s", chances, known) / LENGTH)


def test_a_read_of_the_log_belief_reaches_the_entropy_of_the_state():
    """Softmax of a linear image of log b is b: nothing is lost. Of a stream without news, the mean belief is the best.

    Two differences of the three logs suffice, because softmax ignores a shift.
    """
    floor, blind = certainty("belief")
    found = run(state_probe(64, 2, fitted=600, target="belief", steps=400), Logs(), STEADY)
    assert found.unit == "nats/state" and found.parts is None
    assert found.ceiling.kind == "exact" and found.ceiling.value == pytest.approx(floor, abs=1e-12)
    assert found.targets[0] == pytest.approx(floor, abs=1e-6) and found.targets[0] >= floor
    assert found.targets[1] == pytest.approx(blind, abs=1e-3) and found.targets[1] >= blind - 1e-12
    assert found.scores[0] == pytest.approx(found.world.value, abs=1e-6)


def test_a_read_of_the_next_token_has_the_three_parts():
    """With a linear image of the log law it reaches the floor, whatever the member itself says."""

    class Spoken(Logs):
        def residual(self, tokens):
            return np.log(np.exp(np.asarray(laws(STEADY, np.asarray(tokens))))[None]) * 2.0

    (floor, _), reached = certainty("law"), np.log(3)
    probe_it = state_probe(64, 2, fitted=600, target="law", steps=400)
    found = probe_it.observe(Spoken(), STEADY, LENGTH, exact(reached), exact(floor), KEY)
    assert found.unit == "nats/token" and found.expected.value == pytest.approx(floor, abs=1e-6)
    assert found.parts["world"].value == pytest.approx(0, abs=1e-12)
    assert found.parts["model"].value == pytest.approx(floor - reached, abs=1e-6)
    assert sum(x.value for x in found.parts.values()) == pytest.approx(found.score.value - reached, abs=1e-12)


def test_softmax_reads_meet_the_condition_of_the_best():
    """E features (q - wanted) = 0, and no small move lowers the loss."""
    rng = np.random.Generator(np.random.PCG64(2))
    read, wanted = rng.normal(size=(50, 4, 3)), rng.dirichlet([1, 1, 1], (50, 4))
    weights, constant = softmax_read(read, wanted, 500)
    q = scipy.special.softmax(read @ weights + constant, -1)
    np.testing.assert_allclose(np.einsum("ntw,nts->ws", read, q - wanted) / 200, 0, atol=1e-5)
    np.testing.assert_allclose((q - wanted).mean((0, 1)), 0, atol=1e-5)


SPEC = Transformer(**SMALL, scheme=ALiBi())


def test_the_residual_stream_of_a_network_is_what_its_read_out_reads():
    """Softmax of the normed stream's product with the read-out's kernel gives what the network says; by hand."""
    params = jax.vmap(pure(SPEC).init)(jax.random.split(jax.random.key(0), 2))
    predict, tokens = network(SPEC, params), jnp.array([[0, 1, 2, 2, 1], [2, 0, 0, 1, 1]])
    stream = predict.residual(tokens)
    assert stream.shape == (2, 2, 5, 8) and stream.dtype == np.float64
    for member in range(2):
        own = jax.tree.map(lambda x, n=member: np.asarray(x[n], np.float64), params)
        x = stream[member]
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * own["norm"]["scale"][...]
        logits = x @ own["readout"]["logits"]["kernel"][...] + own["readout"]["logits"]["bias"][...]
        np.testing.assert_allclose(scipy.special.log_softmax(logits, -1), predict(tokens)[member], atol=1e-5)


def test_a_trained_network_s_stream_is_probed_and_one_without_is_refused_before_training():
    params = jax.vmap(pure(SPEC).init)(jax.random.split(jax.random.key(0), 2))
    predict = network(SPEC, params)
    for target in ("belief", "law"):
        found = run(probe(8, 2, fitted=16, target=target), predict, STEADY)
        assert len(found.targets) == 2 and all(0 < x < 1 for x in found.targets)
    heads = Positional(3, 12, ALiBi(), 1)
    for protocol in (probe(2, 2, 2, "law"), state_probe(2, 2, 2, "law", 1)):
        protocol.check(STEADY, SPEC, LENGTH)
        with pytest.raises(ValueError, match="must have a residual stream to read, but Positional has none"):
            protocol.check(STEADY, heads, LENGTH)
    with pytest.raises(ValueError, match="it must have a residual stream to be read"):
        network(heads, params).residual(jnp.zeros((1, 3), int))


def run(protocol, predict, world):
    return protocol.observe(predict, world, LENGTH, exact(1.0), exact(1.0), KEY)


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(ValueError, match="must also offer residual"):
        run(probe(2, 2, 2, "belief"), lambda x: x, MOVING)
    with pytest.raises(ValueError, match="needs a world of hidden states, but got Urn"):
        run(probe(2, 2, 2, "belief"), Streams(), dirichlet(3, 1.0))
    with pytest.raises(ValueError, match="probe: target must be belief or law, but is 'state'"):
        probe(2, 2, 2, "state")
    signed = state_probe(2, 2, 2, "belief", 1)
    with pytest.raises(ValueError, match="nats need hidden states that have probabilities"):
        signed.check(tom_quantum(1.0, 1.0), SPEC, LENGTH)


def test_worlds_of_finite_memory_have_hidden_states_too():
    """An automaton's belief is certain once it has spoken: the flip-flop's state is what was written last."""
    world = flip_flop(0.8)
    tokens = documents(world, KEY, 4, 6)
    known = goal(world, "belief", tokens)
    np.testing.assert_allclose(known.sum(-1), 1, atol=1e-12)
    assert known.max() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(goal(world, "law", tokens), np.exp(laws(world, tokens)), atol=1e-12)
