"""The figure of a study's fidelity: how protocols rank the networks of one world, and what ranking a pair takes."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.fidelity.pairs import Pair
from experiments.fidelity.rank import Group, Ranking
from experiments.fidelity.table import needs
from experiments.style import COLOURS, GREY, SMALL, STYLE, TEXT

HARD, SOFT, TAU, FRESH = COLOURS[1], COLOURS[2], COLOURS[0], COLOURS[5]


def drawn(group: Group, rankings: list[Ranking], pairs: list[Pair]) -> Figure:
    """In text width: left tau-b by protocol, best first; right the evaluation tokens that rank each pair of runs."""
    known = [x for x in rankings if x.tau.kind != "undefined"]
    shown = sorted(known, key=lambda x: (x.ideal.value, x.tau.value))  # the axis counts upwards
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 1.2 + 0.19 * len(shown)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.2])
        _taus(left, shown)
        _tokens(right, shown, pairs)
        left.set_yticks(range(len(shown)), [x.label.replace("_", " ") for x in shown])
        left.set_ylim(-0.6, len(shown) - 0.4)
        figure.legend(
            loc="outside lower center", ncols=5, frameon=False, fontsize=6, handletextpad=0.2, columnspacing=0.9
        )
        networks = max((x.networks for x in shown), default=0)
        title = f"{group.world.replace('_', ' ')} · {len(group.runs)} runs, {networks} networks"
        title += f" · ranked by their exact loss over {group.length} tokens"
        figure.suptitle(title, x=0.01, ha="left", fontsize=7, fontweight="bold")
        return figure


def _taus(axes: Axes, shown: list[Ranking]) -> None:
    """The reported scores' tau-b with its interval over runs; fresh samples; the exact expectations as diamonds."""
    axes.axvline(0, color=GREY, linewidth=0.5)
    lines: tuple[tuple[str, str, float, float, str], ...] = (
        ("tau", TAU, 1.1, 0.13, ""),
        ("fresh", FRESH, 1.1, -0.2, "95 % of fresh samples"),
    )
    for name, colour, width, up, label in lines:
        for place, x in enumerate(shown):
            q = getattr(x, name)
            shift, told = place + up, label if place == 0 else ""
            axes.plot([q.low, q.high], [shift, shift], color=colour, linewidth=width, solid_capstyle="butt", label=told)
    places = np.arange(len(shown))
    axes.plot([x.tau.value for x in shown], places + 0.13, "o", color=TAU, markersize=3.0, label="as reported, 95 %")
    diamond: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.6}
    ideal = [x.ideal.value for x in shown]
    axes.plot(ideal, places, "D", markersize=4.2, label="exact expectation", **diamond)
    axes.set_xlim(-1.1, 1.1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_xlabel("Kendall's $\\tau_b$ with the exact losses")


def _tokens(axes: Axes, shown: list[Ranking], pairs: list[Pair]) -> None:
    """A tick for each pair that the protocol ranks rightly; how many it reverses stands at the right."""
    axes.set_xscale("log")
    every = [1.0]
    for place, x in enumerate(shown):
        hard, soft, turned, decided = needs(x.label, pairs)
        for values, colour, up in ((hard, HARD, 0.17), (soft, SOFT, -0.17)):
            finite = [v for v in values if 0 < v < math.inf]
            every += finite
            axes.plot(finite, np.full(len(finite), place + up), "|", color=colour, markersize=5, markeredgewidth=0.6)
            if finite:
                axes.plot([np.median(finite)], [place + up], "o", color=colour, markersize=2.8)
        aside: Any = {"xycoords": ("axes fraction", "data"), "fontsize": SMALL, "color": GREY}
        axes.annotate(f"{turned}/{decided}" if decided else "–", (1.02, place), va="center", **aside)
    few, many = min(every[1:], default=1.0), max(every)
    axes.set_xlim(10.0 ** math.floor(math.log10(few)), 10.0 ** math.ceil(math.log10(many) + 0.05))  # whole decades
    axes.xaxis.set_minor_formatter(NullFormatter())
    for colour, label in ((HARD, "hard labels"), (SOFT, "exact laws as labels")):
        axes.plot([], [], "o", color=colour, markersize=2.8, label=label)
    axes.annotate("reversed", (1.02, 1.01), xycoords="axes fraction", va="bottom", fontsize=SMALL, color=GREY)
    axes.set_xlabel("tokens that rank a pair of runs rightly, 95 %")
