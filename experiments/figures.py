"""Figures for papers: the ladder of one run as a waterfall; several runs side by side, and their curves over length.

Everything is an excess over the world's own loss under the same functional, in nats per token, linear unless a label
says otherwise. ladder.py says what bars, hatches, lines and brackets mean.
"""

import itertools
import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import ScaledTranslation

from experiments.ladder import beside, draw, limits, numbers, over, rungs, tops
from experiments.ledger import number
from experiments.show import NAMES
from experiments.style import COLOURS, COLUMN, GREY, SEED, SMALL, STYLE, TEXT, looks, said, threshold, title, wrapped

MANY = 12  # runs in one figure
PLAIN: dict[Any, Any] = STYLE | {"text.parse_math": False}  # a name with dollars is no formula
Point = tuple[list[float], list[float]]  # ([mean, low, high], seeds) of R - D at one length


def waterfall(ledger: dict[str, Any]) -> Figure:
    """One run, in column width: each gap of the ladder D -> P -> I -> R -> O with its interval and class."""
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(COLUMN, 2.35), layout="constrained")
        axes = figure.subplots()
        axes.set_xlim(*limits([ledger]))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(3, steps=[1, 2, 5, 10]))
        draw(axes, ledger, COLOURS[0])
        beside(axes, ledger)
        axes.set_yticks(range(5), [f"{name}  $\\bf{{{k}}}$" for k, name in NAMES.items()], parse_math=True)
        axes.set_xlabel("nats per token over the world's own loss")
        whole = f"{ledger['world']['name']} · {title(ledger)} · {ledger['train_length']} tokens".replace("_", " ")
        figure.suptitle(wrapped(whole, 55), x=0.02, ha="left", fontsize=7, fontweight="bold")
        return figure


def first_look(ledgers: list[dict[str, Any]], labels: list[str] | None = None) -> Figure:
    """Several runs, in text width: their waterfalls side by side and, below, their excess over the floor by length.

    Args:
      ledgers: 1 to 12 of them.
      labels: one for each; perception and scheme if None.
    """
    if not 1 <= len(ledgers) <= MANY:
        raise ValueError(f"figure: it holds 1 to {MANY} runs, but got {len(ledgers)}")
    labels = [title(x) for x in ledgers] if labels is None else labels
    styles = list(itertools.islice(looks(), len(ledgers)))
    with matplotlib.rc_context(PLAIN):
        across = min(4, len(ledgers))
        heights = [max(_height(_headed(x)) for x in labels[n : n + across]) for n in range(0, len(labels), across)]
        height = sum(1.65 + x for x in heights)
        below = max(2.0, 0.3 + sum(0.06 + _height(wrapped(x, 24)) for x in labels))
        figure = Figure(figsize=(TEXT, height + below), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[height, below])
        _ladders(parts[0], across, ledgers, labels, styles)
        axes = parts[1].subplots()
        _curves(axes, ledgers, labels, styles, 24)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3.2)
        return figure


def lengths(ledgers: list[dict[str, Any]], labels: list[str] | None = None) -> Figure:
    """Several runs, in column width: their excess over the floor by length.

    Args:
      ledgers: 1 to 12 of them.
      labels: one for each; perception and scheme if None.
    """
    if not 1 <= len(ledgers) <= MANY:
        raise ValueError(f"figure: it holds 1 to {MANY} runs, but got {len(ledgers)}")
    labels = [title(x) for x in ledgers] if labels is None else labels
    styles = list(itertools.islice(looks(), len(ledgers)))
    names = [wrapped(label, 22) for label in labels]
    below = sum(0.06 + max(map(_height, names[n : n + 2])) for n in range(0, len(names), 2))
    with matplotlib.rc_context(PLAIN):
        figure = Figure(figsize=(COLUMN, 2.1 + below), layout="constrained")
        axes = figure.subplots()
        _curves(axes, ledgers, labels, styles, 22)
        below: Any = {"loc": "upper left", "bbox_to_anchor": (-0.18, -0.22), "ncols": 2, "columnspacing": 0.8}
        axes.legend(frameon=False, handlelength=2.8, **below)
        return figure


def _headed(label: str) -> str:
    """A label as it stands over a panel."""
    return wrapped(label.replace(" / ", "\n"), 17)


def _height(text: str) -> float:
    """Inches of lines in the size of labels."""
    return 0.11 * len(text.splitlines())


def _ladders(
    figure: SubFigure, across: int, ledgers: list[dict[str, Any]], labels: list[str], styles: list[dict[str, Any]]
) -> None:
    """Waterfalls on one scale, so that their lengths compare."""
    linear_to = threshold(tops([rungs(x) for x in ledgers]))
    room = limits(ledgers, linear_to)
    grid = figure.subplots(-(-len(ledgers) // across), across, squeeze=False)
    for axes in grid.flat[len(ledgers) :]:
        axes.set_axis_off()
    for n, (axes, ledger) in enumerate(zip(grid.flat, ledgers, strict=False)):
        _scale(axes, room, linear_to)
        draw(axes, ledger, styles[n]["color"])
        over(axes, ledger)
        axes.set_yticks(range(5), list(NAMES) if n % across == 0 else [""] * 5)
        axes.set_title(_headed(labels[n]), loc="left", color=styles[n]["color"], fontweight="bold")
    lengths = ", ".join(str(n) for n in sorted({x["train_length"] for x in ledgers}))
    scale = f"; logarithmic above {linear_to:g}" if linear_to else ""
    what = f"nats per token over the world's own loss D, at the trained length ({lengths} tokens){scale}"
    figure.supxlabel(what, fontsize=7)


def _scale(axes: Axes, room: tuple[float, float], linear_to: float) -> None:
    if linear_to:
        axes.set_xscale("symlog", linthresh=linear_to)
        decades = linear_to * 100.0 ** np.arange(10)  # every other one, because panels are narrow
        axes.set_xticks([0.0, *decades[decades < room[1]]])
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.set_xlim(*room)


def _curves(
    axes: Axes, ledgers: list[dict[str, Any]], labels: list[str], styles: list[dict[str, Any]], wide: int
) -> None:
    """R - D against length: mean over seeds, its 95 % band, the seeds; a word where it is infinite or undefined."""
    found = [_by_length(x) for x in ledgers]
    linear_to = threshold([y for run in found for means, seeds in run.values() for y in [means[0], *seeds]])
    if linear_to:
        axes.set_yscale("symlog", linthresh=linear_to)
        axes.yaxis.set_major_formatter("{x:g}")
    for n, (run, label, style) in enumerate(zip(found, labels, styles, strict=True)):
        dodge = 2.0 ** (min(0.05, 0.4 / len(found)) * (n - (len(found) - 1) / 2))  # equal runs stay visible
        _curve(axes, run, wrapped(label, wide), style, dodge)
    if not linear_to:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    multiples = sorted({m for run in found for m in run})
    axes.set_xscale("log", base=2)
    axes.set_xticks(multiples, [f"{m:g}×" for m in multiples])
    axes.xaxis.minorticks_off()
    axes.set_xlabel("length, as a multiple of the trained length")
    axes.set_ylabel("R \N{MINUS SIGN} D, nats per token")
    counts = sorted({len(x["members"]) for x in ledgers})
    of = f"mean over {' or '.join(map(str, counts))} seed{'' if counts == [1] else 's'} with its 95 % interval"
    pad = 4 + 6.5 * _words(axes, found, labels)
    axes.set_title(f"{of}; open marks are seeds", loc="left", color=GREY, fontsize=SMALL, pad=pad)


def _curve(axes: Axes, run: dict[float, Point], label: str, style: dict[str, Any], dodge: float) -> None:
    """One run: line and band, and the seeds 4 points to their right."""
    x = np.array(list(run)) * dodge
    mean, low, high = np.array([means for means, _ in run.values()]).T
    axes.plot(x, np.where(np.isfinite(mean), mean, np.nan), markersize=3.2, linewidth=1.1, label=label, **style)
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(x, low, high, where=known.tolist(), color=style["color"], alpha=0.18, linewidth=0)
    figure: Any = axes.get_figure(root=True)
    right = axes.transData + ScaledTranslation(4 / 72, 0, figure.dpi_scale_trans)
    look = SEED | {"marker": style["marker"], "markeredgecolor": style["color"], "transform": right}
    for place, (_, seeds) in zip(x, run.values(), strict=True):
        finite = [y for y in seeds if math.isfinite(y)]
        axes.plot(np.full(len(finite), place), finite, **look)


def _words(axes: Axes, found: list[dict[float, Point]], labels: list[str]) -> int:
    """Says above each length which runs are infinite or undefined there; returns how many lines that took."""
    lines: dict[float, list[str]] = {}
    for run, label in zip(found, labels, strict=True):
        for multiple, (means, _) in run.items():
            if not math.isfinite(means[0]):
                lines.setdefault(multiple, []).append(f"{label.split(' / ')[-1]}: {said(means[0], sign=False)}")
    point: Any = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
    for multiple, text in lines.items():
        axes.annotate("\n".join(text), (multiple, 1), xytext=(0, 2), ha="center", va="bottom", fontsize=SMALL, **point)
    return max(map(len, lines.values()), default=0)


def _by_length(ledger: dict[str, Any]) -> dict[float, Point]:
    """Multiple of the trained length -> R - D and the seeds."""
    parts = {str(ledger["length"]): ledger} | ledger["lengths"]
    return {
        int(length) / ledger["train_length"]: (
            numbers(part["gaps"]["R-D"]),
            [number(member["excess"]) for member in part["members"]],
        )
        for length, part in sorted(parts.items(), key=lambda x: int(x[0]))
    }
