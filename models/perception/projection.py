"""The best predictor of a concept: a mixture read-out over its whole dictionary of profiles, by column generation.

The programme is solved on a few profiles; the certificate's score is then bounded over the whole dictionary (all of a
finite family; a continuum by branch and bound, see `continuum`), and the profiles that score above one join.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float

from models.perception import programme
from models.perception.contexts import Contexts, excess, thinned
from models.perception.continuum import Field, highest
from models.perception.profiles import UNIGRAM, Column, Continuum, Dictionary, Family, table

FEW = 4096  # contexts of a first, thinned programme
WORK = 1_000_000, 6_000_000  # numbers that a search may add up, and one that is to confirm it


class Projection(NamedTuple):
    """A feasible mixture: profile h read through the map M_h, whose rows sum to the weight of h."""

    columns: tuple[Column, ...]
    maps: programme.Maps
    excess: float  # nats above the floor, on the contexts it was fitted on
    certificate: float  # nats that it can at most be above the best of all profiles searched, on these contexts
    proved: float  # and of the whole dictionary: the same if its continua have one dimension, else often wider

    @property
    def weight(self) -> Float[np.ndarray, "head"]:
        """w_h."""
        return self.maps[:, 0].sum(-1)


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
    if not columns and len(contexts.row) > 4 * FEW:  # a thinned programme is cheap, and finds nearly the same profiles
        columns = project(thinned(contexts, FEW), dictionary[1:], 1e3 * tolerance).columns
    columns = columns or seeds(dictionary, contexts.length)
    best, slack = None, tolerance if _complete(dictionary, columns, contexts.length) else 1e-3
    seen: set[Any] = set()
    least = 1e-3  # profiles of less weight, as a share of the largest, are dropped; those that are needed come again
    for number in range(rounds):
        features = read(columns, contexts)
        maps = programme.solve(features, contexts.target, contexts.weight, max(tolerance / 4, 0.02 * slack)).maps
        guess = programme.mixed(features, maps)
        field, goal = pull(contexts, guess), max(tolerance, relative * excess(contexts, guess))
        gain, bound, fresh = 0.0, 0.0, []
        for work in WORK:
            gain, bound, fresh = search(dictionary, field, contexts.length, tolerance / 4, work)
            if programme.certificate(1 + gain) > goal:
                break
        certificates = programme.certificate(1 + gain), programme.certificate(1 + bound)
        found = Projection(columns, maps, excess(contexts, guess), *certificates)
        if best is None or found.certificate < best.certificate:
            best = found
        slack = min(slack, found.certificate)
        new = distinct(columns, fresh, contexts)
        if found.certificate <= goal or (not new and slack <= tolerance):
            break
        tried, least = frozenset(columns), 1e-9 if number >= 10 or frozenset(columns) in seen else least
        if (tried, slack, least) in seen:
            break  # the same programme again, as accurate as floats allow
        seen |= {tried, (tried, slack, least)}
        kept = np.flatnonzero(found.weight > least * found.weight.max())
        columns = (*(columns[h] for h in kept), *new)
    assert best is not None
    return best


def _complete(dictionary: Dictionary, columns: tuple[Column, ...], length: int) -> bool:
    """Whether the columns are all of the dictionary, so that the first programme is the last."""
    sizes = [len(slopes) * len(starts) for slopes, starts in (family.grid(length) for family in dictionary)]
    return not any(any(family.searched) for family in dictionary) and len(columns) >= sum(sizes)


def distinct(columns: tuple[Column, ...], fresh: list[Column], contexts: Contexts) -> tuple[Column, ...]:
    """Those fresh columns that none of the others equals where the contexts are."""
    times = [t for t, _ in contexts.times]
    seen, new = [table(c, contexts.length)[times] for c in columns], []
    for column in fresh:
        mine = table(column, contexts.length)[times]
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


def pull(contexts: Contexts, guess: Float[np.ndarray, "context vocab"]) -> Field:
    """The gradient of every profile at once, less what it would be if the guess were right; a product per time."""
    weight = contexts.weight[:, None]
    ratio = programme.ratios(contexts.target, contexts.weight, guess) - weight
    one_hot = np.eye(contexts.vocab)[contexts.tokens]
    times, vocab = contexts.times, contexts.vocab
    tokens = np.zeros((len(times), max(contexts.length - 1, 1), vocab, vocab))
    start = np.zeros((len(times), vocab))
    for i, (t, here) in enumerate(times):
        start[i] = ratio[here].sum(0)
        if t:
            past = one_hot[contexts.row[here], :t][:, ::-1].reshape(-1, t * vocab)  # by lag
            tokens[i, :t] = (past.T @ ratio[here]).reshape(t, vocab, vocab)
    return Field(np.array([float(t) for t, _ in times]), tokens, start)


def score(
    family: Family, slopes: Float[np.ndarray, "slope"], starts: Float[np.ndarray, "start"], field: Field
) -> Float[np.ndarray, "slope start"]:
    """sum_a max_y G[a, y] - 1 for profiles of a family: above zero, the profile would lower the loss."""
    lags, vocab = np.arange(1.0, 1 + field.tokens.shape[1]), field.start.shape[1]
    kernel = family.kernel(slopes, lags)[:, None, :] * (lags[None, :] <= field.times[:, None])[None]
    total = kernel.sum(2)
    flat = field.tokens.reshape(*field.tokens.shape[:2], -1)
    reads = np.matmul(kernel.transpose(1, 0, 2), flat).transpose(1, 0, 2) / np.where(total > 0, total, 1)[..., None]
    share = family.share(slopes, starts, field.times)
    tokens = np.einsum("hst,htx->hsx", 1 - share, reads).reshape(*share.shape[:2], vocab, vocab)
    return tokens.max(-1).sum(-1) + (share @ field.start).max(-1)


def search(
    dictionary: Dictionary, field: Field, length: int, slack: float, work: int, most: int = 8
) -> tuple[float, float, list[Column]]:
    """The best score less one that was found, a bound over the whole dictionary, and new profiles above the slack.

    Where the bound is within a tenth and the slack of the best, as `highest` makes it, it counts as found.
    """
    bound, found = -np.inf, []
    for family in dictionary:
        slopes, starts = family.grid(length)
        if isinstance(family, Continuum) and any(family.searched):
            high, near = highest(family, field, length, slack, work)
            bound, found = max(bound, high), found + near + refined(family, field, length, most // 2)
            slopes = slopes[np.isinf(slopes)]  # where a start is a threshold
            starts = np.r_[0.0, 0.5 + np.arange(length)] if family.searched[1] else starts
        values = score(family, slopes, starts, field)
        bound = max(bound, float(values.max(initial=-np.inf)))
        at = np.unravel_index(np.argsort(-values, axis=None)[: most // 2], values.shape)
        found += [
            (float(values[i, j]), Column(family, float(slopes[i]), float(starts[j]))) for i, j in zip(*at, strict=True)
        ]
    found = sorted(found, key=lambda pair: -pair[0])
    near = 1.1 * max(found[0][0], 0.0) + 2 * slack
    return min(bound, near), bound, [column for value, column in found[:most] if value > slack]


def refined(family: Family, field: Field, length: int, most: int) -> list[tuple[float, Column]]:
    """The highest peaks of a grid, each in a 5 x 5 window that is halved again and again: no bound, but good guesses.

    They are what branch and bound misses where it runs out of work before it has come down to the peak.
    """
    slopes, starts = family.grid(length)
    values = score(family, slopes, starts, field)
    peaks = values == scipy.ndimage.maximum_filter(values, [3 if free else 1 for free in family.searched])
    order = sorted((tuple(ij) for ij in np.argwhere(peaks)), key=lambda ij: -values[ij])[:most]
    return [_climbed(family, slopes, starts, ij, field) for ij in order]


def _climbed(family: Family, slopes, starts, ij, field: Field, rounds: int = 18) -> tuple[float, Column]:
    numbers = [np.asarray(slopes), np.asarray(starts)]
    at = [float(axis[i]) for axis, i in zip(numbers, ij, strict=True)]
    finite = [axis[np.isfinite(axis)] for axis in numbers]
    free = [f and np.isfinite(a) and len(axis) > 1 for f, a, axis in zip(family.searched, at, finite, strict=True)]
    width = [
        max(axis[min(i + 1, len(axis) - 1)] - a, a - axis[max(i - 1, 0)]) if f else 0.0
        for f, a, axis, i in zip(free, at, finite, ij, strict=True)
    ]
    value = float(score(family, np.array(at[:1]), np.array(at[1:]), field)[0, 0])
    for _ in range(rounds if any(free) else 0):
        axes = [
            np.unique(np.clip(a + r * np.linspace(-1, 1, 5), axis.min(), axis.max())) if f else np.array([a])
            for f, a, r, axis in zip(free, at, width, finite, strict=True)
        ]
        values = score(family, axes[0], axes[1], field)
        best = np.unravel_index(values.argmax(), values.shape)
        if values[best] >= value:
            value, at = float(values[best]), [float(axis[i]) for axis, i in zip(axes, best, strict=True)]
        width = [r / 2 for r in width]
    return value, Column(family, *at)
