"""Calibration: whether tokens called most likely with confidence c come with frequency c.

The expected calibration error is sum_b | E[1(confidence in bin b) (right - confidence)] | over bins (l, h] of the
confidence max_v q(v) (Guo et al. 2017, arXiv:1706.04599). Its exact value takes the world's law for `right`. It is zero
for the truth, whose confidence is the chance of being right, and for whoever always says the frequencies of tokens: it
sees honesty, not knowledge. From a sample it is biased upwards, by as much as the world's own score shows.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.accuracy import first_choice
from experiments.observe.base import (
    Observation,
    Predict,
    ask_all,
    at_least,
    documents,
    hard,
    laws,
    observed,
    readable,
    soft,
)
from worlds.base import World, functional
from worlds.quantity import Quantity, exact


class Gaps(NamedTuple):
    """right - confidence by bin, as means over the positions of each document."""

    gap: Float[np.ndarray, "predictor document bin"]
    curve: Float[np.ndarray, "3 predictor bin"]  # confidence, right, share of tokens: sums over all, not yet divided


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error of the first choice. Build it with `calibration`."""

    sequences: int
    soft: int
    bins: int
    unit: str = "fraction"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        del world
        readable("calibration", spec, length, length)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe; the curve has rows confidence, accuracy, share of tokens, a point per bin.

        Intervals reach down by the most that the bias of an estimate can be: that of a predictor without error.
        """
        del reached, floor  # of another unit
        key_hard, key_soft = jax.random.split(key)
        sample = documents(world, key_hard, self.sequences, length)
        came = self.gaps(predict, world, sample, None, labels=False)
        measured = functional(world, length, key_soft, self.soft)
        weight = np.asarray(measured.weight) if measured.exact else None
        due = self.gaps(predict, world, np.asarray(measured.tokens), weight, labels=True)
        got, fair = per_document(came.gap, None), per_document(due.gap, weight)[:-1]
        shows = f"sequences of {length} tokens from the world's start"
        found = observed("calibration", self.unit, got, fair, weight, exact(0.0), shows, sample)
        score = lowered(found.score, came.gap[:-1])
        expected = found.expected if measured.exact else lowered(found.expected, due.gap[:-1])
        sure, right, share = came.curve[:, :-1].mean(1)
        some = np.where(share > 0, share, np.nan)
        curve = np.stack([sure / some, right / some, share])
        return found._replace(score=score, expected=expected, curve=curve)

    def gaps(
        self,
        predict: Predict,
        world: World,
        tokens: Int[np.ndarray, "document time"],
        weight: Float[np.ndarray, "document"] | None,
        labels: bool,
    ) -> Gaps:
        """Of the members and, last, of the world; soft labels (the chance of being right) if true, else what came."""
        law = laws(world, tokens)
        said = np.concatenate([ask_all(predict, tokens), law[None]])
        first = first_choice(said)
        right = soft(np.broadcast_to(law, said.shape), first) if labels else hard(tokens, first)
        sure = np.exp(said).max(-1)
        inside = np.maximum(np.ceil((sure * self.bins).round(12)) - 1, 0)[..., None] == np.arange(self.bins)
        gap = np.where(inside, (right - sure)[..., None], 0).mean(2)
        weight = np.full(len(tokens), 1 / len(tokens)) if weight is None else weight
        parts = [np.where(inside, x[..., None], 0).mean(2) for x in (sure, right, np.ones_like(sure))]
        return Gaps(gap, np.stack([np.einsum("d,pdb->pb", weight, x) for x in parts]))


def per_document(
    gap: Float[np.ndarray, "predictor document bin"], weight: Float[np.ndarray, "document"] | None
) -> Float[np.ndarray, "predictor document"]:
    """Numbers whose mean is the error; the sign within a bin is held fixed, so their spread is its (delta method)."""
    total = gap.mean(1) if weight is None else np.einsum("d,pdb->pb", weight, gap)
    return np.einsum("pb,pdb->pd", np.sign(total), gap)


def lowered(error: Quantity, gap: Float[np.ndarray, "member document bin"]) -> Quantity:
    """The interval down to what is left without the bias of a predictor of no error; an error is never negative.

    Where every gap is zero, E sum_b |mean gap_b| = sum_b sd_b sqrt(2 / (pi n)) by the normal law; mean over members.
    """
    bias = float((gap.std(1, ddof=1) * np.sqrt(2 / np.pi / gap.shape[1])).sum(-1).mean())
    return replace(error, low=max(0.0, error.low - bias))


def calibration(sequences: int, soft: int, bins: int) -> Calibration:
    """The expected calibration error of the most likely token, a fraction in [0, 1]; smaller is better.

    Args:
      sequences: hard-labelled documents of the trained length, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      bins: of confidence, of equal width, at least 1.
    """
    at_least("calibration", sequences=(sequences, 2), soft=(soft, 2), bins=(bins, 1))
    return Calibration(sequences, soft, bins)
