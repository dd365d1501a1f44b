"""What a component is worth: brackets, pairs, names, and the files of the study."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.ablations import Bracket, ablations, best, cells, changed, compared, told_apart
from experiments.found import Run
from worlds.quantity import certified


@pytest.fixture
def runs(ledgers):
    """A whole network that holds its world, one that lacks what it needs (by proof), one that loses nothing."""
    made, _ = ledgers

    def run(number, component, contained="", perceived=None, **numbers):
        ledger = made(contained=contained, perceived=perceived, **numbers)
        ledger["instantiation"] |= {"mixer": component, "width": 16, "_target_": "models.transformer.Transformer"}
        return Run(Path(str(number)), ledger | {"seed": 0, "oracle": {"worst": 0.02}}, [], {}, number)

    zero, high = certified(0.0, 0.0, 0.0), certified(0.05, 0.05, 0.0501)
    return [
        run(0, "attention", best=1e-4, perceived=zero),
        run(1, "none", "it sees the last token alone", high, best=0.06, reached=(0.08, 0.1, 0.2)),
        run(2, "mlp", best=2e-4, perceived=zero),
        run(3, "gru", best=0.03, perceived=zero, reached=(0.07, 0.1, 0.2)),
    ]


def test_a_worth_holds_every_difference_that_the_brackets_allow(runs):
    whole = best(runs[0].ledger)
    for run, change in zip(runs[1:], compared(runs)[1:], strict=True):
        mine = best(run.ledger)
        corners = [a - b for a, b in itertools.product((mine.low, mine.high), (whole.low, whole.high))]
        assert (change.worth.low, change.worth.high) == (min(corners), max(corners))
        assert change.worth.value == pytest.approx(mine.value - whole.value, abs=1e-15)


def test_what_is_proved_is_said_and_no_more(runs):
    assert [change.verdict for change in compared(runs)[1:]] == ["needed", "not needed", "open"]


def test_seeds_are_paired(runs):
    lost, found = ([m["excess"] for m in run.ledger["members"]] for run in (runs[1], runs[0]))
    assert compared(runs)[1].trained.value == pytest.approx(np.mean(np.subtract(lost, found)), abs=1e-15)
    runs[1].ledger["members"].pop()
    with pytest.raises(ValueError, match="equally many seeds, but have 3, 4"):
        compared(runs)


def test_a_diverged_seed_is_never_averaged_away(runs):
    runs[1].ledger["members"][0] = {"excess": "inf", "low": "inf", "high": "inf", "class": "estimated"}
    assert compared(runs)[1].trained == Bracket(np.inf, -np.inf, np.inf)


def test_changes_are_named_by_what_differs(runs):
    ledger, whole = runs[1].ledger, runs[0].ledger
    assert changed(whole, whole) == "whole network" and changed(ledger, whole) == "mixer: none"
    ledger["perception"]["scheme"] = {"name": "nope"}
    assert changed(ledger, whole) == "position: nope, mixer: none"


def test_worlds_of_one_name_are_told_apart():
    kernels = [{"_target_": "worlds.kernel.geometric", "rate": 0.6}, {"_target_": "worlds.kernel.offset", "lag": 3}]
    worlds = [{"name": "decay", "vocab": 3, "kernel": kernel} for kernel in kernels] + [{"name": "urn"}]
    assert told_apart(worlds[:2]) == ["decay (geometric, 0.6)", "decay (offset, 3)"]
    assert told_apart(worlds[1:]) == ["decay", "urn"]


def test_the_whole_network_comes_first_in_every_world():
    assert cells(["a=1", "a=2"], ["b=3 c=4"]) == ["a=1", "a=1 b=3 c=4", "a=2", "a=2 b=3 c=4"]


def test_the_study_writes_its_numbers_its_table_and_its_figure(runs, tmp_path):
    written = ablations(runs, tmp_path, Console(quiet=True))
    assert sorted(written) == sorted(path.name for path in tmp_path.iterdir())
    table = pd.read_csv(tmp_path / "ablations.csv")
    assert list(table["change"]) == ["whole network", "mixer: none", "mixer: mlp", "mixer: gru"]
    assert table["worth_low"][1] == pytest.approx(0.05 - best(runs[0].ledger).high, abs=1e-15)
    assert "mixer: gru" in (tmp_path / "ablations.tex").read_text()
