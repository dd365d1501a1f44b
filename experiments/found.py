"""Run folders as they are found on disk: read, checked, never trusted. Nothing in them is executed or unpickled."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.cell import SCHEMA
from experiments.ladder import rungs
from experiments.style import title
from experiments.tidy import rows

LARGEST = 20_000_000  # bytes; a ledger has some ten thousand


class Run(NamedTuple):
    """A finished run."""

    place: Path
    ledger: dict[str, Any]
    overrides: list[str]  # what was asked for on the command line
    provenance: dict[str, Any]
    number: int  # its place in the multirun; 0 if it was alone


class Refused(NamedTuple):
    """A folder that holds no finished run, and why."""

    place: Path
    reason: str


def find(folders: list[Path]) -> tuple[list[Run], list[Refused]]:
    """All finished runs in and below the folders, in the order of their multirun; and what else looked like a run."""
    runs, refused = [], []
    for folder in folders:
        found = [read(place) for place in _candidates(folder)]
        runs += sorted((x for x in found if isinstance(x, Run)), key=lambda run: (run.number, run.place))
        refused += [x for x in found if isinstance(x, Refused)]
        if not folder.is_dir():
            refused.append(Refused(folder, "it is not a folder"))
    return list({run.place.resolve(): run for run in runs}.values()), refused


def _candidates(folder: Path) -> Iterator[Path]:
    """Folders that hold a ledger or a Hydra config; nothing below them, and no links."""
    for place, inside, files in os.walk(folder):
        inside.sort()
        if "ledger.json" in files or ".hydra" in inside:
            inside.clear()
            yield Path(place)


def read(place: Path) -> Run | Refused:
    """A run folder, or the reason why it is none."""
    path = place / "ledger.json"
    if not path.is_file():
        return Refused(place, "it is not finished: there is no ledger.json")
    try:
        if path.stat().st_size > LARGEST:
            return Refused(place, f"ledger.json must have at most {LARGEST} bytes, but has {path.stat().st_size}")
        ledger = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return Refused(place, f"ledger.json cannot be read: {error}")
    if not isinstance(ledger, dict) or ledger.get("schema") != SCHEMA:
        schema = ledger.get("schema") if isinstance(ledger, dict) else None
        return Refused(place, f"ledger.json must have schema {SCHEMA}, but has {schema}")
    config = place / ".hydra"
    provenance, hydra, asked = (
        _yaml(x) for x in (place / "provenance.json", config / "hydra.yaml", config / "overrides.yaml")
    )
    overrides = [str(x) for x in asked] if isinstance(asked, list) else []
    run = Run(place, ledger, overrides, provenance if isinstance(provenance, dict) else {}, _number(hydra))
    try:  # what reads a ledger is the judge of its shape
        judged = rungs(ledger), title(ledger), list(rows(run))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Refused(place, f"ledger.json is not a ledger: {type(error).__name__} {error}")
    del judged
    return run


def _yaml(path: Path) -> Any:
    """YAML or JSON, plain values only (interpolations stay as text); None if it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _number(hydra: Any) -> int:
    try:
        return int(hydra["hydra"]["job"]["num"])
    except (KeyError, TypeError, ValueError):
        return 0
