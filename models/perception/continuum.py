"""The highest score over a continuum of profiles, proved by branch and bound, and the profiles that come near it.

Profiles are softmaxes whose logits are linear in theta = (slope, weight): -slope d_g for the token at lag g, weight -
slope d_{t+1} for the start symbol. In a box with corners theta_v, at theta = sum_v lambda_v theta_v,
    alpha(theta) <= e^gap sum_v lambda_v alpha(theta_v),   gap = sum_v lambda_v A(theta_v) - A(theta),
since an arithmetic mean exceeds a geometric one; A is the log-partition function. As A is convex, gap is at most the
largest A(theta_v) + A(opposite corner) - 2 A(centre): by its tangent at the centre. Both sides sum to one, so their
total variation is at most e^gap - 1, which shrinks as the square of the box. The score is convex in alpha: it exceeds
its largest corner by no more than what so much variation can move. Scores are given less one, as sums of
weight (p / q - 1), which vanish where q is right: there even a flat score is told from the bound's own slack.
"""

from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float, Int

from models.perception.profiles import Column, Continuum

EDGE = 25.0  # logits beyond that are left out: e^-25 of a read
NEVER = -1e4  # the weight of a start symbol that is not read: e^-10,000 is exactly 0
SPILL = 1e-10  # more than what is left out, of any read: e^-25, and e^-24 beyond the steepest slope
CHUNK = 4_000_000  # entries at once


class Field(NamedTuple):
    """Sums of weight (p / q - 1) by time, lag, token read and token predicted: a profile's score is linear in them."""

    times: Float[np.ndarray, "time"]
    tokens: Float[np.ndarray, "time lag read predicted"]
    start: Float[np.ndarray, "time predicted"]


class Boxes(NamedTuple):
    """Sets of profiles: slopes, and weights of the start symbol (or its given number), from one end to the other."""

    low: Float[np.ndarray, "box two"]
    high: Float[np.ndarray, "box two"]
    home: Int[np.ndarray, "box"]  # the first box that it is part of


class Seen(NamedTuple):
    """What is known of boxes."""

    value: Float[np.ndarray, "box corner"]  # scores less one
    above: Float[np.ndarray, "box"]  # how far above its corners a box's score can be
    across: Float[np.ndarray, "box two"]  # the variance of the logits along either axis


def highest(
    family: Continuum, field: Field, length: int, slack: float, work: int, most: int = 4
) -> tuple[float, list[tuple[float, Column]]]:
    """A bound on the score less one of every profile of the family, and the best profiles found, the best first.

    The bound is within reach of the best (see `slack`) unless the work ran out: then what is open is in it as well.

    Args:
      family: one with `searched` slopes or starts.
      field: of the present point.
      length: tokens per sequence.
      slack: how far the bound may be above the best found, or a tenth of the latter, if that is more.
      work: numbers that may be added up; the first boxes are looked at in any case.
      most: profiles to return.
    """
    boxes, shape = first(family, field.times, length)
    if not len(boxes.low):
        return -np.inf, []  # all slopes are infinite
    given = None if family.searched[1] else boxes.low[:, 1]
    best, where = np.full(len(boxes.low), -np.inf), np.zeros((len(boxes.low), 2))
    bound, done = -np.inf, 0
    while len(boxes.low):
        corners, bend = cornered(family, boxes)
        seen = examined(family, corners, bend, field)
        top = seen.value.argmax(1)
        value, at = seen.value.max(1), corners[np.arange(len(top)), top]
        order = np.argsort(value)
        better = order[value[order] > best[boxes.home[order]]]
        best[boxes.home[better]], where[boxes.home[better]] = value[better], at[better]  # the last, the best, stays
        goal = max(best.max(), 0.0) + max(slack, 0.1 * best.max())
        upper, done = value + seen.above, done + seen.value.size * field.tokens[:, 0].size
        is_open = (upper > goal) & (done < work)
        bound = max(bound, upper[~is_open].max(initial=-np.inf))
        boxes = halves(boxes, seen.across, is_open)
    peaks = best.reshape(shape) == scipy.ndimage.maximum_filter(best.reshape(shape), 3)
    order = [n for n in np.argsort(-best) if peaks.ravel()[n]][:most]
    columns = [column(family, where[n][0], where[n][1], None if given is None else float(given[n])) for n in order]
    return bound + SPILL * spilt(field), list(zip(best[order].tolist(), columns, strict=True))


def spilt(field: Field) -> float:
    """How much a score changes if all reads move elsewhere."""
    tokens = np.abs(field.tokens).max(3).sum(2).max(1, initial=0.0)
    return float(2 * (tokens + np.abs(field.start).max(1)).sum())


def first(family: Continuum, times: Float[np.ndarray, "time"], length: int) -> tuple[Boxes, tuple[int, int]]:
    """The boxes to begin with, which cover the family, and how many there are along either axis."""
    slopes, starts = family.grid(length)
    slopes = slopes[np.isfinite(slopes)]
    sides = np.stack([slopes, slopes], 1)
    if family.searched[0]:
        edges = np.r_[slopes, family.steepest(times, starts)] if family.steepest(times, starts) > slopes[-1] else slopes
        sides = np.stack([edges[:-1], edges[1:]], 1)
    if not family.searched[1]:
        low = np.stack(np.broadcast_arrays(sides[:, :1], starts[None]), -1).reshape(-1, 2)
        high = np.stack(np.broadcast_arrays(sides[:, 1:], starts[None]), -1).reshape(-1, 2)
        return Boxes(low, high, np.arange(len(low))), (len(sides), len(starts))
    count = 16
    if len(times) == 1:  # a read with a start symbol is a mixture of the same read without and of the unigram
        sides = np.pad(sides[:, :, None], ((0, 0), (0, 0), (0, 1)), constant_values=-EDGE)
        return Boxes(sides[:, 0], sides[:, 1], np.arange(len(sides))), (len(sides), 1)
    last = sides[:, 1] * family.distance(times.max(keepdims=True) + 1) + EDGE + np.log(1 + times.max())
    edges = np.linspace(np.full(len(sides), -EDGE), last, count + 1, axis=1)
    low = np.stack([np.repeat(sides[:, 0], count), edges[:, :-1].ravel()], 1)
    high = np.stack([np.repeat(sides[:, 1], count), edges[:, 1:].ravel()], 1)
    return Boxes(low, high, np.arange(len(low))), (len(sides), count)


def cornered(family: Continuum, boxes: Boxes) -> tuple[Float[np.ndarray, "box four two"], Float[np.ndarray, "box"]]:
    """Corners (0 opposite 3, 1 opposite 2), and how far the start symbol's logit strays from the line between them.

    A given start is a curve in theta: its ends are the corners, twice each.
    """
    slope = np.stack([boxes.low[:, 0], boxes.low[:, 0], boxes.high[:, 0], boxes.high[:, 0]], 1)
    if family.searched[1]:
        weight = np.stack([boxes.low[:, 1], boxes.high[:, 1], boxes.low[:, 1], boxes.high[:, 1]], 1)
        return np.stack([slope, weight], -1), np.zeros(len(slope))
    starts = np.repeat(boxes.low[:, 1:], 4, 1)
    bend = family.bend(boxes.low[:, 1]) * (boxes.high[:, 0] - boxes.low[:, 0]) ** 2 / 8
    weight = np.maximum(family.weight(slope, starts), NEVER)
    return np.stack([slope, weight], -1), bend


def column(family: Continuum, slope: float, weight: float, given: float | None) -> Column:
    """The profile at a corner; the least weight of all is a start symbol that is never read."""
    if given is None:
        given = 0.0 if weight <= -EDGE else float(family.start(np.array(slope), np.array(weight)))
    return Column(family, float(slope), float(given))


def halves(boxes: Boxes, across: Float[np.ndarray, "box two"], is_open: np.ndarray) -> Boxes:
    """The open boxes, cut in two across the axis along which profiles change more."""
    low, high, home = boxes.low[is_open], boxes.high[is_open], boxes.home[is_open]
    row, axis = np.arange(len(low)), across[is_open].argmax(1)
    middle = (low[row, axis] + high[row, axis]) / 2
    left, right = high.copy(), low.copy()
    left[row, axis], right[row, axis] = middle, middle
    return Boxes(np.concatenate([low, right]), np.concatenate([left, high]), np.concatenate([home, home]))


def examined(
    family: Continuum, corners: Float[np.ndarray, "box four two"], bend: Float[np.ndarray, "box"], field: Field
):
    """Scores at the corners, and the bound's terms, so many boxes at a time."""
    size = max(1, CHUNK // (4 * len(field.times) * field.tokens[0, 0].size))
    parts = [_examined(family, corners[n : n + size], bend[n : n + size], field) for n in range(0, len(corners), size)]
    return Seen(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _examined(family, corners, bend, field: Field) -> Seen:
    points = np.concatenate([corners, corners.mean(1, keepdims=True)], 1)
    slopes, which = np.unique(points[..., 0], return_inverse=True)
    which = which.reshape(points.shape[:2])
    reads, total, distance, variance = tokens_alone(family, slopes, field)
    start = points[..., 1, None] - points[..., :1] * family.distance(field.times + 1)
    partition, share = partitioned(family, slopes, total, start, field.times, which)
    gap = np.maximum(partition[:, 0] + partition[:, 3], partition[:, 1] + partition[:, 2]) - 2 * partition[:, 4]
    varied = np.expm1(np.clip(gap + bend[:, None], 0.0, 500.0))
    vocab = field.start.shape[1]
    spoken = np.einsum("bct,bctx->bcx", 1 - share[:, :4], reads[which[:, :4]]).reshape(*corners.shape[:2], vocab, vocab)
    said = np.concatenate([spoken, (share[:, :4] @ field.start)[..., None, :]], 2)
    largest = np.abs(field.tokens).max(1, initial=0.0).reshape(len(field.times), -1)
    tokens = (2 * varied @ largest).reshape(len(corners), vocab, vocab)
    unsure = np.concatenate([tokens, (varied @ np.abs(field.start))[:, None]], 1)
    possible = said.max(1) + unsure >= (said.min(1) - unsure).max(-1, keepdims=True)
    above = np.where(possible, unsure, 0.0).max(-1).sum(-1)
    own, middle = share[:, 4], which[:, 4]
    side = corners[:, 3] - corners[:, 0]
    off = distance[middle] - family.distance(field.times + 1)
    across = (1 - own) * (variance[middle] + own * off**2), own * (1 - own)
    return Seen(said.max(-1).sum(-1), above, side**2 * np.stack([x.sum(1) for x in across], 1))


def tokens_alone(family: Continuum, slopes: Float[np.ndarray, "slope"], field: Field):
    """Without the start symbol: what is read of the field, log sum_g k(g), and mean and variance of d_g."""
    lags = np.arange(1.0, 1 + field.tokens.shape[1])
    steps = family.distance(lags)
    logits = np.where(lags[None] <= field.times[:, None], -slopes[:, None, None] * steps, -np.inf)
    kernel = np.exp(logits)  # at most 1, at lag 1
    sums = kernel.sum(2)
    alpha = kernel / np.where(sums > 0, sums, 1)[..., None]
    flat = field.tokens.reshape(*field.tokens.shape[:2], -1)
    reads = np.matmul(alpha.transpose(1, 0, 2), flat).transpose(1, 0, 2)
    mean = alpha @ steps
    with np.errstate(divide="ignore"):
        return reads, np.log(sums), mean, alpha @ steps**2 - mean**2


def partitioned(family, slopes, total, start, times, which):
    """The log-partition function and the start symbol's share, [box, point, time]; at first there is nothing else."""
    sink = family.partition(slopes)
    if sink is not None:
        whole = np.repeat(sink[:, None], len(times), 1)
        return whole[which], (1 - np.exp(total - whole))[which]
    start = np.where(times == 0, 0.0, start)
    whole = np.logaddexp(total[which], start)
    return whole, np.exp(start - whole)
