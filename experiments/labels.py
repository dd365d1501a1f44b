"""How the runs of a study are told apart in words."""

from experiments.found import Run, printable
from experiments.style import title


def labels(runs: list[Run]) -> list[str]:
    """Concept / scheme of each run, and the overrides in which it differs from some other run."""
    every = set.intersection(*(set(run.overrides) for run in runs))
    told = [[x for x in run.overrides if x not in every and not x.startswith("perception")] for run in runs]
    names = [" ".join([title(run.ledger), *more]) for run, more in zip(runs, told, strict=True)]
    for tell in (lambda n: printable(runs[n].place.name), lambda n: f"run {n}"):
        names = [f"{x} ({tell(n)})" if names.count(x) > 1 else x for n, x in enumerate(names)]
    return names
