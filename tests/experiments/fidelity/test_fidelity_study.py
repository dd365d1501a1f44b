"""Fidelity over a study, from run folders: against scipy, and with protocols that are right or reversed by making."""

import io
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from rich.console import Console

from experiments.fidelity.__main__ import main
from experiments.fidelity.calculator import count
from experiments.fidelity.rank import groups, rankings
from experiments.fidelity.study import compared, fidelity
from experiments.found import find
from tests.experiments.fidelity.made import DOCUMENTS, SPREAD, sides, written

QUALITIES = [0.01, 0.05, 0.02, 0.08]


@pytest.fixture
def study(ledgers, tmp_path):
    made, _ = ledgers
    for n, quality in enumerate(QUALITIES):
        written(tmp_path / "runs" / str(n), made, n, quality)
    return tmp_path / "runs"


def console():
    return Console(width=160, file=io.StringIO(), highlight=False)


def test_protocols_are_ranked_by_the_order_of_their_networks(study):
    runs, _ = find([study])
    (group,) = groups(runs)
    assert (group.length, len(group.runs)) == (32, 4)
    found = {x.label: x for x in rankings(sides(runs), group)}
    assert found["heldout"].networks == 8
    for name, sign in (("heldout", 1), ("upside_down", -1), ("hits", 1)):
        assert found[name].ideal.value == pytest.approx(sign, abs=1e-12)
    losses = [m["excess"] for run in runs for m in run.ledger["members"]]
    scores = [x for run in runs for x in run.ledger["protocols"]["heldout"]["scores"]]
    assert found["heldout"].tau.value == pytest.approx(scipy.stats.kendalltau(scores, losses).statistic, abs=1e-12)
    assert found["heldout"].tau.count == 4  # runs, not networks, are resampled


def test_fresh_samples_rank_as_often_rightly_as_a_simulation_says(study):
    """Resampled documents around the targets, against new noise: the runs' own noise is what orders near networks."""
    runs, _ = find([study])
    (group,) = groups(runs)
    found = {x.label: x for x in rankings(sides(runs), group)}["heldout"].fresh
    targets = np.array([x for run in runs for x in run.ledger["protocols"]["heldout"]["targets"]])
    losses = np.array([m["excess"] for run in runs for m in run.ledger["members"]])
    noise = np.random.default_rng(9).normal(0, SPREAD / np.sqrt(DOCUMENTS), (1000, len(targets)))
    taus = [scipy.stats.kendalltau(targets + x, losses).statistic for x in noise]
    assert found.value == pytest.approx(np.median(taus), abs=0.075)  # one pair of 28 more or less
    assert found.low == pytest.approx(np.quantile(taus, 0.025), abs=0.075)
    assert found.high <= 1 and found.count == DOCUMENTS


def test_a_study_writes_tables_and_a_figure(study, tmp_path):
    runs, _ = find([study])
    screen = console()
    written_ = compared(runs, tmp_path / "out", screen)
    assert set(written_) == {"fidelity.csv", "fidelity-pairs.csv", "fidelity.tex", "fidelity.pdf", "fidelity.png"}
    table = pd.read_csv(tmp_path / "out" / "fidelity.csv").set_index("protocol")
    assert table.loc["upside_down", "pairs_reversed"] == table.loc["upside_down", "pairs_decided"] > 0
    assert table.loc["upside_down", "tokens_median"] == math.inf
    assert table.loc["heldout", "pairs_reversed"] == 0 < table.loc["heldout", "tokens_median"] < math.inf
    pairs = pd.read_csv(tmp_path / "out" / "fidelity-pairs.csv")
    assert len(pairs) == 6 * 3 and set(pairs.order) <= {"the same", "reversed", "undecided"}
    assert pairs.paired.all() and (pairs.first != pairs.second).all()
    text = (tmp_path / "out" / "fidelity.tex").read_text()
    assert text.count("\\toprule") == 1 and "upside\\_" in text and "never" in text
    said = screen.file.getvalue()
    assert "4 runs, 8 networks" in said and "of 6" in said


def test_runs_that_share_no_law_are_not_ranked(study, tmp_path):
    runs, _ = find([study])
    for n, run in enumerate(runs):
        run.ledger["functional"] = f"law{n} T=32"
        run.ledger["lengths"] = {}
    assert groups(runs) == []
    screen = console()
    assert fidelity(runs, tmp_path / "out", screen) == [] and "at least 3 runs" in screen.file.getvalue()
    assert not (tmp_path / "out").exists()


def test_runs_of_two_trained_lengths_are_ranked_at_the_longest_they_share(study):
    runs, _ = find([study])
    runs[0].ledger["functional"] = "made T=64"  # as if it had been trained at 64 tokens
    runs[0].ledger["length"] = 64
    runs[0].ledger["lengths"].pop("64")
    (group,) = groups(runs)
    assert group.length == 128 and group.functional.endswith("T=128")


def test_the_calculator_says_how_many_tokens_rank_two_runs(study, capsys):
    assert main([str(study / "0"), str(study / "1")]) == 0
    printed = capsys.readouterr().out
    for words in ("heldout", "reversed", "never", "A - B = "):
        assert words in printed, printed
    assert main([str(study / "0"), str(study / "0"), "--seeds", "0", "1"]) == 0
    for words, message in (
        ([str(study), str(study / "1")], "must hold a finished run"),
        ([str(study / "0"), str(study / "1"), "--seeds", "0", "7"], "must name one of the 2 seeds"),
        ([str(study / "0"), str(study / "1"), "--confidence", "0.4"], "must lie in (0.5, 1)"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert message in " ".join(capsys.readouterr().err.split())


def test_numbers_of_tokens_are_rounded_up_to_three_digits():
    assert [count(x) for x in (0.2, 999.1, 1234567.0, math.inf, math.nan)] == [
        "1",
        "1,000",
        "1,230,000",
        "never",
        "undefined",
    ]


def test_networks_whose_loss_or_score_is_undefined_are_left_out(study):
    runs, _ = find([study])
    runs[0].ledger["members"][0]["excess"] = None
    runs[0].ledger["protocols"]["hits"]["scores"][1] = None
    (group,) = groups(runs)
    found = {x.label: x.networks for x in rankings(sides(runs), group)}
    assert found["heldout"] == 7 and found["hits"] == 6
    assert np.isfinite(rankings(sides(runs), group)[0].tau.value)
