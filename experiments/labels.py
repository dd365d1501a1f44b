"""How the runs of a study are told apart in words."""

from experiments.cell import digest
from experiments.found import Run, printable
from experiments.style import title

WORD, LABEL = 24, 72  # characters of a value, and of a label


def labels(runs: list[Run]) -> list[str]:
    """Concept / scheme of each run, and the overrides in which it differs from some other run; all are different.

    Where that would take too long to read, the world and the run's folder stand instead.
    """
    every = set.intersection(*(set(run.overrides) for run in runs))
    told = [[short(x) for x in run.overrides if x not in every and not x.startswith("perception")] for run in runs]
    names = [" ".join([title(run.ledger), *more]) for run, more in zip(runs, told, strict=True)]
    names = [x if len(x) <= LABEL else f"{title(runs[n].ledger)} on {_place(runs[n])}" for n, x in enumerate(names)]
    for tell in (lambda n: printable(runs[n].place.name), lambda n: f"run {n}"):
        names = [f"{x} ({tell(n)})" if names.count(x) > 1 else x for n, x in enumerate(names)]
    return names


def _place(run: Run) -> str:
    return f"{run.ledger['world']['name'].replace('_', ' ')} ({printable(run.place.name)})"


def short(override: str) -> str:
    """An override whose value is long by the hash of its value, so that different ones stay different.

    >>> short("reach.rate=0.1"), short("world.table.rows=[[0.25,0.5,0.25],[0.5,0.25,0.25],[1,0,0]]")
    ('reach.rate=0.1', 'world.table.rows=#b595')
    """
    name, equals, value = override.partition("=")
    return override if len(value) <= WORD else f"{name}{equals}#{digest(value)[:4]}"
