"""The command as a user meets it: a whole run at a tiny size, and every kind of bad input."""

import json
import sys

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, fit, oracle, run

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]  # handlers would outlive the captured streams
TINY = [
    "world.vocab=2",
    "reach.length=4",
    "reach.batch=4",
    "reach.chunk=3",
    "reach.steps=6",
    "reach.seeds=2",
    "oracle.restarts=2",
    "oracle.steps=3",
    "measure.multiples=[1,2]",
    "measure.tokens=256",
    "instantiation=positional",
    "instantiation.heads=1",
    "observe=[nonoverlapping]",
]
OWN = "perception.scheme.slopes=[0.5108256237659907]"  # -ln 0.6: the world's own slope
TINY += ["observe.nonoverlapping.sequences=8", "observe.nonoverlapping.soft=8"]


@pytest.fixture
def type_in(monkeypatch, capsys):
    """Runs the command in this process, as typed; returns what it printed."""

    def type_in(*words):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["experiments.run", *QUIET, *words])
        entry.command(run.run)
        return capsys.readouterr()

    return type_in


def ledger_of(folder):
    return json.loads((folder / "ledger.json").read_text())


def numbers(ledger):
    """What the run found, without what names it."""
    return {k: ledger[k] for k in ("layers", "gaps", "members", "lengths", "protocols", "zeros")}


@pytest.mark.parametrize("start", [pytest.param("renormalise", marks=pytest.mark.slow), "sink"])
def test_a_world_that_one_head_holds_is_found_held(type_in, tmp_path, start):
    """P - D is certified 0, the instantiation's interval contains 0, and the ledger says so in words."""
    printed = type_in(*TINY, OWN, f"world.early={start}", f"hydra.run.dir={tmp_path / 'a'}")
    ledger = ledger_of(tmp_path / "a")
    for part in [ledger, *ledger["lengths"].values()]:
        assert abs(part["residual"]) < 1e-9
        perception, held = part["gaps"]["P-D"], part["gaps"]["I-P"]
        assert perception["class"] == "certified"
        assert perception["low"] <= 0 <= perception["high"] <= 1e-9
        assert held["low"] <= 0 <= held["high"] < 1e-6
        assert part["witness"] == "constructed"
    assert "can hold this world without loss (certified zero)" in printed.out
    assert "holds the concept" in printed.out
    assert ledger["unit"] == "nats/token"
    for name in (
        "curves.npz",
        "weights.npz",
        "waterfall.png",
        "waterfall.pdf",
        "provenance.json",
        ".hydra/config.yaml",
    ):
        assert (tmp_path / "a" / name).stat().st_size > 0
    assert not list((tmp_path / "a").glob("work-*")) and not list((tmp_path / "a").glob(".*part"))


def test_a_killed_run_ends_with_the_ledger_of_an_unbroken_one(type_in, tmp_path, monkeypatch):
    """It is killed after every checkpoint, and once more before its files are written."""
    monkeypatch.setattr(oracle, "STRETCH", 2)
    type_in(*TINY, f"hydra.run.dir={tmp_path / 'whole' / 'a'}")
    folder, kills = tmp_path / "broken" / "a", 0

    class Killed(Exception):
        pass

    def die(*arguments):
        raise Killed

    def save_once_and_die(path, tree, saved=fit.save):
        saved(path, tree)
        raise Killed

    for module, name, dying in [(fit, "save", save_once_and_die), (run.folder, "write_all", die)]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying)
            while kills < (5 if module is fit else 6) and not (folder / "ledger.json").exists():
                try:
                    type_in(*TINY, f"hydra.run.dir={folder}")
                except Killed:
                    kills += 1
                if name == "write_all":
                    break
    assert kills == 6  # two chunks of training, two oracle fits and the rest of the better one, and the end
    type_in(*TINY, f"hydra.run.dir={folder}")
    assert numbers(ledger_of(folder)) == numbers(ledger_of(tmp_path / "whole" / "a"))


def test_a_finished_run_is_recognised_and_not_done_again(type_in, tmp_path):
    folder = f"hydra.run.dir={tmp_path / 'a'}"
    first = type_in(*TINY, folder)
    written = (tmp_path / "a" / "ledger.json").stat().st_mtime_ns
    again = type_in(*TINY, folder)
    assert (tmp_path / "a" / "ledger.json").stat().st_mtime_ns == written
    assert again.out == first.out
    assert "force=true" in again.err
    with pytest.raises(SystemExit) as stop:
        type_in(*TINY, folder, "seed=1")
    assert stop.value.code == 1
    before = numbers(ledger_of(tmp_path / "a"))
    type_in(*TINY, folder, "force=true")
    assert (tmp_path / "a" / "ledger.json").stat().st_mtime_ns != written
    assert numbers(ledger_of(tmp_path / "a")) == before  # bit for bit


def test_another_seed_sees_other_data(type_in, tmp_path):
    for seed in (0, 1):
        type_in(*TINY, f"seed={seed}", f"hydra.run.dir={tmp_path / str(seed) / 'a'}")
    losses = []
    for seed in (0, 1):
        with np.load(tmp_path / str(seed) / "a" / "curves.npz") as curves:
            losses.append(curves["train/loss"])
    assert not np.array_equal(*losses)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reach.stepz=3"], "Key 'stepz' not in 'Reach'"),
        (["world.kernel.rat=0.5"], "Key 'rat' is not in struct"),
        (["world=nowhere"], "Could not find 'world/nowhere'"),
        (["reach.steps=abc"], "Value 'abc' of type 'str' could not be converted to Integer"),
        (["world.kernel.rate=2"], "rate"),
        (["reach.seeds=0"], "reach: seeds must be at least 1, but is 0"),
        (["reach.rate=-1"], "reach: rate must be positive, but is -1"),
        (
            ["instantiation=transformer", "instantiation.heads=3"],
            "heads must divide width",
        ),
        (["measure.multiples=[2,4]"], "multiples must be different whole numbers that begin with 1"),
        (["ledger=accuracy"], "ledger: it must name one of the protocols"),
        (["observe=[nonoverlapping,accuracy]", "ledger=accuracy"], "must report nats/token, but accuracy reports"),
        (
            ["instantiation=transformer", "instantiation.width=12", "instantiation.heads=4", "perception/scheme=rope"],
            "rope",
        ),
    ],
)
def test_bad_input_ends_in_one_message_with_the_rule(type_in, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        type_in(*TINY, *words, f"hydra.run.dir={tmp_path / 'a'}")
    said = capsys.readouterr().err
    assert stop.value.code == 1
    assert message.lower() in said.lower()
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 24
    assert not (tmp_path / "a" / "ledger.json").exists()
