"""A study: many runs as one tidy table, one table for a paper, one figure, and one screen.

`AtEnd` makes it at the end of every multirun; `python -m experiments.report FOLDER...` makes it of any run folders.
"""

import importlib.util
import io
import os
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from experiments.entry import sweep_name
from experiments.figures import MANY, first_look, lengths
from experiments.fit import write
from experiments.found import Run, find, printable
from experiments.studies import STUDIES, named
from experiments.style import save, title
from experiments.tables import blocks, column_width, screen, text_width
from experiments.tidy import csv, dictionary, frame


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


def report(folders: list[Path], out: Path, console: Console) -> bool:
    """Finds runs, prints their table and writes the study's files into `out`; False if there is no finished run."""
    runs, refused = find(folders)
    for place, reason in refused:
        console.print(Text(f"not in the study: {printable(str(place))}: {reason}", style="yellow"), soft_wrap=True)
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
    """The table with its dictionary, the tables and figures of a paper, by 12 runs; returns the files' names."""
    out.mkdir(parents=True, exist_ok=True)
    table = frame(runs, out)
    files = {
        "ledger.csv": csv(table),
        "columns.csv": csv(dictionary()),
        "table.tex": text_width(runs, names).encode(),
        "table-column.tex": column_width(runs, names).encode(),
    }
    if importlib.util.find_spec("pyarrow"):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files["ledger.parquet"] = buffer.getvalue()
    for name, content in files.items():
        write(out / name, content)
    written = list(files)
    for n in range(0, len(runs), MANY):
        ledgers, them = [run.ledger for run in runs[n : n + MANY]], names[n : n + MANY]
        for stem, draw in (("figure", first_look), ("figure-column", lengths)):
            stem += "" if n == 0 else f"-{n // MANY + 1}"
            save(draw(ledgers, them), out / stem)
            written += [f"{stem}.pdf", f"{stem}.png"]
    return written


def labels(runs: list[Run]) -> list[str]:
    """Concept / scheme of each run, and the overrides in which it differs from some other run."""
    every = set.intersection(*(set(run.overrides) for run in runs))
    told = [[x for x in run.overrides if x not in every and not x.startswith("perception")] for run in runs]
    names = [" ".join([title(run.ledger), *more]) for run, more in zip(runs, told, strict=True)]
    return [
        f"{x} ({printable(run.place.name)})" if names.count(x) > 1 else x for x, run in zip(names, runs, strict=True)
    ]
