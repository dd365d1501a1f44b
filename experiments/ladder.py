"""The ladder D -> P -> I -> R -> O, from top to bottom: its heights, and how it is drawn on an axes.

Heights are excesses over the world's own loss H_D, in nats per token; D's own uncertainty enters no gap. A filled bar
is a loss, a hatched one a surplus (a negative gap). A line is an interval, square brackets are the bracket that the
architecture's best is proved to lie in, open circles are single seeds. What is undefined or infinite has no height, so
it is said in words, and an arrow points to infinity.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path as Outline

from experiments.ledger import GAPS, number
from experiments.style import GREY, SEED, SMALL, said

OPEN, CLOSE = ([(x, 1), (0, 1), (0, -1), (x, -1)] for x in (0.5, -0.5))  # square brackets, as markers


class Rung(NamedTuple):
    """One layer, as heights over D; nan where undefined, inf where infinite."""

    layer: str
    start: float  # where the layer before it ends
    end: float
    low: float
    high: float
    gap: dict[str, Any]  # the ledger's entry of end - start


def rungs(ledger: dict[str, Any]) -> list[Rung]:
    """The rungs P, I, R, O over D = 0."""
    gaps, floor, best = ledger["gaps"], ledger["layers"]["D"], ledger["layers"]["I"]
    # the floor's interval was added to the bracket of I end by end, and is taken off again in the same way
    bracket = [number(best[k]) - number(floor[k]) for k in ("loss", "low", "high")]
    tops = [numbers(gaps["P-D"]), bracket, numbers(gaps["R-D"]), numbers(gaps["O-D"])]
    starts = [0.0, *(end for end, _, _ in tops)]
    return [
        Rung(name[0], start, end, low, high, gaps[name])
        for name, start, (end, low, high) in zip(GAPS, starts[:-1], tops, strict=True)
    ]


def numbers(gap: dict[str, Any]) -> list[float]:
    """[nats, low, high] of a gap's entry."""
    return [number(gap[k]) for k in ("nats", "low", "high")]


def tops(ladders: list[list[Rung]]) -> list[float]:
    """The height of each ladder, as far as it is finite."""
    return [max([abs(s.end) for s in ladder if math.isfinite(s.end)], default=0.0) for ladder in ladders]


def limits(ledgers: list[dict[str, Any]], threshold: float = 0.0) -> tuple[float, float]:
    """Room for every finite end, interval and seed, on a linear or (threshold > 0) symlog scale."""
    ends = [x for ledger in ledgers for step in rungs(ledger) for x in step[1:5]] + [0.0]
    ends += [number(member["excess"]) for ledger in ledgers for member in ledger["members"]]
    finite = [x for x in ends if math.isfinite(x)]
    low, high = min(finite), max(finite)
    if threshold:
        return min(1.6 * low, -0.5 * threshold), 2.0 * high
    span = high - low or 1.0
    return low - 0.05 * span, high + 0.08 * span


def draw(axes: Axes, ledger: dict[str, Any], colour: str) -> None:
    """Draws the bars, intervals, brackets and seeds. The horizontal scale and limits are set before."""
    axes.set_ylim(4.6, -0.6)
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    axes.plot(0, 0, "o", color=colour, markersize=3, clip_on=False)
    last = 0.0
    for row, step in enumerate(rungs(ledger), 1):
        _bar(axes, row, step, colour)
        _interval(axes, row, step, colour)
        if math.isfinite(step.end):
            axes.plot([last, last], [row - 1, row], color=GREY, linewidth=0.5, zorder=0)
            last = step.end
    seeds = [x for x in (number(m["excess"]) for m in ledger["members"]) if math.isfinite(x)]
    look = SEED | {"markerfacecolor": "white", "markeredgecolor": colour, "zorder": 4}
    axes.plot(seeds, np.full(len(seeds), 3.15), marker="o", **look)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _bar(axes: Axes, row: int, step: Rung, colour: str) -> None:
    """The gap: filled to the right, hatched to the left, cut off at the edge where it is infinite."""
    if not math.isfinite(step.start) or math.isnan(step.end):
        return
    end = min(step.end, axes.get_xlim()[1])
    look: dict[str, Any] = {"facecolor": "white", "hatch": "//////"} if end < step.start else {"facecolor": colour}
    axes.barh(row, end - step.start, left=step.start, height=0.42, edgecolor=colour, linewidth=0.6, alpha=0.55, **look)


def _interval(axes: Axes, row: int, step: Rung, colour: str) -> None:
    """Where the bar ends: brackets for I, a line for the others, an arrow at the edge where it is infinite."""
    if math.isinf(step.end):
        axes.plot(axes.get_xlim()[1], row, ">", color=colour, markersize=4, clip_on=False)
    elif step.layer == "I":
        axes.plot([step.low, step.high], [row, row], color="black", linewidth=0.8)
        for x, shape in ((step.low, OPEN), (step.high, CLOSE)):
            mark: Any = Outline(shape)
            axes.plot(x, row, marker=mark, markersize=8, fillstyle="none", color="black", markeredgewidth=0.9)
    elif step.high > step.low:
        ends = [[max(0.0, step.end - step.low)], [max(0.0, step.high - step.end)]]  # theorems cut intervals, not values
        axes.errorbar(step.end, row, xerr=ends, color="black", elinewidth=0.8, capsize=1.8, capthick=0.8)


def over(axes: Axes, ledger: dict[str, Any]) -> None:
    """The gaps in numbers above their bars, for narrow panels."""
    _over(axes, 0, 0.0, said(ledger["layers"]["D"]["loss"], sign=False))
    for row, step in enumerate(rungs(ledger), 1):
        _over(axes, row, step.start if math.isfinite(step.start) else 0.0, said(step.gap["nats"]))


def _over(axes: Axes, row: int, start: float, text: str) -> None:
    """A number to the roomier side of the line that comes down to where its bar starts."""
    place = axes.transLimits.transform(axes.transScale.transform((start, 0)))[0]
    side, shift = ("right", -2) if place > 0.55 else ("left", 2)
    offset: Any = {"xytext": (shift, 0), "textcoords": "offset points"}
    axes.annotate(text, (start, row - 0.28), va="bottom", ha=side, fontsize=SMALL, **offset)


def beside(axes: Axes, ledger: dict[str, Any]) -> None:
    """The gaps in numbers right of the axes: value and class, and the interval below them."""
    floor = ledger["layers"]["D"]
    _beside(axes, 0, said(floor["loss"], sign=False), floor, sign=False)
    for row, step in enumerate(rungs(ledger), 1):
        _beside(axes, row, said(step.gap["nats"]), step.gap, sign=True)


def _beside(axes: Axes, row: int, value: str, entry: dict[str, Any], sign: bool) -> None:
    point: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
    wide = entry["low"] != entry["high"]
    word = "" if entry["class"] == value else entry["class"]
    axes.annotate(f"{value}  {word}", (1.04, row), xytext=(0, 3.2 if wide else 0), va="center", fontsize=6, **point)
    if wide:
        text = f"[{said(entry['low'], sign)}, {said(entry['high'], sign)}]"
        axes.annotate(text, (1.04, row), xytext=(0, -3.8), va="center", fontsize=SMALL, color=GREY, **point)
