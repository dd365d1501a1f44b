"""The four studies by name: what is made of their runs, beside the report; each ends in the verdicts on all claims."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from experiments.claims import study as claims
from experiments.fit import write
from experiments.found import Run
from experiments.question import curse, matrix, phase, sweeps
from experiments.question.diagram import diagram
from experiments.style import save


def alibi_question(runs: list[Run], out: Path, console: Console) -> list[str]:
    """phase.csv and phase.pdf, matrix.csv and matrix.pdf, the verdicts."""
    out.mkdir(parents=True, exist_ok=True)
    points, cells = phase.points(runs), matrix.entries(runs)
    written = kept("phase", phase.table(points, out, relative), lambda: diagram(points), out)
    written += kept("matrix", matrix.table(cells, out, relative), lambda: matrix.figure(cells), out)
    differ = [p for p in points if p.needed != p.preferred]
    console.print(f"phase diagram: {len(points)} worlds; needed and preferred concepts differ in {len(differ)}")
    for p in differ:
        where = (
            "periodic" if p.share is None else f"share {p.share:g}" + ("" if p.rate is None else f", rate {p.rate:g}")
        )
        console.print(Text(f"  {where}: needs {p.needed}, training prefers {p.preferred}"))
    return written + claims.study(runs, out, console)


def extrapolation(runs: list[Run], out: Path, console: Console) -> list[str]:
    """curse.csv and curse.pdf, the verdicts."""
    out.mkdir(parents=True, exist_ok=True)
    found = curse.splits(runs)
    written = kept("curse", curse.table(found, out, relative), lambda: curse.figure(found), out)
    return written + claims.study(runs, out, console)


def slopes(runs: list[Run], out: Path, console: Console) -> list[str]:
    """sweep.csv and sweep.pdf, the verdicts."""
    out.mkdir(parents=True, exist_ok=True)
    table = sweeps.slopes(runs, out, relative)
    return kept("sweep", table, lambda: sweeps.slopes_figure(table), out) + claims.study(runs, out, console)


def long_range(runs: list[Run], out: Path, console: Console) -> list[str]:
    """range.csv and range.pdf, the verdicts."""
    out.mkdir(parents=True, exist_ok=True)
    table = sweeps.ranges(runs, out, relative)
    return kept("range", table, lambda: sweeps.ranges_figure(table), out) + claims.study(runs, out, console)


def kept(stem: str, table: pd.DataFrame, figure: Callable[[], Figure], out: Path) -> list[str]:
    """Writes a table and its figure; nothing where the runs do not hold it."""
    if table.empty:
        return []
    write(out / f"{stem}.csv", table.to_csv(index=False).encode())
    save(figure(), out / stem)
    return [f"{stem}.csv", f"{stem}.pdf", f"{stem}.png"]


def relative(place: Path, out: Path) -> str:
    """A run's folder as seen from the study's."""
    return os.path.relpath(place, out)
