"""The law of a world as a user asks for it, and the difficulty solver."""

import json
import sys

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, law
from experiments.solve import solve, solved

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]  # handlers would outlive the captured streams


@pytest.fixture
def type_in(monkeypatch, capsys):
    """Runs the command in this process, as typed; returns what it printed."""

    def type_in(*words):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["experiments.law", *QUIET, *words])
        entry.command(law.law)
        return capsys.readouterr()

    return type_in


def test_json_holds_the_law_the_floors_and_the_zeros(type_in):
    found = json.loads(type_in("world=z1r", "world.p=0.5", "tokens=[1,0,0,1,1,0]", "length=3", "json=true").out)
    assert np.isclose(found["log_probability"], np.log(1 / 12), rtol=1e-12)
    assert found["next"]["probability"] == pytest.approx([0, 1], abs=1e-15)
    assert found["next"]["log"][0] == "-inf"
    assert [h["class"] for h in found["floors"]] == ["exact"] * 3
    mean = np.mean([h["value"] for h in found["floors"]])
    assert np.isclose(found["zeros"]["floor"]["value"], mean, rtol=1e-14)
    assert np.isclose(found["zeros"]["entropy_rate"]["value"], np.log(2) / 3, rtol=1e-12)


def test_text_names_the_tokens_and_every_zero(type_in):
    printed = type_in("world=pcfg", "world.rules='S -> left [0.8] | S S [0.2]'", "tokens=[0,1]", "length=2").out
    for word in ("left", "h_1", "h_2", "floor", "bayes_floor", "entropy_rate", "certified"):
        assert word in printed


def test_an_urn_has_a_latent_aware_zero(type_in):
    zeros = json.loads(type_in("world=dirichlet", "world.vocab=2", "world.alpha=1", "length=3", "json=true").out)[
        "zeros"
    ]
    assert np.isclose(zeros["latent_aware_floor"]["value"], 0.5, rtol=1e-12)
    assert np.isclose(zeros["bayes_floor"]["value"], 0.6059391566, atol=1e-10)


def test_a_recall_world_has_a_zero_of_its_answers_alone(type_in):
    """A copy of 2 letters from 3: ln 3 for each of them, then a separator, the copies and an end that all are sure."""
    words = ["world=copy", "world.length=2", "world.vocab=3", "length=6", "json=true"]
    zeros = json.loads(type_in(*words).out)["zeros"]
    assert zeros["answers_floor"]["value"] == 0
    assert np.isclose(zeros["floor"]["value"], 2 * np.log(3) / 6, rtol=1e-12)
    assert "answers_floor" not in json.loads(type_in("world=coin", "length=2", "json=true").out)["zeros"]


@pytest.mark.parametrize("words", [["tokens=[0,4]"], ["tokens=[-1]"], ["length=0"], ["sequences=1"]])
def test_what_no_law_can_be_asked_is_refused(type_in, capsys, words):
    with pytest.raises(SystemExit) as stopped:
        type_in("world=decay", *words)
    assert stopped.value.code == 1
    assert "law: " in capsys.readouterr().err


def test_numbers_have_one_digest_whatever_config_they_came_from(type_in):
    digests = [
        json.loads(type_in(*words, "length=1", "json=true").out)["digest"]
        for words in (
            ["world=coin", "world.p=0.25"],
            ["world=coin", "world.p=0.5", "world.solve_for=p", "world.target_entropy=0.5"],
            ["world=coin", "world.p=25e-2"],
        )
    ]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    "words, rule",
    [
        (["world=coin", "tokens=[2]"], "tokens must lie in 0 ... 1, but one is 2"),
        (["world=coin", "tokens=[-1]"], "tokens must lie in 0 ... 1, but one is -1"),
        (["world=coin", "length=0"], "length must be at least 1, but is 0"),
        (["world=coin", "world.p=2"], "p must lie strictly between 0 and 1, but is 2"),
        (["world=nowhere"], "Could not find 'world/nowhere'"),
        (["world=pcfg", "world.rules=no_such_file"], "there is no file 'no_such_file'"),
        (["world=coin", "world.solve_for=p"], "target_entropy and solve_for must be given together"),
        (
            ["world=coin", "world.solve_for=q", "world.target_entropy=0.5"],
            "one real number of the world, of p; but is 'q'",
        ),
        (["world=coin", "world.solve_for=p", "world.target_entropy=0.7"], "0.7 lies outside"),
        (["world=pcfg", "world.solve_for=document", "world.target_entropy=0.7"], "of none; but is 'document'"),
        (["world=decay", "world.solve_for=noise", "world.target_entropy=0.7", "length=32"], "known to 1e-06 nats"),
    ],
)
def test_bad_input_ends_in_one_message(type_in, capsys, words, rule):
    with pytest.raises(SystemExit) as stopped:
        type_in(*words)
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert rule in error and "Traceback" not in error


def test_the_solver_finds_the_number_nearest_to_the_present_one():
    golden = {"_target_": "worlds.hmm.golden_mean", "p": 0.5, "target_entropy": 0.4, "solve_for": "p"}
    for start, low, high in ((0.9, 0.5, 1), (0.1, 0, 0.5)):
        node, found = solved(golden | {"p": start})
        assert low < node["p"] < high and set(node) == {"_target_", "p"}
        assert np.isclose(found["entropy_rate"], 0.4, atol=1e-12)
        h = -node["p"] * np.log(node["p"]) - (1 - node["p"]) * np.log(1 - node["p"])
        assert np.isclose(h / (1 + node["p"]), 0.4, atol=1e-12)


def test_the_solver_reaches_nested_numbers_and_leaves_others_alone():
    coin = {"_target_": "worlds.hmm.coin", "p": 0.5}
    noisy = {"_target_": "worlds.combinators.noisy", "world": coin | {"p": 0.01}, "rate": 0.1}
    node, found = solved(noisy | {"target_entropy": 0.6, "solve_for": "rate"})
    assert node["world"] == noisy["world"] and np.isclose(found["entropy_rate"], 0.6, atol=1e-12)
    node, _ = solved(noisy | {"target_entropy": 0.6, "solve_for": "world.p"})
    assert node["rate"] == 0.1 and node["world"]["p"] > 0.1
    assert solved(coin) == (coin, {})


def test_where_no_entropy_rate_is_known_the_solver_aims_at_the_floor():
    """Two tokens, each context an urn: h_1 = ln 2, h_2 = that of a fresh row, ln 2, h_3 of rows seen once or never."""
    node = {"_target_": "worlds.in_context.markov_in_context", "vocab": 2, "order": 1, "alpha": 1.0}
    again, found = solved(node | {"target_entropy": 0.68, "solve_for": "alpha"}, length=3)
    assert set(found) == {"alpha", "target_entropy", "floor", "length"} and found["length"] == 3
    a = again["alpha"]
    q = np.array([a + 1, a]) / (
        2 * a + 1
    )  # a row that was seen once; the chain is in the same context half of the time
    h = [np.log(2), np.log(2), np.log(2) / 2 - q @ np.log(q) / 2]
    assert np.mean(h) == pytest.approx(0.68, abs=1e-12) and found["floor"] == pytest.approx(0.68, abs=1e-12)
    with pytest.raises(ValueError, match="0.1 lies outside"):
        solved(node | {"target_entropy": 0.1, "solve_for": "alpha"}, length=3)
    with pytest.raises(ValueError, match="at most 20000 prefixes are enumerated; but .* at length 40"):
        solved(node | {"target_entropy": 0.6, "solve_for": "alpha"}, length=40)


def test_where_no_entropy_rate_is_known_its_bounds_are_told(type_in):
    zeros = json.loads(type_in("world=switching", "world.vocab=2", "length=2", "json=true").out)["zeros"]
    assert zeros["entropy_rate"] == {"value": np.log(2) / 2, "low": 0.0, "high": np.log(2), "class": "certified"}


def test_the_solver_stays_where_the_world_accepts_the_number():
    assert solve(lambda x: None if x > 0.3 else x**2, 0.04, 0.1)[0] == pytest.approx(0.2, abs=1e-12)
    with pytest.raises(ValueError, match=r"lies outside \[1e-06, 0.0625\]"):
        solve(lambda x: None if x > 0.3 else x**2, 0.5, 0.1)
    with pytest.raises(ValueError, match="must accept some number"):
        solve(lambda x: None, 0.5, 0.1)
