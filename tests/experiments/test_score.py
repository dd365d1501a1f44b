"""Scoring what others trained, as typed: a predictor of one's own, against brute force."""

import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, score
from experiments.observe.adapter import callables
from tests.experiments.observe.test_windows import everything
from worlds.hmm import mess3

SHORT = ["world=mess3", "world.x=0.05", "world.a=0.85", "length=4", "observe=[heldout,accuracy]"]


def copier():
    """What it saw last comes again with .7; the first token is uniform."""

    def said(tokens):
        law = np.full((*tokens.shape, 3), 1 / 3)
        law[:, 1:] = 0.15 + 0.55 * np.eye(3)[tokens[:, :-1]]
        return np.log(law)

    return callables(said)


def binary():
    """It speaks of two tokens only."""
    return callables(lambda tokens: np.zeros((*tokens.shape, 2)))


@pytest.fixture
def type_in(monkeypatch, capsys):
    def type_in(*words):
        GlobalHydra.instance().clear()
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        monkeypatch.setattr(sys, "argv", ["experiments.score", *quiet, *words])
        entry.command(score.score)
        return capsys.readouterr()

    return type_in


def test_a_predictor_of_ones_own_is_scored_exactly(type_in):
    target = f"predictor._target_={__name__}.copier"
    found = json.loads(type_in(*SHORT, target, "json=true").out)
    words, chances = everything(mess3(0.05, 0.85), 4)
    logs = np.take_along_axis(copier()(jnp.asarray(words))[0], words[..., None], -1)[..., 0]
    loss = -chances @ logs.mean(-1)
    assert found["layers"]["R"]["loss"] == pytest.approx(loss, abs=1e-9)
    assert found["gaps"]["R-D"]["nats"] == pytest.approx(loss - found["layers"]["D"]["loss"], abs=1e-9)
    assert found["protocols"]["heldout"]["expected"]["value"] == pytest.approx(loss, abs=1e-9)
    assert found["gaps"]["R-D"]["class"] == "exact"
    text = type_in(*SHORT, target).out
    assert "heldout" in text and "accuracy" in text and "R - D" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([f"predictor._target_={__name__}.binary"], "must speak of the world's 3 tokens, but does of 2"),
        (["predictor._target_=nowhere.model"], "nowhere"),
        ([f"predictor._target_={__name__}.copier", "tokens=2"], "tokens at least twice that"),
    ],
)
def test_bad_input_ends_in_one_message(type_in, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        type_in(*SHORT, *words)
    said = capsys.readouterr().err
    assert stop.value.code == 1 and message in said and "Traceback" not in said
