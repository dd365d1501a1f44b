"""The knobs of a training: shapes, which change the compiled program, and reals, which are arrays that map.

What people call alchemy, each a number with a name: data, noise, labels, optimiser, schedule, averages, crops.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

OPTIMISERS = ("adafactor", "adam", "adamw", "lion", "momentum", "muon", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "wsd")
CHOICES = {
    "optimiser": OPTIMISERS,
    "order": ("draws", "epochs"),
    "average": ("none", "ema", "tail"),
    "precision": ("full", "bfloat16", "float16"),
}


@dataclass(frozen=True)
class Shape:
    """The shape of a training: whatever changes the compiled program. The reals are in `Reals`.

    Attributes:
      batch: sequences a step.
      length: tokens a sequence.
      sequences: 0 draws endless fresh data; n > 0 trains on n sequences, drawn once for each seed.
      order: of n sequences: uniform "draws", or "epochs", each a random order of all of them (batch must divide n).
      pool: sequences that come again and again beside the others, with probability `repeats` (Hernandez et al. 2022,
        arXiv:2205.10487); 0 for none.
      crop: most tokens before a training window, which starts at one of the tokens 0 ... crop, uniformly, and does not
        see what was before; 0 trains from the world's start.
      optimiser: the preconditioner, experiments/optimisers.py.
      average: of the weights that are evaluated: "none" (the last), "ema" or "tail" (the mean of the last steps).
      precision: the float type that weights are rounded to after each step; "full" is the network's own.
      chunk: steps between checkpoints.
      micro: sequences whose gradients are computed at once and then added up; 0 means the whole batch, and null so many
        as a CPU core's cache holds the activations of (`reach.together`), elsewhere the whole batch.
    """

    batch: int = 64
    length: int = 32
    sequences: int = 0
    order: str = "draws"
    pool: int = 0
    crop: int = 0
    optimiser: str = "adamw"
    average: str = "none"
    precision: str = "full"
    chunk: int = 100
    micro: int | None = None

    def __post_init__(self):
        for name in ("batch", "length", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"reach: {name} must be at least 1, but is {getattr(self, name)}")
        for name, choices in CHOICES.items():
            _one_of(name, getattr(self, name), choices)
        if self.sequences < 0:
            raise ValueError(f"reach: sequences must be 0 (endless) or more, but is {self.sequences}")
        for name in ("pool", "crop"):
            if getattr(self, name) < 0:
                raise ValueError(f"reach: {name} must be 0 or more, but is {getattr(self, name)}")
        if self.order == "epochs" and (self.sequences == 0 or self.sequences % self.batch):
            raise ValueError(
                f"reach: epochs need a number of sequences that batch {self.batch} divides, but got {self.sequences}"
            )
        micro = self.micro or 0
        if micro < 0 or (micro and self.batch % micro):
            raise ValueError(f"reach: micro must divide batch {self.batch} (or be 0 for all), but is {micro}")


@dataclass(frozen=True)
class Reals:
    """The reals of a training, as a user states them; `numbers` makes them arrays, so that they can be mapped over.

    Attributes:
      steps: the length of the schedule.
      rate: peak learning rate.
      schedule: how it falls after its warm-up: "constant", "cosine", "linear" or "wsd" (level, then linear). Which of
        them is a number too, so that they share a program.
      warmup: share of the steps over which it rises.
      cooldown: share of the steps over which schedule "wsd" falls.
      final: the rate at the end as a share of the peak, where the schedule falls.
      decay: weight decay, decoupled; in "adam" a part of the gradient (L2).
      clip: largest global gradient norm; inf clips nothing.
      momentum: b1 or mu.
      beta2: of squared gradients (adam, adamw, muon's vectors) or of lion's momentum.
      corruption: probability that a training token (input and label) goes through the channel.
      channel: [vocab, vocab] rows of probabilities, what is seen (column) where a token (row) was said; None is
        symmetric: a uniform token.
      softness: 0 trains on the tokens (hard labels), 1 on the world's own conditionals (soft labels, the oracle's
        privilege), between them on the mixture.
      temperature: of soft labels: proportional to p^(1/temperature).
      repeats: probability that a sequence of the batch comes from the pool.
      dropout: probability that a component's output is dropped, feature by feature.
      scale: multiplies the matrices of the initial weights.
      ema: decay of the exponential average per step, for average "ema".
      tail: share of the steps that average "tail" is the mean of.
      curriculum: share of the steps over which the trained positions grow from 1 ... `shortest` to all of them.
      shortest: trained positions at first, tokens; at most the length counts.
    """

    steps: int = 1000
    rate: float = 3e-3
    schedule: str = "cosine"
    warmup: float = 0.1
    cooldown: float = 0.2
    final: float = 0.0
    decay: float = 0.0
    clip: float = 1.0
    momentum: float = 0.9
    beta2: float = 0.98
    corruption: float = 0.0
    channel: Any = None
    softness: float = 0.0
    temperature: float = 1.0
    repeats: float = 0.0
    dropout: float = 0.0
    scale: float = 1.0
    ema: float = 0.99
    tail: float = 0.25
    curriculum: float = 0.0
    shortest: float = 1.0

    def __post_init__(self):
        _one_of("schedule", self.schedule, SCHEDULES)
        for name in ("steps", "shortest"):
            if not 1 <= getattr(self, name) < math.inf:
                raise ValueError(f"reach: {name} must be at least 1, but is {getattr(self, name)}")
        for name in ("rate", "clip", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"reach: {name} must be positive, but is {getattr(self, name)}")
        for name in ("decay", "scale"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"reach: {name} must be at least 0, but is {getattr(self, name)}")
        for name in ("warmup", "cooldown", "final", "corruption", "softness", "repeats", "tail", "curriculum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"reach: {name} must lie in [0, 1], but is {getattr(self, name)}")
        for name in ("momentum", "beta2", "dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"reach: {name} must lie in [0, 1), but is {getattr(self, name)}")
        if self.channel is not None:
            _channel(self.channel)


@struct.dataclass
class Numbers:
    """`Reals` as float32 arrays; a stack of them is a population. None: the program has no such part."""

    steps: Float[Array, "*member"]
    rate: Float[Array, "*member"]
    schedule: Int[Array, "*member"]  # its place in SCHEDULES
    warmup: Float[Array, "*member"]
    cooldown: Float[Array, "*member"]
    final: Float[Array, "*member"]
    decay: Float[Array, "*member"]
    clip: Float[Array, "*member"]
    momentum: Float[Array, "*member"]
    beta2: Float[Array, "*member"]
    corruption: Float[Array, "*member"]
    channel: Float[Array, "*member vocab seen"] | None
    softness: Float[Array, "*member"]
    temperature: Float[Array, "*member"]
    repeats: Float[Array, "*member"]
    dropout: Float[Array, "*member"] | None
    scale: Float[Array, "*member"]
    ema: Float[Array, "*member"]
    tail: Float[Array, "*member"]
    curriculum: Float[Array, "*member"]
    shortest: Float[Array, "*member"]
    sequences: Int[Array, "*member"] | None = None  # of each member's own, of the shape's; None: all of them


def numbers(reals: Reals | Sequence[Reals]) -> Numbers:
    """The reals of one training as arrays, or those of several, stacked: [member, ...]."""
    several = [reals] if isinstance(reals, Reals) else list(reals)
    columns: dict[str, Any] = {f.name: [getattr(r, f.name) for r in several] for f in fields(Reals)}
    columns["channel"] = _channels(columns["channel"])
    columns["dropout"] = columns["dropout"] if any(columns["dropout"]) else None
    columns["schedule"] = [SCHEDULES.index(name) for name in columns["schedule"]]
    arrays: dict[str, Any] = {
        k: None if x is None else jnp.asarray(x, jnp.int32 if k == "schedule" else jnp.float32)
        for k, x in columns.items()
    }
    stack = Numbers(**arrays)
    return jax.tree.map(lambda x: x[0], stack) if isinstance(reals, Reals) else stack


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"reach: {name} must be one of {', '.join(choices)}, but is {value!r}")


def _channels(given: list[Any]) -> Any:
    """Channels of members that may lack one: the missing ones are uniform; None if all are missing."""
    known = [_channel(x) for x in given if x is not None]
    if not known:
        return None
    if len({x.shape for x in known}) > 1:
        raise ValueError(
            f"reach: the channels of a population must have one shape, but have {[x.shape for x in known]}"
        )
    return np.stack([np.full_like(known[0], 1 / len(known[0])) if x is None else _channel(x) for x in given])


def _channel(given: Any) -> Float[np.ndarray, "vocab seen"]:
    rows = np.asarray(given, np.float64)
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1]:
        raise ValueError(f"reach: channel must be a square matrix, [vocab, vocab], but has shape {rows.shape}")
    if not ((rows >= 0).all() and np.allclose(rows.sum(1), 1, rtol=0, atol=1e-6)):
        raise ValueError(
            f"reach: channel's rows must be probabilities that sum to 1, but sum to {rows.sum(1).tolist()}"
        )
    return rows
