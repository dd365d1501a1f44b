"""A study: many runs as one tidy table, one table for a paper, one figure, and one screen.

`AtEnd` makes it at the end of every multirun; `python -m experiments.report FOLDER...` makes it of any run folders.
"""

import importlib.util
import io
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.entry import sweep_name
from experiments.figures import MANY, first_look
from experiments.fit import write
from experiments.found import Run, find
from experiments.ledger import GAPS
from experiments.studies import STUDIES, named
from experiments.style import said, save, title
from experiments.tidy import frame

MARKS = {"certified": "c", "estimated": "e", "witnessed": "w"}
SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


class AtEnd(Callback):
    """Hydra callback: when a multirun ends, its folder gets its study."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Fixes the folder for the jobs: each sees its own overrides only, here or on another machine."""
        del kwargs
        os.environ["NOUMENA_SWEEP"] = sweep_name(list(config.hydra.overrides.task))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Reports on whatever the multirun's folder holds; jobs that failed are listed."""
        del kwargs
        folder = Path(config.hydra.sweep.dir)
        os.environ.pop("NOUMENA_SWEEP", None)
        report([folder], folder, Console(highlight=False))


class Block(NamedTuple):
    """A table of ledger entries: a row for each run."""

    name: str
    columns: list[str]
    rows: dict[str, list[dict[str, Any] | None]]


def report(folders: list[Path], out: Path, console: Console) -> bool:
    """Finds runs, prints their table and writes the study's files into `out`; False if there is no finished run."""
    runs, refused = find(folders)
    for place, reason in refused:
        console.print(Text(f"not in the study: {place}: {reason}", style="yellow"), soft_wrap=True)
    if not runs:
        where = ", ".join(map(str, folders))
        console.print(f"report: a study needs at least one finished run, but found none in {where}", markup=False)
        return False
    names = labels(runs)
    for block in blocks(runs, names):
        console.print(screen(block))
    written = write_all(out, runs, names)
    for study in named(runs):
        written += STUDIES[study]([run for run in runs if run.ledger.get("study") == study], out, console)
    console.print(
        f"{len(runs)} runs, {len(refused)} left out; wrote {', '.join(written)} in {out}", markup=False, soft_wrap=True
    )
    return True


def write_all(out: Path, runs: list[Run], names: list[str]) -> list[str]:
    """ledger.csv (and .parquet with pyarrow), table.tex, figure.pdf and .png, by 12 runs; returns their names."""
    out.mkdir(parents=True, exist_ok=True)
    table = frame(runs, out)
    files = {"ledger.csv": table.to_csv(index=False).encode(), "table.tex": latex(runs, names).encode()}
    if importlib.util.find_spec("pyarrow"):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files["ledger.parquet"] = buffer.getvalue()
    for name, content in files.items():
        write(out / name, content)
    written = list(files)
    for n in range(0, len(runs), MANY):
        stem = "figure" if n == 0 else f"figure-{n // MANY + 1}"
        save(first_look([run.ledger for run in runs[n : n + MANY]], names[n : n + MANY]), out / stem)
        written += [f"{stem}.pdf", f"{stem}.png"]
    return written


def labels(runs: list[Run]) -> list[str]:
    """Concept / scheme of each run, and the overrides in which it differs from some other run."""
    every = set.intersection(*(set(run.overrides) for run in runs))
    told = [[x for x in run.overrides if x not in every and not x.startswith("perception")] for run in runs]
    names = [" ".join([title(run.ledger), *more]) for run, more in zip(runs, told, strict=True)]
    return [f"{x} ({run.place.name})" if names.count(x) > 1 else x for x, run in zip(names, runs, strict=True)]


def blocks(runs: list[Run], names: list[str]) -> list[Block]:
    """The ladder at the trained length, and R - D at each multiple of it."""
    ladder, beyond = {}, {}
    found = [{int(n) / run.ledger["train_length"]: p for n, p in run.ledger["lengths"].items()} for run in runs]
    multiples = sorted({m for parts in found for m in parts} | {1.0})
    for run, name, parts in zip(runs, names, found, strict=True):
        gaps = run.ledger["gaps"]
        ladder[name] = [run.ledger["layers"]["D"], *(gaps[g] for g in GAPS)]
        lengths: dict[float, Any] = parts | {1.0: run.ledger}
        beyond[name] = [lengths[m]["gaps"]["R-D"] if m in lengths else None for m in multiples]
    return [
        Block(
            "the ladder at the trained length, nats per token", ["D", *(" - ".join(g.split("-")) for g in GAPS)], ladder
        ),
        Block(
            "R - D by length, in multiples of the trained one, nats per token", [f"{m:g}x" for m in multiples], beyond
        ),
    ]


def cell(entry: dict[str, Any] | None) -> tuple[str, str, str]:
    """(value, interval, class) in words; the interval is empty where it is one number."""
    if entry is None:
        return "not measured", "", ""
    sign = "nats" in entry
    value = entry["nats"] if sign else entry["loss"]
    one = entry["low"] == entry["high"]
    return (
        said(value, sign),
        "" if one else f"[{said(entry['low'], False)}, {said(entry['high'], False)}]",
        entry["class"],
    )


def screen(block: Block) -> Table:
    """A block for the terminal: value, and the interval below it."""
    table = Table(title=block.name, title_justify="left", show_lines=len(block.rows) > 1)
    table.add_column("run")
    for column in block.columns:
        table.add_column(column, justify="right")
    for name, entries in block.rows.items():
        cells = [
            Text(value).append(f"\n{interval}" if interval else "", style="dim")
            for value, interval, _ in map(cell, entries)
        ]
        table.add_row(Text(name), *cells)
    return table


def latex(runs: list[Run], names: list[str]) -> str:
    """One booktabs table for a paper, in text width; it needs the package booktabs only."""
    parts = "\n\\par\\medskip\n".join(_tabular(block) for block in blocks(runs, names))
    caption = f"\\caption{{{_caption(runs)}}}\n\\label{{tab:ladder}}\n\\smallskip\n"
    return f"\\begin{{table}}\n\\centering\\small\\setlength{{\\tabcolsep}}{{3pt}}\n{caption}{parts}\\end{{table}}\n"


def _tabular(block: Block) -> str:
    lines = []
    for name, entries in block.rows.items():
        cells = [cell(entry) for entry in entries]
        lines.append([name.translate(SPECIAL), *(_mathematics(value, MARKS.get(kind, "")) for value, _, kind in cells)])
        lines.append(
            ["", *(f"{{\\scriptsize {_mathematics(interval)}}}" if interval else "" for _, interval, _ in cells)]
        )
    heads = [f"${x.replace('x', chr(92) + 'times')}$" if x[0].isdigit() else f"${x}$" for x in block.columns]
    table = pd.DataFrame(lines, columns=["run", *heads])
    return table.style.hide(axis="index").to_latex(hrules=True, column_format=f"@{{}}l{'r' * len(heads)}@{{}}")


def _mathematics(text: str, mark: str = "") -> str:
    """A number or an interval in words, as LaTeX; the mark is its class."""
    if not any(c.isdigit() or c == "∞" for c in text):
        return text
    body = text.replace("\N{MINUS SIGN}", "-").replace("∞", "\\infty ")
    body = re.sub(r"(\d)e-(\d+)", r"\1\\cdot10^{-\2}", body)
    return f"${body}^{{\\mathrm{{{mark}}}}}$" if mark else f"${body}$"


def _caption(runs: list[Run]) -> str:
    ledgers = [run.ledger for run in runs]
    worlds = ", ".join(sorted({x["world"]["name"] for x in ledgers})).translate(SPECIAL)
    lengths = ", ".join(map(str, sorted({x["train_length"] for x in ledgers})))
    seeds = ", ".join(map(str, sorted({len(x["members"]) for x in ledgers})))
    protocols = ", ".join(sorted({x["observation"] for x in ledgers})).translate(SPECIAL)
    return (
        f"Losses against the world {worlds} in nats per token: its own loss $D$, and what perception ($P$), "
        f"instantiation ($I$), training ($R$; {seeds} seeds) and observation ($O$: {protocols}) add to it, trained at "
        f"{lengths} tokens; below, the excess $R - D$ at multiples of that length. Intervals stand below their values. "
        "Unmarked numbers are exact; c: certified, an interval with a proof; e: estimated, a 95\\,\\% interval "
        "(Student's $t$, by sequence and, for $R$, by seed); w: witnessed, an upper end that known weights reach."
    )
