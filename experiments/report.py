"""Builds the report of any set of run folders, or compares two groups of runs.

python -m experiments.report FOLDER... [--out FOLDER] prints the study's table and writes ledger.csv, columns.csv, the
LaTeX tables, the figures and report.html. python -m experiments.report --compare A B --out FOLDER writes the paired
differences of two groups, layer by layer; A and B are folders, or FOLDER:key=value,key=value for some of their runs.
Folders that hold no finished run are listed; nothing in them is executed.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from experiments.compare import compare
from experiments.study import report


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if no finished run, or no pair of runs, was found."""
    lines = (__doc__ or "").split("\n")
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report", description=lines[0], epilog=" ".join(lines[2:])
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="a run folder, or one with runs below it"
    )
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two groups of runs, to be compared in pairs")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the files go; default: the FOLDER, if it is one"
    )
    asked = parser.parse_args(arguments)
    console = Console(highlight=False)
    if bool(asked.folders) == bool(asked.compare):
        parser.error("either folders must be given, or two groups by --compare, but not both")
    out = asked.out or (asked.folders[0] if len(asked.folders) == 1 else None)
    if out is None:
        parser.error(
            f"--out must say where the files go unless there is one folder, but there are {len(asked.folders)}"
        )
    if asked.compare is None:
        return 0 if report(asked.folders, out, console) else 1
    first, second = asked.compare
    try:
        return 0 if compare(first, second, out, console) else 1
    except ValueError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
