"""The tidy long table: one row per run x layer x length x protocol, with unit, interval and class in columns.

Losses, gaps and excesses are in nats per token. `inf` is infinite; an empty value is undefined, and its class says so.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.ledger import number

if TYPE_CHECKING:
    from experiments.found import Run

COLUMNS = {  # the data dictionary
    "run": "the run's folder, relative to the table's",
    "identity": "hash of the run's config",
    "commit": "git commit of the code that made it",
    "world": "D: the law",
    "perception": "P: the concept",
    "scheme": "the position scheme that carries the concept's name",
    "instantiation": "I: the architecture",
    "overrides": "what was asked for on the command line",
    "seeds": "trained members",
    "train_length": "tokens per training sequence",
    "length": "tokens of the functional that the row belongs to",
    "layer": "D, P, I, R or O; for a gap the two layers, upper minus lower",
    "quantity": "loss, gap, excess (of one seed over D), residual; for a protocol its score, expected score, ceiling, "
    "the world's own score and the three parts of score minus truth; for D its zeros by name",
    "protocol": "of layer O; empty elsewhere",
    "seed": "of an excess; empty elsewhere",
    "unit": "of value, low and high",
    "value": "the number",
    "low": "lower end of its interval (95 % where it is estimated)",
    "high": "upper end",
    "class": "exact, certified, estimated, witnessed or undefined",
    "count": "independent sequences or seeds behind an estimate",
}


def frame(runs: list["Run"], out: Path) -> pd.DataFrame:
    """All rows of all runs, for a table that is kept in the folder `out`."""
    found = [row | {"run": os.path.relpath(run.place, out)} for run in runs for row in rows(run)]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    return table.astype({k: "Int64" for k in ("seeds", "train_length", "length", "seed", "count")})


def rows(run: "Run") -> Iterator[dict[str, Any]]:
    """The rows of one run."""
    ledger = run.ledger
    git = run.provenance.get("git")
    shared = {
        "identity": ledger.get("identity", ""),
        "commit": git.get("commit") if isinstance(git, dict) else None,
        "world": ledger["world"]["name"],
        "perception": ledger["perception"]["name"],
        "scheme": ledger["perception"]["scheme"]["name"],
        "instantiation": ledger["instantiation"]["name"],
        "overrides": " ".join(run.overrides),
        "seeds": len(ledger["seeds"]),
        "train_length": int(ledger["train_length"]),
        "unit": ledger["unit"],
    }
    trained = int(ledger["length"])
    further = {int(n): part for n, part in ledger["lengths"].items() if int(n) != trained}
    for length, part in sorted(({trained: ledger} | further).items()):
        for row in _measured(part):
            yield shared | {"length": length} | row
    for row in (*_protocols(ledger), *_zeros(ledger)):
        yield shared | {"length": trained} | row


def _measured(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for layer, entry in part["layers"].items():
        yield {"layer": layer, "quantity": "loss"} | _numbers(entry, "loss")
    for gap, entry in part["gaps"].items():
        yield {"layer": gap, "quantity": "gap"} | _numbers(entry, "nats")
    for seed, entry in enumerate(part["members"]):
        yield {"layer": "R", "quantity": "excess", "seed": seed} | _numbers(entry, "excess")
    yield {"layer": "O" if "O" in part["layers"] else "R", "quantity": "residual", "value": number(part["residual"])}


def _protocols(ledger: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, seen in ledger["protocols"].items():
        scores = {k: seen[k] for k in ("score", "expected", "ceiling")}
        scores |= {"world_score": seen["world"]} if "world" in seen else {}
        scores |= {f"{k}_part": entry for k, entry in (seen["parts"] or {}).items()}
        for quantity, entry in scores.items():
            row = {"layer": "O", "protocol": name, "quantity": quantity, "unit": seen["unit"]}
            yield row | _numbers(entry, "value")


def _zeros(ledger: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, entry in ledger["zeros"].items():
        yield {"layer": "D", "quantity": name} | _numbers(entry, "value")


def _numbers(entry: dict[str, Any], value: str) -> dict[str, Any]:
    low, high = number(entry["low"]), number(entry["high"])
    known = {"value": number(entry[value]), "low": low, "high": high, "class": entry["class"]}
    return known | {"count": entry.get("count")}
