"""What a multirun's end makes besides the report, by the names that `study=NAME` chooses from.

A study is a function of (finished runs, folder, console): it prints what it found, writes its files into the folder and
returns their names. It reads run folders alone, so that it can be made again later, on more runs.
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from experiments.ablations import ablations, precision
from experiments.claims import study as claims
from experiments.confusion import planted_faults
from experiments.fidelity.study import fidelity
from experiments.found import Run
from experiments.question import studies as question
from experiments.reversals.study import protocols
from experiments.scaling import scaling

Study = Callable[[list[Run], Path, Console], list[str]]

STUDIES: dict[str, Study] = {
    "planted_faults": planted_faults,
    "fidelity": fidelity,
    "protocols": protocols,
    "claims": claims.study,
    "alibi_question": question.alibi_question,
    "extrapolation": question.extrapolation,
    "slopes": question.slopes,
    "long_range": question.long_range,
    "scaling": scaling,
    "ablations": ablations,
    "precision": precision,
}


def named(runs: list[Run]) -> list[str]:
    """The studies that the runs were made for, as far as they are known here; nothing else in a folder is obeyed."""
    asked = {str(run.ledger.get("study")) for run in runs}
    return [name for name in STUDIES if name in asked]
