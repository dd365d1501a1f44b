"""Excess against a number of the scheme or the world: slopes beside what they must cost, schemes by how far is far."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from experiments.claims.arms import clean, said
from experiments.claims.trial import world
from experiments.found import Run
from experiments.ledger import number
from experiments.style import COLOURS, DASHES, GREY, SMALL, SPELT, STYLE, TEXT, looks

Row = dict[str, Any]


class Axis(NamedTuple):
    """What a sweep runs through."""

    key: str  # of the ledger
    name: str  # in words
    logarithmic: bool


SLOPE = Axis("perception.scheme.slopes", "slope m, per token", True)
FAR = Axis("world.kernel.far", "distance of the far lag, tokens", True)
AGE = Axis("world.gap", "exponent of the gap law (above 1: old pairs)", True)
AXES = {"near-far": FAR, "recall": AGE}


def slopes(runs: list[Run], out: Path, relative: Callable[[Path, Path], str]) -> pd.DataFrame:
    """Runs of ALiBi and FoX by world: slope (empty for sets), P - D of the run's concept, R - D; nats per token."""
    rows = []
    for run, flat in ((run, said(run)) for run in runs):
        m, name = flat.get(SLOPE.key), flat["perception.scheme.name"]
        if name not in ("alibi", "alibi_learned", "fox") or flat["perception.name"] != "decay":
            continue
        single = _is_number(m)
        learnt = " learned" if name == "alibi_learned" else ""
        kind = "one slope" if single else "FoX" if name == "fox" else clean(f"{m}{learnt}")
        rows.append({"world": world(flat), "set": kind, "slope": m if single else None} | _numbers(run, out, relative))
    table = pd.DataFrame(rows)
    return table.sort_values(["world", "slope"], kind="stable") if len(table) else table


def ranges(runs: list[Run], out: Path, relative: Callable[[Path, Path], str]) -> pd.DataFrame:
    """Runs in near-far worlds by the far lag, and in recall by the age of its questions (answers alone)."""
    rows = []
    for run, flat in ((run, said(run)) for run in runs):
        common = {"scheme": clean(flat["perception.scheme.name"])} | _numbers(run, out, relative)
        if str(flat.get("world.kernel._target_", "")).endswith("near_far") and _is_number(flat.get(FAR.key)):
            rows.append({"world": "near-far", "at": flat[FAR.key], "what": "whole windows"} | common)
        seen = run.ledger["protocols"].get("needle")
        if flat["world.name"] == "recall" and seen is not None and _is_number(flat.get(AGE.key)):
            best = number(seen["ceiling"]["value"])
            score = {
                k: number(seen["expected"][v]) - best
                for k, v in (("reached", "value"), ("low", "low"), ("high", "high"))
            }
            rows.append(common | {"world": "recall", "at": flat[AGE.key], "what": "answers"} | score)
    return pd.DataFrame(rows)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def _numbers(run: Run, out: Path, relative: Callable[[Path, Path], str]) -> Row:
    p, r = run.ledger["gaps"]["P-D"], run.ledger["gaps"]["R-D"]
    found = {"perceived": number(p["nats"]), "perceived_low": number(p["low"]), "perceived_high": number(p["high"])}
    found |= {"reached": number(r["nats"]), "low": number(r["low"]), "high": number(r["high"])}
    return found | {"seeds": len(run.ledger["members"]), "run": relative(run.place, out)}


def slopes_figure(table: pd.DataFrame) -> Figure:
    """A panel for each world: R - D over seeds at each slope, what the slope must cost, and the sets as lines."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 2.4), layout="constrained")
        places = _parts(table, "world")
        grid = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axes, (place, here) in zip(grid, places.items(), strict=True):
            _slopes_panel(axes, here)
            axes.set_title(place, loc="left", fontweight="bold")
        grid[0].set_ylabel("excess, nats per token")
        grid[0].set_ylim(bottom=0)
        keys = [pair for axes in grid for pair in zip(*reversed(axes.get_legend_handles_labels()), strict=True)]
        named = dict(keys)
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3, frameon=False)
        return figure


def _slopes_panel(axes: Any, here: pd.DataFrame) -> None:
    kinds = _parts(here, "set")
    single = kinds.pop("one slope", None)
    if single is not None:
        x = single["slope"]
        axes.fill_between(x, single["perceived_low"], single["perceived_high"], color="0.6", alpha=0.3, linewidth=0)
        axes.plot(
            x,
            single["perceived"],
            color="0.35",
            linewidth=1,
            linestyle=(0, (4, 2)),
            label="P: an ideal reader with one slope",
        )
        look: dict[str, Any] = {"color": COLOURS[0], "marker": "o", "markersize": 3.2, "linewidth": 1}
        axes.errorbar(x, single["reached"], _errors(single), label="R: trained with one slope", **look)
    for n, name in enumerate(SETS, 1):
        if name in kinds:
            line: dict[str, Any] = {"color": COLOURS[n], "linewidth": 0.9, "linestyle": DASHES[n]}
            axes.axhline(float(kinds[name]["reached"].iloc[0]), label=f"R: {name}", **line)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(SLOPE.name)


SETS = ("literal", "matched", "matched learned", "FoX")


def _parts(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The table's parts by the values of a column, in the order in which they come."""
    return {str(value): pd.DataFrame(part) for value, part in table.groupby(column, sort=False)}


def _errors(rows: pd.DataFrame) -> list[Any]:
    return [(rows["reached"] - rows["low"]).clip(lower=0), (rows["high"] - rows["reached"]).clip(lower=0)]


def ranges_figure(table: pd.DataFrame) -> Figure:
    """Near-far worlds on the left, recall's answers on the right: a line for each scheme, with its interval."""
    kinds = [(name, AXES[name], part) for name, part in _parts(table, "world").items()]
    schemes = list(dict.fromkeys(table["scheme"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(TEXT, 2.3), layout="constrained")
        grid = figure.subplots(1, len(kinds), squeeze=False)[0]
        for axes, (name, axis, here) in zip(grid, kinds, strict=True):
            parts = _parts(here, "scheme")
            for look, scheme in zip(looks(), schemes, strict=False):
                rows = parts[scheme].sort_values(by="at") if scheme in parts else here.iloc[:0]
                label = SPELT.get(scheme, scheme)
                axes.errorbar(
                    rows["at"], rows["reached"], _errors(rows), markersize=3.2, linewidth=1, label=label, **look
                )
            axes.set_xscale("log", base=2)
            ticks = sorted(set(here["at"]))
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.xaxis.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.set_xlabel(axis.name)
            axes.set_ylabel(f"excess, nats per {'answer' if name == 'recall' else 'token'}")
            axes.set_title(f"{name}: {here['what'].iloc[0]}", loc="left", fontweight="bold")
        grid[-1].legend(frameon=False)
        figure.supxlabel("means over seeds with 95 % intervals (recall: by document)", fontsize=SMALL, color=GREY)
        return figure
