"""The phase diagram drawn: what each world needs and what training prefers, margins in nats in the cells."""

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from experiments.claims.arms import clean
from experiments.ledger import number
from experiments.question.phase import CHAIN, MATERIAL, Point, gap
from experiments.style import GREY, SMALL, SPELT, STYLE, TEXT

# Light tints of Okabe & Ito's colours, each with a hatch of its own, so that they are told apart in grey too.
LOOKS = {
    "order_free": ("#CFE3F1", ""),
    "decay": ("#FBE3B5", "////"),
    "offset": ("#C5E8DB", "...."),
    "absolute": ("#EFD5E3", "xxxx"),
}
HATCHED: dict[Any, Any] = STYLE | {"hatch.linewidth": 0.35, "hatch.color": "0.75"}


def diagram(points: list[Point]) -> Figure:
    """Perception on the left, certified; the reachable on the right, with intervals over seeds; differences framed."""
    shares = sorted({p.share for p in points if p.share is not None})
    rates = sorted({p.rate for p in points if p.rate is not None})
    schemes = {c: clean(p.runs[c].ledger["perception"]["scheme"]["name"]) for p in points for c in p.runs}
    with matplotlib.rc_context(HATCHED):
        figure = Figure(figsize=(TEXT, 1.15 + 0.36 * len(rates)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, layer in ((left, "P"), (right, "R")):
            for point in points:
                _cell(axes, point, layer, shares, rates)
            _frame(axes, shares, rates, any(p.share is None for p in points))
        left.set_ylabel("rate of the decay")
        left.set_title(
            "perception: the concept that the world needs\n(certified nats that the next simpler one loses)", loc="left"
        )
        right.set_title(
            "reachable: the scheme that training prefers\n(nats that the next simpler one loses to the best)",
            loc="left",
        )
        handles = [_key(concept, schemes[concept]) for concept in CHAIN if concept in schemes]
        handles.append(Patch(facecolor="none", edgecolor="black", linewidth=1.2, label="the two differ"))
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, handlelength=1.5)
        return figure


def _key(concept: str, scheme: str) -> Patch:
    colour, hatch = LOOKS[concept]
    name = f"{concept.replace('_', '-')} ({SPELT.get(scheme, scheme)})"
    return Patch(facecolor=colour, hatch=hatch, edgecolor="0.6", label=name)


def _cell(axes: Axes, point: Point, layer: str, shares: list[float], rates: list[float]) -> None:
    x = len(shares) + 0.35 if point.share is None else shares.index(point.share)
    whole = point.rate is None  # no decaying part: the rate means nothing
    y, height = (0.0, len(rates)) if whole else (rates.index(point.rate or 0.0), 1)
    chosen = point.needed if layer == "P" else point.preferred
    colour, hatch = LOOKS[chosen] if chosen else ("white", "")
    axes.add_patch(Rectangle((x, y), 1, height, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.8))
    if layer == "R" and point.preferred != point.needed:
        inset = 0.05
        frame = (x + inset, y + inset), 1 - 2 * inset, height - 2 * inset
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor="black", linewidth=1.2, zorder=3))
    text, small = _words(point, layer)
    box: dict[str, Any] = {"boxstyle": "round,pad=0.1", "facecolor": colour, "edgecolor": "none"}
    at = (x + 0.5, y + height / 2)
    axes.annotate(
        text,
        at,
        xytext=(0, 3 if small else 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=6.5,
        bbox=box,
    )
    if small:
        axes.annotate(
            small, at, xytext=(0, -5), textcoords="offset points", ha="center", va="center", fontsize=4.6, bbox=box
        )


def _words(point: Point, layer: str) -> tuple[str, str]:
    """The margin and, below it, what it is where nothing is simpler, or half its interval over seeds."""
    concept = point.needed if layer == "P" else point.preferred
    if concept is None:
        return "open", "none is shown to hold"
    if layer == "P":
        margin = point.needed_margin()
        return (f"{margin:.3f}", "") if margin is not None else (_own(point, concept, "P-D", "high"), "its own loss")
    found = point.preferred_margin()
    if found is None:
        return _own(point, concept, "R-D", "nats"), "its own loss"
    return f"{found[0]:.3f}", f"\N{PLUS-MINUS SIGN} {found[2] - found[0]:.3f}"


def _own(point: Point, concept: str, name: str, key: str) -> str:
    return f"{number(gap(point.runs[concept], name)[key]):.3f}"


def _frame(axes: Axes, shares: list[float], rates: list[float], periodic: bool) -> None:
    columns = [i + 0.5 for i in range(len(shares))]
    names = [f"{s:g}" for s in shares]
    if periodic:
        columns.append(len(shares) + 0.85)
        names.append("periodic\nlags")
    axes.set_xlim(0, len(shares) + (1.35 if periodic else 0))
    axes.set_ylim(0, len(rates))
    axes.set_xticks(columns, names)
    axes.set_yticks([i + 0.5 for i in range(len(rates))], [f"{r:g}" for r in rates])
    axes.tick_params(length=0)
    axes.set_xlabel("share of one lag in what the world reads")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    if axes.get_subplotspec().colspan.start == 0:  # type: ignore[union-attr]
        note = f"rate 1 is order-free; within {MATERIAL:g} nats counts as none"
        axes.annotate(
            note,
            (0, 0),
            xycoords="axes fraction",
            xytext=(0, -38),
            textcoords="offset points",
            fontsize=SMALL,
            color=GREY,
        )
