"""The benchmark compares equal work and writes what it found; no time is asserted."""

import json
import sys

import jax
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import bench, entry, loops
from worlds import base, decay, dyck, kernel, urn

ROWS = [[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]]
TINY = ["batch=4", "length=6", "states=3", "rounds=2", "hydra/job_logging=none", "hydra/hydra_logging=none"]


def type_in(monkeypatch, *words):
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["experiments.bench", *TINY, *words])
    entry.command(bench.bench)


def test_a_tiny_comparison_is_measured_and_written(monkeypatch, tmp_path, capsys):
    type_in(monkeypatch, "only=[learnt]", f"out={tmp_path}/bench.json")
    laws, samples = json.loads((tmp_path / "bench.json").read_text())
    assert laws["name"] == "urn: laws" and samples["name"] == "urn: samples"
    for found in (laws, samples):
        assert 0 < found["low"] <= found["ratio"] <= found["high"]
        assert found["cold"] > 0 and found["goal"] is None
    assert "urn: laws" in capsys.readouterr().out


def test_unequal_work_is_refused():
    case = bench.Case("a", "b", lambda: np.zeros(2), lambda: np.full(2, 1e-6), 1, 1)
    with pytest.raises(AssertionError, match="Not equal"):
        bench.timed(case, 1)


@pytest.mark.parametrize(("word", "rule"), [("only=[all]", "must name groups of"), ("rounds=0", "rounds must be at")])
def test_bad_input_ends_in_one_message(monkeypatch, capsys, word, rule):
    with pytest.raises(SystemExit):
        type_in(monkeypatch, word)
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize(
    ("world", "loop"),
    [
        (decay.decay(3, kernel.geometric(0.6), ROWS), loops.Geometric(0.6, np.array(ROWS))),
        (decay.decay(3, kernel.table([3, 1, 2]), ROWS), loops.Window(np.array([3.0, 1, 2]), np.array(ROWS))),
        (urn.dirichlet(3, 0.5), loops.Urn(3, 0.5)),
        (dyck.dyck(2, 0.4), loops.Brackets(2, 0.4, 8)),
    ],
)
def test_the_loops_beside_which_we_stand_are_right(world, loop):
    tokens = loops.sample(loop, np.random.default_rng(0), 4, 8)
    laws = jax.jit(jax.vmap(base.log_conditionals, (None, 0)))(world, tokens)
    np.testing.assert_allclose(loops.score(loop, tokens), laws, atol=1e-12)
