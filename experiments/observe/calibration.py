"""Calibration: whether tokens called most likely with confidence c come with frequency c.

The expected calibration error is sum_b n_b / n |accuracy_b - confidence_b| over bins b of confidence (Guo et al. 2017,
arXiv:1706.04599). Its plug-in estimate is above zero for the truth too, by an amount that falls with the sample: so the
target here is the estimate's expectation at this very sample size, over fresh samples, and the truth's stands beside
it. Who always says the frequencies of tokens is calibrated as well: the error sees honesty, not knowledge.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.accuracy import first_choice
from experiments.observe.base import Observation, Predict, ask_all, at_least, documents, hard, laws, mean, observed
from worlds.base import World
from worlds.quantity import Quantity


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error of the first choice. Build it with `calibration`."""

    sequences: int
    redraws: int
    bins: int

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; the curve has rows confidence, accuracy, share of tokens, a point per bin."""
        del reached, floor  # of another unit
        keys = jax.random.split(key, 1 + self.redraws)
        got, curve = self.errors(predict, world, documents(world, keys[0], self.sequences, length))
        fresh = [self.errors(predict, world, documents(world, k, self.sequences, length))[0] for k in keys[1:]]
        due = np.stack([errors.mean(-1) for errors in fresh], 1)
        truth = mean(due[-1])
        ceiling = Quantity(truth.value, 0.0, truth.high, truth.kind, truth.count)
        shows = f"sequences of {length} tokens from the world's start"
        found = observed("calibration", "fraction", got, due[:-1], None, ceiling, shows)
        return found._replace(curve=curve)

    def errors(
        self, predict: Predict, world: World, tokens: Int[np.ndarray, "document time"]
    ) -> tuple[Float[np.ndarray, "predictor document"], Float[np.ndarray, "3 bin"]]:
        """Numbers per document whose mean is the error, of the members and, last, the world; the members' curve.

        Within a bin the sign of accuracy - confidence is held fixed, so that the spread is the error's (delta method).
        """
        said = np.concatenate([ask_all(predict, tokens), laws(world, tokens)[None]])
        sure, right = np.exp(said).max(-1), hard(tokens, first_choice(said))
        bins = np.minimum((sure * self.bins).astype(int), self.bins - 1)
        found = np.zeros(said.shape[:2])
        curve = np.zeros((3, len(said), self.bins))
        for b in range(self.bins):
            inside = bins == b
            gap = np.where(inside, right - sure, 0)
            found += np.sign(gap.sum((1, 2)))[:, None] * gap.mean(-1)
            curve[:, :, b] = [np.where(inside, x, 0).mean((1, 2)) for x in (sure, right, np.ones_like(sure))]
        members = curve[:, :-1].mean(1)
        share = np.where(members[2] > 0, members[2], np.nan)
        return found, np.stack([members[0] / share, members[1] / share, members[2]])


def calibration(sequences: int, redraws: int, bins: int) -> Calibration:
    """The expected calibration error of the most likely token, a fraction in [0, 1]; smaller is better.

    Args:
      sequences: hard-labelled documents of the trained length, at least 2.
      redraws: fresh samples of the same size behind the expectation, at least 2.
      bins: of confidence, of equal width, at least 1.
    """
    at_least("calibration", sequences=(sequences, 2), redraws=(redraws, 2), bins=(bins, 1))
    return Calibration(sequences, redraws, bins)
