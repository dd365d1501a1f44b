"""Reference numbers are found again, and a wrong one is found out."""

import json
import sys

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import doctor, entry
from experiments.doctor import Check, judged
from experiments.rederive import Found

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
WRONG = """
coin:
  - {quantity: entropy_rate, world: {_target_: worlds.hmm.coin, p: 0.5}, expected: 0.6931471825599453, source: wrong}
  - {quantity: entropy_rate, world: {_target_: worlds.hmm.coin, p: 0.5}, expected: 0.6931471805599453, source: ln 2}
  - {quantity: probability, world: {_target_: worlds.hmm.coin, p: 7}, tokens: [0], expected: 0.5, source: no such coin}
"""


def type_in(monkeypatch, *words):
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["experiments.doctor", *QUIET, *words])
    entry.command(doctor.doctor)


def test_quick_families_agree_and_what_has_no_reference_is_named(monkeypatch, capsys):
    type_in(monkeypatch, "only=[z1r,post_quantum,pcfg,alibi,random_hmm]", "json=true")
    found = json.loads(capsys.readouterr().out)
    assert {c["verdict"] for c in found["checks"]} == {"agrees"} and len(found["checks"]) > 12
    assert list(found["unconfirmed"]) == ["random_hmm"]
    ways = {tuple(c["found"]) for c in found["checks"] if c["quantity"].startswith("probability")}
    assert ways == {("log_prob", "again")}


def test_a_wrong_reference_and_an_impossible_one_are_told(monkeypatch, capsys, tmp_path):
    (tmp_path / "wrong.yaml").write_text(WRONG)
    with pytest.raises(SystemExit) as stopped:
        type_in(monkeypatch, f"references={tmp_path}/wrong.yaml")
    printed = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "1 agrees, 2 disagrees, 0 not confirmed" in printed
    assert "off by 2.000e-09" in printed and "p must lie strictly between 0 and 1, but is 7" in printed


def test_every_family_has_a_reference_or_a_reason(monkeypatch, capsys):
    type_in(monkeypatch, "only=[operators]", "json=true")
    monkeypatch.setattr(doctor, "examined", lambda book: [])
    capsys.readouterr()
    type_in(monkeypatch, "json=true")
    assert "no reference is written down" not in json.loads(capsys.readouterr().out)["unconfirmed"].values()


@pytest.mark.parametrize(
    ("value", "slack", "verdict"),
    [(1.0, 0.0, "agrees"), (1.1, 0.2, "not confirmed"), (1.1, 0.05, "disagrees"), (np.nan, 1.0, "disagrees")],
)
def test_verdicts(value, slack, verdict):
    check = judged(("f", "q", 1.0, "", 1e-9), {"good": Found(np.array(1.0)), "way": Found(np.array(value), slack)})
    assert isinstance(check, Check) and check.verdict == verdict


@pytest.mark.parametrize(
    ("words", "rule"),
    [("only=[nobody]", "only must name families of"), ("references=nowhere.yaml", "there is no file 'nowhere.yaml'")],
)
def test_bad_input_ends_in_one_message(monkeypatch, capsys, words, rule):
    with pytest.raises(SystemExit):
        type_in(monkeypatch, words)
    assert rule in capsys.readouterr().err
