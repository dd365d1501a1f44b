"""The tidy long table: one row per run x layer x length x protocol, with unit, interval and class in columns.

Losses, gaps and excesses are in nats per token. `inf` is infinite; an empty value is undefined, and its class says so.
Text in the CSV that a spreadsheet would take for a formula begins with an apostrophe, as spreadsheets have it.
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
    "quantity": "loss, gap, excess (of one seed over D), residual; for a protocol its score and expected score (of all "
    "seeds and of each), ceiling, the world's own score, the three parts of score minus truth; for D its zeros by name",
    "protocol": "of layer O; empty elsewhere",
    "seed": "of an excess or a seed's own score; empty elsewhere",
    "diverged": "the step at which the seed's training left the numbers; empty where it did not",
    "unit": "of value, low and high",
    "value": "the number",
    "low": "lower end of its interval (95 % where it is estimated)",
    "high": "upper end",
    "class": "exact, certified, estimated, witnessed or undefined; empty for a seed's score, which has no interval",
    "count": "independent sequences or seeds behind an estimate",
}


def frame(runs: list["Run"], out: Path) -> pd.DataFrame:
    """All rows of all runs, for a table that is kept in the folder `out`."""
    found = [row | {"run": os.path.relpath(run.place, out)} for run in runs for row in rows(run)]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    return table.astype({k: "Int64" for k in ("seeds", "train_length", "length", "seed", "diverged", "count")})


def csv(table: pd.DataFrame) -> bytes:
    """The table as CSV in which no text is a formula: a name that begins like one gets an apostrophe before it."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].map(_harmless) for name in texts}).to_csv(index=False).encode()


def _harmless(x: Any) -> Any:
    return f"'{x}" if isinstance(x, str) and x.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else x


def dictionary() -> pd.DataFrame:
    """The data dictionary: what each column of the table holds."""
    return pd.DataFrame(COLUMNS.items(), columns=["column", "meaning"])


def rows(run: "Run") -> Iterator[dict[str, Any]]:
    """The rows of one run."""
    ledger = run.ledger
    git = run.provenance.get("git")
    shared = {
        "identity": ledger.get("identity", ""),
        "commit": str(git.get("commit") or "") if isinstance(git, dict) else "",
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
    diverged = {int(seed): step for seed, step in ledger.get("diverged", {}).items()}
    for length, part in sorted(({trained: ledger} | further).items()):
        for row in _measured(part, diverged):
            yield shared | {"length": length} | row
    for row in (*_protocols(ledger), *_zeros(ledger)):
        yield shared | {"length": trained} | row


def _measured(part: dict[str, Any], diverged: dict[int, int | None]) -> Iterator[dict[str, Any]]:
    for layer, entry in part["layers"].items():
        yield {"layer": layer, "quantity": "loss"} | _numbers(entry, "loss")
    for gap, entry in part["gaps"].items():
        yield {"layer": gap, "quantity": "gap"} | _numbers(entry, "nats")
    for seed, entry in enumerate(part["members"]):
        row = {"layer": "R", "quantity": "excess", "seed": seed, "diverged": diverged.get(seed)}
        yield row | _numbers(entry, "excess")
    yield {"layer": "O" if "O" in part["layers"] else "R", "quantity": "residual", "value": number(part["residual"])}


def _protocols(ledger: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, seen in ledger["protocols"].items():
        scores = {k: seen[k] for k in ("score", "expected", "ceiling")}
        scores |= {"world_score": seen["world"]} if "world" in seen else {}
        scores |= {f"{k}_part": entry for k, entry in (seen["parts"] or {}).items()}
        for quantity, entry in scores.items():
            row = {"layer": "O", "protocol": name, "quantity": quantity, "unit": seen["unit"]}
            yield row | _numbers(entry, "value")
        for quantity, values in (("score", seen.get("scores", [])), ("expected", seen.get("targets", []))):
            for seed, value in enumerate(values):
                row = {"layer": "O", "protocol": name, "quantity": quantity, "unit": seen["unit"], "seed": seed}
                yield row | {"value": number(value)}


def _zeros(ledger: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, entry in ledger["zeros"].items():
        yield {"layer": "D", "quantity": name} | _numbers(entry, "value")


def _numbers(entry: dict[str, Any], value: str) -> dict[str, Any]:
    low, high = number(entry["low"]), number(entry["high"])
    known = {"value": number(entry[value]), "low": low, "high": high, "class": entry["class"]}
    return known | {"count": entry.get("count")}
