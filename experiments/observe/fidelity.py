"""Fidelity: does a protocol rank models as their exact loss does, and how many tokens does it need to?"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from worlds.quantity import Quantity, undefined


def fidelity(
    scores: Float[np.ndarray, "model"],
    losses: Float[np.ndarray, "model"],
    smaller_is_better: bool,
    resamples: int = 2000,
    seed: int = 0,
) -> Quantity:
    """Kendall's tau-b between a protocol's scores and exact losses over models, with a 95 % bootstrap interval.

    1: the same order; -1: the reverse; ties lower it. Models are resampled in pairs (score, loss); resamples in which
    one of the two does not vary have no tau and are left out. Undefined with fewer than two distinct scores or losses.

    Args:
      scores: what the protocol reports of each model.
      losses: their exact losses, nats per token; smaller is better.
      smaller_is_better: whether a small score is a good one.
      resamples: of the bootstrap, at least 2.
      seed: of numpy's PCG64 generator.
    """
    if len(scores) != len(losses) or len(scores) < 2 or resamples < 2:
        raise ValueError(
            "fidelity: scores and losses must be those of the same models, at least 2, and resamples at least 2, but "
            f"there are {len(scores)} scores, {len(losses)} losses and {resamples} resamples"
        )
    scores = scores if smaller_is_better else -scores
    draws = np.random.Generator(np.random.PCG64(seed)).integers(0, len(scores), (resamples, len(scores)))
    taus = [tau_b(scores[draw], losses[draw]) for draw in draws]
    value, spread = tau_b(scores, losses), np.array(taus)
    if math.isnan(value):
        return undefined()
    low, high = np.nanquantile(spread, [0.025, 0.975])
    return Quantity(value, float(min(low, value)), float(max(high, value)), "estimated", len(scores))


def tau_b(a: Float[np.ndarray, "model"], b: Float[np.ndarray, "model"]) -> float:
    """(concordant - discordant) / sqrt((pairs - ties in a) (pairs - ties in b)); NaN where one does not vary."""
    x, y = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    size = (x * x).sum() * (y * y).sum()
    return float((x * y).sum() / np.sqrt(size)) if size > 0 else math.nan


class Need(NamedTuple):
    """How much evaluation ranks two models."""

    documents: float  # independent documents; inf if the protocol cannot tell the two apart
    tokens: float
    gap: float  # the difference of the two, in the protocol's unit
    spread: float  # standard deviation of the difference over documents


def needed(
    first: Float[np.ndarray, "document"], second: Float[np.ndarray, "document"], tokens: int, confidence: float = 0.95
) -> Need:
    """Documents, and tokens, after which the mean difference of two models has the right sign with this confidence.

    By the normal law, P(right sign) = Phi(gap sqrt(n) / spread), so n = (z spread / gap)^2, z the one-sided quantile
    (1.645 at 95 %). Gap and spread are measured on the documents given, which both models must have seen: paired.

    Args:
      first: one model's score of each document.
      second: the other's.
      tokens: scored in a document.
      confidence: in (0.5, 1).
    """
    if len(first) != len(second) or len(first) < 2 or not 0.5 < confidence < 1:
        raise ValueError(
            "needed: it takes two models' scores of the same documents, at least 2, and a confidence in (0.5, 1), but "
            f"there are {len(first)} and {len(second)} scores, and the confidence is {confidence}"
        )
    difference = first - second
    gap, spread = float(difference.mean()), float(difference.std(ddof=1))
    if gap == 0:
        return Need(math.inf, math.inf, gap, spread)
    documents = max(1.0, float((scipy.stats.norm.ppf(confidence) * spread / gap) ** 2))
    return Need(documents, documents * tokens, gap, spread)
