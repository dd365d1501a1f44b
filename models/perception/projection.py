"""The best predictor of a concept: a mixture read-out over its whole dictionary of profiles, by column generation.

The programme is solved on a few profiles; the certificate's score is then searched over the whole dictionary (a grid,
and for a continuum a refinement around each of its local maxima), and the profiles that score above one join.
"""

from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float

from models.perception import programme
from models.perception.contexts import Contexts, excess
from models.perception.profiles import UNIGRAM, Column, Dictionary, Family, table


class Projection(NamedTuple):
    """A feasible mixture: profile h read through the map M_h, whose rows sum to the weight of h."""

    columns: tuple[Column, ...]
    maps: programme.Maps
    excess: float  # nats above the floor, on the contexts it was fitted on
    certificate: float  # nats that it can at most be above the best of the whole dictionary, on these contexts

    @property
    def weight(self) -> Float[np.ndarray, "head"]:
        """w_h."""
        return self.maps[:, 0].sum(-1)


class Pull(NamedTuple):
    """Sums of weight p / q by time, lag, token read and token predicted: the gradient of every profile at once."""

    times: Float[np.ndarray, "time"]
    tokens: Float[np.ndarray, "lag time read_predicted"]
    start: Float[np.ndarray, "time vocab"]


def project(
    contexts: Contexts,
    dictionary: Dictionary,
    tolerance: float = 1e-9,
    columns: tuple[Column, ...] = (),
    relative: float = 0.0,
    rounds: int = 40,
) -> Projection:
    """The optimum over the dictionary, to a certificate of `tolerance` nats where floats allow.

    Args:
      contexts: what the loss averages over.
      dictionary: families of profiles; the unigram's profile is always added.
      tolerance: nats.
      columns: profiles to begin with (those of a similar programme); a coarse grid if none.
      relative: the certificate may also be this share of the excess.
      rounds: of column generation, at most.
    """
    dictionary = (UNIGRAM, *dictionary)
    columns = columns or seeds(dictionary, contexts.length)
    best, slack = None, tolerance if _complete(dictionary, columns, contexts.length) else 1e-3
    for number in range(rounds):
        features = read(columns, contexts)
        maps = programme.solve(features, contexts.target, contexts.weight, max(tolerance / 4, 0.02 * slack)).maps
        guess = programme.mixed(features, maps)
        score, fresh = search(dictionary, pull(contexts, guess), contexts.length, tolerance / 4)
        found = Projection(columns, maps, excess(contexts, guess), programme.certificate(score))
        if best is None or found.certificate < best.certificate:
            best = found
        slack = min(slack, found.certificate)
        fresh = distinct(columns, fresh, contexts.length)
        if found.certificate <= max(tolerance, relative * found.excess) or (not fresh and slack <= tolerance):
            break
        # profiles of little use are dropped, boldly early on; dropped ones that are needed score above one again
        kept = np.flatnonzero(found.weight > (1e-3 if number < 10 else 1e-9) * found.weight.max())
        columns = (*(columns[h] for h in kept), *fresh)
    assert best is not None
    return best


def _complete(dictionary: Dictionary, columns: tuple[Column, ...], length: int) -> bool:
    """Whether the columns are all of the dictionary, so that the first programme is the last."""
    sizes = [len(slopes) * len(starts) for slopes, starts in (family.grid(length) for family in dictionary)]
    return not any(any(family.searched) for family in dictionary) and len(columns) >= sum(sizes)


def distinct(columns: tuple[Column, ...], fresh: list[Column], length: int) -> tuple[Column, ...]:
    """Those fresh columns whose tables are not there already."""
    seen, new = [table(c, length) for c in columns], []
    for column in fresh:
        mine = table(column, length)
        if all(np.abs(mine - other).max() > 1e-9 for other in seen):
            seen.append(mine)
            new.append(column)
    return tuple(new)


def seeds(dictionary: Dictionary, length: int) -> tuple[Column, ...]:
    """A coarse choice from every family, or all of a small one."""
    chosen = []
    for family in dictionary:
        slopes, starts = family.grid(length)
        chosen += [Column(family, float(m), float(s)) for m in _few(slopes, 12) for s in _few(starts, 2)]
    return tuple(dict.fromkeys(chosen))


def _few(numbers: np.ndarray, count: int) -> np.ndarray:
    return numbers if len(numbers) <= count else numbers[:: -(-2 * len(numbers) // count)]


def read(columns: tuple[Column, ...], contexts: Contexts) -> programme.Features:
    """phi_c,h[a] = sum_s alpha^h[t, s] 1(x_s = a), and alpha^h[t, start] at a = 0."""
    tables = np.stack([table(column, contexts.length) for column in columns])
    one_hot = np.eye(contexts.vocab)[contexts.tokens]
    features = np.empty((len(contexts.row), len(columns), 1 + contexts.vocab))
    for t, here in contexts.times:
        features[here, :, 0] = tables[:, t, 0]
        past = one_hot[contexts.row[here], :t]
        features[here, :, 1:] = np.tensordot(past, tables[:, t, 1 : 1 + t], (1, 1)).transpose(0, 2, 1)
    return features


def pull(contexts: Contexts, guess: Float[np.ndarray, "context vocab"]) -> Pull:
    """The sums, one matrix product per time."""
    ratio = programme.ratios(contexts.target, contexts.weight, guess)
    one_hot = np.eye(contexts.vocab)[contexts.tokens]
    times, vocab = contexts.times, contexts.vocab
    tokens = np.zeros((max(contexts.length - 1, 1), len(times), vocab * vocab))
    start = np.zeros((len(times), vocab))
    for i, (t, here) in enumerate(times):
        start[i] = ratio[here].sum(0)
        if t:
            past = one_hot[contexts.row[here], :t][:, ::-1].reshape(-1, t * vocab)  # by lag
            tokens[:t, i] = (past.T @ ratio[here]).reshape(t, vocab * vocab)
    return Pull(np.array([float(t) for t, _ in times]), tokens, start)


def score(
    family: Family, slopes: Float[np.ndarray, "slope"], starts: Float[np.ndarray, "start"], pulls: Pull
) -> Float[np.ndarray, "slope start"]:
    """sum_a max_y G[a, y] for every profile of a family: above one, the profile would lower the loss."""
    lags, times, squared = pulls.tokens.shape
    vocab = round(squared**0.5)
    kernel = family.kernel(slopes, np.arange(1.0, 1 + lags))
    total = np.concatenate([np.zeros((len(slopes), 1)), np.cumsum(kernel, 1)], 1)[:, pulls.times.astype(int)]
    tokens = (kernel @ pulls.tokens.reshape(lags, -1)).reshape(len(slopes), times, squared)
    tokens = tokens / np.where(total > 0, total, 1)[:, :, None]
    share = family.share(slopes, starts, pulls.times)
    by_token = ((1 - share) @ tokens).reshape(len(slopes), len(starts), vocab, vocab)
    return by_token.max(-1).sum(-1) + (share @ pulls.start).max(-1)


def search(dictionary: Dictionary, pulls: Pull, length: int, slack: float, most: int = 8) -> tuple[float, list[Column]]:
    """The highest score of the whole dictionary, and the best new profiles, those above 1 + slack."""
    top, fresh = 0.0, []
    for family in dictionary:
        slopes, starts = family.grid(length)
        values = score(family, slopes, starts, pulls)
        peaks = values == scipy.ndimage.maximum_filter(values, [3 if free else 1 for free in family.searched])
        order = [tuple(ij) for ij in np.argwhere(peaks)]
        order.sort(key=lambda ij: -values[ij])
        for ij in order[: most // 2]:
            value, column = _refined(family, slopes, starts, ij, pulls)
            top = max(top, value)
            if value > 1 + slack:
                fresh.append((value, column))
    fresh.sort(key=lambda found: -found[0])
    return top, [column for _, column in fresh[:most]]


def _refined(family: Family, slopes, starts, ij, pulls: Pull, rounds: int = 18) -> tuple[float, Column]:
    """Shrinks a 5 x 5 window around a peak of the grid, halving it each time."""
    numbers = [np.asarray(slopes), np.asarray(starts)]
    at = [float(axis[i]) for axis, i in zip(numbers, ij, strict=True)]
    finite = [axis[np.isfinite(axis)] for axis in numbers]
    free = [f and np.isfinite(a) and len(axis) > 1 for f, a, axis in zip(family.searched, at, finite, strict=True)]
    width = [
        max(axis[min(i + 1, len(axis) - 1)] - a, a - axis[max(i - 1, 0)]) if f else 0.0
        for f, a, axis, i in zip(free, at, finite, ij, strict=True)
    ]
    value = float(score(family, np.array(at[:1]), np.array(at[1:]), pulls)[0, 0])
    for _ in range(rounds if any(free) else 0):
        axes = [
            np.unique(np.clip(a + r * np.linspace(-1, 1, 5), axis.min(), axis.max())) if f else np.array([a])
            for f, a, r, axis in zip(free, at, width, finite, strict=True)
        ]
        values = score(family, axes[0], axes[1], pulls)
        best = np.unravel_index(values.argmax(), values.shape)
        if values[best] >= value:
            value, at = float(values[best]), [float(axis[i]) for axis, i in zip(axes, best, strict=True)]
        width = [r / 2 for r in width]
    return value, Column(family, *at)
