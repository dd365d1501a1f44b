"""Run folders as they are found on disk: read, checked, never trusted. Nothing in them is executed or unpickled."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jaxtyping import Shaped

from experiments import checked
from experiments.ladder import rungs
from experiments.style import title
from experiments.tidy import rows

LARGEST = 20_000_000  # bytes; a ledger has some ten thousand
CONFIG = 1_000_000  # bytes; one has two thousand
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # plain values only; in C where it is built, ten times as fast
BROKEN = (OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, zlib.error, zipfile.BadZipFile)
CURVES = 200_000_000  # bytes of a run's curves, unpacked


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
        ledger = checked.parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return Refused(place, f"ledger.json cannot be read: {error}")
    provenance, hydra, asked = (
        _yaml(place / x) for x in ("provenance.json", ".hydra/hydra.yaml", ".hydra/overrides.yaml")
    )
    overrides = [printable(x) for x in asked if isinstance(x, str)] if isinstance(asked, list) else []
    try:  # the types first, and then what reads a ledger is the judge
        judged = checked.ledger(ledger), rungs(ledger), title(ledger)
        run = Run(place, ledger, overrides, provenance if isinstance(provenance, dict) else {}, _number(hydra))
        judged = list(rows(run))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Refused(place, f"ledger.json is not a ledger: {printable(str(error))}")
    del judged
    return run


def config(run: Run) -> tuple[str, dict[str, Any]]:
    """The run's config as text and as plain values, interpolations unresolved; empty where there is none to read."""
    text, content = _text(run.place / ".hydra" / "config.yaml"), _yaml(run.place / ".hydra" / "config.yaml")
    return (text, content) if isinstance(content, dict) else (text, {})


def asked(folder: Path) -> list[str]:
    """The overrides of the multirun whose folder this is; empty where it is none."""
    found = _yaml(folder / "multirun.yaml")
    try:
        return [printable(x) for x in found["hydra"]["overrides"]["task"] if isinstance(x, str)]
    except (KeyError, TypeError):
        return []


def sources(run: Run) -> list[str]:
    """The folders of configs that a run was given on the command line, beside the repository's own."""
    found = _yaml(run.place / ".hydra" / "hydra.yaml")
    try:
        given = [x for x in found["hydra"]["runtime"]["config_sources"] if x["provider"] == "command-line"]
        return [printable(x["path"]) for x in given if isinstance(x["path"], str)]
    except (KeyError, TypeError):
        return []


def curves(run: Run, *groups: str) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of curves.npz whose names begin with one of `groups` (or all), as far as they are numbers.

    None at all where the file is missing, broken or too large, or holds objects in one of them.
    """
    path = run.place / "curves.npz"
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > CURVES:
                return {}
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if not groups or name.startswith(groups)}
            return {name: array for name, array in found.items() if array.dtype.kind in "fiu"}
    except BROKEN:
        return {}


def printable(text: str) -> str:
    """The text on one line, without characters that steer a terminal or a reader."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _yaml(path: Path) -> Any:
    """YAML or JSON, plain values only (interpolations stay as text); None if it cannot be read."""
    try:
        return yaml.load(_text(path), Loader=SAFE) if path.is_file() else None
    except (ValueError, RecursionError, yaml.YAMLError):
        return None


def _text(path: Path) -> str:
    """A small text file; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= CONFIG else ""
    except OSError:
        return ""


def _number(hydra: Any) -> int:
    try:
        return int(hydra["hydra"]["job"]["num"])
    except (KeyError, TypeError, ValueError):
        return 0
