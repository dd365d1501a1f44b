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
LABELS = ("position", "first \N{MINUS SIGN} second, nats/token", "second \N{MINUS SIGN} first, fraction")


def drawn(found: list[Reversal], sides: dict[int, Side], names: dict[int, str]) -> Figure:
    """In text width, a row for each reversal: excess by position, differences in nats, differences in fractions."""
    with matplotlib.rc_context(STYLE):
        tall = [0.75 + 0.11 * max(3, len(x.case.views)) for x in found]
        figure = Figure(figsize=(TEXT, sum(tall) + 0.5), layout="constrained")
        grid = figure.subplots(len(found), 3, squeeze=False, width_ratios=[1, 1, 0.8], height_ratios=tall)
        for n, (row, x) in enumerate(zip(grid, found, strict=True)):
            _curves(row[0], x.case, sides)
            _said(row[1], [v for v in x.case.views if v.unit == "nats/token"])
            _said(row[2], [v for v in x.case.views if v.unit == "fraction"])
            world = sides[x.case.first.run].run.ledger["world"]["name"].replace("_", " ")
            title = f"{string.ascii_lowercase[n]}  {world}: {heading(x.case, names)}"
            row[0].set_title(" ")  # its room; the text itself runs over all three
            above: Any = {"xycoords": "axes fraction", "textcoords": "offset points", "in_layout": False}
            row[0].annotate(title, (0, 1), xytext=(0, 4), fontweight="bold", **above)
        for axes, label in zip(grid[-1], LABELS, strict=True):
            axes.set_xlabel(label, fontsize=6)
        figure.supylabel("exact excess over the world, nats", fontsize=7)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, handletextpad=0.1)
        return figure


def _legend() -> list[Line2D]:
    marks: dict[str, Any] = {"linestyle": "none", "color": "black"}
    return [
        Line2D([], [], marker="o", markersize=3.2, label="as reported (hard labels), 95 %", **marks),
        Line2D([], [], marker="D", markersize=4, markerfacecolor="none", label="exact expectation", **marks),
        Line2D([], [], marker="s", markersize=4, linestyle="none", color=FIRST, label="the first looks better"),
        Line2D([], [], marker="s", markersize=4, linestyle="none", color=SECOND, label="the second"),
    ]


def heading(case: Case, names: dict[int, str]) -> str:
    """Who is compared, in words."""
    first, second = case.first, case.second
    if first.run == second.run:
        return f"{names[first.run]}; in windows of {first.window} and {second.window}"
    return f"{names[first.run]}, and {names[second.run]}; in windows of {first.window}"


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
    axes.yaxis.set_major_locator(ticker.MaxNLocator(3))


def by_position(side: Side, last: int) -> np.ndarray | None:
    """Excess [member, time] up to a position, from the shortest length that reaches it; None where none does."""
    lengths = [int(k.removeprefix("excess/")) for k in side.arrays if k.startswith("excess/")]
    long = [n for n in lengths if n >= last]
    return np.asarray(side.arrays[f"excess/{min(long)}"][:, :last], np.float64) if long else None


def _said(axes: Axes, views: list[Contrast]) -> None:
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
        decades = linear_to * 10.0 ** np.arange(0, 12, 2)
        shown = decades[decades < 1.15 * max(ends)]
        axes.set_xticks([*(-shown[::-1]), 0, *shown])
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    else:
        half = 10.0 ** np.floor(np.log10(max(ends)))
        step = half * max(x for x in (1, 2, 5) if x * half <= max(ends))
        axes.set_xticks([-step, 0, step])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(-1.15 * max(ends), 1.15 * max(ends))


def _oriented(x: Contrast) -> float:
    return x.expected.value if x.better == "smaller" else -x.expected.value


def _short(x: Contrast) -> str:
    """The protocol's name without its window, which the row's title says."""
    return x.label.partition(" ")[0].rstrip("0123456789").rstrip("_").replace("_", " ")
