"""The study `protocols`: which readings are ranked differently by which protocols, on known truth."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.contrasts import GROUPS, Contrast, Side
from experiments.fit import write
from experiments.found import Run, curves
from experiments.reversals.figure import drawn, heading
from experiments.reversals.find import Case, Reversal, cases, chosen, names, reversals
from experiments.style import said, save
from experiments.tables import mathematics, tex
from experiments.tidy import csv
from worlds.quantity import Quantity

MOST = 4  # reversals in the figure


def protocols(runs: list[Run], out: Path, console: Console) -> list[str]:
    """Writes reversals.csv, contrasts.csv, and of the clearest reversals reversals.tex and a figure; returns names."""
    sides = {n: Side(run, curves(run, *GROUPS, "excess/")) for n, run in enumerate(runs)}
    spoken = cases(sides)
    every, told = reversals(spoken), names(sides)
    shown = chosen(every, MOST)
    out.mkdir(parents=True, exist_ok=True)
    console.print(f"{len(every)} reversals in {len(spoken)} pairs of readings; the clearest of each kind:")
    for x in shown:
        console.print(_screen(x, told))
    files = {"contrasts.csv": csv(_contrasts(spoken, told)), "reversals.csv": csv(_reversals(every, told))}
    if shown:
        files["reversals.tex"] = _latex(shown, told).encode()
        save(drawn(shown, sides, told), out / "reversals")
    for name, content in files.items():
        write(out / name, content)
    return [*files, *(["reversals.pdf", "reversals.png"] if shown else [])]


def _contrasts(spoken: list[Case], told: dict[int, str]) -> pd.DataFrame:
    """A row per pair of readings and protocol."""
    return pd.DataFrame([_readings(case, told) | _view("", x) for case in spoken for x in case.views])


def _reversals(every: list[Reversal], told: dict[int, str]) -> pd.DataFrame:
    """A row per reversal: `one` prefers the first reading, `other` the second."""
    return pd.DataFrame(
        [
            _readings(x.case, told) | _view("one_", x.one) | _view("other_", x.other) | {"strength": x.strength}
            for x in every
        ]
    )


def _readings(case: Case, told: dict[int, str]) -> dict[str, object]:
    return {
        "first": told[case.first.run],
        "first_window": case.first.window,
        "second": told[case.second.run],
        "second_window": case.second.window,
    }


def _view(prefix: str, x: Contrast) -> dict[str, object]:
    row: dict[str, object] = {"protocol": x.label, "unit": x.unit, "better": x.better, "paired": x.paired}
    for name, q in (("score", x.score), ("expected", x.expected)):
        row |= {name: q.value, f"{name}_low": q.low, f"{name}_high": q.high, f"{name}_class": q.kind}
    return {f"{prefix}{k}": v for k, v in row.items()}


def _screen(x: Reversal, told: dict[int, str]) -> Table:
    table = Table(title=heading(x.case, told), title_justify="left")
    for column in ("protocol", "first - second", "95 %", "expected", "prefers"):
        table.add_column(column, justify="left" if column == "protocol" else "right")
    for view in x.case.views:
        bold = "bold" if view in (x.one, x.other) else ""
        words = (f"{view.label} ({view.unit})", said(view.score.value), _ends(view.score), said(view.expected.value))
        table.add_row(*(Text(w, style=bold) for w in (*words, _prefers(view))))
    return table


def _ends(q: Quantity) -> str:
    return "" if q.low == q.high else f"[{said(q.low, False)}, {said(q.high, False)}]"


def _prefers(x: Contrast) -> str:
    """Whom its exact expectation prefers."""
    if x.expected.low <= 0 <= x.expected.high:
        return "neither"
    return "the first" if x.favours == -1 else "the second"


def _latex(shown: list[Reversal], told: dict[int, str]) -> str:
    """A booktabs table in text width; it needs the package booktabs only."""
    lines = ["\\begin{tabular*}{5.5in}{@{}l@{\\extracolsep{\\fill}}rrrl@{}}", "\\toprule"]
    lines += ["protocol & first $-$ second & 95\\,\\% & expected & prefers \\\\"]
    for x in shown:
        lines += ["\\midrule", f"\\multicolumn{{5}}{{@{{}}l@{{}}}}{{{tex(heading(x.case, told))}}} \\\\"]
        for v in x.case.views:
            name = tex(v.label.partition(" ")[0])
            unit = "" if v.unit == "nats/token" else f" ({tex(v.unit)})"
            words = (mathematics(said(v.score.value)), mathematics(_ends(v.score)), mathematics(said(v.expected.value)))
            lines.append(f"{name}{unit} & {' & '.join(words)} & {_prefers(v)} \\\\")
    lines += ["\\bottomrule", "\\end{tabular*}"]
    caption = (
        "Pairs of readings that protocols rank differently: first minus second, in nats per token unless said, as "
        "reported with its 95\\,\\% interval (paired by document where both read the same), and as the protocol would "
        "say of all documents there are, by the world's exact law."
    )
    head = f"\\begin{{table}}\n\\centering\\small\n\\caption{{{caption}}}\n\\label{{tab:reversals}}\n\\smallskip\n"
    return head + "\n".join(lines) + "\n\\end{table}\n"
