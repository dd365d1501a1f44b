"""The benchmark compares equal work and writes what it found; no time is asserted."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry
from experiments.bench import __main__ as bench
from experiments.bench import cases, growth, labels, loops, peers, plain, rivals, trainings
from experiments.bench.found import Found
from models.base import pure
from worlds import base, combinators, decay, dyck, hmm, in_context, kernel, positional, recall, urn

ROWS = [[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]]
TINY = ["batch=4", "length=6", "states=3", "rounds=2", "hydra/job_logging=none", "hydra/hydra_logging=none"]


def type_in(monkeypatch, *words):
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["experiments.bench", *TINY, *words])
    entry.command(bench.bench)


def test_a_tiny_comparison_is_measured_and_written(monkeypatch, tmp_path, capsys):
    type_in(monkeypatch, "only=[recall]", f"out={tmp_path}/bench.json")
    laws, samples = json.loads((tmp_path / "bench.json").read_text())
    assert laws["name"] == "copy: laws" and samples["name"] == "copy: samples"
    for found in (laws, samples):
        assert 0 < found["low"] <= found["ratio"] <= found["high"]
        assert found["cold"] > 0 and found["goal"] is None and found["unit"] == "tokens/s"
    assert "copy: laws" in capsys.readouterr().out


def test_unequal_work_is_refused():
    case = cases.Case("a", "b", lambda: np.zeros(2), lambda: np.full(2, 1e-6), 1, 1)
    with pytest.raises(AssertionError, match="Not equal"):
        case.measured(1)


@pytest.mark.parametrize(("word", "rule"), [("only=[all]", "must name some of"), ("rounds=0", "rounds must be at")])
def test_bad_input_ends_in_one_message(monkeypatch, capsys, word, rule):
    with pytest.raises(SystemExit):
        type_in(monkeypatch, word)
    assert rule in capsys.readouterr().err


CLEAN, OTHER = hmm.random_hmm(3, 3, 0.5, 0), hmm.random_hmm(2, 3, 0.5, 1)
PARTS = [loops.Finite(np.asarray(x.transition), np.asarray(x.initial), True) for x in (CLEAN, OTHER)]
GEOMETRIC = [loops.Geometric(0.6, np.roll(ROWS, -j, axis=0)) for j in range(2)]
LOOPS = {
    "finite": (CLEAN, PARTS[0]),
    "geometric": (decay.decay(3, kernel.geometric(0.6), ROWS), GEOMETRIC[0]),
    "window": (decay.decay(3, kernel.table([3, 1, 2]), ROWS), loops.Window(np.array([3.0, 1, 2]), np.array(ROWS))),
    "turns": (positional.periodic(3, 2, kernel.geometric(0.6), ROWS, "table"), loops.Turns(tuple(GEOMETRIC))),
    "urn": (urn.dirichlet(3, 0.5), loops.Urn(3, 0.5)),
    "contexts": (in_context.markov_in_context(2, 2, 0.5), loops.Contexts(2, 2, 0.5)),
    "brackets": (dyck.dyck(2, 0.4), loops.Brackets(2, 0.4, 8)),
    "copies": (recall.copy(2, 3), loops.Copies(2, 3)),
    "mixed": (combinators.mixture([CLEAN, OTHER], [0.3, 0.7]), loops.Mixed(tuple(PARTS), np.array([0.3, 0.7]))),
}


@pytest.mark.parametrize("name", LOOPS)
def test_the_loops_beside_which_we_stand_are_right(name):
    world, loop = LOOPS[name]
    tokens = loops.sample(loop, np.random.default_rng(0), 4, 8)
    laws = jax.jit(jax.vmap(base.log_conditionals, (None, 0)))(world, tokens)
    np.testing.assert_allclose(loops.score(loop, tokens), laws, atol=1e-12)


def test_the_filters_beside_which_we_stand_are_right():
    """One operator a token, and the factors of operators whose states speak, then move."""
    world, numbers = peers.emitting(3, 2)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 2, 8))
    laws = base.filtered(world, tokens)
    np.testing.assert_allclose(peers.forward(world, tokens), laws, atol=1e-12)
    np.testing.assert_allclose(peers.forward_emitting(tuple(map(jnp.asarray, numbers)), tokens), laws, atol=1e-12)


def test_every_family_of_worlds_has_a_case():
    families = ["finite", "decaying", "positional", "learnt", "grammar", "recall", "combinators"]
    assert list(cases.GROUPS) == families


SMALL = trainings.Size(layers=1, width=8, length=6, batch=4, micro=0, goals=(1, 1, None), heads=2, vocab=3)
SPOKEN = np.random.default_rng(0).integers(0, 3, (2, 6))


@functools.cache
def small():
    """Weights of SMALL, and what it says of SPOKEN."""
    network, random = pure(SMALL.spec), np.random.default_rng(0)
    like = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(random.normal(0, 0.3, x.shape), x.dtype), like)
    return trainings.weights(params), jax.jit(jax.vmap(network.apply, (None, 0)))(params, jnp.asarray(SPOKEN))


def test_the_plain_network_beside_which_we_stand_is_ours():
    given, said = small()
    given = jax.tree.map(jnp.asarray, given)
    with jax.numpy_rank_promotion("allow"):  # as JAX comes
        theirs = jax.jit(jax.vmap(functools.partial(plain.forward, heads=2), (None, 0)))(given, jnp.asarray(SPOKEN))
    np.testing.assert_allclose(theirs, said, atol=trainings.CLOSE)


def test_the_network_of_pytorch_beside_which_we_stand_is_ours():
    pytest.importorskip("torch")
    from experiments.bench import pytorch

    given, said = small()
    setting = dict(length=6, layers=1, heads=2, width=8, batch=4, threads=1, seed=0, rate=1e-3, betas=[0.9, 0.98])
    world = {"operators": np.asarray(CLEAN.transition), "initial": np.asarray(CLEAN.initial)}
    say, train = pytorch.loop(setting | {"compiled": False}, given | world | {"probe": SPOKEN})
    np.testing.assert_allclose(say(SPOKEN), said, atol=trainings.CLOSE)
    assert train(20) > train(20)


def test_sequences_drawn_through_hidden_states_have_the_law():
    operators, initial = np.asarray(CLEAN.transition), np.asarray(CLEAN.initial)
    tokens = rivals.hidden(operators, initial, np.random.default_rng(0), 20_000, 2)
    exact = np.einsum("s,xst,ytu->xy", initial, operators, operators)
    seen = np.bincount(3 * tokens[:, 0] + tokens[:, 1], minlength=9).reshape(3, 3) / 20_000
    assert (abs(seen - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)).all()


def test_operations_are_counted_as_is_usual():
    """Six for each weight of a product and token, and 12 for each layer, feature and position of attention."""
    given, _ = small()
    matrices = sum(x.size for name, x in given.items() if name.endswith("kernel"))
    assert SMALL.operations == 6 * matrices + 12 * 1 * 8 * 6


def test_a_slope_is_the_exponent(monkeypatch):
    monkeypatch.setattr(growth, "seconds", lambda call, calls=1: (call(), None))
    (found,) = growth.Growth("squares", 2, (2, 8, 32), lambda n: lambda: 3.0 * n**2).measured(2)
    assert np.allclose([found.ratio, found.low, found.high], 2) and found.met
    (found,) = growth.Growth("squares", 1, (2, 8, 32), lambda n: lambda: 3.0 * n**2).measured(2)
    assert not found.met


def test_a_control_leaves_the_residual_variance_of_a_regression():
    values, control = np.random.default_rng(0).normal(size=(2, 50))
    values = values + 0.7 * control
    design = np.stack([np.ones(50), control], 1)
    _, residual, *_ = np.linalg.lstsq(design, values, rcond=None)
    np.testing.assert_allclose(labels._left(values[None], control[None]), residual / 50)


@pytest.mark.parametrize(("goal", "at_most", "met"), [(2, False, True), (4, False, False), (2, True, False)])
def test_a_goal_has_a_side(goal, at_most, met):
    assert Found("a", "b", 3, 3, 3, goal, at_most).met is met


@pytest.mark.slow
def test_all_sides_of_a_training_are_timed(monkeypatch, tmp_path):
    """Processes of their own that say and lose the same as ours, or the comparison is refused."""
    monkeypatch.setitem(trainings.SIZES, "tiny", SMALL)
    monkeypatch.setattr(trainings, "TURN", 0.1)
    type_in(monkeypatch, "only=[training,parts]", "sizes=[tiny]", "members=2", f"out={tmp_path}/bench.json")
    found = [(x["name"], x["peer"]) for x in json.loads((tmp_path / "bench.json").read_text())]
    assert ("training tiny, population of 2", "plain JAX step") in found
    assert ("training tiny, share of the peak", "NumPy's products") in found
    assert ("a step at tiny, products", "x @ w") in found


@pytest.mark.slow
def test_fewer_tokens_than_hard_labels():
    """A law, not a time: by 7.4 of the notes the ratio grows as one over the excess."""
    found = labels.Labels().measured(1)
    assert all(x.low > 10 for x in found)
    assert found[2].ratio > 3 * found[0].ratio and found[3].ratio > 10 * found[1].ratio
