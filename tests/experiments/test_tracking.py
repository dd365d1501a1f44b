"""A tracker is told what the tidy table says, once, and cannot cost a run."""

import importlib.util
from dataclasses import dataclass, field

import numpy as np
import pytest
from hydra import compose, initialize_config_module

import experiments.schema  # noqa: F401  the types of the config
from experiments import cell, tracking
from experiments.found import read
from experiments.screen import Screen
from experiments.tidy import rows
from tests.experiments.folders import folder

LIBRARIES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",), "tensorboard": ("tensorboardX",)}
STEPS = 1000


@pytest.fixture(scope="module")
def place(ledgers, tmp_path_factory):
    """A finished run with the curves of two seeds, one of which leaves the numbers."""
    own = {"identity": "0123456789ab", "seed": 7, "reach": {"rate": 1e-3, "steps": STEPS, "channel": None}}
    ledger = ledgers[0](seeds=2) | own
    ledger["layers"]["R"] |= {"loss": "inf", "high": "inf"}
    out = tmp_path_factory.mktemp("tracked") / "run"
    folder(out, ledger, 0, ["track=mlflow", "seed=7"])
    curve = np.arange(2.0 * STEPS).reshape(2, STEPS)
    curve[1, 500:] = np.nan
    np.savez(out / "curves.npz", **{"train/loss": curve, "train/excess": curve / 10, "floor/32": np.zeros(32)})
    return out


def test_every_number_of_the_tidy_table_is_told_under_its_name(place):
    run = read(place)
    told = tracking.told(run)
    count = sum(3 if "low" in row else 1 for row in rows(run))
    assert len(told.metrics) + sum(value in ("inf", "nan") for value in told.texts.values()) == count
    assert told.texts["R/loss"] == "inf" and "R/loss" not in told.metrics  # no tracker has a word for it
    assert told.metrics["P-D/gap"] == run.ledger["gaps"]["P-D"]["nats"]
    assert told.metrics["R-I/gap/length 64/high"] == run.ledger["lengths"]["64"]["gaps"]["R-I"]["high"]
    assert told.metrics["O/score/accuracy"] == 0.4 and told.texts["unit of accuracy"] == "fraction"
    assert told.texts["unit of losses and gaps"] == "nats/token"
    assert told.texts["reach.rate"] == "0.001" and told.texts["seed"] == "7"


def test_curves_are_told_by_step_and_thinned_but_not_smoothed(place):
    steps = tracking.told(read(place)).steps
    assert list(steps) == sorted(steps) and steps.keys() <= set(range(STEPS)) and len(steps) <= tracking.MOMENTS
    assert {0, STEPS - 1} <= steps.keys()
    for step, row in steps.items():
        assert row["train/loss/seed 0"] == step and np.isclose(row["train/excess/seed 0"], step / 10)
        assert ("train/loss/seed 1" in row) == (step < 500)


class Listening(Screen):
    """Keeps its lines."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@dataclass
class Kept:
    """A tracker that keeps what it is told, or fails."""

    error: Exception | None = None
    known: list = field(default_factory=list)

    def write(self, told):
        if self.error:
            raise self.error
        self.known.append(told)
        return "a list"


def test_a_tracker_that_fails_is_named_and_costs_nothing(place):
    screen, kept = Listening(), Kept()
    before = sorted(place.iterdir())
    tracking.tell(Kept(OSError("no such host")), place, screen)
    tracking.tell(kept, place, screen)
    tracking.tell(None, place, screen)
    assert "its tracker failed (OSError: no such host)" in screen.lines[0]
    assert screen.lines[1:] == [f"{place}: told to a list"] and kept.known[0].identity == "0123456789ab"
    assert sorted(place.iterdir()) == before


def composed(*overrides):
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", list(overrides)).track


def test_there_is_no_tracker_unless_one_is_asked_for():
    assert tracking.asked(composed()) is None and tracking.asked(composed("track=none")) is None


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_trained(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(cell.Refused, match=f"track: {name} needs {', '.join(LIBRARIES[name])}"):
        tracking.asked(composed(f"track={name}"))


@pytest.fixture
def tracker(request, tmp_path, monkeypatch):
    """A real one, in a folder of its own."""
    for module in LIBRARIES[request.param]:
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    return tracking.asked(composed(f"track={request.param}"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other people's libraries
@pytest.mark.parametrize("tracker", ["mlflow"], indirect=True)
def test_mlflow_keeps_what_it_is_told_once(tracker, place):
    from mlflow.tracking import MlflowClient

    told = tracking.told(read(place))
    assert tracker.write(told) == tracker.uri
    assert "already" in tracker.write(told)
    client = MlflowClient(tracker.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("noumena").experiment_id])
    assert {k: run.data.metrics[k] for k in told.metrics} == told.metrics
    assert run.data.tags["unit of accuracy"] == "fraction" and run.data.params["R/loss"] == "inf"
    curve = {x.step: x.value for x in client.get_metric_history(run.info.run_id, "train/loss/seed 0")}
    assert curve == {step: row["train/loss/seed 0"] for step, row in told.steps.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracker", ["wandb"], indirect=True)
def test_wandb_keeps_what_it_is_told_offline(tracker, place, tmp_path):
    import wandb

    said = tracker.write(tracking.told(read(place)))
    wandb.teardown()  # ends its service, which writes on after a run is finished
    assert said.startswith("runs/wandb/offline-run-")
    (kept,) = (tmp_path / said).glob("run-0123456789ab.wandb")
    kept = kept.read_bytes()  # records of protocol buffers: a name, a tag, the length of a number in JSON, the number
    assert b"P-D/gap/low\x82\x01\x070.00209" in kept and b"train/loss/seed 0\x82\x01\x03999" in kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracker", ["tensorboard"], indirect=True)
def test_tensorboard_keeps_what_it_is_told_once(tracker, place, tmp_path):
    told = tracking.told(read(place))
    assert tracker.write(told) == tracker.write(told) == "runs/tensorboard/0123456789ab"
    (kept,) = (tmp_path / "runs/tensorboard/0123456789ab").iterdir()
    assert b"train/loss/seed_0" in kept.read_bytes() or b"train/loss/seed 0" in kept.read_bytes()
