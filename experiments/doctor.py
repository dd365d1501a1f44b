"""Re-derives the reference numbers of every family on this machine: python -m experiments.doctor [only=[mess3]].

The numbers stand in references.yaml with their sources. A number agrees where every way of deriving it is within its
tolerance (1e-9 in float64, unless it says why not); it is not confirmed where the machine knows it only to an interval
wider than that. Exit status 1 if anything disagrees, else 0.
"""

import inspect
import json
import sys
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments import backend
from experiments.cell import Refused, cause
from experiments.entry import command
from experiments.ledger import plain
from experiments.rederive import QUANTITIES, Found

TOLERANCE = 1e-9


@dataclass
class Doctor:
    """What is asked of the doctor."""

    only: list[str] = field(default_factory=list)  # families; none named: all
    references: str | None = None  # another file of the same form
    json: bool = False  # JSON on standard output instead of a table


ConfigStore.instance().store(name="doctor_schema", node=Doctor)


@dataclass(frozen=True)
class Check:
    """One number of reference, and what this machine makes of it."""

    family: str
    quantity: str
    expected: Any
    source: str
    tolerance: float
    found: dict[str, Any]  # by way
    difference: float | None  # the largest, over ways and entries
    verdict: str  # agrees, disagrees, not confirmed
    reason: str = ""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="doctor")
def doctor(cfg: DictConfig) -> None:
    """Every entry -> its ways -> a verdict; then a table or JSON, and the exit status."""
    named = cfg.references is None
    path = Path(str(files("experiments") / "references.yaml") if named else cfg.references)
    if not path.is_file():
        raise Refused(f"doctor: references must be the path of a file, but there is no file {str(path)!r}")
    book: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path), resolve=True)  # type: ignore[assignment]
    silent = book.pop("unconfirmed", {})
    if unknown := sorted(set(cfg.only) - set(book) - set(silent)):
        raise Refused(f"doctor: only must name families of {', '.join([*book, *silent])}; but has {unknown}")
    if named:  # a family that somebody adds and forgets here is named, not passed over
        silent |= {name: "no reference is written down" for name in families() - set(book) - set(silent)}
    chosen = {family: book[family] for family in book if not cfg.only or family in cfg.only}
    silent = {family: why for family, why in silent.items() if not cfg.only or family in cfg.only}
    checks = examined(chosen)
    if cfg.json:
        print(json.dumps({"schema": 1, "unit": "nats", "checks": [asdict(c) for c in checks], "unconfirmed": silent}))
    else:
        show(checks, silent, Console(highlight=False, width=None if sys.stdout.isatty() else 150))
    if any(check.verdict == "disagrees" for check in checks):
        sys.exit(1)


def families() -> set[str]:
    """The worlds that a configuration can name."""
    return {Path(f.name).stem for f in (files("conf") / "world").iterdir() if f.name.endswith(".yaml")}


def examined(book: dict[str, list[dict[str, Any]]]) -> list[Check]:
    """All checks, with their progress on standard error."""
    entries = [(family, entry) for family, listed in book.items() for entry in listed]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task, checks = progress.add_task("re-deriving", total=len(entries)), []
        for family, entry in entries:
            progress.update(task, description=f"{family} {entry['quantity']}")
            checks.append(examine(family, entry))
            progress.advance(task)
    return checks


def examine(family: str, entry: dict[str, Any]) -> Check:
    """One check. What raises an error here disagrees: a reference is a promise that the number can be had."""
    expected, tolerance = entry["expected"], float(entry.get("tolerance", TOLERANCE))
    given = {k: v for k, v in entry.items() if k not in ("quantity", "tolerance", "source")}
    about = ", ".join(f"{k} {v}" for k, v in given.items() if k not in ("world", "expected", "rows", "concept"))
    name = " ".join([entry["quantity"], about, given.get("concept", {}).get("_target_", "").rpartition(".")[2]]).strip()
    told = (family, name, expected, entry["source"], tolerance)
    try:
        derive = QUANTITIES[entry["quantity"]]
        given = {k: v for k, v in given.items() if k in inspect.signature(derive).parameters}
        ways = derive(**instantiate(given, _convert_="all"))
    except Exception as error:  # whatever it is, the table must still be printed
        return Check(*told, {}, None, "disagrees", f"{type(error).__name__}: {cause(error)}".splitlines()[0])
    return judged(told, ways)


def judged(told: tuple[str, str, Any, str, float], ways: dict[str, Found]) -> Check:
    """The verdict: agreement of every way; agreement within a claimed interval that is too wide confirms nothing."""
    expected, tolerance = np.asarray(told[2], float), told[4]
    found = {way: plain_list(answer.value) for way, answer in ways.items()}
    misshapen = [way for way, answer in ways.items() if np.shape(answer.value) != expected.shape]
    if misshapen:
        return Check(*told, found, None, "disagrees", f"{misshapen[0]} has another number of entries")
    differences = {way: float(np.abs(answer.value - expected).max()) for way, answer in ways.items()}
    worst = max(differences.values())
    if all(differences[way] <= tolerance for way in ways):
        return Check(*told, found, worst, "agrees")
    wide = max(answer.slack for answer in ways.values())
    inside = all(differences[way] <= tolerance + answer.slack for way, answer in ways.items())
    if inside:
        return Check(*told, found, worst, "not confirmed", f"known here to {wide:.1e} only")
    return Check(*told, found, worst, "disagrees", f"off by {worst:.3e}, allowed {tolerance:.1e}")


def plain_list(value: Any) -> Any:
    """Numbers as JSON has them."""
    return [plain_list(x) for x in value] if np.ndim(value) else plain(float(value))


def show(checks: list[Check], silent: dict[str, str], console: Console) -> None:
    """The table, the sources of what does not agree, and what nobody could confirm."""
    table = Table(title="reference numbers, nats; all ways of deriving each", title_justify="left")
    for heading in ("family", "quantity", "expected", "source", "found", "difference", "verdict"):
        table.add_column(heading, no_wrap=heading not in ("quantity", "source"))
    colours = {"agrees": "green", "disagrees": "red", "not confirmed": "yellow"}
    for check in checks:
        ways = [short(value) for value in check.found.values()]
        difference = "" if check.difference is None else f"{check.difference:.1e} of {check.tolerance:.0e}"
        verdict = f"[{colours[check.verdict]}]{check.verdict}[/]"
        said = "\n".join(dict.fromkeys(ways))
        table.add_row(check.family, check.quantity, short(check.expected), check.source, said, difference, verdict)
    console.print(table)
    counts = {verdict: sum(c.verdict == verdict for c in checks) for verdict in colours}
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for check in checks:
        if check.verdict != "agrees":
            console.print(f"{check.verdict}: {check.family}, {check.quantity}: {check.reason}", markup=False)
    for family, why in sorted(silent.items()):
        console.print(f"could not confirm {family}: {why}", markup=False)


def short(value: Any) -> str:
    """One number, or the last of several."""
    if isinstance(value, list):
        return f"... {short(value[-1])}" if len(value) > 1 else short(value[0])
    return f"{float(value):.12g}"


if __name__ == "__main__":
    backend.prepare()
    command(doctor)
