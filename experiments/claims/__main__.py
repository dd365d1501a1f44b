"""Decides the claims from run folders: python -m experiments.claims FOLDER... [--only C5] [--out FOLDER].

It prints every verdict with the effect it rests on, and writes claims.json, claims.tex and the forest plot. Folders
that hold no finished run are listed; nothing in them is executed.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from experiments.claims.study import study
from experiments.claims.verdict import CORRECTIONS
from experiments.found import find


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if no finished run was found or a claim is not known."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, or folders with runs below"
    )
    parser.add_argument("--only", nargs="+", metavar="ID", help="decide these claims alone, such as C5")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the files go; default: the FOLDER, if it is one"
    )
    parser.add_argument("--correction", choices=CORRECTIONS, default="fdr", help="for the claims decided together")
    asked = parser.parse_args(arguments)
    if asked.out is None and len(asked.folders) > 1:
        parser.error(f"--out must say where the files go when there are several folders, but got {len(asked.folders)}")
    console = Console(highlight=False)
    runs, refused = find(asked.folders)
    for place, reason in refused:
        console.print(Text(f"left out: {place}: {reason}", style="yellow"), soft_wrap=True)
    if not runs:
        console.print("claims: at least one finished run is needed, but none was found", markup=False)
        return 1
    out = asked.out or asked.folders[0]
    try:
        written = study(runs, out, console, asked.only, asked.correction)
    except ValueError as error:
        console.print(Text(str(error)))
        return 1
    console.print(f"{len(runs)} runs, {len(refused)} left out; wrote {', '.join(written)} in {out}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
