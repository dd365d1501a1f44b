"""report.html: one self-contained page of a study. It needs no network and no server, and runs no text as code.

The frame is a template that escapes everything; charts are specifications that page.js draws from one block of data.
A content security policy names the page's own two scripts by hash, so that no other could run, and allows no request.
"""

import base64
import functools
import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from experiments.cell import identity
from experiments.found import Refused, Run, asked, config, printable, sources
from experiments.page import contents
from experiments.page.charts import charts
from experiments.page.findings import Finding, Nested, findings
from experiments.tables import blocks, cell
from experiments.tidy import COLUMNS

HERE = Path(__file__).parent
KNOWN = (  # keys of a ledger that the page shows elsewhere, or that repeat the config
    *("schema", "identity", "unit", "world", "perception", "instantiation", "reach", "study", "seed", "seeds"),
    *("length", "train_length", "observation", "functional", "layers", "gaps", "witness", "contained", "proof"),
    *("members", "witnesses", "residual", "protocols", "zeros", "lengths", "sentences", "diverged", "judged"),
    "diagnose",
)
PLACES = ("run", "runs", "first", "second", "A", "B")  # columns of findings that hold folders of runs
LONG = 20_000  # characters of a further finding of one run


def page(
    out: Path, runs: list[Run], refused: list[Refused], names: list[str], unsaid: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The page, for a report that is kept in the folder `out`; `unsaid` are studies that found too little, and why."""
    found, unreadable = findings(out)
    unreadable = [*unsaid, *unreadable]
    keys = contents.keys(runs)
    positions, steps, missing = contents.along(runs)
    drawn = {
        "ladders": contents.ladders(runs),
        "lengths": contents.lengths(runs),
        "positions": positions,
        "training": steps,
        "protocols": contents.protocols(runs),
    }
    data = {
        "runs": [{"label": name, "keys": k} for name, k in zip(names, keys, strict=True)],
        "tables": {name: contents.packed(table) for name, table in drawn.items()},
        "shown": contents.SHOWN,
        "intervals": [x.drawings for x in found],
        "phases": [x.phase for x in found],
        "charts": charts(),
    }
    library, script = _library(), _script((HERE / "page.js").read_text("utf-8"))
    frame = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    frame.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    text = frame.get_template("page.html").render(
        runs=[_run(out, n, *x) for n, x in enumerate(zip(runs, names, keys, strict=True))],
        blocks=[(x.name, x.columns, [[_cell(e) for e in row] for row in x.rows.values()]) for x in blocks(runs, names)],
        refused=[(printable(os.path.relpath(x.place, out)), printable(x.reason)) for x in refused],
        missing=[names[n] for n in missing],
        findings=[_finding(x, out, runs) for x in found],
        unreadable=unreadable,
        commands=_commands(runs),
        origins=_origins(runs),
        columns=COLUMNS,
        data=data,
        style=(HERE / "page.css").read_text("utf-8"),
        library=library,
        script=script,
        policy=" ".join(map(_hash, (library, script))),
    )
    return text.encode()


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, bundled: a second's work."""
    return _script(vl_convert.javascript_bundle())  # pyright: ignore[reportCallIssue]  its stub knows no default


def _script(text: str) -> str:
    """A script as it stands between its tags, which nothing in it may close."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("page: a script must not hold its own closing tag or a comment of HTML, but does")
    return f"\n{text.strip()}\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _run(out: Path, n: int, run: Run, name: str, keys: dict[str, str]) -> dict[str, Any]:
    """One run, for its rows in the tables and its own part of the page."""
    ledger, (text, values) = run.ledger, config(run)
    hashed = {True: "agrees with the ledger's", False: "differs from the ledger's: interpolated, edited or older"}
    return {
        "number": n,
        "name": name,
        "keys": keys,
        "place": printable(os.path.relpath(run.place, out)),
        "identity": ledger.get("identity", ""),
        "hashed": hashed[identity(values) == ledger.get("identity")] if values else "cannot be checked: no config",
        "sentences": ledger["sentences"],
        "diverged": ledger.get("diverged", {}),
        "bound": f"witness {ledger.get('witness', '')}; {ledger.get('proof') or 'no containment is proved'}",
        "protocols": [_protocol(*x) for x in ledger["protocols"].items()],
        "zeros": [(k, _cell({"loss": x["value"], **x}), str(x.get("of", ""))) for k, x in ledger["zeros"].items()],
        "command": command(run),
        "provenance": list(_flat(run.provenance)),
        "config": text,
        "verdicts": _verdicts(ledger.get("diagnosis")),
        "further": [(k, _pretty(x)) for k, x in ledger.items() if k not in KNOWN and x not in (None, {}, [])],
    }


def _cell(entry: dict[str, Any] | None) -> dict[str, Any]:
    """A number in words, and the number itself to sort by."""
    value, interval, kind = cell(entry)
    number = None if entry is None else contents.finite(entry.get("nats", entry.get("loss")))
    return {"value": value, "interval": interval, "class": kind, "number": number}


def _protocol(name: str, seen: dict[str, Any]) -> dict[str, Any]:
    quantities = {k: seen[k] for k in ("score", "expected", "ceiling", "world") if k in seen}
    parts = {k: _cell({"nats": x["value"], **x}) for k, x in (seen["parts"] or {}).items()}
    numbers = {k: _cell({"loss": x["value"], **x}) for k, x in quantities.items()}
    return {"name": name, "unit": seen["unit"], "shows": seen.get("shows", ""), "numbers": numbers, "parts": parts}


def _finding(found: Finding, out: Path, runs: list[Run]) -> dict[str, Any]:
    """A finding whose folders are links to their runs, as far as these are in the page."""
    places = {os.path.normpath(os.path.relpath(run.place, out)): n for n, run in enumerate(runs)}
    places |= {run.place.name: n for n, run in enumerate(runs)}

    def linked(column: str, x: Any) -> dict[str, Any]:
        if isinstance(x, Nested):
            return {"columns": x.columns, "rows": table(x.columns, x.rows), "parts": []}
        parts = [x] if isinstance(x, str) else x
        return {"parts": [(y, places.get(os.path.normpath(y)) if column in PLACES else None) for y in parts]}

    def table(columns: list[str], rows: list[list[Any]]) -> list[list[dict[str, Any]]]:
        return [[linked(column, x) for column, x in zip(columns, row, strict=True)] for row in rows]

    return found._asdict() | {"rows": table(found.columns, found.rows)}


def command(run: Run) -> str:
    """The command that makes one run again, in the folder that bears its name."""
    return _asked(run, [*run.overrides, "hydra.mode=RUN"])


def _asked(run: Run, overrides: list[str]) -> str:
    """The command with these overrides, less those that only say where files go, and the run's own config folders."""
    kept = [x for x in overrides if not x.startswith("hydra.") or x == "hydra.mode=RUN"]
    folders = [word for folder in sources(run) for word in ("--config-dir", folder)]
    return shlex.join(["./run", "python", "-m", "experiments.run", *folders, *kept])


def _commands(runs: list[Run]) -> list[str]:
    """The commands that make all of this again: a multirun's where its folder says it, else those of its runs."""
    found = []
    for run in runs:
        whole = asked(run.place.parent)
        found.append(_asked(run, ["-m", *whole]) if whole else command(run))
    return list(dict.fromkeys(found))


def _origins(runs: list[Run]) -> list[dict[str, Any]]:
    """What made the runs: one entry for each different state of code, versions and device."""
    found: dict[str, dict[str, Any]] = {}
    for n, run in enumerate(runs):
        kept = {k: run.provenance[k] for k in ("git", "lock", "versions", "device", "xla_flags") if k in run.provenance}
        rows = list(_flat(kept))
        found.setdefault(json.dumps(rows), {"rows": rows, "runs": []})["runs"].append(n)
    return list(found.values())


def _flat(content: Any, path: str = "", depth: int = 0) -> Any:
    """(name, value) of nested plain values, in words."""
    if isinstance(content, dict) and depth < 4:
        for key, x in list(content.items())[:200]:
            yield from _flat(x, f"{path} {printable(str(key))}".strip(), depth + 1)
    else:
        yield path, printable(content if isinstance(content, str) else json.dumps(content, default=str))[:500]


def _verdicts(diagnosis: Any) -> list[tuple[str, str, str, str]]:
    """(layer, verdict, why, next command) of each layer, as far as the diagnosis has this form."""
    found = diagnosis.get("verdicts") if isinstance(diagnosis, dict) else None
    layers = found.items() if isinstance(found, dict) else []
    rows = [(k, *(x.get(w, "") for w in ("verdict", "why", "next"))) for k, x in layers if isinstance(x, dict)]
    return [row for row in rows if all(isinstance(x, str) for x in row)]


def _pretty(x: Any) -> str:
    text = x if isinstance(x, str) else json.dumps(x, indent=1, ensure_ascii=False, default=str)
    return text if len(text) <= LONG else f"{text[:LONG]}\n... {len(text) - LONG} more characters in ledger.json"
