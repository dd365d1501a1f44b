"""Whether a file's content is a ledger: every value that a report reads has its type, before anything reads it.

A ledger may come from anywhere. What passes here holds numbers where numbers are due (finite, "inf", "-inf" or null),
names that are short and printable, and intervals that are not empty. Keys that no report reads are not looked at.
"""

import json
import math
from typing import Any, get_args

from experiments.cell import SCHEMA
from experiments.ledger import LAYERS, number
from worlds.quantity import Kind

LONGEST = 200  # characters of a name


def parsed(text: str) -> Any:
    """Strict JSON: NaN and Infinity are refused, as are numbers that float64 cannot hold."""

    def refuse(word: str) -> float:
        raise ValueError(f"JSON has no {word}")

    return json.loads(text, parse_constant=refuse)


def ledger(content: Any) -> dict[str, Any]:
    """The content, if it is a ledger of this schema; else a ValueError that says which value is none."""
    _require(isinstance(content, dict), "it", "an object", content)
    _require(content.get("schema") == SCHEMA, "schema", str(SCHEMA), content.get("schema"))
    for path in ("world.name", "perception.name", "perception.scheme.name", "instantiation.name", "unit"):
        _name(content, path)
    _name(content, "observation")
    _require(isinstance(content.get("identity", ""), str), "identity", "text", content.get("identity"))
    for path in ("length", "train_length"):
        _whole(content, path)
    _require(isinstance(content.get("seeds"), list), "seeds", "a list", content.get("seeds"))
    _part(content, "", LAYERS, ("P-D", "I-P", "R-I", "R-D", "O-R", "O-D"))
    for length, part in _items(content, "lengths"):
        _require(length.isascii() and length.isdigit(), "lengths", "whole numbers", length)
        _part(part, f"lengths.{length}.", LAYERS[:4], ("P-D", "I-P", "R-I", "R-D"))
    for name, seen in _items(content, "protocols"):
        _protocol(seen, f"protocols.{name}")
    for name, zero in _items(content, "zeros"):
        _entry(zero, f"zeros.{name}", "value")
    for name, text in _items(content, "sentences"):
        _require(isinstance(text, str), f"sentences.{name}", "text", text)
    _diverged(content.get("diverged", {}))
    return content


def _part(part: Any, path: str, layers: tuple[str, ...], gaps: tuple[str, ...]) -> None:
    _require(isinstance(part, dict), path or "it", "an object", part)
    for group, names, value in (("layers", layers, "loss"), ("gaps", gaps, "nats")):
        found = dict(_items(part, group, path))
        missing = [name for name in names if name not in found]
        _require(not missing, f"{path}{group}", f"to have {', '.join(missing)}", sorted(found))
        for name, entry in found.items():
            _entry(entry, f"{path}{group}.{name}", value)
    members = part.get("members")
    _require(isinstance(members, list), f"{path}members", "a list", members)
    for n, entry in enumerate(members or []):
        _entry(entry, f"{path}members.{n}", "excess")
    _number(part.get("residual"), f"{path}residual")


def _entry(entry: Any, path: str, value: str) -> None:
    """A number with its interval and class."""
    _require(isinstance(entry, dict), path, "an object", entry)
    _require(
        entry.get("class") in get_args(Kind), f"{path}.class", f"one of {', '.join(get_args(Kind))}", entry.get("class")
    )
    numbers = [_number(entry.get(key, "missing"), f"{path}.{key}") for key in (value, "low", "high")]
    known = [not math.isnan(x) for x in numbers]
    defined = entry["class"] != "undefined"
    _require(known == [defined] * 3, path, "three numbers, or undefined and three nulls", entry)
    _require(not defined or numbers[1] <= numbers[2], path, "an interval that is not empty", numbers[1:])
    count = entry.get("count", 0)
    _require(type(count) is int and 0 <= count < 2**53, f"{path}.count", "a whole number", count)


def _protocol(seen: Any, path: str) -> None:
    _require(isinstance(seen, dict), path, "an object", seen)
    _name(seen, "unit", path)
    for key in ("score", "expected", "ceiling", *(["world"] if "world" in seen else [])):
        _entry(seen.get(key), f"{path}.{key}", "value")
    for key, entry in _items(seen, "parts", path) if seen.get("parts") is not None else []:
        _entry(entry, f"{path}.parts.{key}", "value")
    for key in ("scores", "targets"):
        values = seen.get(key, [])
        _require(isinstance(values, list), f"{path}.{key}", "a list", values)
        for n, x in enumerate(values):
            _number(x, f"{path}.{key}.{n}")
    _require(isinstance(seen.get("shows", ""), str), f"{path}.shows", "text", seen.get("shows"))


def _diverged(found: Any) -> None:
    """{seed: step} of the members whose training left the numbers."""
    _require(isinstance(found, dict), "diverged", "an object", found)
    for seed, step in found.items():
        right = str(seed).isascii() and str(seed).isdigit() and (step is None or type(step) is int)
        _require(right, "diverged", "steps by seed", {seed: step})


def _number(x: Any, path: str) -> float:
    """What `plain` wrote: a finite number, "inf", "-inf" or null."""
    right = x is None or x in ("inf", "-inf") or (type(x) in (int, float) and abs(x) < 1e300)
    _require(right, path, 'a number, "inf", "-inf" or null', x)
    return number(x)


def _whole(content: dict[str, Any], path: str) -> None:
    x = content.get(path)
    _require(type(x) is int and 1 <= x < 2**53, path, "a whole number of at least 1", x)


def _name(content: Any, path: str, prefix: str = "") -> None:
    found = content
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    right = isinstance(found, str) and found.isprintable() and 1 <= len(found) <= LONGEST
    _require(right, f"{prefix}.{path}".strip("."), f"1 to {LONGEST} printable characters", found)


def _items(content: dict[str, Any], key: str, path: str = "") -> list[tuple[str, Any]]:
    """The members of an object, whose names are short and printable."""
    found = content.get(key)
    _require(isinstance(found, dict), f"{path}{key}", "an object", found)
    for name in found or {}:
        _require(name.isprintable() and len(name) <= LONGEST, f"{path}{key}", "short printable names", name)
    return list((found or {}).items())


def _require(right: bool, path: str, rule: str, got: Any) -> None:
    if not right:
        said = repr(got)
        raise ValueError(f"{path} must be {rule}, but is {said if len(said) <= 60 else said[:57] + '...'}")
