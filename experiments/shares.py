"""The ladder of a training for a reader: which factor costs what, as a table and as a figure; see factors.py."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.ledger import number
from experiments.style import COLOURS, COLUMN, GREY, SEED, SMALL, STYLE, said, title, wrapped

METHODS = {"shapley": "Shapley values over all orders", "two_orders": "one order and its reverse"}


def show(ladder: dict[str, Any], console: Console) -> None:
    """Prints the table."""
    seeds = len(ladder["seeds"])
    table = Table(
        title=f"R - I by factor ({METHODS[ladder['method']]}, {seeds} seeds), nats per token", title_justify="left"
    )
    for heading in ("factor", "as configured, ideal", "nats", "95 %", "s.e. over seeds", "over orders"):
        table.add_column(heading, justify="left" if heading[0] in "fa" else "right")
    for factor, entry in ladder["terms"].items():
        ends = f"[{said(entry['low'])}, {said(entry['high'])}]"
        orders = "undefined" if entry["orders"] is None else "[{}, {}]".format(*map(said, entry["orders"]))
        table.add_row(
            factor, changes(ladder["knobs"][factor]), said(entry["nats"]), ends, said(entry["se"], sign=False), orders
        )
    top = ladder["top"]
    table.add_row("all ideal - I", "", said(top["nats"]), f"[{said(top['low'])}, {said(top['high'])}]", "", "")
    table.add_section()
    table.add_row("R - I", "", said(ladder["sum"]), "", "", "")
    table.add_row("seed", "R of a seed minus the mean", " ".join(map(said, ladder["seeds"])), "", "", "")
    console.print(table)
    for cell, steps in ladder["diverged"].items():
        lost = ", ".join(f"seed {seed} at step {step}" for seed, step in steps.items())
        console.print(f"the cell {cell} diverged ({lost}): no term can be told")


def changes(knobs: dict[str, list[Any]]) -> str:
    """A factor's knobs in words.

    >>> changes({"steps": [600, 2400], "rate": [0.1, 0.003]})
    'steps 600, 2400; rate 0.1, 0.003'
    """
    return "; ".join(f"{knob} {now}, {to}" for knob, (now, to) in knobs.items())


def figure(ledger: dict[str, Any]) -> Figure:
    """Bars with 95 % intervals, in column width; a hatched one is a gain, thin lines are ranges over orders."""
    ladder = ledger["ladder"]
    rows = [(factor, entry, entry["orders"]) for factor, entry in ladder["terms"].items()]
    rows.append(("all ideal\n\N{MINUS SIGN} I", ladder["top"], None))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 0.85 + 0.3 * (len(rows) + 1)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="0.6", linewidth=0.6, zorder=0)
        for at, (_, entry, orders) in enumerate(rows):
            _row(axes, at, entry, orders)
        look: dict[str, Any] = SEED | {"markeredgecolor": COLOURS[0]}
        seeds = np.array([number(x) for x in ladder["seeds"]])
        axes.plot(seeds, np.full(len(seeds), len(rows)), marker="o", **look)
        _beside(axes, len(rows), f"s.d. {said(float(seeds.std(ddof=1)), sign=False)}" if len(seeds) > 1 else "one seed")
        axes.set_yticks(range(len(rows) + 1), [*(row[0] for row in rows), "seed"])
        axes.set_ylim(len(rows) + 0.6, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_title(_legend(ladder), loc="left", color=GREY, fontsize=SMALL)
        axes.set_xlabel(f"nats per token, of R \N{MINUS SIGN} I = {said(ladder['sum'])}")
        figure.suptitle(wrapped(_title(ledger), 58), x=0.02, ha="left", fontsize=7, fontweight="bold")
        return figure


def _title(ledger: dict[str, Any]) -> str:
    return f"{ledger['world']['name']} · {title(ledger)} · what keeps training from I".replace("_", " ")


def _legend(ladder: dict[str, Any]) -> str:
    seeds = len(ladder["seeds"])
    known = f"black: 95 % over {seeds} seeds" if seeds > 1 else "black: 95 % by sequence"
    return f"{METHODS[ladder['method']]}; {known}; grey: range over orders"


def _row(axes: Any, at: int, entry: dict[str, Any], orders: list[float] | None) -> None:
    """One factor; a word where it has no number."""
    value, low, high = (number(entry[k]) for k in ("nats", "low", "high"))
    if not np.isfinite(value):
        return _beside(axes, at, said(value))
    look = {"facecolor": "white", "hatch": "//////"} if value < 0 else {"facecolor": COLOURS[0]}
    axes.barh(at, value, height=0.5, edgecolor=COLOURS[0], linewidth=0.6, alpha=0.55, **look)
    if orders is not None:
        axes.plot(orders, [at + 0.34, at + 0.34], color=GREY, linewidth=0.7, solid_capstyle="butt")
    ends = [[max(0.0, value - low)], [max(0.0, high - value)]]  # an end may be the value itself, to rounding
    axes.errorbar(value, at, xerr=ends, color="black", elinewidth=0.8, capsize=1.8, capthick=0.8)
    return _beside(axes, at, f"{said(value)}  [{said(low)}, {said(high)}]")


def _beside(axes: Any, at: int, text: str) -> None:
    axes.annotate(
        text, (1.03, at), xycoords=axes.get_yaxis_transform(), va="center", fontsize=SMALL, annotation_clip=False
    )
