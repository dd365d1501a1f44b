"""A study: many runs as one tidy table, tables and figures for a paper, one page, and one screen.

`AtEnd` makes it at the end of every multirun; `python -m experiments.report FOLDER...` makes it of any run folders.
"""

import importlib.util
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from experiments.entry import sweep_name
from experiments.fidelity.study import compared
from experiments.figures import MANY, first_look, lengths
from experiments.fit import write
from experiments.found import Run, find, printable
from experiments.labels import labels
from experiments.studies import STUDIES, named
from experiments.style import save
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
    written, unsaid = write_all(out, runs, names), []
    asked = {
        name: partial(STUDIES[name], [run for run in runs if run.ledger.get("study") == name]) for name in named(runs)
    }
    for name, make in ({"fidelity": partial(compared, runs)} | asked).items():
        try:
            written += make(out, console)
        except ValueError as error:  # a study that was cut short: what there is of it is reported
            unsaid.append((name, str(error)))
            console.print(f"study {name}: {error}", markup=False, style="yellow", soft_wrap=True)
    from experiments.page.build import page  # altair takes a second to import, which a single run need not wait for

    write(out / "report.html", page(out, runs, refused, names, unsaid))
    written.append("report.html")
    console.print(
        f"{len(runs)} runs, {len(refused)} left out; wrote {', '.join(written)} in {out}", markup=False, soft_wrap=True
    )
    return True


def write_all(out: Path, runs: list[Run], names: list[str]) -> list[str]:
    """The table with its dictionary, the tables and figures of a paper, by 12 runs or 6; returns the files' names."""
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
    many = MANY if max(map(len, names)) <= 40 else MANY // 2  # long labels take room
    for n in range(0, len(runs), many):
        ledgers, them = [run.ledger for run in runs[n : n + many]], names[n : n + many]
        for stem, draw in (("figure", first_look), ("figure-column", lengths)):
            stem += "" if n == 0 else f"-{n // many + 1}"
            save(draw(ledgers, them), out / stem)
            written += [f"{stem}.pdf", f"{stem}.png"]
    return written
