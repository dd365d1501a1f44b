"""What the page shows, as small tables of plain numbers: nats per token, excesses over the world's own loss.

A number that a drawing cannot hold is null, and the word for it stands beside it. Curves are thinned by means over
neighbours, never by leaving out; their bands are the smallest and largest seed.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from experiments.found import Run, curves
from experiments.labels import short
from experiments.ladder import numbers, rungs
from experiments.ledger import number
from experiments.style import said

POINTS = 48  # of a curve
SHOWN = {
    "R-D": "R - D, what training reached",
    "P-D": "P - D, the concept's best",
    "I-D": "I - D, the best weights known",
}


def keys(runs: list[Run]) -> list[dict[str, str]]:
    """What tells runs apart, by name: what they are, and every override in which some of them differ."""
    asked = [dict(_pair(x) for x in run.overrides) for run in runs]
    varied = [k for k in dict.fromkeys(k for x in asked for k in x) if len({x.get(k, "") for x in asked}) > 1]
    shown = [k for k in varied if k not in ("world", "perception", "instantiation", "perception/scheme", "experiment")]
    found = []
    for run, overrides in zip(runs, asked, strict=True):
        ledger = run.ledger
        law = [f"{k.removeprefix('world.')}={overrides[k]}" for k in shown if k.startswith("world.") and k in overrides]
        found.append(
            {
                "world": " ".join([ledger["world"]["name"], *law]),
                "perception": ledger["perception"]["name"],
                "scheme": ledger["perception"]["scheme"]["name"],
                "instantiation": ledger["instantiation"]["name"],
                "trained length": str(ledger["train_length"]),
                "seeds": str(len(ledger["members"])),
                **{k: overrides.get(k, "as configured") for k in shown},
            }
        )
    return found


def _pair(override: str) -> tuple[str, str]:
    name, _, value = short(override.lstrip("+~")).partition("=")
    return name, value


def ladders(runs: list[Run]) -> pd.DataFrame:
    """The rungs of each run at the trained length (kind rung), and its seeds (kind seed)."""
    rows = []
    for n, run in enumerate(runs):
        floor = run.ledger["layers"]["D"]
        nothing = {"start": 0.0, "end": 0.0, "low": 0.0, "high": 0.0, "surplus": False}
        rows.append({"run": n, "kind": "rung", "layer": "D", **nothing, **_words(floor, "loss")})
        for step in rungs(run.ledger):
            places = {k: finite(x) for k, x in step._asdict().items() if k in ("start", "end", "low", "high")}
            surplus = math.isfinite(step.end - step.start) and step.end < step.start
            row = {"run": n, "kind": "rung", "layer": step.layer, **places, "surplus": surplus}
            rows.append(row | _words(step.gap, "nats"))
        for seed, entry in enumerate(run.ledger["members"]):
            words = {"text": said(entry["excess"]), "range": "", "class": entry["class"]}
            rows.append({"run": n, "kind": "seed", "layer": "R", "end": finite(entry["excess"]), "seed": seed, **words})
    return pd.DataFrame(rows)


def _words(entry: dict[str, Any], value: str) -> dict[str, str]:
    """A number, its interval and its class, in words."""
    sign, one = value == "nats", entry["low"] == entry["high"]
    interval = "" if one else f"[{said(entry['low'], sign)}, {said(entry['high'], sign)}]"
    return {"text": said(entry[value], sign), "range": interval, "class": entry["class"]}


def lengths(runs: list[Run]) -> pd.DataFrame:
    """R - D, P - D and I - D at each length (kind mean), and the seeds behind R - D (kind seed)."""
    rows = []
    for n, run in enumerate(runs):
        parts = {str(run.ledger["length"]): run.ledger} | run.ledger["lengths"]
        for length, part in sorted(parts.items(), key=lambda x: int(x[0])):
            at = {"run": n, "multiple": int(length) / run.ledger["train_length"]}
            found = {"R-D": numbers(part["gaps"]["R-D"]), "P-D": numbers(part["gaps"]["P-D"]), "I-D": _best(part)}
            for what, (mean, low, high) in found.items():
                ends = {"mean": finite(mean), "low": finite(low), "high": finite(high)}
                rows.append(at | {"kind": "mean", "what": what, **ends, "text": said(mean)})
            for seed, entry in enumerate(part["members"]):
                value = {"mean": finite(entry["excess"]), "text": said(entry["excess"])}
                rows.append(at | {"kind": "seed", "what": "R-D", "seed": seed, **value})
    return pd.DataFrame(rows)


def _best(part: dict[str, Any]) -> list[float]:
    """I - D: the floor's interval was added to the bracket of I end by end, and is taken off again in the same way."""
    floor, best = part["layers"]["D"], part["layers"]["I"]
    return [number(best[k]) - number(floor[k]) for k in ("loss", "low", "high")]


def along(runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """(by position, by step, the runs without readable curves): mean over seeds, least and largest seed."""
    positions, steps, missing = [], [], []
    for n, run in enumerate(runs):
        arrays = curves(run, "excess/", "train/excess")
        for name, array in arrays.items():
            group, _, rest = name.partition("/")
            if array.ndim != 2 or 0 in array.shape or array.shape[1] > 10**7:
                continue
            if group == "excess" and rest.isascii() and rest.isdigit():
                at = {"run": n, "multiple": int(rest) / run.ledger["train_length"]}
                positions += [at | row for row in _thinned(array, spaced=True)]
            elif name == "train/excess":
                steps += [{"run": n} | row for row in _thinned(array, spaced=False)]
        missing += [] if arrays else [n]
    columns = ["at", "mean", "low", "high"]
    return (
        pd.DataFrame(positions, columns=["run", "multiple", *columns]),
        pd.DataFrame(steps, columns=["run", *columns]),
        missing,
    )


def _thinned(array: Float[np.ndarray, "member time"], spaced: bool) -> list[dict[str, float | None]]:
    """At most POINTS rows: means over neighbouring positions (in even or geometric steps), counted from 1."""
    time = array.shape[1]
    ends = np.geomspace(1, time, POINTS) if spaced else np.linspace(0, time, POINTS + 1)[1:]
    ends = np.unique(np.ceil(ends - 1e-9).astype(int))
    starts = np.concatenate([[0], ends[:-1]])
    rows = []
    for start, end in zip(starts, ends, strict=True):
        members = np.asarray(array[:, start:end], np.float64).mean(1)
        seen = (members.mean(), members.min(), members.max())
        rows.append({"at": (start + 1 + end) / 2, **dict(zip(("mean", "low", "high"), map(finite, seen), strict=True))})
    return rows


def protocols(runs: list[Run]) -> pd.DataFrame:
    """Each protocol's score of each run with what it should be compared with, beside the exact excess R - D."""
    rows = []
    for n, run in enumerate(runs):
        truth = run.ledger["gaps"]["R-D"]
        for name, seen in run.ledger["protocols"].items():
            score = seen["score"]
            numbers_ = {k: finite(score[v]) for k, v in (("score", "value"), ("low", "low"), ("high", "high"))}
            beside = {k: finite(seen[k]["value"]) for k in ("expected", "ceiling")}
            beside["world"] = finite(seen["world"]["value"]) if "world" in seen else None
            at = {"run": n, "protocol": f"{name}, {seen['unit']}", "excess": finite(truth["nats"])}
            rows.append(at | numbers_ | beside | {"text": _words(score, "value")["text"]})
    return pd.DataFrame(rows)


def finite(x: Any) -> float | None:
    """A number that a drawing can hold; None where it is infinite or undefined."""
    value = number(x)
    return value if math.isfinite(value) else None


def packed(table: pd.DataFrame) -> dict[str, Any]:
    """The table by columns: numbers to six digits, text by its place in a list of the different ones."""
    found: dict[str, Any] = {}
    for name in table:
        column = table[name].tolist()
        if any(isinstance(x, str) for x in column):
            words = list(dict.fromkeys(x if isinstance(x, str) else "" for x in column))
            place = {x: n for n, x in enumerate(words)}
            found[str(name)] = {"words": words, "at": [place[x if isinstance(x, str) else ""] for x in column]}
        else:
            found[str(name)] = [_short(x) for x in column]
    return found


def _short(x: Any) -> float | int | bool | None:
    if isinstance(x, bool | np.bool_):
        return bool(x)
    if x is None or not math.isfinite(x):
        return None
    return int(x) if float(x).is_integer() and abs(x) < 2**53 else float(f"{x:.6g}")
