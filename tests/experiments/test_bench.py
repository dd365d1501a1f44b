"""The benchmark compares equal work and writes what it found; no time is asserted."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import bench, cases, entry, loops, peers
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
        assert found["cold"] > 0 and found["goal"] is None
    assert "copy: laws" in capsys.readouterr().out


def test_unequal_work_is_refused():
    case = cases.Case("a", "b", lambda: np.zeros(2), lambda: np.full(2, 1e-6), 1, 1)
    with pytest.raises(AssertionError, match="Not equal"):
        bench.timed(case, 1)


@pytest.mark.parametrize(("word", "rule"), [("only=[all]", "must name groups of"), ("rounds=0", "rounds must be at")])
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
