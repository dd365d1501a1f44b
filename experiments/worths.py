"""The figure of ablations: what each change costs, world by world, at the I layer and at the R layer."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.style import COLOURS, GREY, SEED, SMALL, STYLE, TEXT, wrapped

LINEAR = 1e-4  # nats: the scale is logarithmic beyond
TRAINED: dict[str, Any] = SEED | {"marker": "D", "markeredgecolor": GREY}
LOOKS = {"needed": COLOURS[1], "open": COLOURS[0], "not needed": COLOURS[2]}


def figure(found: list[Any]) -> Figure:
    """One panel for each world, in text width; what is proved by a bracket gives its colour."""
    worlds = list(dict.fromkeys(change.world for change in found))
    rows = [change for change in dict.fromkeys(x.change for x in found) if change != "whole network"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 0.2 * len(rows) + 1.1), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(worlds), sharey=True, sharex=True))
        for axes, world in zip(panels, worlds, strict=True):
            own = {x.change: x for x in found if x.world == world}
            _panel(axes, own, rows)
            best = own["whole network"].best.high
            said = f"whole network: I \N{MINUS SIGN} D \N{LESS-THAN OR EQUAL TO} {best:.1e}"
            axes.set_title(f"{wrapped(world, 28)}\n{said}", loc="left", fontsize=6)
        panels[0].set_yticks(range(len(rows)), rows, fontsize=6)
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        reach = max(abs(axes.get_xlim()[n]) for axes in panels for n in (0, 1))
        panels[0].set_xlim(-reach, reach)
        _legend(figure, panels[0])
        figure.supxlabel("worth, nats per token: loss of the changed network minus loss of the whole one", fontsize=7)
        return figure


def _panel(axes: Axes, own: dict[str, Any], rows: list[str]) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.6)
    axes.axvline(0, color=GREY, linewidth=0.6)
    for y, change in enumerate(rows):
        if change not in own:
            continue
        x = own[change]
        colour = LOOKS[x.verdict]
        axes.plot([x.worth.low, x.worth.high], [y, y], color=colour, linewidth=2.2, alpha=0.35, solid_capstyle="butt")
        axes.plot([x.worth.value], [y], "o", color=colour, markersize=3)
        if math.isfinite(x.trained.value):
            axes.plot([x.trained.value], [y + 0.22], **TRAINED)
            ends = [z for z in (x.trained.low, x.trained.high) if math.isfinite(z)]
            axes.plot(ends, [y + 0.22] * len(ends), color=GREY, linewidth=0.6)
    axes.set_xticks([-0.1, -0.001, 0, 0.001, 0.1], ["\N{MINUS SIGN}0.1", "\N{MINUS SIGN}.001", "0", ".001", "0.1"])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="0.92", linewidth=0.5)
    axes.set_axisbelow(True)


def _legend(figure: Figure, axes: Axes) -> None:
    marks = [
        axes.plot([], [], "o-", color=colour, markersize=3, linewidth=2.2, label=f"I: {verdict}")[0]
        for verdict, colour in LOOKS.items()
    ]
    seeds = axes.plot([], [], label="R: seeds paired, 95 %", **TRAINED)
    figure.legend(handles=[*marks, *seeds], loc="outside upper right", ncols=4, frameon=False, fontsize=SMALL)
