"""The forest plot of claims: every effect with its interval, beside the smallest effect that counts.

Effects have several units, so each is drawn in units of the smallest that counts by its own rule: 0 is no effect (a
difference of 0, a ratio or share of 1), 1 the smallest. Shaded is where the rule confirms and where it refutes.
"""

import math
import textwrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.claims.claim import Region, Rule
from experiments.claims.rules import LOGARITHMIC
from experiments.claims.table import said
from experiments.claims.trial import Trial
from experiments.claims.verdict import UNDECIDED, VERDICTS, Verdict
from experiments.style import GREY, SMALL, STYLE, TEXT

EDGE = 300.0  # smallest effects, at which the axis ends
MARKS: dict[str, tuple[str, str]] = dict(
    zip((*VERDICTS, UNDECIDED), (("o", "#009E73"), ("X", "#D55E00"), ("D", "#CC79A7"), ("s", "0.45")), strict=True)
)
LINE = 0.165  # inches
ABOVE, BELOW = 0.3, 0.42  # inches, for the legend and the axis
LEFT, WIDE = 0.41, 0.31  # of the width: where the axis begins, and how much of it it has
PAGE = 30  # rows
LABEL = 44  # characters of a line left of the axis


def forest(verdicts: list[Verdict]) -> Figure:
    """A row for each trial, grouped by claim, in text width; of more trials than fit a page, the decisive ones."""
    shown = [v for v in verdicts if v.trials]
    if sum(len(v.trials) for v in shown) > PAGE:
        shown = [v._replace(trials=[v.weakest]) for v in shown if v.weakest is not None]
    labels = [[_name(t) for t in v.trials] for v in shown]
    lines = sum(1 + sum(map(_height, names)) for names in labels)
    with matplotlib.rc_context(STYLE):
        tall = ABOVE + BELOW + LINE * lines
        figure = Figure(figsize=(TEXT, tall))
        axes = figure.add_axes((LEFT, BELOW / tall, WIDE, LINE * lines / tall))
        line, ticks, names = 0.0, [], []
        for v, own in zip(shown, labels, strict=True):
            _heading(axes, v, line)
            line += 0.5
            for t, name in zip(v.trials, own, strict=True):
                line += _height(name) / 2
                _row(axes, t, line, MARKS[v.verdict], emphatic=t is v.weakest)
                ticks.append(line)
                line += _height(name) / 2
            names += own
            line += 0.5
        _frame(axes, line, ticks, names)
        _legend(axes, {v.verdict for v in shown})
        return figure


def scaled(x: float, rule: Rule) -> float:
    """An effect in units of the smallest that counts; ratios by their logarithms."""
    if rule.form in LOGARITHMIC:
        return (math.log(x) if x > 0 else -math.inf) / abs(math.log(rule.smallest))
    return (x - (1.0 if rule.form == "share" else 0.0)) / rule.smallest


def _row(axes: Axes, trial: Trial, line: float, mark: tuple[str, str], emphatic: bool) -> None:
    for region, colour in ((trial.rule.confirm, "#009E73"), (trial.rule.refute, "#D55E00")):
        for low, high in _spans(region, trial.rule):
            axes.add_patch(Rectangle((low, line - 0.42), high - low, 0.84, color=colour, alpha=0.10, linewidth=0))
    value, low, high = (max(-EDGE, min(EDGE, scaled(x, trial.rule))) for x in (trial.value, trial.low, trial.high))
    shape, colour = mark
    axes.plot([low, high], [line, line], color=colour, linewidth=1.0, solid_capstyle="butt")
    look: dict[str, Any] = {"markerfacecolor": colour if emphatic else "white", "markeredgecolor": colour}
    axes.plot([value], [line], marker=shape, markersize=4.0, markeredgewidth=0.9, linestyle="none", **look)
    text = f"{said(trial.value)} [{said(trial.low)}, {said(trial.high)}] {_unit(trial.rule.unit)}"
    beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(
        text, (1, line), xytext=(3, 0), va="center", ha="left", fontsize=SMALL, annotation_clip=False, **beside
    )


def _spans(region: Region, rule: Rule) -> list[tuple[float, float]]:
    """The region on the axis."""
    ends = [max(-EDGE, min(EDGE, scaled(x, rule))) for x in region.bounds]
    if region.kind == "above":
        return [(ends[0], EDGE)]
    if region.kind == "below":
        return [(-EDGE, ends[0])]
    return [(ends[0], ends[1])] if region.kind == "within" else [(-EDGE, ends[0]), (ends[1], EDGE)]


def _heading(axes: Axes, verdict: Verdict, line: float) -> None:
    text = f"$\\bf{{{verdict.claim.id}}}$  {verdict.claim.statement}"
    colour = MARKS[verdict.verdict][1]
    across: dict[str, Any] = {"xycoords": ("figure fraction", "data"), "va": "center", "fontsize": 6}
    across["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the lines of the axis
    short = text if len(text) <= 104 else text[:101].rsplit(" ", 1)[0] + " ..."
    axes.annotate(short, (0.005, line), ha="left", annotation_clip=False, **across)
    axes.annotate(
        verdict.verdict + "*" * verdict.strict,
        (0.995, line),
        ha="right",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
        **across,
    )


def _name(trial: Trial) -> str:
    """In lines of at most LABEL characters."""
    return textwrap.fill(", ".join(x for x in (trial.place, trial.setting) if x) or trial.rule.name, LABEL)


def _height(name: str) -> float:
    """Of a row, in lines."""
    return 1.0 if "\n" not in name else 0.75 * (1 + name.count("\n"))


def _unit(unit: str) -> str:
    return "(share)" if unit.startswith("of the") else {"nats/token": "nats", "nats per token": "nats"}.get(unit, unit)


def _frame(axes: Axes, lines: float, ticks: list[float], names: list[str]) -> None:
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.9)
    axes.set_xlim(-EDGE, EDGE)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.set_yticks(ticks, names, fontsize=SMALL)
    axes.set_xticks(
        [-100, -10, -1, 0, 1, 10, 100],
        ["\N{MINUS SIGN}100", "\N{MINUS SIGN}10", "\N{MINUS SIGN}1", "0", "1", "10", "100"],
    )
    axes.xaxis.minorticks_off()
    for x in (-1, 0, 1):
        axes.axvline(x, color=GREY, linewidth=0.5, linestyle="-" if x == 0 else (0, (1, 2)), zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("effect, in units of the smallest that counts (symmetric logarithm beyond ±1)")


def _legend(axes: Axes, seen: set[str]) -> None:
    handles = [
        axes.plot([], [], marker=shape, color=colour, linestyle="none", markersize=4, label=name)[0]
        for name, (shape, colour) in MARKS.items()
        if name in seen
    ]
    handles += [
        Rectangle((0, 0), 1, 1, color=c, alpha=0.2, label=f"rule {w}")
        for c, w in (("#009E73", "confirms"), ("#D55E00", "refutes"))
    ]
    axes.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.4, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=SMALL,
    )
