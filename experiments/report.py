"""Builds the report of any set of run folders: python -m experiments.report FOLDER... [--out FOLDER].

It prints the study's table and writes ledger.csv, table.tex and the figure. Folders that hold no finished run are
listed; nothing in them is executed.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from experiments.study import report


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if no finished run was found."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="a run folder, or one with runs below it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the files go; default: the FOLDER, if it is one"
    )
    asked = parser.parse_args(arguments)
    if asked.out is None and len(asked.folders) > 1:
        parser.error(f"--out must say where the files go when there are several folders, but got {len(asked.folders)}")
    return 0 if report(asked.folders, asked.out or asked.folders[0], Console(highlight=False)) else 1


if __name__ == "__main__":
    sys.exit(main())
