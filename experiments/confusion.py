"""The diagnosis against planted faults: their measured sizes, the confusion matrix, and every answer in faults.json.

A fault's size is what it costs against its clean twin, in nats per token: at R, I and P the difference of the exact
losses (at P the smaller of what the concept costs and what the best known weights pay), at O that of the gravest charge
against the judged protocol. A fault whose size is immaterial is none: it is set aside, and a spare takes its place.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import scipy.stats
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.diagnose import LAYERS
from experiments.fit import write
from experiments.found import Run, printable
from experiments.ledger import number, plain
from experiments.style import COLOURS, SMALL, STYLE, TEXT, save
from experiments.verdicts import best_known, charges

PLANTED = ("O", "R", "I", "P", None)
BAR = 0.9  # the share of right answers that is asked for


class Case(NamedTuple):
    """A run whose truth is known."""

    run: Run
    kind: str
    planted: str | None
    size: float  # nats per token; 0 of a control
    spare: bool

    @property
    def blamed(self) -> str | None:
        """The layer that the diagnosis names."""
        return self.run.ledger["diagnosis"]["blamed"]

    @property
    def right(self) -> bool:
        """Whether that is the truth."""
        return self.blamed == self.planted

    @property
    def reason(self) -> str:
        """Why the diagnosis says so: the verdict on the layer it names, else on the one it should have named."""
        layer = self.blamed or self.planted
        found = self.run.ledger["diagnosis"]["verdicts"].get(layer, {})
        return f"{layer} {found['verdict']}: {found['why']}" if found else "nothing is blamed"


def planted_faults(runs: list[Run], out: Path, console: Console) -> list[str]:
    """The study: prints the matrix and the wrong answers; writes faults.json, redrawn.json and confusion.pdf, .png."""
    cases = known(runs)
    counted, aside = chosen(cases)
    console.print(table(counted))
    for line in summary(counted):
        console.print(Text(line), soft_wrap=True)
    for case in counted:
        if not case.right:
            console.print(Text(printable(f"  wrong: {_told(case)}: {case.reason}")), soft_wrap=True)
    for case in aside:
        if not case.spare:
            console.print(Text(printable(f"  redrawn, as immaterial: {_told(case)}")), soft_wrap=True)
    for name, part in (("faults.json", counted), ("redrawn.json", aside)):
        write(out / name, (json.dumps([_row(case, out) for case in part], indent=1, allow_nan=False) + "\n").encode())
    if counted:
        save(figure(counted), out / "confusion")
    return ["faults.json", "redrawn.json", *(["confusion.pdf", "confusion.png"] if counted else [])]


def known(runs: list[Run]) -> list[Case]:
    """The runs that were planted, controls first, with their sizes; a fault whose twin is not there is left out."""
    told = [(run, run.ledger["planted"]) for run in runs if isinstance(run.ledger.get("planted"), dict)]
    twins = {planted["twin"]: run for run, planted in told if planted["layer"] is None}
    cases = [
        Case(run, planted["kind"], None, 0.0, bool(planted["spare"]))
        for run, planted in told
        if planted["layer"] is None
    ]
    for run, planted in told:
        if planted["layer"] is not None and planted["twin"] in twins:
            size = cost(run.ledger, twins[planted["twin"]].ledger, planted["layer"])
            cases.append(Case(run, planted["kind"], planted["layer"], size, bool(planted["spare"])))
    return cases


def cost(ledger: dict[str, Any], twin: dict[str, Any], layer: str) -> float:
    """What a fault at a layer costs against the clean twin, nats per token; inf if it loses all."""
    if layer == "O":
        return misreported(ledger) - misreported(twin)
    gaps = {
        "R": [number(x["gaps"]["R-D"]["nats"]) for x in (ledger, twin)],
        "I": [best_known(x).value for x in (ledger, twin)],
        "P": [number(x["gaps"]["P-D"]["nats"]) for x in (ledger, twin)],
    }
    found = {k: worse - clean for k, (worse, clean) in gaps.items()}
    return min(found["P"], found["I"]) if layer == "P" else found[layer]


def misreported(ledger: dict[str, Any]) -> float:
    """The gravest charge against the judged protocol."""
    return max(abs(charge.gap.value) for charge in charges(ledger, float(ledger["diagnose"]["material"])))


def chosen(cases: list[Case]) -> tuple[list[Case], list[Case]]:
    """(counted, set aside): controls and material faults, and for each immaterial one the next spare of its layer."""
    counted = [case for case in cases if case.planted is None and not case.spare]
    for layer in PLANTED[:-1]:
        mine = [case for case in cases if case.planted == layer]
        counted += [case for case in mine if _material(case)][: sum(not case.spare for case in mine)]
    return counted, [case for case in cases if case not in counted]


def _material(case: Case) -> bool:
    return case.size >= float(case.run.ledger["diagnose"]["material"])


def matrix(cases: list[Case]) -> np.ndarray:
    """Counts [planted, blamed], both in the order O, R, I, P, none; a blamed world stands in a column before `none`."""
    columns = [*PLANTED[:-1], "D", None]
    found = np.zeros((len(PLANTED), len(columns)), int)
    for case in cases:
        found[PLANTED.index(case.planted), columns.index(case.blamed)] += 1
    return found


def summary(cases: list[Case]) -> list[str]:
    """The two shares that are asked for, each with its 95 % interval (Clopper & Pearson 1934)."""
    lines = []
    for name, part in (
        ("faults whose layer is named", [case for case in cases if case.planted is not None]),
        ("controls in which no layer is blamed", [case for case in cases if case.planted is None]),
    ):
        if part:
            right = sum(case.right for case in part)
            low, high = scipy.stats.binomtest(right, len(part)).proportion_ci(method="exact")
            met = "" if right / len(part) >= BAR else f"; {BAR:.0%} are asked for"
            lines.append(f"{name}: {right} of {len(part)}, {right / len(part):.1%} [{low:.1%}, {high:.1%}]{met}")
    return lines


def table(cases: list[Case]) -> Table:
    """The confusion matrix for the terminal."""
    shown = Table(title="planted faults (rows) and the layer that the diagnosis blames", title_justify="left")
    shown.add_column("planted")
    for name in (*PLANTED[:-1], "D", "none"):
        shown.add_column(str(name), justify="right")
    for layer, row in zip(PLANTED, matrix(cases), strict=True):
        shown.add_row(f"{layer}  {LAYERS[layer]}" if layer else "none (controls)", *(str(n) if n else "" for n in row))
    return shown


def figure(cases: list[Case]) -> Figure:
    """In text width: the confusion matrix, and the size of every fault by kind, wrong answers crossed."""
    kinds = sorted({(PLANTED.index(c.planted), c.kind) for c in cases if c.planted is not None})
    with matplotlib.rc_context(STYLE):
        whole = Figure(figsize=(TEXT, 1.1 + 0.125 * max(len(kinds), 12)), layout="constrained")
        left, right = whole.subplots(1, 2, width_ratios=[1, 1.25])
        _draw_matrix(left, matrix(cases))
        _draw_sizes(right, cases, kinds)
        return whole


def _draw_matrix(axes: Any, counts: np.ndarray) -> None:
    """Darker is more of the row; counts are written in the cells."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.3, aspect="equal")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            axes.text(j, i, count, ha="center", va="center", color="white" if share[i, j] > 0.7 else "black")
    names = [*PLANTED[:-1], "none"]
    axes.set_xticks(range(len(names) + 1), [*names[:-1], "D", "none"])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("layer blamed")
    axes.set_ylabel("layer planted")
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_sizes(axes: Any, cases: list[Case], kinds: list[tuple[int, str]]) -> None:
    """A row for each kind, a mark for each fault; an infinite size stands at the right end."""
    finite = [c.size for c in cases if 0 < c.size < np.inf]
    end = 3 * max(finite, default=1.0)
    for case in cases:
        if case.planted is not None:
            place = PLANTED.index(case.planted)
            row, look = kinds.index((place, case.kind)), {"color": COLOURS[place], "markersize": 3}
            mark = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 0.7} if case.right else {"marker": "x"}
            axes.plot(min(case.size, end), row, linestyle="none", **look, **mark)
    for row in [n for n in range(1, len(kinds)) if kinds[n][0] != kinds[n - 1][0]]:
        axes.axhline(row - 0.5, color="0.8", linewidth=0.5)
    axes.axvline(float(cases[0].run.ledger["diagnose"]["material"]), color="0.6", linewidth=0.6, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(kinds)), [f"{PLANTED[n]}  {kind.replace('_', ' ')}" for n, kind in kinds], fontsize=SMALL)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xlabel("size, nats per token (×: wrong answer)")


def _told(case: Case) -> str:
    kind = case.kind.replace("_", " ")
    return (
        f"{case.run.place.name} {case.planted or 'none'} ({kind}, {case.size:.3g} nats), blamed {case.blamed or 'none'}"
    )


def _row(case: Case, out: Path) -> dict[str, Any]:
    ledger = case.run.ledger
    place = case.run.place.resolve()
    return {
        "run": str(place.relative_to(out.resolve())) if place.is_relative_to(out.resolve()) else str(case.run.place),
        "world": ledger["world"]["name"],
        "kind": case.kind,
        "layer_planted": case.planted,
        "layer_blamed": case.blamed,
        "size": plain(case.size),
        "unit": ledger["unit"],
        "verdicts": {layer: found["verdict"] for layer, found in ledger["diagnosis"]["verdicts"].items()},
        "reason": case.reason,
    }
