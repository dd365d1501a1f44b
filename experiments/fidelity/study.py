"""The study `fidelity`: how well every protocol ranks the networks of a study, and what ranking two of them takes."""

from pathlib import Path

from rich.console import Console

from experiments.contrasts import GROUPS, Side
from experiments.fidelity.figure import drawn
from experiments.fidelity.pairs import pairs
from experiments.fidelity.rank import LEAST, groups, rankings
from experiments.fidelity.table import latex, paired, ranked, screen
from experiments.fit import write
from experiments.found import Run, curves
from experiments.labels import labels
from experiments.style import save
from experiments.tidy import csv


def fidelity(runs: list[Run], out: Path, console: Console) -> list[str]:
    """As experiments.studies.Study; says so where there is nothing to rank."""
    written = compared(runs, out, console)
    if not written:
        console.print(f"fidelity: a ranking needs at least {LEAST} runs of one world and length, and there are fewer")
    return written


def compared(runs: list[Run], out: Path, console: Console) -> list[str]:
    """Writes fidelity.csv, fidelity-pairs.csv, fidelity.tex and a figure for each world; returns their names.

    Nothing where no three runs share a world, a functional and a protocol.
    """
    found = []
    for group in groups(runs):
        sides = {n: Side(runs[n], curves(runs[n], *GROUPS)) for n in group.runs}
        found.append((group, rankings(sides, group), pairs(sides, group)))
    found = [part for part in found if any(x.tau.kind != "undefined" for x in part[1])]
    if not found:
        return []
    out.mkdir(parents=True, exist_ok=True)
    for part in found:
        console.print(screen(*part))
    files = {
        "fidelity.csv": csv(ranked(found)),
        "fidelity-pairs.csv": csv(paired(found, labels(runs))),
        "fidelity.tex": latex(found).encode(),
    }
    for name, content in files.items():
        write(out / name, content)
    written = list(files)
    for n, part in enumerate(found, 1):
        stem = "fidelity" if n == 1 else f"fidelity-{n}"
        save(drawn(*part), out / stem)
        written += [f"{stem}.pdf", f"{stem}.png"]
    return written
