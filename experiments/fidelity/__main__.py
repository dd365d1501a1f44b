"""Evaluation tokens that rank two runs rightly, by protocol: python -m experiments.fidelity FOLDER_A FOLDER_B.

A side is the mean over a run's seeds, or one of them (--seeds 0 2). The two folders may be one.
"""

import argparse
import sys
from pathlib import Path

from experiments.contrasts import GROUPS, Side
from experiments.fidelity.calculator import calculator
from experiments.found import Refused, curves, read
from experiments.screen import console


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if the folders cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m experiments.fidelity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs=2, type=Path, metavar="FOLDER", help="a run folder")
    parser.add_argument("--seeds", nargs=2, type=int, metavar="N", help="one seed of each; default: the mean over all")
    parser.add_argument("--confidence", type=float, default=0.95, help="that the order is right, in (0.5, 1)")
    asked = parser.parse_args(arguments)
    if not 0.5 < asked.confidence < 1:
        parser.error(f"--confidence must lie in (0.5, 1), but is {asked.confidence}")
    sides = []
    for n, folder in enumerate(asked.folders):
        run = read(folder)
        if isinstance(run, Refused):
            parser.error(f"{folder} must hold a finished run: {run.reason}")
        member, count = asked.seeds[n] if asked.seeds else None, len(run.ledger["members"])
        if member is not None and not 0 <= member < count:
            parser.error(f"--seeds must name one of the {count} seeds of {folder}, from 0, but names {member}")
        sides.append(Side(run, curves(run, *GROUPS), member))
    return calculator(sides[0], sides[1], asked.confidence, console())


if __name__ == "__main__":
    sys.exit(main())
