"""Verdicts hold jointly: corrections are the textbook's, settings that disagree make a claim depend on the world."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from rich.console import Console

from experiments.claims import __main__ as command
from experiments.claims.claim import claims
from experiments.claims.forest import forest
from experiments.claims.study import study
from experiments.claims.table import content, latex
from experiments.claims.verdict import adjusted, decide
from experiments.question.studies import alibi_question, extrapolation, long_range, slopes
from tests.experiments.claims.made import DECAY, run
from tests.experiments.claims.test_rules import DIFFERENCE, SPREAD, members

URN = {"name": "dirichlet", "vocab": 4, "alpha": 0.5}
MESS3 = {"name": "mess3", "x": 0.05, "a": 0.85}
QUIET = dict(width=160, highlight=False)


def pair(tmp_path, name, world, gap, spread=0.001):
    one = run(tmp_path, f"{name} alibi", "alibi", {1: (0.02 + gap + spread * SPREAD).tolist()}, world)
    return [one, run(tmp_path, f"{name} rope", "rope", {1: [0.02] * 4}, world)]


def test_holm_and_benjamini_hochberg_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert np.allclose(adjusted(p, "holm"), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(adjusted(p, "fdr"), [0.02, 0.04, 0.04, 0.02])
    with pytest.raises(ValueError, match="one of fdr, holm, but is 'none'"):
        adjusted(p, "none")


def test_worlds_that_disagree_are_named(tmp_path):
    runs = pair(tmp_path, "d", DECAY, 0.05) + pair(tmp_path, "u", URN, 0.0) + pair(tmp_path, "m", MESS3, 0.01)
    found = decide([DIFFERENCE], runs)[0]
    assert found.verdict == "depends on the world"
    assert found.why == "confirms: decay geometric rate 0.6; refutes: dirichlet; open: mess3 a 0.85 x 0.05"


def test_all_worlds_must_confirm_and_the_weakest_is_shown(tmp_path):
    runs = pair(tmp_path, "d", DECAY, 0.05) + pair(tmp_path, "u", URN, 0.02, 0.002)
    found = decide([DIFFERENCE], runs)[0]
    assert found.verdict == "confirmed" and found.weakest is not None and found.weakest.place == "dirichlet"
    both = pair(tmp_path, "d", DECAY, 0.0) + pair(tmp_path, "u", URN, 0.0)
    assert decide([DIFFERENCE], both)[0].verdict == "refuted"


def test_a_claim_of_which_a_rule_was_not_tried_is_not_confirmed_but_may_be_refuted(tmp_path):
    rule = DIFFERENCE.rules[0]
    elsewhere = replace(rule, name="another rule", readings={"a": {"scheme": "fox"}, "b": {"scheme": "rope"}})
    both = replace(DIFFERENCE, rules=(rule, elsewhere))
    confirms, refutes = (decide([both], pair(tmp_path, x, DECAY, gap))[0] for x, gap in (("c", 0.05), ("r", 0.0)))
    assert confirms.verdict == "undecided" and "not all was: another rule" in confirms.why and confirms.trials
    assert refutes.verdict == "refuted"


def test_nothing_in_the_forest_plot_leaves_the_page_or_covers_another(tmp_path):
    """Nor where a world takes two lines to name."""
    long = {"name": "mess3", "x": 0.05, "a": 0.85, "another_number": 0.123456789, "a_further_number": 0.123456789}
    runs = pair(tmp_path, "l", long, 0.05) + pair(tmp_path, "u", URN, 0.0)
    figure = forest(decide([DIFFERENCE], runs))
    figure.set_dpi(100)
    FigureCanvasAgg(figure).draw()
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    pairs = combinations(zip(texts, boxes, strict=True), 2)
    assert all(0 <= b.x0 and b.x1 <= figure.bbox.x1 and 0 <= b.y0 and b.y1 <= figure.bbox.y1 for b in boxes)
    assert not [(a.get_text(), b.get_text()) for (a, x), (b, y) in pairs if x.overlaps(y)]


def test_more_claims_decided_together_make_each_harder(tmp_path):
    runs = pair(tmp_path, "d", DECAY, 0.015, 0.0015)
    alone, crowd = decide([DIFFERENCE], runs)[0], decide([DIFFERENCE] * 40, runs, "holm")
    assert alone.verdict == "confirmed" and alone.strict and alone.p < 0.05 < crowd[0].p
    assert {found.verdict for found in crowd} == {"undecided"}
    mild = decide([DIFFERENCE] * 40, runs)
    assert {(found.verdict, found.strict) for found in mild} == {("confirmed", False)}


def test_wrong_verdicts_are_as_rare_as_promised():
    """300 studies of eight claims whose effect lies exactly on the boundary: any verdict is wrong."""
    from experiments.claims.claim import Region, Rule
    from experiments.claims.rules import Effect
    from experiments.claims.trial import outside

    draws = np.random.default_rng(3).normal(size=(300, 8, 4))
    rule = Rule("r", "difference", {}, Region("above", (0.0,)), Region("below", (0.0,)), 1.0, "nats")
    wrong = 0
    for claims_ in draws:
        p = [(outside(Effect(x, 0.0), r)) for x in claims_ for r in (rule.confirm, rule.refute)]
        wrong += bool(adjusted(np.array(p), "holm").min() <= 0.05)
    assert wrong / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)  # three standard errors above what is promised


def test_claims_without_runs_are_named_and_count_for_nothing(tmp_path):
    runs = pair(tmp_path, "d", DECAY, 0.015, 0.0015)
    found = decide([DIFFERENCE, *claims(["C19", "C6"])], runs)
    assert [v.verdict for v in found] == ["confirmed", "undecided", "undecided"]
    assert found[1].why.startswith("not run: ") and found[0].p == decide([DIFFERENCE], runs)[0].p


def test_files_are_whole_and_traceable(tmp_path):
    runs = pair(tmp_path / "runs", "d", DECAY, 0.05)
    with (tmp_path / "said").open("w") as said:
        written = study(runs, tmp_path / "out", Console(file=said, **QUIET))
    assert written == ["claims.json", "claims.tex"]  # nothing was run that any claim asks for, so there is no figure
    found = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert set(found) == {claim.id for claim in claims()}
    assert all(x["verdict"] == "undecided" and x["runs"] == [] for x in found.values())
    entry = content(decide([DIFFERENCE], runs), tmp_path / "out", "holm")["C0"]
    assert entry["runs"] == ["../runs/d alibi", "../runs/d rope"] and entry["n"] == 4
    assert entry["low"] < entry["effect"] < entry["high"] and entry["unit"] == "nats/token"
    text = latex(decide([DIFFERENCE], runs), "holm")
    assert text.count("\\toprule") == 1 and "confirmed" in text


def test_the_command_lists_broken_folders_and_needs_a_run(tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.json").write_text("{")
    assert command.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "left out:" in said and "at least one finished run is needed" in said


def test_learned_embeddings_beyond_their_end_are_said(tmp_path):
    one = run(tmp_path, "a", "sinusoidal", {1: members(0.02), 2: []})
    (only,) = decide(claims(["C1"]), [one])
    assert "sinusoidal is undefined at 64 tokens" in only.why


def test_names_from_a_ledger_are_no_commands(tmp_path):
    """Worlds whose names steer a terminal, LaTeX or a formula, numbers that are text, curves of the wrong shape."""
    law = {"name": "decay", "kernel": {"_target_": "worlds.kernel.$\\frac{$", "rate": 0.6}, "x\x1b[2J": 1.5}
    odd = {"name": "decay_heads", "heads": {"near": {"weight": "half"}, "far": {"weight": 1}}}
    kept = {"excess/64": np.zeros(3), "observe/window_null": np.zeros((1, 2)), "sequences/excess/32": np.zeros(5)}
    runs = pair(tmp_path / "r", "d", law, 0.05)
    runs += [
        run(tmp_path / "r", s, s, {1: members(0.1), 2: members(0.1)}, odd, curves=kept, seed="no") for s in ("x", "y")
    ]
    with (tmp_path / "said").open("w") as said:
        for made in (study, alibi_question, extrapolation, slopes, long_range):
            made(runs, tmp_path / "out", Console(file=said, **QUIET))
    found = decide([DIFFERENCE], runs)
    assert found[0].verdict == "confirmed" and found[0].trials[0].place.isprintable()
    assert "$\\frac" not in latex(found, "holm") and "\x1b" not in (tmp_path / "said").read_text()
    assert forest(found).axes
