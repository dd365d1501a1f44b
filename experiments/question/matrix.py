"""The matrix of worlds and schemes: what each scheme loses in each world, beside what its concept must lose there."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.claims.arms import said
from experiments.claims.trial import world
from experiments.found import Run
from experiments.ledger import GAPS, number
from experiments.question.cells import HOME
from experiments.style import GREY, SMALL, SPELT, STYLE, TEXT, wrapped

FAMILY = {"order_free": 0, "decay": 1, "power_decay": 1, "gated_decay": 1, "offset": 2, "absolute": 3}
SCHEMES = tuple(HOME)
NAMES = ("order\\!-\\!free", "decay", "offset", "absolute")
LEAST, MOST = 1e-4, 1.0  # nats, the ends of the colours


def entries(runs: list[Run]) -> dict[tuple[str, str], Run]:
    """{(world in words, scheme): run} of the largest set of runs that differ in their world and perception alone."""
    groups: dict[Any, dict[tuple[str, str], Run]] = {}
    for run in runs:
        flat = said(run)
        rest = {k: str(v) for k, v in flat.items() if k.startswith(("reach", "instantiation", "seed"))}
        rest["vocab"] = str(flat.get("world.vocab"))
        if flat["perception.scheme.name"] in SCHEMES:
            key = tuple(sorted(rest.items()))
            groups.setdefault(key, {})[world(flat), flat["perception.scheme.name"]] = run
    schemes = lambda group: len({scheme for _, scheme in group})  # noqa: E731
    return max(groups.values(), key=lambda group: (schemes(group), len(group)), default={})


def home(flat: dict[str, Any]) -> int | None:
    """The family at home in a world: order-free, decay, offset, absolute; None where no family is."""
    name, kernel = flat["world.name"], str(flat.get("world.kernel._target_", "")).rpartition(".")[2]
    if name == "decay":
        return {"uniform": 0, "geometric": 1, "power": 1, "offset": 2}.get(kernel)
    return {"dirichlet": 0, "switching": 1, "periodic": 3, "template": 3}.get(name)


def table(found: dict[tuple[str, str], Run], out: Path, relative: Any) -> pd.DataFrame:
    """A row for each cell: D and all gaps with their intervals, nats per token."""
    rows = []
    for (place, scheme), run in found.items():
        row = {"world": place, "concept": run.ledger["perception"]["name"], "scheme": scheme}
        row |= {"D": number(run.ledger["layers"]["D"]["loss"]), "seeds": len(run.ledger["members"])}
        for name in (*GAPS, "R-D"):
            entry = run.ledger["gaps"][name]
            row |= {
                name: number(entry["nats"]),
                f"{name} low": number(entry["low"]),
                f"{name} high": number(entry["high"]),
            }
            row[f"{name} class"] = entry["class"]
        rows.append(row | {"run": relative(run.place, out)})
    return pd.DataFrame(rows)


def figure(found: dict[tuple[str, str], Run]) -> Figure:
    """R - D in colour and large, P - D small below it; the cells of a world's home family are framed."""
    worlds = list(dict.fromkeys(place for place, _ in found))
    schemes = [s for s in SCHEMES if any(s == scheme for _, scheme in found)]
    values = np.array([[_reached(found.get((w, s))) for s in schemes] for w in worlds])
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(TEXT, 0.75 + 0.42 * len(worlds)), layout="constrained")
        axes = drawn.subplots()
        shade = np.clip(values, LEAST, MOST)
        image = axes.imshow(shade, norm=LogNorm(LEAST, MOST), cmap="cividis_r", aspect="auto")
        for (i, place), (j, scheme) in ((a, b) for a in enumerate(worlds) for b in enumerate(schemes)):
            run = found.get((place, scheme))
            if run is not None:
                _text(axes, i, j, run, dark=bool(shade[i, j] > 0.03))
        axes.set_xticks(range(len(schemes)), [SPELT.get(s, s.replace("_", " ")) for s in schemes], fontsize=6)
        axes.set_yticks(range(len(worlds)), [_label(w, found) for w in worlds])
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        bar = drawn.colorbar(image, ax=axes, fraction=0.025, pad=0.01)
        bar.set_label("R \N{MINUS SIGN} D, nats per token", fontsize=6)
        note = (
            "large: R \N{MINUS SIGN} D over seeds; small: P \N{MINUS SIGN} D, what the scheme's own concept must lose; "
            "framed: the family at home in the world"
        )
        drawn.supxlabel(note, fontsize=SMALL, color=GREY)
        return drawn


def _label(place: str, found: dict[tuple[str, str], Run]) -> str:
    """A world with the name of the family at home in it."""
    family = home(said(next(run for (w, _), run in found.items() if w == place)))
    return wrapped(place, 24) if family is None else f"$\\bf{{{NAMES[family]}}}$\n{wrapped(place, 24)}"


def _reached(run: Run | None) -> float:
    return math.nan if run is None else number(run.ledger["gaps"]["R-D"]["nats"])


def _text(axes: Any, i: int, j: int, run: Run, dark: bool) -> None:
    p, colour = run.ledger["gaps"]["P-D"], "white" if dark else "black"
    low, high = number(p["low"]), number(p["high"])
    perceived = (
        "undefined"
        if math.isnan(low)
        else f"P {number(p['nats']):.3f}"
        if high - low < 0.01
        else f"P {low:.2f}\N{EN DASH}{high:.2f}".replace("0.", ".")
    )
    axes.text(j, i - 0.12, f"{_reached(run):.3f}", ha="center", va="center", color=colour, fontsize=7)
    axes.text(j, i + 0.25, perceived, ha="center", va="center", color=colour, fontsize=4.8)
    if home(said(run)) == FAMILY.get(run.ledger["perception"]["name"]):
        axes.add_patch(Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, edgecolor="#D55E00", linewidth=1.3))
