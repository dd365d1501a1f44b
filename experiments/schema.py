"""The types of the run's own numbers. A value of another type, or a key that is not here, is refused by Hydra.

Objects (world, perception, instantiation, observe) need no schema: their `_target_`'s signature is it.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from experiments.alchemy import Reals, Shape
from experiments.factors import SETTINGS

# The group reach holds the fields of Shape and Reals, the number of seeds and the ladder: derived, not restated.
KNOBS = [(f.name, f.type, f.default) for part in (Shape, Reals) for f in dataclasses.fields(part)]
Reach = dataclasses.make_dataclass("Reach", [*KNOBS, ("seeds", int, 4), ("ladder", str, "off")])

# What the ladder of experiments/factors.py holds for ideal: as many times the steps, and these settings.
Ladder = dataclasses.make_dataclass("Ladder", [("duration", float, 4.0), *(k for k in KNOBS if k[0] in SETTINGS)])


@dataclass
class Oracle:
    """Oracle fits, which bound the architecture's best from above: endless fresh data, the world's law as labels.

    restarts: fits, each from one of the best trained members; 0 does none. steps: of each. rate: peak learning rate.
    """

    restarts: int = 4  # as many as seeds: the same compiled program
    steps: int = 300
    rate: float = 1e-3


@dataclass
class Measure:
    """How losses are measured: tokens for each functional, the lengths as multiples of the trained one."""

    tokens: int = 16384
    multiples: list[int] = field(default_factory=lambda: [1, 2, 4, 8])


@dataclass
class Diagnose:
    """What the diagnosis holds gaps against. material: the least difference that matters to anyone, nats per token.

    0.02 is 2 % of a perplexity. Of the perplexities at 3072 tokens in Press et al. (2022, arXiv:2108.12409, table 4),
    sinusoidal 18.67, rotary 18.57, T5 18.01 and ALiBi 17.60, what was claimed of T5 and ALiBi (0.036 and 0.059 nats) is
    larger, what separates the first two (0.005) is not. Samples of 16,384 hard-labelled tokens cannot see much less.
    """

    material: float = 0.02


@dataclass
class Config:
    """A run."""

    seed: int = 0
    world: Any = MISSING
    perception: Any = MISSING
    instantiation: Any = MISSING
    reach: Reach = field(default_factory=Reach)  # type: ignore[valid-type]
    ladder: Ladder = field(default_factory=Ladder)  # type: ignore[valid-type]
    oracle: Oracle = field(default_factory=Oracle)
    measure: Measure = field(default_factory=Measure)
    observe: Any = MISSING
    ledger: str = "nonoverlapping"  # the protocol whose score is the ledger's O
    judged: str | None = None  # the protocol that the model is judged by, of any unit; null: the ledger's
    diagnose: Diagnose = field(default_factory=Diagnose)
    draw: int = 0  # of a study that draws its cells at random
    planted: Any = None  # what a study of planted faults knows of this run; carried into ledger.json
    force: bool = False  # run again although the folder holds a finished run
    study: str | None = None  # what a multirun's end makes besides the report: a name of experiments/studies.py
    track: Any = None  # who is told of a finished run: experiments/tracking.py
    task: Any = None  # what is done instead of measuring one cell: a function of (folder, screen)


ConfigStore.instance().store(name="schema", node=Config)
