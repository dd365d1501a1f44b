"""The figure of reversals: for each, where the two readings lose by position, and what every protocol says of them."""

import string
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.contrasts import Contrast, Side
from experiments.reversals.find import Case, Reversal
from experiments.style import COLOURS, GREY, SMALL, STYLE, TEXT, threshold

FIRST, SECOND = COLOURS[0], COLOURS[1]


def drawn(found: list[Reversal], sides: dict[int, Side], names: dict[int, str]) -> Figure:
    """In text width, a row for each reversal: excess by position, differences in nats, differences in fractions."""
    with matplotlib.rc_context(STYLE):
        tall = [1.0 + 0.13 * max(3, len(x.case.views)) for x in found]
        figure = Figure(figsize=(TEXT, sum(tall) + 0.25), layout="constrained")
        rows: Any = figure.subfigures(len(found), 1, height_ratios=tall, squeeze=False)
        for n, (row, x) in enumerate(zip(rows[:, 0], found, strict=True)):
            curve, nats, hits = row.subplots(1, 3, width_ratios=[1, 1.1, 0.75])
            _curves(curve, x.case, sides)
            _said(nats, [v for v in x.case.views if v.unit == "nats/token"], "nats per token")
            _said(hits, [v for v in x.case.views if v.unit == "fraction"], "fraction, second \N{MINUS SIGN} first")
            title = f"{string.ascii_lowercase[n]}  {heading(x.case, names)}"
            row.suptitle(title, x=0.01, ha="left", fontsize=7, fontweight="bold")
        marks: dict[str, Any] = {"linestyle": "none", "color": "black"}
        handles = [
            Line2D([], [], marker="o", markersize=3.2, label="as reported (hard labels), 95 %", **marks),
            Line2D([], [], marker="D", markersize=4, markerfacecolor="none", label="exact expectation", **marks),
            Line2D([], [], marker="s", markersize=4, linestyle="none", color=FIRST, label="the first looks better"),
            Line2D([], [], marker="s", markersize=4, linestyle="none", color=SECOND, label="the second looks better"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, handletextpad=0.1)
        return figure


def heading(case: Case, names: dict[int, str]) -> str:
    """Who is compared, in words."""
    first, second = case.first, case.second
    if first.run == second.run:
        return f"{names[first.run]}: windows of {first.window} tokens, then of {second.window}"
    return f"{names[first.run]}, then {names[second.run]}; windows of {first.window}"


def _curves(axes: Axes, case: Case, sides: dict[int, Side]) -> None:
    """The exact excess over the world by position, mean over seeds with their range, up to the longer window."""
    last = max(case.first.window, case.second.window)
    readings = {case.first.run: (FIRST, "-"), case.second.run: (SECOND, (0, (4, 1.2)))}
    if len(readings) == 1:
        readings = {case.first.run: ("black", "-")}
        axes.axvline(case.first.window, color=FIRST, linewidth=0.8)
        axes.axvline(case.second.window, color=SECOND, linewidth=0.8, linestyle=(0, (4, 1.2)))
    for run, (colour, dash) in readings.items():
        rows = by_position(sides[run], last)
        if rows is None:
            axes.annotate("not measured at this length", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
            continue
        x = np.arange(1, rows.shape[1] + 1)
        axes.plot(x, rows.mean(0), color=colour, linestyle=dash, linewidth=1.1)
        axes.fill_between(x, rows.min(0), rows.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set_xlim(1, last)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("position")
    axes.set_ylabel("exact excess, nats")


def by_position(side: Side, last: int) -> np.ndarray | None:
    """Excess [member, time] up to a position, from the shortest length that reaches it; None where none does."""
    lengths = [int(k.removeprefix("excess/")) for k in side.arrays if k.startswith("excess/")]
    long = [n for n in lengths if n >= last]
    return np.asarray(side.arrays[f"excess/{min(long)}"][:, :last], np.float64) if long else None


def _said(axes: Axes, views: list[Contrast], unit: str) -> None:
    """First minus second by protocol (fractions: the reverse), so that left of zero the first looks better."""
    views = sorted(views, key=_oriented, reverse=True)  # the axis counts upwards
    if not views:
        axes.set_axis_off()
        return
    axes.axvline(0, color=GREY, linewidth=0.5)
    for place, x in enumerate(views):
        sign = 1 if x.better == "smaller" else -1
        colour = {-1: FIRST, 1: SECOND}.get(x.favours, GREY)
        low, high = sorted((sign * x.score.low, sign * x.score.high))
        axes.plot([low, high], [place, place], color=colour, linewidth=1.0, solid_capstyle="butt")
        axes.plot([sign * x.score.value], [place], "o", color=colour, markersize=3.2)
        axes.plot(
            [_oriented(x)], [place], "D", color=colour, markersize=4.6, markerfacecolor="none", markeredgewidth=0.7
        )
    axes.set_yticks(range(len(views)), [_short(x) for x in views], fontsize=SMALL)
    axes.set_ylim(-0.7, len(views) - 0.3)
    ends = [abs(v) for x in views for v in (x.score.low, x.score.high, x.expected.value)]
    linear_to = threshold([max(abs(x.score.value), abs(x.expected.value)) for x in views])
    if linear_to:
        axes.set_xscale("symlog", linthresh=linear_to)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(4, symmetric=True))
    axes.set_xlim(-1.15 * max(ends), 1.15 * max(ends))
    axes.set_xlabel(unit if unit.startswith("fraction") else f"first \N{MINUS SIGN} second, {unit}")


def _oriented(x: Contrast) -> float:
    return x.expected.value if x.better == "smaller" else -x.expected.value


def _short(x: Contrast) -> str:
    """The protocol's name without its window, which the row's title says."""
    return x.label.partition(" ")[0].rstrip("0123456789").rstrip("_").replace("_", " ")
