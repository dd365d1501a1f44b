"""A claim: what somebody said, with what figures, and the rule by which runs confirm or refute it.

conf/claim/C1.yaml ... hold one each. A rule compares readings of runs (`experiments.claims.reading`) in a named form
(`experiments.claims.rules.FORMS`) and says where its effect must lie to confirm, and where to refute: whole intervals
must lie inside, so that an effect in between, or one that is not resolved, decides nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import conf

KEYS = {"statement", "source", "figures", "worlds", "schemes", "lengths", "protocols", "where", "rules", "pitfalls"}
TEXTS = ("statement", "source", "figures", "worlds", "schemes", "lengths", "protocols")
RULE = {"name", "form", "readings", "where", "each", "along", "confirm", "refute", "smallest", "unit"}
REGIONS = ("above", "below", "within", "beyond")


class Region(NamedTuple):
    """Where an effect must lie: above or below a number, within or beyond two; in the effect's own unit."""

    kind: str
    bounds: tuple[float, ...]

    def __str__(self) -> str:
        low, high = self.bounds[0], self.bounds[-1]
        return f"{self.kind} {low:g}" if len(self.bounds) == 1 else f"{self.kind} [{low:g}, {high:g}]"


@dataclass(frozen=True)
class Rule:
    """One comparison, made in every setting (world, architecture, training) in which runs allow it."""

    name: str  # in words
    form: str  # of rules.FORMS
    readings: dict[str, dict[str, Any]]
    confirm: Region
    refute: Region
    smallest: float  # the smallest effect that counts, in `unit`
    unit: str
    where: dict[str, Any] = field(default_factory=dict)  # what every run that is read must say
    each: tuple[dict[str, Any], ...] = ({},)  # variations of all readings at once; a test for each
    along: tuple[str, ...] = ()  # keys whose values one test runs through (form rank)


@dataclass(frozen=True)
class Claim:
    """A statement with its source, and its rules: all of them must hold."""

    id: str
    statement: str
    source: str
    figures: str
    worlds: str
    schemes: str
    lengths: str
    protocols: str
    rules: tuple[Rule, ...]
    pitfalls: str = ""


def claims(only: list[str] | None = None, folder: Path | None = None) -> list[Claim]:
    """The claims of conf/claim in the order of their numbers, or those asked for by their ids."""
    folder = Path(conf.__path__[0]) / "claim" if folder is None else folder
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: _number(path.stem))}
    wrong = [name for name in only or [] if name not in found]
    if wrong:
        raise ValueError(f"claims: ids must be among {', '.join(found)}, but got {', '.join(wrong)}")
    return [load(path) for name, path in found.items() if not only or name in only]


def load(path: Path) -> Claim:
    """A claim from its file; its id is the file's name."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or set(content) - KEYS or not {*TEXTS, "rules"} <= set(content):
        got = sorted(content) if isinstance(content, dict) else content
        raise ValueError(f"claim {path.stem}: its keys must be {', '.join(sorted(KEYS))}, but are {got}")
    shared = content.get("where", {})
    rules = tuple(_rule(path.stem, shared, n, rule) for n, rule in enumerate(content["rules"], 1))
    texts = {key: " ".join(str(content[key]).split()) for key in TEXTS}
    return Claim(path.stem, **texts, rules=rules, pitfalls=" ".join(str(content.get("pitfalls", "")).split()))


def _rule(claim: str, shared: dict[str, Any], number: int, content: Mapping[str, Any]) -> Rule:
    where = f"claim {claim}, rule {number}"
    missing = {"name", "form", "readings", "confirm", "refute", "smallest", "unit"} - set(content)
    if missing or set(content) - RULE:
        raise ValueError(f"{where}: its keys must be among {', '.join(sorted(RULE))}, but are {sorted(content)}")
    confirm, refute = (region(f"{where}, {key}", content[key]) for key in ("confirm", "refute"))
    if _overlap(confirm, refute):
        raise ValueError(f"{where}: confirm and refute must not overlap, but are {confirm} and {refute}")
    if not content["smallest"] > 0:
        raise ValueError(f"{where}: smallest must be above 0, but is {content['smallest']}")
    return Rule(
        content["name"],
        content["form"],
        {key: dict(reading) for key, reading in content["readings"].items()},
        confirm,
        refute,
        float(content["smallest"]),
        content["unit"],
        shared | content.get("where", {}),
        tuple(content.get("each", [{}])),
        tuple(content.get("along", ())),
    )


def region(where: str, content: Mapping[str, Any]) -> Region:
    """{above: 10}, {below: 2}, {within: [-0.01, 0.01]} or {beyond: [-0.01, 0.01]}."""
    ((kind, bounds),) = content.items() if len(content) == 1 else ((None, None),)
    numbers = tuple(float(x) for x in (bounds if isinstance(bounds, list) else [bounds])) if bounds is not None else ()
    one = kind in ("above", "below")
    if kind not in REGIONS or len(numbers) != (1 if one else 2) or list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{where}: it must be one of {', '.join(REGIONS)} with its bounds, but is {dict(content)}")
    return Region(kind, numbers)


def _overlap(first: Region, second: Region) -> bool:
    """Whether two regions share more than a boundary."""
    return any(max(a, c) < min(b, d) for a, b in _parts(first) for c, d in _parts(second))


def _parts(found: Region) -> list[tuple[float, float]]:
    low, high = found.bounds[0], found.bounds[-1]
    whole = {"above": [(low, math.inf)], "below": [(-math.inf, low)], "within": [(low, high)]}
    return whole.get(found.kind, [(-math.inf, low), (high, math.inf)])


def _number(name: str) -> tuple[int, str]:
    digits = "".join(c for c in name if c.isdigit())
    return int(digits or 0), name
