"""The map of perceptions: what each concept loses on each world, certified, without any training.

A task of `experiments.run` (conf/experiment/perceptions.yaml). It leaves in its folder
  perceptions.csv   world, concept, readout, length, floor, low, high, class (low and high are P - D);
  values.csv        map, world, concept, value, home: the loss of the predictor itself, and where it must be 0;
  lag_mass.csv      map, world, concept, lag, mass: what the best predictors learnt (`informative` of the mixtures);
  profiles.csv      map, world, concept, profile, weight: through which profiles they read;
  perceptions.pdf and .png, lag_mass.pdf and .png;
  cells/            a file for each cell, so that a map that was stopped goes on, and a finished one is not made again.
Losses are nats per token.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from rich.table import Table
from rich.text import Text

from experiments import measure
from experiments.cell import Refused, digest, law_digest
from experiments.fit import write
from experiments.ledger import entry
from experiments.maps import lags, map_of, short
from experiments.screen import Screen
from experiments.streams import stream
from experiments.style import save
from models.perception import Perceived, Weighed
from models.perception.contexts import Contexts, lasting
from models.perception.membership import reads
from models.perception.mixture import by_lag, informative
from worlds.base import World, functional
from worlds.quantity import Quantity, exact

SCHEMA = 2  # of the files in cells/
TRUTH = "the world"  # the name under which lag_mass.csv holds the world's own reads


@dataclass(frozen=True)
class Map:
    """Worlds x concepts under one functional.

    Attributes:
      length: tokens of a context in the steady state; of a sequence from the world's start otherwise.
      worlds: by name.
      concepts: by name.
      homes: world -> the concepts that must lose nothing there.
      steady: long after the start, when every context of `length` tokens has its stationary probability (worlds of
        finite reach); otherwise from the world's start, uniform over positions.
      sequences: draws, where the prefixes are too many to enumerate.
    """

    length: int
    worlds: dict[str, World]
    concepts: dict[str, Any]
    homes: dict[str, list[str]] = field(default_factory=dict)
    steady: bool = False
    sequences: int = 2048

    def __post_init__(self):
        for world, found in self.homes.items():
            if unknown := [name for name in [*found] if name not in self.concepts]:
                raise Refused(f"perceptions: homes must name concepts of the map, but {world} names {unknown}")
            if world not in self.worlds:
                raise Refused(f"perceptions: homes must name worlds of the map, but one is {world!r}")
        late = [name for name, concept in self.concepts.items() if self.steady and not isinstance(concept, Weighed)]
        if late:
            raise Refused(f"perceptions: in a steady state concepts must have `over(contexts)`, but {late} have not")


class Setting(NamedTuple):
    """A world under the map's functional: its floor, and how a concept is weighed there."""

    floor: Quantity
    weigh: Callable[[Any], Perceived]


def survey(place: Path, screen: Screen, maps: dict[str, Map]) -> None:
    """Finds every cell that is not there yet, then writes tables and figures."""
    _told_apart(maps)
    cells = [(m, w, c) for m, one in maps.items() for w in one.worlds for c in one.concepts]
    known: dict[tuple[str, str], Setting] = {}
    found = []
    with screen.task("perceptions", len(cells)) as report:
        for done, (name, world, concept) in enumerate(cells, 1):
            found.append(_cell(place, maps[name], name, world, concept, known))
            report(done, f"{world} x {concept}")
    masses = _masses(maps, found)
    tables = {"perceptions": _rows(found), "values": _values(found), "lag_mass": masses, "profiles": _profiles(found)}
    for file, table in tables.items():
        write(place / f"{file}.csv", table.to_csv(index=False).encode())
    save(map_of(found), place / "perceptions")
    save(lags(masses), place / "lag_mass")
    for name in maps:
        screen.result.print(shown(name, [cell for cell in found if cell["map"] == name]))
    screen.line(f"{len(found)} cells; wrote {', '.join(f'{file}.csv' for file in tables)} and two figures in {place}")


def _told_apart(maps: dict[str, Map]) -> None:
    """In perceptions.csv a row says world and length, not which map it is of."""
    for (one, mine), (other, theirs) in itertools.combinations(maps.items(), 2):
        if mine.length == theirs.length and (both := sorted(set(mine.worlds) & set(theirs.worlds))):
            raise Refused(
                f"perceptions: maps of one length must have worlds of different names, but {one} and {other} both have "
                f"{', '.join(both)} at {mine.length} tokens"
            )


def _cell(place: Path, one: Map, name: str, world: str, concept: str, known: dict) -> dict[str, Any]:
    """A cell as plain numbers: read, if its file belongs to this very question, else found and kept."""
    asked = [SCHEMA, one.steady, one.length, one.sequences, law_digest(one.worlds[world]), repr(one.concepts[concept])]
    identity, path = digest(asked), place / "cells" / f"{name} {world} {concept}.json"
    if path.exists() and (cell := json.loads(path.read_text()))["identity"] == identity:
        return cell | {"home": concept in one.homes.get(world, [])}
    if (name, world) not in known:
        known.clear()  # contexts are large, and worlds come one after another
        known[name, world] = setting(one, one.worlds[world])
    perceived = known[name, world].weigh(one.concepts[concept])
    cell = {"identity": identity, "map": name, "world": world, "concept": concept, "length": one.length}
    cell |= {"floor": entry(known[name, world].floor, "value"), "excess": entry(perceived.excess, "value")}
    cell |= {"info": perceived.info}
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, (json.dumps(cell, indent=1, allow_nan=False, default=float) + "\n").encode())
    return cell | {"home": concept in one.homes.get(world, [])}


def setting(one: Map, world: World) -> Setting:
    """The functional, and D under it."""
    if one.steady:
        contexts = lasting(getattr(world, "phases", (world,)), one.length)
        return Setting(exact(_entropy(contexts)), lambda concept: concept.over(contexts))
    key = stream(0, "perceive")
    over = functional(world, one.length, jax.random.fold_in(key, 1), one.sequences)
    floor = measure.floor(over, measure.law(world, over.tokens))[0]
    return Setting(floor, lambda concept: concept.perceive(world, one.length, one.length, key, one.sequences))


def _entropy(contexts: Contexts) -> float:
    target = contexts.target
    return float(-contexts.weight @ (target * np.log(np.where(target > 0, target, 1))).sum(1))


def _rows(found: list[dict[str, Any]]) -> pd.DataFrame:
    """perceptions.csv."""
    rows = [
        {
            **{k: cell[k] for k in ("world", "concept")},
            "readout": cell["info"].get("readout", "its own"),
            "length": cell["length"],
            "floor": cell["floor"]["value"],
            **{k: cell["excess"][k] for k in ("low", "high", "class")},
        }
        for cell in found
    ]
    return pd.DataFrame(rows)


def _values(found: list[dict[str, Any]]) -> pd.DataFrame:
    """values.csv."""
    rows = [
        {k: cell[k] for k in ("map", "world", "concept")} | {"value": cell["excess"]["value"], "home": cell["home"]}
        for cell in found
    ]
    return pd.DataFrame(rows)


def _masses(maps: dict[str, Map], found: list[dict[str, Any]]) -> pd.DataFrame:
    """lag_mass.csv: the worlds' own first."""
    rows = []
    for name, one in maps.items():
        for world, law in one.worlds.items():
            own = true_mass(law, one.length + one.steady)
            rows += [] if own is None else [(name, world, TRUTH, lag, mass) for lag, mass in enumerate(own, 1)]
    for cell in found:
        learnt = cell["info"].get("informative_lag_mass", [])
        rows += [(cell["map"], cell["world"], cell["concept"], lag, mass) for lag, mass in enumerate(learnt, 1)]
    return pd.DataFrame(rows, columns=["map", "world", "concept", "lag", "mass"])


def true_mass(world: World, length: int) -> Float[np.ndarray, "lag"] | None:
    """The informative mass of each lag in a world that is a mixture of reads, at the last of `length` positions."""
    own = reads(world, length)
    return None if own is None else informative(by_lag(own[0][:, -1], own[1]))


def _profiles(found: list[dict[str, Any]]) -> pd.DataFrame:
    """profiles.csv: the weight of each profile that is read."""
    rows = [
        (cell["map"], cell["world"], cell["concept"], profile, weight)
        for cell in found
        for profile, weight in zip(cell["info"].get("profiles", []), cell["info"].get("weight", []), strict=False)
    ]
    return pd.DataFrame(rows, columns=["map", "world", "concept", "profile", "weight"])


def shown(name: str, cells: list[dict[str, Any]]) -> Table:
    """A map for the terminal; home cells are bold."""
    table = Table(title=f"P - D, nats per token: {name}, {cells[0]['length']} tokens", title_justify="left")
    table.add_column("world")
    table.add_column("D", justify="right")
    for concept in dict.fromkeys(cell["concept"] for cell in cells):
        table.add_column(concept.replace("_", "\n"), justify="right")
    for world in dict.fromkeys(cell["world"] for cell in cells):
        row = [cell for cell in cells if cell["world"] == world]
        losses = [Text(short(cell["excess"]), style="bold" if cell["home"] else "") for cell in row]
        table.add_row(world, f"{row[0]['floor']['value']:.4f}", *losses)
    return table
