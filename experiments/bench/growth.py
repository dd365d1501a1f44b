"""How time grows with size: the slope of log seconds on log size, fitted over three sizes in each round.

1 is linear, 2 quadratic. What must be linear may show 1.1 at most: over a sixteenfold range, a size whose time is off
by a third moves the slope by so much. Below the order what does not grow shows: starts of programs, short loops.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments import fit
from experiments.alchemy import Reals, Shape, numbers
from experiments.bench.cases import CALLS, drawn, scores
from experiments.bench.found import Found, seconds
from models.position.decay import ALiBi
from models.transformer import Transformer
from worlds import base, hmm

SLACK = 0.1


@dataclass(frozen=True)
class Growth:
    """One law of growth: `make(size)` is what is timed."""

    name: str
    order: int  # at most
    sizes: tuple[int, ...]
    make: Callable[[int], Callable[[], Any]]

    def measured(self, rounds: int) -> list[Found]:
        """A slope for each round; all sizes take turns in it."""
        calls = [self.make(size) for size in self.sizes]
        for call in calls:
            seconds(call)
        times = np.array([[seconds(call, CALLS)[0] for call in calls] for _ in range(rounds)])
        slopes = np.polyfit(np.log(self.sizes), np.log(times).T, 1)[0]
        middle, low, high = (float(x) for x in (np.median(slopes), slopes.min(), slopes.max()))
        name = f"growth of {self.name}, {self.sizes[0]} to {self.sizes[-1]}"
        peer = {1: "linear", 2: "quadratic"}[self.order]
        return [Found(name, peer, middle, low, high, self.order + SLACK, at_most=True, unit="exponent")]


def group(cfg: Any) -> Iterator[Growth]:
    """Training first, then exact scoring."""
    del cfg
    training = functools.partial(_training, members=2, batch=16, steps=10, length=32, mixer="attention")
    yield Growth("training with members", 1, (2, 8, 32), lambda n: training(members=n))
    yield Growth("training with batch", 1, (16, 64, 256), lambda n: training(batch=n))
    yield Growth("training with steps", 1, (10, 40, 160), lambda n: training(steps=n))
    yield Growth("training with length, attention", 2, (32, 128, 512), lambda n: training(length=n))
    yield Growth("training with length, recurrence", 1, (32, 128, 512), lambda n: training(length=n, mixer="gru"))
    yield Growth("exact laws with length", 1, (32, 128, 512), lambda n: _scoring(length=n))
    yield Growth("exact laws with sequences", 1, (64, 256, 1024), lambda n: _scoring(batch=n))
    yield Growth("exact laws with states", 2, (8, 32, 128), lambda n: _scoring(states=n))
    yield Growth("exact laws with vocabulary", 1, (8, 32, 128), lambda n: _scoring(vocab=n))


def _training(members: int, batch: int, steps: int, length: int, mixer: str) -> Callable[[], Any]:
    """Training of a layer of width 32, in micro-batches, so that a larger batch is not another working set."""
    spec = Transformer(vocab=4, length=length, scheme=ALiBi(), layers=1, width=32, mixer=mixer)
    shape, reals = Shape(batch=batch, length=length, chunk=200, micro=8), Reals(steps=200)
    keys = jax.random.split(jax.random.key(0), (2, members))
    return lambda: fit.fit(spec, shape, hmm.random_hmm(8, 4, 0.5, 0), numbers(reals), steps, *keys)


def _scoring(batch: int = 256, length: int = 64, states: int = 16, vocab: int = 16) -> Callable[[], Any]:
    """Laws of a hidden Markov world along its own tokens."""
    world = hmm.random_hmm(states, vocab, 1.0, 0)
    return functools.partial(scores(base.log_conditionals), world, drawn(world, batch, length))
