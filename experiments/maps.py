"""Figures of the map of perceptions: what concepts lose, as a heat map, and what their best predictors learnt."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.ledger import number
from experiments.style import COLOURS, DASHES, GREY, MARKERS, SMALL, STYLE, TEXT

LEAST, MOST = 1e-4, 0.5  # nats: the ends of the colours, on a scale of square roots
OWN = "the world"
TITLES = {"steady": "long after the start", "fresh": "from the start"}


def short(excess: dict[str, Any]) -> str:
    """A loss in as few characters as its interval allows: what is certified below 1e-8 is 0.

    >>> [short({"value": x, "low": x, "high": x, "class": "certified"}) for x in (0.0, 2.1e-6, 0.22606)]
    ['0', '2e−6', '.2261']
    """
    value, high = number(excess["value"]), number(excess["high"])
    if np.isnan(value):
        return "–"
    if high < 1e-8:
        return "0"
    text = f"{value:.4f}".lstrip("0") if value >= 5e-5 else f"{value:.0e}".replace("e-0", "e-")
    return text.replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else "∞"


def map_of(cells: list[dict[str, Any]]) -> Figure:
    """One heat map for each map, above each other, in text width; home cells are framed."""
    names = list(dict.fromkeys(cell["map"] for cell in cells))
    heights = [len({cell["world"] for cell in cells if cell["map"] == name}) for name in names]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 0.19 * sum(heights) + 0.85 * len(names)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(names), 1, height_ratios=[h + 1 for h in heights]))
        for axes, name in zip(panels, names, strict=True):
            _heat(axes, [cell for cell in cells if cell["map"] == name], name)
        figure.supxlabel(
            "P \N{MINUS SIGN} D: what the concept's best predictor loses to the world, nats per token; "
            "0 is certified below 1e\N{MINUS SIGN}8; frames: the concept is at home",
            fontsize=SMALL,
            color=GREY,
        )
        return figure


def _heat(axes: Axes, cells: list[dict[str, Any]], name: str) -> None:
    worlds, concepts = (list(dict.fromkeys(cell[k] for cell in cells)) for k in ("world", "concept"))
    values = np.full((len(worlds), len(concepts)), np.nan)
    for cell in cells:
        values[worlds.index(cell["world"]), concepts.index(cell["concept"])] = number(cell["excess"]["value"])
    shade = np.sqrt(np.clip(values, LEAST, MOST))
    axes.imshow(shade, cmap="Blues", norm=Normalize(np.sqrt(LEAST), np.sqrt(MOST) * 1.15), aspect="auto")
    for cell in cells:
        y, x = worlds.index(cell["world"]), concepts.index(cell["concept"])
        dark = bool(shade[y, x] > 0.55 * np.sqrt(MOST))
        axes.text(x, y, short(cell["excess"]), ha="center", va="center", fontsize=5, color="white" if dark else "black")
        if cell["home"]:
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor=COLOURS[1], linewidth=0.9))
    kinds = [next(c["info"].get("readout", "its own") for c in cells if c["concept"] == k) for k in concepts]
    for x in np.flatnonzero([a != b for a, b in zip(kinds[1:], kinds, strict=False)]):
        axes.axvline(x + 0.5, color="white", linewidth=2.5)
    axes.set_xticks(range(len(concepts)), [k.replace("_", "\n") for k in concepts], fontsize=4.8)
    axes.set_yticks(range(len(worlds)), worlds, fontsize=6)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    where = f"{TITLES.get(name, name)}, {cells[0]['length']} tokens"
    axes.set_title(where, loc="left", fontweight="bold", fontsize=7, pad=8)


def lags(masses: pd.DataFrame) -> Figure:
    """One panel for each world: how much depends on the token at each lag, in the world and in the concepts."""
    groups = list(masses.groupby(["map", "world"], sort=False))
    across = 4
    down = -(-len(groups) // across)
    drawn = [c for c in dict.fromkeys(masses["concept"]) if c not in (OWN, "unigram", "alibi", "window")]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 1.0 * down + 0.5), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(groups) :]:
            axes.set_axis_off()
        for axes, (names, rows) in zip(grid.flat, groups, strict=False):
            _learnt(axes, str(names[0]), str(names[1]), rows, drawn)  # type: ignore[index]
        handles = {label: h for axes in grid.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, handlelength=2.8
        )
        figure.supxlabel("lag, tokens", fontsize=7)
        figure.supylabel("informative mass: the share of the law that depends on the token at that lag", fontsize=7)
        return figure


def _learnt(axes: Axes, name: str, world: str, rows: pd.DataFrame, drawn: list[str]) -> None:
    own = rows[rows["concept"] == OWN]
    axes.bar(own["lag"], own["mass"], width=0.85, color="0.86", label=OWN)
    for concept, learnt in rows.groupby("concept", sort=False):
        if concept not in drawn:
            continue
        n = drawn.index(str(concept))
        look: Any = {"color": COLOURS[n % 7], "linestyle": DASHES[n % 5], "marker": MARKERS[n % 7]}
        label = str(concept).replace("_", " ")
        axes.plot(learnt["lag"], learnt["mass"], linewidth=0.8, markersize=2.2, label=label, **look)
    axes.set_title(f"{world} ({name})", loc="left", fontsize=5, pad=2)
    last, top = np.max(rows["lag"]), np.max(rows["mass"][np.isin(rows["concept"], [OWN, *drawn])])
    axes.set_xlim(0.4, float(last) + 0.6)
    axes.set_xticks(range(1, int(last) + 1))
    axes.set_ylim(0, max(1e-3, 1.08 * float(top)))
    axes.locator_params(axis="y", nbins=3)
    axes.tick_params(labelsize=SMALL)
