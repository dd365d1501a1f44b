"""Fidelity: does a protocol rank models as their exact loss does, and how many tokens does it need to?"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from worlds.quantity import Quantity, undefined

NORMAL = float(scipy.stats.norm.ppf(0.975))


def fidelity(
    scores: Float[np.ndarray, "model"],
    losses: Float[np.ndarray, "model"],
    smaller_is_better: bool,
    groups: Int[np.ndarray, "model"] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Quantity:
    """Kendall's tau-b between a protocol's scores and exact losses over models, with a 95 % bootstrap interval.

    1: the same order; -1: the reverse; ties lower it. Groups of models (the seeds of one run) are resampled whole, with
    all their pairs (score, loss); resamples in which one of the two does not vary have no tau and are left out. Where
    all pairs agree there is nothing to resample: then the low end is that of m independent pairs, half as many as there
    are groups, which all agree (Clopper & Pearson 1934: the chance of discord is at most 1 - 0.05^(1/m)); likewise at
    -1. Undefined with fewer than two distinct scores or losses.

    Args:
      scores: what the protocol reports of each model.
      losses: their exact losses, nats per token; smaller is better.
      smaller_is_better: whether a small score is a good one.
      groups: a number for each model; equal numbers are resampled together. None: every model alone.
      resamples: of the bootstrap, at least 2.
      seed: of numpy's PCG64 generator.
    """
    if len(scores) != len(losses) or len(scores) < 2 or resamples < 2:
        raise ValueError(
            "fidelity: scores and losses must be those of the same models, at least 2, and resamples at least 2, but "
            f"there are {len(scores)} scores, {len(losses)} losses and {resamples} resamples"
        )
    scores = scores if smaller_is_better else -scores
    value = tau_b(scores, losses)
    if math.isnan(value):
        return undefined()
    names, group = np.unique(np.arange(len(scores)) if groups is None else groups, return_inverse=True)
    if abs(value) > 1 - 1e-12:
        discord = 1 - 0.05 ** (1 / max(1, len(names) // 2))
        end = float(np.sign(value)) * (1 - 2 * discord)
        return Quantity(value, min(value, end), max(value, end), "estimated", len(names))
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)[:, group]
    low, high = np.nanquantile(_taus(counts.astype(float), scores, losses), [0.025, 0.975])
    return Quantity(value, float(low), float(high), "estimated", len(names))


def tau_b(a: Float[np.ndarray, "model"], b: Float[np.ndarray, "model"]) -> float:
    """(concordant - discordant) / sqrt((pairs - ties in a) (pairs - ties in b)); NaN where one does not vary."""
    return float(_taus(np.ones((1, len(a))), a, b)[0])


def _taus(
    counts: Float[np.ndarray, "resample model"], a: Float[np.ndarray, "model"], b: Float[np.ndarray, "model"]
) -> Float[np.ndarray, "resample"]:
    """The tau-b of samples in which each model occurs so many times; a model ties with itself."""
    x, y = _order(a), _order(b)
    agreed, first, second = (((counts @ pairs) * counts).sum(1) for pairs in (x * y, x * x, y * y))
    with np.errstate(invalid="ignore"):  # 0 / 0: one of the two does not vary
        return agreed / np.sqrt(first * second)


def _order(a: Float[np.ndarray, "model"]) -> Float[np.ndarray, "model model"]:
    """1, 0, -1 where the first of a pair is larger, equal, smaller; two infinities are equal."""
    return (a[:, None] > a[None]) * 1.0 - (a[:, None] < a[None])


class Need(NamedTuple):
    """How much evaluation ranks two models."""

    documents: Quantity  # independent documents; inf if the protocol cannot tell the two apart
    tokens: Quantity  # of text in them
    gap: float  # the first's score minus the second's, in the protocol's unit
    spread: float  # standard deviation of the difference over documents


def needed(
    first: Float[np.ndarray, "document"],
    second: Float[np.ndarray, "other"],
    tokens: int,
    confidence: float = 0.95,
    paired: bool = True,
    gap: float | None = None,
) -> Need:
    """Documents, and tokens, after which the mean difference of two models has the right sign with this confidence.

    By the normal law, P(right sign) = Phi(gap sqrt(n) / spread), so n = (z spread / gap)^2, z the one-sided quantile
    (1.645 at 95 %). The spread is that of differences over the documents given, where both models saw the same; over
    independent documents the variances add. The interval (95 %) is that of the measured gap, or else, where the gap is
    known, that of the variance. Undefined where a document has an infinite or undefined score.

    Args:
      first: one model's score of each document.
      second: the other's.
      tokens: of text in a document.
      confidence: in (0.5, 1).
      paired: whether the documents are the same.
      gap: the difference of the two, where the protocol's exact expectations are known; None: as measured.
    """
    counts = (len(first), len(second))
    if min(counts) < 2 or (paired and counts[0] != counts[1]) or not 0.5 < confidence < 1:
        raise ValueError(
            "needed: it takes scores of at least 2 documents, the same for both if they are paired, and a confidence "
            f"in (0.5, 1), but there are {counts[0]} and {counts[1]}, and the confidence is {confidence}"
        )
    found = float(first.mean() - second.mean()) if gap is None else gap
    if not (np.isfinite(first).all() and np.isfinite(second).all() and math.isfinite(found)):
        return Need(undefined(), undefined(), found, math.nan)
    parts = [first - second] if paired else [first, second]
    variance = float(sum(part.var(ddof=1) for part in parts))
    ends = _gap_ends(abs(found), parts, variance) if gap is None else _variance_ends(gap, parts, variance)
    documents, low, high = (_documents(confidence, *end) for end in [(abs(found), variance), *ends])
    count = min(counts)
    return Need(
        Quantity(documents, low, high, "estimated", count),
        Quantity(documents * tokens, low * tokens, high * tokens, "estimated", count),
        found,
        math.sqrt(variance),
    )


def _gap_ends(gap: float, parts: list[np.ndarray], variance: float) -> list[tuple[float, float]]:
    """(gap, variance) where the documents are fewest and most: the ends of the measured gap's interval."""
    half = NORMAL * math.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    return [(gap + half, variance), (gap - half if gap > half else 0.0, variance)]


def _variance_ends(gap: float, parts: list[np.ndarray], variance: float) -> list[tuple[float, float]]:
    """The same at a known gap: s^2 has the variance (m_4 - s^4) / n."""
    half = NORMAL * math.sqrt(sum((((part - part.mean()) ** 4).mean() - part.var() ** 2) / len(part) for part in parts))
    return [(gap, variance - half if variance > half else 0.0), (gap, variance + half)]


def _documents(confidence: float, gap: float, variance: float) -> float:
    """(z spread / gap)^2, and never less than the one document that a sign takes."""
    if gap == 0:
        return math.inf
    return max(1.0, float(scipy.stats.norm.ppf(confidence)) ** 2 * variance / gap**2)


def discordant(
    scores: Float[np.ndarray, "model"], losses: Float[np.ndarray, "model"], smaller_is_better: bool
) -> Bool[np.ndarray, "model model"]:
    """Which pairs of models the scores rank in the reverse of the losses' order."""
    return _order(scores if smaller_is_better else -scores) * _order(losses) < 0
