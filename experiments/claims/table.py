"""Verdicts as a person reads them: claims.json, a table for the terminal, and a booktabs table for a paper."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from experiments.claims.trial import Trial
from experiments.claims.verdict import LEVEL, VERDICTS, Verdict, named
from experiments.ledger import plain
from experiments.tables import SPECIAL

COLOURS: dict[str, str] = dict(zip(VERDICTS, ("green", "red", "magenta"), strict=True))


def content(verdicts: list[Verdict], out: Path, correction: str) -> dict[str, Any]:
    """{id: verdict, effect, low, high, n, runs, rule, unit, why, ...}; run folders relative to `out`.

    `strict` says whether the verdict holds by Holm's procedure too, at the same level.
    """
    return {v.claim.id: _entry(v, out, correction) for v in verdicts}


def _entry(verdict: Verdict, out: Path, correction: str) -> dict[str, Any]:
    claim, weak = verdict.claim, verdict.weakest
    known: dict[str, Any] = dict.fromkeys(("effect", "low", "high", "n", "rule", "unit", "smallest", "setting"))
    if weak is not None:
        known = _numbers(weak, out) | {"smallest": weak.rule.smallest}
    return {
        "verdict": verdict.verdict,
        **known,
        "p": plain(verdict.p),
        "strict": verdict.strict,
        "correction": f"{correction} over the claims decided together, level {LEVEL:g}",
        "why": verdict.why,
        "statement": claim.statement,
        "source": claim.source,
        "figures": claim.figures,
        "runs": [os.path.relpath(place, out) for place in verdict.runs],
        "trials": [_numbers(t, out) for t in verdict.trials],
        "not_tried": verdict.gaps,
    }


def _numbers(trial: Trial, out: Path) -> dict[str, Any]:
    rule = trial.rule
    return {
        "effect": plain(trial.value),
        "low": plain(trial.low),
        "high": plain(trial.high),
        "n": trial.count,
        "unit": rule.unit,
        "rule": f"{rule.name}: confirmed if {rule.confirm}, refuted if {rule.refute} {rule.unit}",
        "setting": ", ".join(x for x in (trial.place, trial.setting) if x),
        "p_confirm": plain(trial.confirm),
        "p_refute": plain(trial.refute),
        "note": trial.note,
        "runs": [os.path.relpath(place, out) for place in trial.runs],
    }


def text(verdicts: list[Verdict], out: Path, correction: str) -> bytes:
    """claims.json."""
    return (json.dumps(content(verdicts, out, correction), indent=1, allow_nan=False) + "\n").encode()


def screen(verdicts: list[Verdict], correction: str) -> Table:
    """The verdicts with the trial on which each rests."""
    family = sum(1 for v in verdicts if v.trials)
    title = f"{len(verdicts)} claims, {family} with runs; {correction.upper()} at {LEVEL:g} over them "
    title += "(*: by Holm too); intervals 95 %"
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading, justify in (("claim", "left"), ("verdict", "left"), ("effect", "right"), ("why", "left")):
        table.add_column(heading, justify=justify, ratio=3 if heading == "why" else None)  # type: ignore[arg-type]
    for v in verdicts:
        name = Text(f"{v.claim.id}  ", style="bold").append(v.claim.statement, style="")
        table.add_row(
            name,
            Text(v.verdict + "*" * v.strict, style=COLOURS.get(v.verdict, "yellow")),
            Text(_effect(v)),
            Text(v.why),
        )
    return table


def _effect(verdict: Verdict) -> str:
    weak = verdict.weakest
    return "" if weak is None else f"{said(weak.value)}\n[{said(weak.low)}, {said(weak.high)}]\n{weak.rule.unit}"


def said(x: float) -> str:
    """A number in three digits.

    >>> said(0.012345), said(float("inf"))
    ('0.0123', '∞')
    """
    if not math.isfinite(x):
        return "∞" if x > 0 else "\N{MINUS SIGN}∞" if x < 0 else "undefined"
    body = f"{x:.4f}" if 1e-4 <= abs(x) < 1 else f"{x:.3g}"
    return body.replace("-", "\N{MINUS SIGN}")


def latex(verdicts: list[Verdict], correction: str) -> str:
    """A booktabs table in text width; it needs the package booktabs only."""
    rows = []
    for v in verdicts:
        weak = v.weakest
        number = (
            "" if weak is None else f"${_tex(weak.value)}$ {{\\scriptsize $[{_tex(weak.low)}, {_tex(weak.high)}]$}}"
        )
        where = v.why if weak is None else named(weak)
        cells = (v.claim.id, v.claim.statement, v.verdict + "*" * v.strict, where)
        rows.append([*(c.translate(SPECIAL) for c in cells), number, "" if weak is None else str(weak.count)])
    heads = ["", "claim", "verdict", "rests on", "effect", "$n$"]
    widths = "@{}lp{1.45in}p{0.6in}p{1.45in}p{1.0in}r@{}"
    body = pd.DataFrame(rows, columns=heads).style.hide(axis="index").to_latex(hrules=True, column_format=widths)
    how = "Holm" if correction == "holm" else "Benjamini--Hochberg"
    caption = (
        "Claims, the verdict of the runs, and the trial on which it rests: its effect with a 95\\,\\% interval over "
        f"$n$ seeds (Student's $t$). Verdicts hold jointly: {how} at {LEVEL:g} over all claims of the table "
        "(*: by Holm too)."
    )
    head = "\\begin{table*}\n\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}\n"
    return f"{head}\\caption{{{caption}}}\n\\label{{tab:claims}}\n\\smallskip\n{body}\\end{{table*}}\n"


def _tex(x: float) -> str:
    return said(x).replace("\N{MINUS SIGN}", "-").replace("∞", "\\infty")
