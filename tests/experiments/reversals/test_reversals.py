"""Reversals between protocols, in runs that are made so that it is known which disagree."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.found import find
from experiments.reversals.figure import by_position
from experiments.reversals.find import Reading, cases, chosen, names, reversals
from experiments.reversals.study import protocols
from tests.experiments.fidelity.made import DOCUMENTS, SPREAD, protocol, sides, written


@pytest.fixture
def runs(ledgers, tmp_path):
    """A good run and a bad one: heldout and hits prefer the good, upside_down the bad."""
    made, _ = ledgers
    for n, quality in enumerate((0.02, 0.06)):
        written(tmp_path / "runs" / str(n), made, n, quality)
    found, _ = find([tmp_path / "runs"])
    return found


def in_two_windows(side, gain, harm):
    """Adds protocols that say longer windows help by `gain`, and harm by `harm`."""
    rng = np.random.default_rng(5)
    for name, change in (("blocks", -gain), ("slides", harm)):
        for window, level in ((16, 1.6), (32, 1.6 + change)):
            targets = np.array([level, level])
            marks = targets[:, None] + rng.normal(0, SPREAD, (2, DOCUMENTS))
            seen = protocol(name, marks, targets, f"{name} {window}", exactly=False) | {"window": window}
            side.run.ledger["protocols"][f"{name}_{window}"] = seen
            side.arrays[f"marks/{name}_{window}"] = marks
            side.arrays[f"fair/{name}_{window}"] = targets[:, None] + rng.normal(0, 1e-4, (2, DOCUMENTS))


def test_protocols_that_disagree_about_two_runs_are_found(runs):
    found = reversals(cases(sides(runs)))
    assert {(x.one.label, x.other.label) for x in found} == {("heldout", "upside_down"), ("hits", "upside_down")}
    for x in found:
        assert (x.case.first, x.case.second) == (Reading(0, 32), Reading(1, 32))
        assert x.one.favours == -1 and x.other.favours == 1 and x.one.paired
        assert x.strength > 3  # 0.04 nats against an interval of 0.005
    assert [x.strength for x in found] == sorted((x.strength for x in found), reverse=True)


def test_one_run_in_two_windows_is_compared_with_itself(runs):
    both = sides(runs)
    in_two_windows(both[0], gain=0.05, harm=0.04)
    within = [case for case in cases(both) if case.first.run == case.second.run]
    (case,) = within
    assert (case.first, case.second) == (Reading(0, 16), Reading(0, 32))
    assert {x.label for x in case.views} == {"blocks_16 → blocks_32", "slides_16 → slides_32"}
    (found,) = reversals(within)
    assert found.one.label.startswith("slides") and found.other.label.startswith("blocks")
    assert found.other.score.value == pytest.approx(0.05, abs=0.01)  # of 16 minus of 32 tokens
    assert not found.one.paired


def test_differences_within_their_intervals_are_no_reversals(runs):
    both = sides(runs)
    for side in both.values():
        noise = np.random.default_rng(side.run.number).normal(0, 1.0, (2, DOCUMENTS))
        side.arrays["fair/upside_down"] = side.arrays["fair/upside_down"] + noise
    assert reversals(cases(both)) == []


def test_the_figure_shows_each_kind_once(runs):
    both = sides(runs)
    in_two_windows(both[0], gain=0.05, harm=0.04)
    every = reversals(cases(both))
    shown = chosen(every, 4)
    assert len(every) == 3 and len(shown) == 2  # two of the three are about one pair of readings
    assert shown[0].kinds != shown[1].kinds
    assert chosen(every, 1) == shown[:1]


def test_runs_are_named_by_scheme_length_and_what_else_tells_them_apart(runs):
    told = names(sides(runs))
    assert told == {n: f"ALiBi, trained at 32 seed={n}" for n in (0, 1)}


def test_curves_come_from_the_shortest_length_that_reaches(runs):
    side = sides(runs)[0]
    assert by_position(side, 32) is None
    side.arrays.update({"excess/32": np.zeros((2, 32)), "excess/64": np.ones((2, 64))})
    assert by_position(side, 20).shape == (2, 20) and by_position(side, 20).sum() == 0
    assert by_position(side, 40).sum() == 80


def test_a_study_writes_its_tables_and_its_figure(runs, tmp_path):
    screen = Console(width=160, file=io.StringIO(), highlight=False)
    files = protocols(runs, tmp_path / "out", screen)
    assert set(files) == {"contrasts.csv", "reversals.csv", "reversals.tex", "reversals.pdf", "reversals.png"}
    table = pd.read_csv(tmp_path / "out" / "reversals.csv")
    assert len(table) == 2 and set(table.other_protocol) == {"upside_down"}
    assert (table.one_score_high < 0).sum() == 1  # heldout, in nats; hits are better where they are more
    assert len(pd.read_csv(tmp_path / "out" / "contrasts.csv")) == 3
    assert "\\toprule" in (tmp_path / "out" / "reversals.tex").read_text()
    assert "2 reversals in 1 pairs of readings" in screen.file.getvalue()


def test_a_study_without_reversals_says_so_and_draws_nothing(runs, tmp_path):
    for run in runs:
        del run.ledger["protocols"]["upside_down"]
    screen = Console(width=160, file=io.StringIO(), highlight=False)
    assert protocols(runs, tmp_path / "out", screen) == ["contrasts.csv", "reversals.csv"]
    assert "0 reversals" in screen.file.getvalue()
