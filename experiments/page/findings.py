"""What studies left in a folder: their tables (CSV, JSON) and figures (PNG), read as plain values and shown as found.

The files may come from anywhere: they are bounded, nothing in them is executed, and all their text is escaped later.
"""

import base64
import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from experiments import checked
from experiments.found import printable

OURS = ("ledger", "columns", "figure", "table", "waterfall", "report")  # stems of what the report itself writes
LARGEST, IMAGE, IMAGES = 5_000_000, 1_500_000, 3_000_000  # bytes: of a table, of a figure, of all figures
ROWS, LINES = 500, 120  # of a table, of a drawing
VALUES = ("value", "effect", "nats", "tau", "tau_b", "gap", "difference", "exponent")
ASIDE = (  # what says more of a line than its name does
    *("low", "high", "unit", "class", "runs", "why", "statement", "source", "rule", "note", "n", "count"),
    *("first", "second", "method", "functional", "better"),
)
FIRST = (  # columns of claims that come first, in this order; the others as they are
    *("name", "verdict", "statement", "effect", "value", "low", "high", "unit", "n", "smallest", "setting", "why"),
    *("runs", "trials", "rule"),
)
JUDGES = {"needed": "what the world needs (perception)", "preferred": "what training prefers (reach)"}  # of phase.csv
OWN = ("value", "effect", "gap", "difference")  # values in the record's own unit
COUNTED = ("pair", "multiple")  # numbers that belong to a line's name


class Nested(NamedTuple):
    """A table in a cell."""

    columns: list[str]
    rows: list[list[Any]]


class Finding(NamedTuple):
    """One table or figure."""

    name: str  # the file's
    columns: list[str]
    rows: list[list[Any]]  # text, or a list of texts (folders of runs), or a Nested
    left: int  # rows that are not shown
    drawings: dict[str, list[dict[str, Any]]]  # by unit: lines with value, low and high
    image: str  # a data address; empty for a table
    phase: list[dict[str, Any]] = []  # a phase diagram: a tile for each world and judge
    wide: int = 0  # of a figure: points of the screen, so that its type is about as large as the page's


def findings(folder: Path) -> tuple[list[Finding], list[tuple[str, str]]]:
    """The findings of a folder and the files that could not be shown with the reason; what was asked comes first."""
    found, refused, room = [], [], IMAGES
    paths = sorted(folder.iterdir(), key=_place) if folder.is_dir() else []
    for path in paths:
        if path.suffix not in (".csv", ".json", ".png") or path.is_symlink() or not path.is_file():
            continue
        if path.stem.split("-")[0] in OURS or path.stem == "provenance":
            continue
        try:
            finding = _image(path, room) if path.suffix == ".png" else _table(path)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            refused.append((printable(path.name), printable(str(error))))
            continue
        room -= len(finding.image)
        found.append(finding)
    return found, refused


def _place(path: Path) -> tuple[int, list[int], str]:
    """Claims, then what else the study drew and found, then what every report has; pages by their numbers."""
    kind = path.stem.split("-")[0]
    rank = 0 if kind == "claims" else 3 if kind == "fidelity" else 1 if path.suffix == ".png" else 2
    return rank, [int(x) for x in re.findall(r"\d{1,9}", path.stem)], path.name


def _image(path: Path, room: int) -> Finding:
    size = path.stat().st_size
    if size > min(IMAGE, room):
        raise ValueError(f"a figure must have at most {min(IMAGE, room)} bytes to be shown here, but has {size}")
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("it is no PNG")
    image = "data:image/png;base64," + base64.b64encode(content).decode()
    return Finding(printable(path.name), [], [], 0, {}, image, wide=int.from_bytes(content[16:20], "big") // 2)


def _table(path: Path) -> Finding:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"a table must have at most {LARGEST} bytes, but has {path.stat().st_size}")
    text = path.read_text(encoding="utf-8")
    records = list(csv.DictReader(io.StringIO(text))) if path.suffix == ".csv" else _records(checked.parsed(text))
    columns, rows = _cells(records[:ROWS])
    left = max(0, len(records) - ROWS)
    return Finding(printable(path.name), columns, rows, left, _drawings(records), "", _phase(records))


def _cells(records: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) in words, what matters most first."""
    names = dict.fromkeys(key for record in records for key in record if isinstance(key, str))
    first = FIRST if "verdict" in names else ()
    order = sorted(names, key=lambda name: first.index(name) if name in first else len(first))
    return [printable(name) for name in order], [[_said(record.get(name)) for name in order] for record in records]


def _records(content: Any) -> list[dict[str, Any]]:
    """A list of objects, or an object of objects by name."""
    if isinstance(content, dict) and content and all(isinstance(x, dict) for x in content.values()):
        return [{"name": name, **record} for name, record in content.items()]
    if isinstance(content, list) and all(isinstance(x, dict) for x in content):
        return content
    if isinstance(content, dict):
        return [{"name": name, "value": value} for name, value in content.items()]
    raise ValueError("a table must be a list of objects, or an object, but is neither")


def _said(x: Any) -> str | list[str] | Nested:
    """A cell in words; a list of words stays one, a list of records becomes a table."""
    if isinstance(x, list) and x and all(isinstance(y, dict) for y in x):
        return Nested(*_cells(x[:100]))
    if isinstance(x, list) and all(isinstance(y, str) for y in x):
        return [printable(y) for y in x[:200]]
    if x is None:
        return ""
    if isinstance(x, dict | list):
        return printable(json.dumps(x, ensure_ascii=False)[:500])
    value = _number(x)
    if value is None:
        return printable(str(x))
    return f"{value:.6g}" if isinstance(x, float) or "." in str(x) else printable(str(x))


def _number(x: Any) -> float | None:
    """A number or its text; None where it is none."""
    try:
        return None if isinstance(x, bool) or not isinstance(x, int | float | str) else float(x)
    except (ValueError, OverflowError):
        return None


def _drawings(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Lines for a drawing, by unit, where records have a value with its interval."""
    found: dict[str, list[dict[str, Any]]] = {}
    choices = [(x, low, high) for x in VALUES for low, high in (("low", "high"), (f"{x}_low", f"{x}_high"))]
    names = next((x for x in choices if records and set(x) <= set(records[0])), None)
    if names is None:
        return found
    value = names[0]
    for record in records:
        ends = {k: _finite(record.get(x)) for k, x in zip(("value", "low", "high"), names, strict=True)}
        unit = record.get("unit") if value in OWN else ""  # a protocol's unit is none of its fidelity's
        lines = found.setdefault(printable(str(unit or value)), [])
        if ends["value"] is None or len(lines) == LINES:
            continue
        named = {k: x for k, x in record.items() if k not in (*ASIDE, value) and not str(k).endswith("_class")}
        words = [x for x in named.values() if isinstance(x, str) and x]
        words = [word for word in words if _number(word) is None]
        words += [f"{k} {record[k]}" for k in COUNTED if record.get(k)]
        line = printable(" · ".join(words)[:90])
        if not line or any(x["line"] == line for x in lines):  # a drawing has one line for each name
            line = f"{line} row {len(lines) + 1}".strip()
        lines.append({"line": line, "note": printable(str(record.get("why") or "")), **ends})
    return {unit: lines for unit, lines in found.items() if lines}


def _phase(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A tile for each world and judge, where the records are those of experiments.question.phase."""
    if not records or not {"share", "rate", *JUDGES} <= set(records[0]):
        return []
    tiles = {}
    for record in records[:ROWS]:
        share, rate = (_finite(record.get(k)) for k in ("share", "rate"))
        places = {
            "share": "periodic" if share is None else f"{share:g}",
            "rate": "none" if rate is None else f"{rate:g}",
        }
        agree = str(record.get("agree")) == "True"
        for judge, words in JUDGES.items():
            concept, margin = printable(str(record.get(judge) or "none")), _finite(record.get(f"{judge}_margin"))
            tile = {"judge": words, "group": concept, "said": concept if agree else f"\N{NOT EQUAL TO} {concept}"}
            told = "" if margin is None else f"{margin:+.3f}"
            tiles[share, rate, judge] = places | tile | {"margin": told, "agree": agree}
    return list(tiles.values())


def _finite(x: Any) -> float | None:
    value = _number(x)
    return value if value is not None and math.isfinite(value) else None
