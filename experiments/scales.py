"""Scaling for a reader: the excess over the known floor on logarithmic axes, straight where a power law holds."""

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.style import COLOURS, GREY, SEED, SMALL, STYLE, TEXT

if TYPE_CHECKING:
    from experiments.scaling import Axis, Point

LABELS = {
    "data": "data D, tokens seen once",
    "parameters": "parameters N",
    "compute": "compute 6ND, operations",
}
DASHED: dict[str, Any] = {"color": "black", "linewidth": 0.9, "dashes": (4, 1.5)}
BEYOND = 8.0  # times the largest x: how far the fits are drawn beyond what was measured


def figure(points: "list[Point]", found: "list[Axis]", floor: float) -> Figure:
    """Three panels in text width, on one vertical scale."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 2.4), layout="constrained")
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axes, axis, colour in zip(panels, found, COLOURS, strict=False):
            _panel(axes, axis, colour, floor)
        _others(panels, points, found)
        every = np.concatenate([p.excess for p in points])
        panels[0].set_ylim(0.2 * every.min(), 1.4 * every.max())
        panels[0].yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))
        panels[0].yaxis.set_major_formatter("{x:g}")
        panels[0].yaxis.set_minor_locator(ticker.NullLocator())
        panels[0].set_ylabel("excess over the world's own loss,\nnats per token")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=5, frameon=False)
        return figure


def _legend() -> list[Line2D]:
    """What the marks are, whatever the panel's colour."""
    dark: Any = {"color": GREY}
    seed: Any = SEED | {"markeredgecolor": GREY}
    return [
        Line2D([], [], marker="o", label="seeds", **seed),
        Line2D([], [], marker="o", markersize=3.2, linestyle="none", label="mean over seeds", **dark),
        Line2D([], [], linewidth=1.0, label="fit, floor known", **dark),
        Line2D([], [], label="fit, free constant", **DASHED),
        Line2D([], [], linewidth=0.6, color="0.75", label="one size each"),
    ]


def _panel(axes: Axes, axis: "Axis", colour: str, floor: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    look: dict[str, Any] = SEED | {"markeredgecolor": colour}
    axes.plot(np.repeat(axis.x, axis.excess.shape[1]), axis.excess.ravel(), marker="o", **look)
    axes.plot(axis.x, axis.excess.mean(1), "o", color=colour, markersize=3.2)
    x, law = np.geomspace(axis.x[0], BEYOND * axis.x[-1], 200), axis.law
    axes.plot(x, np.exp(law.intercept - law.exponent * np.log(x)), color=colour, linewidth=1.0)
    above = law.constant[0] + np.exp(law.amplitude - law.free[0] * np.log(x))
    axes.plot(
        x, np.where(above > 0, above, np.nan), color="black", linewidth=0.9, dashes=(4, 1.5), label="free constant"
    )
    axes.axvspan(axis.x[-1], x[-1], color="0.95", linewidth=0, zorder=-1)
    axes.set_xlim(axis.x[0] / 1.5, x[-1])
    axes.set_xlabel(LABELS[axis.name])
    axes.xaxis.minorticks_off()
    known = f"α = {law.exponent:.2f} [{law.low:.2f}, {law.high:.2f}]"
    free = f"free: {law.free[0]:.2f} [{law.free[1]:.2f}, {law.free[2]:.2f}]"
    axes.set_title(f"{known}\n{free}", loc="left", fontsize=SMALL + 0.5, color=GREY)


def _others(panels: Any, points: "list[Point]", found: "list[Axis]") -> None:
    """All cells in grey, joined by size, where data or compute grow."""
    for axes, axis in zip(panels, found, strict=True):
        for size in sorted({p.parameters for p in points}) if axis.name != "parameters" else ():
            row = sorted((p for p in points if p.parameters == size), key=lambda p: p.tokens)
            x = [p.tokens if axis.name == "data" else p.compute for p in row]
            axes.plot(x, [p.excess.mean() for p in row], color="0.75", linewidth=0.6, zorder=0)
