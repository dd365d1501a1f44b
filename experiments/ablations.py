"""Ablations: what each component of a network is worth, in nats per token, at the I layer and at the R layer.

The first run of each world is the whole network; every other run changes one thing. With I - D in [low, high] (below:
P where containment is proved, else D; above: the best weights found), the worth of what was changed,
I(changed) - I(whole), lies in [low(changed) - high(whole), high(changed) - low(whole)]. The lower end proves that the
component is needed, the upper end that it is not. At R the same seeds are paired (Student's t).
"""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.fit import write
from experiments.found import Run
from experiments.ledger import number
from experiments.style import said, save
from experiments.tables import tex
from experiments.worths import figure

UNNAMED = ("name", "_target_", "_partial_")
WHOLE = "whole network"
MATERIAL = 1e-3  # nats per token: what is certainly less is not needed


class Bracket(NamedTuple):
    """A value with the ends of its interval, nats per token."""

    value: float
    low: float
    high: float


class Change(NamedTuple):
    """One run beside the whole network of its world."""

    world: str
    change: str  # what was changed; "whole network" for the first
    best: Bracket  # I - D
    worst: float  # the worst of the oracle fits, over D: how far optimisation is open
    proof: str  # why I cannot be below P; empty where nothing is proved
    worth: Bracket  # I(changed) - I(whole)
    trained: Bracket  # R(changed) - R(whole), paired by seed

    @property
    def verdict(self) -> str:
        """What the bracket proves."""
        if self.worth.low > 0:
            return "needed"
        return "not needed" if self.worth.high < MATERIAL else "open"


def cells(worlds: list[str], changes: list[str]) -> list[str]:
    """The sweep: in each world the whole network first, then every change (both as strings of overrides)."""
    return [" ".join([world, *change.split()]) for world, change in itertools.product(worlds, ["", *changes])]


def ablations(runs: list[Run], out: Path, console: Console) -> list[str]:
    """The study: a table on the screen, one for a paper, the numbers and the figure."""
    return _study("ablations", runs, out, console)


def precision(runs: list[Run], out: Path, console: Console) -> list[str]:
    """The same of float types."""
    return _study("precision", runs, out, console)


def _study(stem: str, runs: list[Run], out: Path, console: Console) -> list[str]:
    found = compared(runs)
    for world in dict.fromkeys(change.world for change in found):
        console.print(_screen([change for change in found if change.world == world]))
    write(out / f"{stem}.csv", _rows(found).to_csv(index=False).encode())
    write(out / f"{stem}.tex", _latex(found).encode())
    save(figure(found), out / stem)
    return [f"{stem}.{ending}" for ending in ("csv", "tex", "pdf", "png")]


def compared(runs: list[Run]) -> list[Change]:
    """Every run beside the first run of its world and seed."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(repr((run.ledger["world"], run.ledger["seed"], run.ledger["length"])), []).append(run.ledger)
    names = told_apart([group[0]["world"] for group in groups.values()])
    return [
        _change(name, ledger, group[0]) for name, group in zip(names, groups.values(), strict=True) for ledger in group
    ]


def _change(world: str, ledger: dict[str, Any], whole: dict[str, Any]) -> Change:
    mine, other = best(ledger), best(whole)
    worth = Bracket(mine.value - other.value, mine.low - other.high, mine.high - other.low)
    worth = Bracket(0.0, 0.0, 0.0) if ledger is whole else worth
    worst = number((ledger.get("oracle") or {}).get("worst"))
    return Change(world, changed(ledger, whole), mine, worst, ledger["proof"], worth, paired(ledger, whole))


def best(ledger: dict[str, Any]) -> Bracket:
    """I - D: the excess of the witness, and how far below it the architecture's best can be."""
    name = ledger["witness"]
    entry = ledger["members"][int(name.split()[1])] if name.startswith("seed ") else ledger["witnesses"][name]
    value, high = number(entry["excess"]), number(entry["high"])
    low = number(ledger["gaps"]["P-D"]["low"]) if ledger["contained"] else 0.0
    return Bracket(value, min(low, value), high)


def paired(ledger: dict[str, Any], whole: dict[str, Any]) -> Bracket:
    """R - R of the whole network, seed by seed, with a 95 % interval (Student's t); no interval with one seed."""
    mine, other = (np.array([number(m["excess"]) for m in x["members"]]) for x in (ledger, whole))
    if len(mine) != len(other):
        raise ValueError(
            f"ablations: runs of one world must have equally many seeds, but have {len(mine)}, {len(other)}"
        )
    lost = mine - other
    if not np.isfinite(lost).all() or len(lost) < 2:
        return Bracket(float(lost.mean()), -np.inf, np.inf)
    half = scipy.stats.t.ppf(0.975, len(lost) - 1) * lost.std(ddof=1) / np.sqrt(len(lost))
    return Bracket(float(lost.mean()), float(lost.mean() - half), float(lost.mean() + half))


def changed(ledger: dict[str, Any], whole: dict[str, Any]) -> str:
    """In which numbers and names the network differs from the whole one."""
    if ledger is whole:
        return WHOLE
    parts = []
    if ledger["perception"]["scheme"] != whole["perception"]["scheme"]:
        parts.append(f"position: {ledger['perception']['scheme']['name']}")
    mine, other = ledger["instantiation"], whole["instantiation"]
    parts += [f"{k}: {v}" for k, v in mine.items() if k not in UNNAMED and v != other.get(k)]
    return ", ".join(parts).replace("_", " ") or "nothing"


def told_apart(worlds: list[dict[str, Any]]) -> list[str]:
    """Names of worlds; of those of one name, with the leaves of the config in which they differ."""
    leaves = [dict(_leaves(world)) for world in worlds]
    every = set.union(*(set(x) for x in leaves))
    open_ = sorted(k for k in every if len({repr(x.get(k)) for x in leaves}) > 1 and k != "name")
    names = [world["name"] for world in worlds]
    more = [
        ", ".join(str(x[k]).split(".")[-1] if "_target_" in k else str(x[k]) for k in open_ if k in x) for x in leaves
    ]
    return [f"{name} ({told})" if names.count(name) > 1 else name for name, told in zip(names, more, strict=True)]


def _leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [leaf for k, v in node.items() for leaf in _leaves(v, f"{path}.{k}")]
    return [(path, node)]


def _rows(found: list[Change]) -> pd.DataFrame:
    """A row for each run; excesses and worths in nats per token."""
    brackets = ("best", "worth", "trained")
    return pd.DataFrame(
        [
            {k: getattr(change, k) for k in ("world", "change", "verdict", "proof", "worst")}
            | {f"{k}_{end}": getattr(getattr(change, k), end) for k in brackets for end in Bracket._fields}
            for change in found
        ]
    )


def _screen(found: list[Change]) -> Table:
    table = Table("change", title=f"{found[0].world}: worth in nats per token", title_justify="left", show_lines=True)
    for head, below in (("I - D at most", "worst fit"), ("worth at I", "proved ends"), ("worth at R", "95 %")):
        table.add_column(Text(head).append(f"\n{below}", style="dim"), justify="right")
    for x in found:
        ends = [f"\n[{said(b.low, False)}, {said(b.high, False)}]" for b in (x.worth, x.trained)]
        fits = Text(said(x.best.high, False)).append(f"\n{said(x.worst, False)}", style="dim")
        worths = [Text(said(b.value)).append(e, style="dim") for b, e in zip((x.worth, x.trained), ends, strict=True)]
        name = Text(x.change).append(f"\n{x.verdict}", style="dim")
        table.add_row(*([Text(x.change), fits, "", ""] if x.change == WHOLE else [name, fits, *worths]))
    return table


def _latex(found: list[Change]) -> str:
    """A booktabs table in text width: a block of lines for each world."""
    lines = []
    for world, group in itertools.groupby(found, key=lambda change: change.world):
        lines.append(f"\\midrule\n\\multicolumn{{6}}{{@{{}}l}}{{\\textbf{{{tex(world)}}}}} \\\\")
        for x in group:
            numbers = [f"{x.best.high:.2g}"] + [
                f"{y:.2g}" for y in (x.worth.low, x.worth.value, x.worth.high, x.trained.value)
            ]
            lines.append(f"{tex(x.change)} & " + " & ".join(f"${y}$" for y in numbers) + r" \\")
    body = "\n".join(lines)
    return (
        "\\begin{table}\n\\centering\\small\n\\caption{What a component is worth, in nats per token: the best weights "
        "found for each network over the world's own loss, $I-D$; the worth $I-I_{\\mathrm{whole}}$ between its proven "
        "ends; and the mean over paired seeds of ordinary training, $R-R_{\\mathrm{whole}}$.}\n"
        "\\begin{tabular}{@{}lrrrrr@{}}\n\\toprule\n"
        " & $I-D\\le$ & at least & worth at $I$ & at most & worth at $R$ \\\\\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )
