"""Which layer is to blame, in what order, on what evidence: python -m experiments.diagnose FOLDER...

The same is printed at the end of each run, and kept in ledger.json under `diagnosis`. The rules are in
experiments/verdicts.py. A folder may hold many runs; what holds no finished run is listed, and the exit status is 1 if
none does. --material NATS holds the gaps against another size than the run was made with.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.found import Run, find, printable
from experiments.ledger import number, plain
from experiments.verdicts import BLAME, CLEAR, NATS, OPEN, SUSPECTED, Gap, Verdict, attainable, blamed, verdicts

LAYERS = {"O": "observation", "R": "reachable", "I": "instantiation", "P": "perception", "D": "thing-in-itself"}
COLOURS = {CLEAR: "green", SUSPECTED: "yellow", BLAME: "bold red", OPEN: "cyan"}
OWN = ("hydra.run.dir", "hydra.sweep.dir", "hydra.mode", "study", "planted", "force")  # no next run inherits these


def diagnose(ledger: dict[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The diagnosis of a run, as plain numbers and words.

    Args:
      ledger: of the run.
      overrides: what it was asked for on the command line, from which the next experiments start.
    """
    found, learnable = verdicts(ledger), attainable(ledger)
    return {
        "material": ledger["diagnose"]["material"],
        "unit": NATS,
        "learnable": _numbers(learnable),
        "blamed": blamed(found),
        "verdicts": {layer: _plain(verdict, learnable, overrides) for layer, verdict in found.items()},
    }


def _plain(found: Verdict, learnable: Gap, overrides: Sequence[str]) -> dict[str, Any]:
    share = plain(found.gap.value / learnable.value) if learnable.value > 0 else None
    words = {"why": found.why, "missing": found.missing, "next": command(overrides, found.next)}
    return {"verdict": found.verdict, "reads": list(found.reads), **_numbers(found.gap), "share": share, **words}


def _numbers(gap: Gap) -> dict[str, Any]:
    return {name: plain(x) for name, x in zip(("nats", "low", "high"), gap, strict=True)}


def command(overrides: Sequence[str], changes: Sequence[str]) -> str:
    """The command line of the next experiment: the run's own overrides, and then the changes; empty without changes."""
    if not changes:
        return ""
    changed = {key(x) for x in changes} | set(OWN)
    kept = [x for x in overrides if key(x) not in changed]
    study = any(key(x) == "experiment" for x in kept)  # which is a multirun by itself
    alone = [] if not study else ["hydra.sweeper.cells=null"] if "-m" in changes else ["hydra.mode=RUN"]
    return shlex.join(["python", "-m", "experiments.run", *kept, *changes, *alone])


def key(override: str) -> str:
    """What an override sets."""
    return override.split("=", 1)[0].lstrip("+~")


def show(diagnosis: dict[str, Any], console: Console) -> None:
    """Prints a diagnosis: a row for each layer, backward, then what to do next."""
    learnable = number(diagnosis["learnable"]["nats"])
    title = f"diagnosis · {diagnosis['material']:g} nats per token are material, {learnable:.4f} can be learnt at all"
    table = Table(title=title, title_justify="left")
    for heading, justify in (("layer", "left"), ("verdict", "left"), ("nats", "right"), ("interval", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("share", justify="right")
    table.add_column("why", overflow="fold")
    for layer, found in diagnosis["verdicts"].items():
        why = f"{found['why']} [{'; '.join(found['reads'])}]"
        missing = f"\nmissing: {found['missing']}" if found["missing"] else ""
        table.add_row(
            f"{layer}  {LAYERS[layer]}",
            Text(found["verdict"], style=COLOURS[found["verdict"]]),
            _said(found["nats"]),
            "" if found["low"] == found["high"] else f"[{_said(found['low'])}, {_said(found['high'])}]",
            "" if found["share"] is None else f"{number(found['share']):.0%}",
            Text(printable(why) + missing),
        )
    console.print(table)
    console.print(Text(conclusion(diagnosis)), soft_wrap=True)


def conclusion(diagnosis: dict[str, Any]) -> str:
    """Whom to blame, and the next experiment worth running: for the first layer that is not clear."""
    found, layer = diagnosis["verdicts"], diagnosis["blamed"]
    first = layer or next((k for k, v in found.items() if v["verdict"] != CLEAR), None)
    if first is None:
        return "no layer is to blame: nothing that matters is lost anywhere."
    said = f"to blame: {layer}, {LAYERS[layer]}." if layer else f"no layer can be blamed; {first} is not settled."
    following = found[first]["next"]
    return f"{said} next:\n{following}" if following else said


def _said(x: float | str | None) -> str:
    return "undefined" if x is None else f"{number(x):+.4f}"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if no finished run was found."""
    parser = argparse.ArgumentParser(prog="python -m experiments.diagnose", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run folder, or one with runs below")
    parser.add_argument("--material", type=float, metavar="NATS", help="the least difference that matters")
    asked = parser.parse_args(arguments)
    if asked.material is not None and not asked.material > 0:
        parser.error(f"--material must be above 0 nats per token, but is {asked.material}")
    console, (runs, refused) = Console(highlight=False), find(asked.folders)
    for place, reason in refused:
        console.print(Text(f"{place}: {reason}", style="yellow"), soft_wrap=True)
    shown = [_show(run, asked.material, console) for run in runs]
    return 0 if any(shown) else 1


def _show(run: Run, material: float | None, console: Console) -> bool:
    """False where the ledger, whoever wrote it, has not what the rules read."""
    size = {} if material is None else {"diagnose": {"material": material}}
    console.print(Text(str(run.place), style="bold"), soft_wrap=True)
    try:
        found = diagnose(run.ledger | size, run.overrides)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        console.print(Text(printable(f"cannot be diagnosed: {type(error).__name__} {error}"), style="yellow"))
        return False
    show(found, console)
    return True


if __name__ == "__main__":
    sys.exit(main())
