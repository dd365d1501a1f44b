"""Homes of planted faults: clean cells whose world is drawn within ranges, and what holds it.

Worlds are so small that every prefix is enumerated, and so easy that ordinary training comes within a thousandth of a
nat of them: whatever is lost beyond that was planted. Strings are Hydra overrides.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator


class Home(NamedTuple):
    """A clean cell: its world with drawn numbers, and the concept, scheme and architecture that hold it."""

    world: Callable[[Generator], str]
    rest: str


def number(random: Generator, low: float, high: float) -> str:
    """Uniform."""
    return f"{random.uniform(low, high):.4g}"


def scale(random: Generator, low: float, high: float) -> str:
    """Uniform on a logarithmic scale."""
    return f"{np.exp(random.uniform(np.log(low), np.log(high))):.4g}"


def rows(random: Generator, vocab: int, sure: float, turn: int = 0) -> str:
    """A table: each token names the one `turn` further (0: drawn), surely enough that something can be learnt."""
    named = np.roll(np.eye(vocab), turn or random.integers(1, vocab), axis=1)
    table = (sure * named + (1 - sure) * random.dirichlet(np.ones(vocab), vocab)).round(4)
    table[named > 0] += 1 - table.sum(1)  # the largest take what rounding left
    return str(table.round(4).tolist()).replace(" ", "")


def lag(random: Generator) -> str:
    """The next token reads one lag."""
    table = f"world/table=given world.table.rows={rows(random, 3, 0.75)}"
    return f"world=decay world.vocab=3 world/kernel=offset world.kernel.lag={random.integers(2, 4)} {table}"


def geometric(random: Generator) -> str:
    """The next token reads a geometric mixture of the past."""
    table = f"world/table=given world.table.rows={rows(random, 3, 0.85)}"
    return f"world=decay world.vocab=3 world.kernel.rate={number(random, 0.25, 0.5)} {table}"


def turns(random: Generator) -> str:
    """The lags 1 and 3 take turns, by the parity of the position."""
    table = f"world/table=given world.table.rows={rows(random, 3, 0.8)}"
    return f"world=periodic world.vocab=3 world.kernel.lag=1 world.stride=2 {table}"


def two_lags(random: Generator) -> str:
    """Two heads, near and far, whose tables name different tokens."""
    turn = int(random.integers(1, 3))
    heads = [f"world.heads.near.kernel.rate={number(random, 0.2, 0.4)} world.heads.far.kernel.lag=3"]
    for name, own in (("near", turn), ("far", 3 - turn)):
        given = f"{{_target_:worlds.table.given,_partial_:true,_convert_:all,rows:{rows(random, 3, 0.9, own)}}}"
        heads.append(f"~world.heads.{name}.table +world.heads.{name}.table={given}")
    return f"world=decay_heads world.vocab=3 {' '.join(heads)}"


OFFSET = "perception=offset perception/scheme=free_table"
ALL = "perception=everything perception/scheme=free_table"
SEEN = "observe=[heldout] observe.heldout.sequences=8192"
NET = "instantiation.layers=1 instantiation.heads=2 instantiation.width=16"
# From small tables all heads stay alike, however long they train: they need unlike ones to part (reach.scale).
POSITIONAL = "instantiation=positional reach.rate=0.1 reach.scale=4 instantiation.heads="

HOMES = {
    "lag_net": Home(lag, f"{OFFSET} {NET}"),
    "lag_heads": Home(lag, f"{OFFSET} {POSITIONAL}4"),
    "geometric_heads": Home(geometric, f"perception=decay perception/scheme=alibi_learned {POSITIONAL}2"),
    "two_heads": Home(two_lags, f"{OFFSET} {POSITIONAL}8"),
    "urn_net": Home(
        lambda r: f"world=dirichlet world.vocab=3 world.alpha={number(r, 0.2, 0.4)}", f"perception=order_free {NET}"
    ),
    "urn_heads": Home(
        lambda r: f"world=dirichlet world.vocab=3 world.alpha={number(r, 0.2, 0.4)}",
        f"perception=order_free {POSITIONAL}2",
    ),
    "template_net": Home(
        lambda r: f"world=template world.vocab=3 world.length=6 world.concentration=0.2 world.seed={r.integers(1000)}",
        f"perception=absolute perception/scheme=learned {NET}",
    ),
    "turns_net": Home(turns, f"perception=absolute perception/scheme=learned {NET}"),
    "hidden_net": Home(
        lambda r: f"world=mess3 world.x={number(r, 0.03, 0.07)} world.a={number(r, 0.82, 0.92)}", f"{ALL} {NET}"
    ),
    "binary_net": Home(lambda r: f"world=golden_mean world.p={number(r, 0.3, 0.45)}", f"{ALL} {NET}"),
    "recall_net": Home(
        lambda r: "world=recall world.pairs=1 world.queries=1 world.keys=2 world.values=2", f"{ALL} {NET}"
    ),
    "ranks_net": Home(
        lambda r: (
            "world=decay world.vocab=6 world/kernel=offset world.kernel.lag=1 world/table=given "
            f"world.table.rows={rows(r, 6, 0.5)} reach.length=4"
        ),
        f"{OFFSET} {NET} instantiation.norm=none instantiation.feed_forward=none reach.rate=0.03 reach.steps=2000 "
        "observe.heldout.sequences=16384",
    ),
}
