"""Two groups of runs compared: python -m experiments.report --compare A B --out FOLDER.

Writes compare.csv (every paired difference, A minus B, with how it was found), pairs.csv (which runs are pairs, and
which are not and why), compare.tex and compare.pdf/png, and report.html of all the runs, which shows the same.
"""

import os
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.differences import ALL, Difference, differences
from experiments.figures import PLAIN
from experiments.fit import write
from experiments.found import Run, printable
from experiments.labels import labels
from experiments.pairs import Pair, Pairing, group, paired
from experiments.pooling import pooled
from experiments.style import COLOURS, COLUMN, GREY, SMALL, said, save
from experiments.tables import MARKS, mathematics, tex
from experiments.tidy import csv

COLUMNS = {  # the data dictionary of compare.csv
    "pair": "number of the pair in pairs.csv; empty for the mean over all pairs",
    "first": "A: the run's folder, relative to the table's",
    "second": "B: the run's folder",
    "layer": "D, a gap, or O for the score of a protocol; of both, and A minus B is their difference",
    "length": "tokens; empty where the pairs of a mean differ in it",
    "multiple": "the length as a multiple of the trained one",
    "protocol": "of layer O; empty elsewhere",
    "unit": "of value, low and high",
    "value": "A minus B: positive where A is the larger",
    "low": "lower end of its interval (95 % where it is estimated)",
    "high": "upper end",
    "class": "exact, certified, estimated, witnessed or undefined",
    "count": "seeds behind an estimate, or what the brackets rest on",
    "over": "all seeds, or which of them: a mean over fewer never stands alone",
    "method": "how the interval was found",
}


def compare(first: str, second: str, out: Path, console: Console) -> bool:
    """Compares the groups and writes the files; False where there is no pair."""
    (a, refused), (b, more) = group(first), group(second)
    for place, reason in (*refused, *more):
        console.print(Text(f"left out: {printable(str(place))}: {reason}", style="yellow"), soft_wrap=True)
    for name, runs, asked in (("A", a, first), ("B", b, second)):
        console.print(f"{name}: {len(runs)} runs of {printable(asked)}", markup=False, soft_wrap=True)
    pairing = paired(a, b)
    for key, (mine, theirs) in list(pairing.differs.items())[:12]:
        console.print(Text(f"differs: {key}: {_few(mine)} against {_few(theirs)}", style="dim"), soft_wrap=True)
    for alone in pairing.alone:
        text = f"no pair: {alone.group} {printable(str(alone.run.place))}: {alone.reason}"
        console.print(Text(text, style="yellow"), soft_wrap=True)
    if not pairing.pairs:
        console.print("compare: it takes at least one pair of runs, but there is none", markup=False)
        return False
    found = [(pair, list(differences(pair))) for pair in pairing.pairs]
    whole = pooled(found)
    console.print(screen(found, whole))
    written = write_all(out, pairing, found, whole)
    from experiments.page.build import page  # altair takes a second to import

    runs = [*a, *b]
    write(out / "report.html", page(out, runs, [*refused, *more], labels(runs)))
    console.print(f"wrote {', '.join([*written, 'report.html'])} in {out}", markup=False, soft_wrap=True)
    return True


def _few(words: list[str]) -> str:
    text = ", ".join(printable(x) for x in words[:4]) + (", ..." if len(words) > 4 else "")
    return text if len(text) <= 80 else f"{text[:77]}..."


Found = list[tuple[Pair, list[Difference]]]


def write_all(out: Path, pairing: Pairing, found: Found, whole: list[Difference]) -> list[str]:
    """The files of a comparison; returns their names."""
    out.mkdir(parents=True, exist_ok=True)
    shown = whole or found[0][1]
    dictionary = pd.DataFrame(COLUMNS.items(), columns=["column", "meaning"])
    files = {
        "compare.csv": csv(frame(out, found, whole)),
        "columns-compare.csv": csv(dictionary),
        "pairs.csv": csv(listed(out, pairing)),
        "compare.tex": latex(shown, len(found), pairing).encode(),
    }
    for name, content in files.items():
        write(out / name, content)
    save(figure(found, shown), out / "compare")
    return [*files, "compare.pdf", "compare.png"]


def frame(out: Path, found: Found, whole: list[Difference]) -> pd.DataFrame:
    """Every difference, a row each."""
    rows = [_row(one) for one in whole]
    for n, (pair, several) in enumerate(found, 1):
        places = {"pair": n, "first": _place(pair.first, out), "second": _place(pair.second, out)}
        rows += [places | _row(one) for one in several]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({k: "Int64" for k in ("pair", "length", "count")})


def _row(one: Difference) -> dict[str, Any]:
    q = one.quantity
    numbers = {"value": q.value, "low": q.low, "high": q.high, "class": q.kind, "count": q.count or None}
    return {k: getattr(one, k) for k in ("layer", "length", "multiple", "protocol", "unit", "over", "method")} | numbers


def listed(out: Path, pairing: Pairing) -> pd.DataFrame:
    """Which runs are pairs, and why the others are none."""
    rows = [{"pair": n, "A": _place(p.first, out), "B": _place(p.second, out)} for n, p in enumerate(pairing.pairs, 1)]
    rows += [{x.group: _place(x.run, out), "reason": x.reason} for x in pairing.alone]
    return pd.DataFrame(rows, columns=["pair", "A", "B", "reason"]).astype({"pair": "Int64"})


def _place(run: Run, out: Path) -> str:
    return os.path.relpath(run.place, out)


def name(one: Difference) -> str:
    """What is compared, in words."""
    layer = " \N{MINUS SIGN} ".join(one.layer.split("-"))
    return one.protocol if one.layer == "O" else f"{layer} at {one.multiple:g}\N{MULTIPLICATION SIGN}"


def screen(found: Found, whole: list[Difference]) -> Table:
    """For the terminal: the mean over pairs where there are several, else the one pair."""
    several, title = (whole, f"A - B, mean over {len(found)} pairs") if whole else (found[0][1], "A - B, one pair")
    table = Table(title=title, title_justify="left")
    for heading, justify in (("", "left"), ("A - B", "right"), ("95 %", "left"), ("class", "left"), ("over", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for one in several:
        q = one.quantity
        unit = "" if one.unit == "nats/token" else f" ({one.unit})"
        ends = "" if q.low == q.high or q.kind == "undefined" else f"[{said(q.low)}, {said(q.high)}]"
        table.add_row(Text(name(one) + unit), said(q.value), ends, q.kind, "" if one.over == ALL else Text(one.over))
    methods = ", ".join(dict.fromkeys(part for one in several for part in one.method.split("; ") if part))
    table.caption, table.caption_justify = f"positive: A is larger; intervals: {methods}", "left"
    return table


def latex(several: list[Difference], pairs: int, pairing: Pairing) -> str:
    """One booktabs table in column width; it needs the package booktabs only."""
    lines = ["\\begin{tabular}{@{}p{1.05in}p{0.8in}p{1.2in}@{}}", "\\toprule"]
    lines += ["$A - B$ & & \\\\", "\\midrule"]
    for one in (x for x in several if x.unit == "nats/token" and x.layer != "O"):
        q = one.quantity
        head = f"${one.layer.replace('-', ' - ')}$ at ${one.multiple:g}\\times$"
        head += "" if one.over in (ALL, "all pairs") else f"; {tex(one.over)}"
        ends = "" if q.low == q.high or q.kind == "undefined" else mathematics(f"[{said(q.low)}, {said(q.high)}]")
        value = mathematics(said(q.value), MARKS.get(q.kind, ""))
        lines.append(f"\\raggedright {head} & \\hfill {value} & \\hfill {{\\scriptsize {ends}}} \\\\")
    differs = ", ".join(f"{tex(k)} ({tex(_few(a))} against {tex(_few(b))})" for k, (a, b) in _told(pairing))
    caption = (
        f"Paired differences in nats per token, $A - B$, over {pairs} pair{'s' * (pairs > 1)} of runs that differ in "
        f"{differs or 'their folders'}. Intervals are 95\\,\\% (Student's $t$ over paired seeds, with the sampling of "
        "prefixes); c: certified, e: estimated, w: witnessed."
    )
    head = f"\\begin{{table}}\n\\centering\\small\\setlength{{\\tabcolsep}}{{3pt}}\n\\caption{{{caption}}}\n"
    body = "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])
    return f"{head}\\label{{tab:compare}}\n\\smallskip\n{body}\n\\end{{table}}\n"


def _told(pairing: Pairing) -> list[tuple[str, tuple[list[str], list[str]]]]:
    """What differs, as far as a caption holds it: no targets of constructors, and four at most."""
    return [(k, x) for k, x in pairing.differs.items() if "_target_" not in k][:4]


def figure(found: Found, shown: list[Difference]) -> Figure:
    """The differences in nats with their intervals, in column width; each pair as an open mark."""
    lines = [one for one in shown if one.unit == "nats/token" and one.layer not in ("D", "O")]
    lines = [one for one in lines if one.over in (ALL, "all pairs") or one.over.endswith("pairs that have it")]
    with matplotlib.rc_context(PLAIN):
        drawn = Figure(figsize=(COLUMN, 0.55 + 0.16 * max(3, len(lines))), layout="constrained")
        axes = drawn.subplots()
        axes.axvline(0, color="0.6", linewidth=0.6)
        for row, one in enumerate(lines):
            _line(
                axes, row, one, [x for _, several in found for x in several if _like(x, one)] if len(found) > 1 else []
            )
        axes.set_yticks(range(len(lines)), [name(one) for one in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel("A \N{MINUS SIGN} B, nats per token; right of 0, A loses more")
        return drawn


def _like(x: Difference, one: Difference) -> bool:
    return (x.layer, x.multiple, x.protocol) == (one.layer, one.multiple, one.protocol) and x.over == ALL


def _line(axes: Any, row: int, one: Difference, pairs: list[Difference]) -> None:
    q = one.quantity
    if not np.isfinite(q.value):
        axes.annotate(said(q.value), (0, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=SMALL)
        return
    seeds = [x.quantity.value for x in pairs] or list(one.seeds.values())
    finite = [x for x in seeds if np.isfinite(x)]
    axes.plot(finite, np.full(len(finite), row + 0.22), "o", markersize=2.2, markerfacecolor="none", color=GREY,
              markeredgewidth=0.5)  # fmt: skip
    ends = [[max(0.0, q.value - q.low)], [max(0.0, q.high - q.value)]]
    axes.errorbar(q.value, row, xerr=ends, fmt="o", color=COLOURS[0], markersize=3, elinewidth=1, capsize=1.8)
