"""Two groups of runs in pairs: which run of one belongs to which of the other, and why some belong to none.

What differs between the groups is whatever a config says in one of them and never says in the other. A pair agrees in
all the rest, seed and world included, so that its two runs saw the same data and were measured on the same prefixes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cell import OPERATIONAL
from experiments.found import Refused, Run, config, find, printable

LEAVES = 5000  # of a config; one has about a hundred
ABSENT = "absent"


class Pair(NamedTuple):
    """Two runs that agree in everything but what differs between their groups."""

    first: Run
    second: Run
    condition: tuple[str, ...]  # what they agree in, without the seed: pairs of one condition are repetitions
    seed: str  # the config's, where both have the same; else empty, and their members are no pairs


class Alone(NamedTuple):
    """A run without a partner."""

    group: str
    run: Run
    reason: str


class Pairing(NamedTuple):
    """What differs, which runs are pairs, and which are not."""

    differs: dict[str, tuple[list[str], list[str]]]  # by name: the values in either group
    pairs: list[Pair]
    alone: list[Alone]


def group(asked: str) -> tuple[list[Run], list[Refused]]:
    """The runs of FOLDER, or of FOLDER:key=value,key=value: those whose names or config say so.

    A key is world, perception, scheme, instantiation or the path of a value in the config, such as reach.rate.
    """
    place, colon, words = asked.rpartition(":")
    if not colon or Path(asked).exists():
        return find([Path(asked)])
    wanted = [tuple(word.split("=", 1)) for word in words.split(",")]
    if not all(len(word) == 2 for word in wanted):
        raise ValueError(f"compare: a group must be FOLDER or FOLDER:key=value,key=value, but is {asked!r}")
    runs, refused = find([Path(place)])
    return [run for run in runs if all(said(run).get(k) == v for k, v in wanted)], refused


def said(run: Run) -> dict[str, str]:
    """What a run is: the names of its parts, and the values of its config by their paths."""
    ledger = run.ledger
    names = {k: ledger[k]["name"] for k in ("world", "perception", "instantiation")}
    return flat(run) | names | {"scheme": ledger["perception"]["scheme"]["name"]}


def flat(run: Run) -> dict[str, str]:
    """The values of a run's config by their paths, as text; empty if there is no config to read."""
    _, values = config(run)
    asked, found = {k: v for k, v in values.items() if k not in OPERATIONAL}, {}
    for n, (path, x) in enumerate(_leaves(asked) if asked else ()):
        if n == LEAVES:
            return {}
        found[path] = x if isinstance(x, str) else json.dumps(x, default=str)
    return found


def _leaves(x: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    parts = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    for key, value in parts:
        yield from _leaves(value, f"{path}.{key}".lstrip("."))
    if not parts:
        yield path, x


def paired(first: list[Run], second: list[Run]) -> Pairing:
    """The pairs of two groups."""
    shared = {run.place.resolve() for run in first} & {run.place.resolve() for run in second}
    if shared:
        raise ValueError(f"compare: no run may belong to both groups, but {len(shared)} do, such as {min(shared)}")
    configs = {run.place: flat(run) for run in (*first, *second)}
    silent = [Alone(g, run, "it has no config to read") for g, run in _named(first, second) if not configs[run.place]]
    first, second = ([run for run in runs if configs[run.place]] for runs in (first, second))
    every = sorted({key for run in (*first, *second) for key in configs[run.place]})
    values = {
        k: tuple(sorted({configs[run.place].get(k, ABSENT) for run in x}) for x in (first, second)) for k in every
    }
    differs = {k: (a, b) for k, (a, b) in values.items() if not set(a) & set(b)}
    same = [k for k in every if k not in differs]

    def agreed(run: Run) -> tuple[str, ...]:
        return tuple(configs[run.place].get(k, ABSENT) for k in same)

    pairs, alone = [], silent
    for run in first:
        mine, partners = [x for x in first if agreed(x) == agreed(run)], [x for x in second if agreed(x) == agreed(run)]
        if len(mine) == len(partners) == 1:
            condition = tuple(v for k, v in zip(same, agreed(run), strict=True) if k != "seed")
            seed = configs[run.place].get("seed", "") if "seed" in same else ""
            pairs.append(Pair(run, partners[0], condition, seed))
    matched = {run.place for pair in pairs for run in (pair.first, pair.second)}
    for name, run in _named(first, second):
        if run.place not in matched:
            own, others = (first, second) if name == "A" else (second, first)
            alone.append(Alone(name, run, _why(run, own, others, configs, same)))
    return Pairing(differs, pairs, alone)


def _named(first: list[Run], second: list[Run]) -> Iterator[tuple[str, Run]]:
    yield from (("A", run) for run in first)
    yield from (("B", run) for run in second)


def _why(run: Run, own: list[Run], others: list[Run], configs: dict[Path, dict[str, str]], same: list[str]) -> str:
    """Why a run has no partner: several like it, or none in the other group; then what the nearest differs in."""

    def unlike(other: Run) -> list[str]:
        mine, theirs = configs[run.place], configs[other.place]
        return [k for k in same if mine.get(k, ABSENT) != theirs.get(k, ABSENT)]

    like, twins = [x for x in others if not unlike(x)], [x for x in own if not unlike(x)]
    if like:
        return f"{len(twins)} runs of its group and {len(like)} of the other agree in all the rest: no pair is unique"
    if not others:
        return "the other group has no run"
    nearest = min(others, key=lambda x: len(unlike(x)))
    names = ", ".join(printable(x) for x in unlike(nearest)[:4])
    return f"no run of the other group agrees in all the rest; the nearest, {nearest.place.name}, differs in {names}"
