"""What a person sees while a run works: bars with time left, then the ledger."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments import hosts
from experiments.show import show


def console(**options: Any) -> Console:
    """A console that keeps a ledger's rows on one line when it is no terminal (a file, a log, a pipe)."""
    made = Console(highlight=False, **options)
    return made if made.is_terminal else Console(highlight=False, width=120, **options)


class Screen:
    """Progress on standard error, results on standard output; of several processes, the first one's."""

    def __init__(self):
        self.result, self.work = console(quiet=not hosts.first()), console(stderr=True, quiet=not hosts.first())

    def line(self, text: str) -> None:
        """One line about the work."""
        self.work.print(text)

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar; call report(done, note) as the work goes on. Without a terminal, one line says when it is done."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        note = ""
        with Progress(*columns, console=self.work, transient=not self.work.is_terminal) as progress:
            bar = progress.add_task(name, total=total, note="")

            def report(done: int, text: str) -> None:
                nonlocal note
                note = text
                progress.update(bar, completed=done, note=text)

            yield report
            seconds = progress.tasks[0].elapsed or 0.0
        if not self.work.is_terminal:
            self.line(f"{name}: done in {seconds:.1f} s ({note})")

    def ledger(self, ledger: dict) -> dict:
        """Prints the ledger and returns it."""
        show(ledger, self.result)
        return ledger
