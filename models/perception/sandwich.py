"""Brackets where contexts are too many to enumerate: the sample-average sandwich.

Below: the minimum over a sample never exceeds, in the mean, the minimum over the law, E min_q L_N(q) <= min_q E L_N(q);
independent replicates of it, less their certificates, give a t-interval. Above: a member of the class, the mean of the
replicates' optima (the class is convex), measured on sequences that no fit has seen. Losses are exact divergences from
the world's own law at sampled contexts (soft labels), which is what makes the interval narrow.
(Mak, Morton & Wood 1999, Oper. Res. Lett. 24:47, for sample-average bounds.)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Key

from models.perception.contexts import Contexts, divergences, gathered, scored
from worlds.base import World, sample
from worlds.quantity import Quantity

REPLICATES = 6
CONTEXTS = 4096  # of one replicate, about


@runtime_checkable
class Fitted(Protocol):
    """An optimum over a sample."""

    @property
    def excess(self) -> float:
        """Of the sample, nats."""
        ...

    @property
    def certificate(self) -> float:
        """How far the sample's true minimum can be below."""
        ...


Fit = TypeVar("Fit", bound=Fitted)


class Draws(NamedTuple):
    """Samples of a world: one set of contexts per replicate, and whole sequences that none of them holds."""

    replicates: list[Contexts]
    fresh: Contexts  # not joined: context t * count + n is position t of sequence n
    count: int  # fresh sequences


def draw(world: World, length: int, key: Key[Array, ""], sequences: int) -> Draws:
    """Half of the sequences for the replicates, half fresh.

    Long sequences are thinned: each replicate sees some positions of each sequence, chosen uniformly, so that its
    mean stays that of the functional.
    """
    each, count = max(96, sequences // (2 * REPLICATES)), max(64, sequences // 2)
    keys = jax.random.split(key, REPLICATES * each + count + 1)
    tokens = np.asarray(_sampled(world, keys[:-1], length))
    logs = scored(world, tokens)
    seen = min(length, max(1, CONTEXTS // each))
    order = np.asarray(jax.random.uniform(keys[-1], tokens.shape)).argsort(1).argsort(1)
    mass = (order < seen) / (seen * each)
    parts = np.split(np.arange(REPLICATES * each), REPLICATES)
    time, row = np.divmod(np.arange(count * length), count)
    last = slice(REPLICATES * each, None)
    target = np.exp(logs[last]).swapaxes(0, 1).reshape(len(row), -1)
    whole = Contexts(tokens[last], row, time, np.full(len(row), 1 / len(row)), target)
    return Draws([gathered(tokens[part], logs[part], mass[part]) for part in parts], whole, count)


def _sampled(world, keys, length):
    return jax.jit(jax.vmap(sample, (None, 0, None)), static_argnums=2)(world, keys, length)


def below(fits: Sequence[Fitted]) -> float:
    """The one-sided 97.5 % lower bound on the class's best excess."""
    values = np.array([fit.excess - fit.certificate for fit in fits])
    return float(values.mean() - _half(values))


def above(draws: Draws, guess: Float[np.ndarray, "context vocab"]) -> Quantity:
    """The excess of one predictor over the fresh sequences, with its 95 % interval by sequence."""
    values = divergences(draws.fresh.target, guess).reshape(-1, draws.count).mean(0)
    mean, half = float(values.mean()), _half(values)
    return Quantity(mean, mean - half, mean + half, "estimated", draws.count)


def _half(values: np.ndarray) -> float:
    return float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def bracket(
    draws: Draws,
    fit: Callable[[Contexts, Any], Fit],
    guess: Callable[[Sequence[Fit], Contexts], Float[np.ndarray, "context vocab"]],
) -> tuple[list[Fit], Quantity]:
    """Fits each replicate, beginning where the one before ended, and brackets the class's best excess.

    Args:
      draws: the samples.
      fit: (contexts, the fit before or None) -> the optimum over the contexts.
      guess: (fits, contexts) -> the law of a member of the class made of all fits.
    """
    fits: list[Fit] = []
    for contexts in draws.replicates:
        fits.append(fit(contexts, fits[-1] if fits else None))
    high = above(draws, guess(fits, draws.fresh))
    ends = sorted([max(0.0, below(fits)), high.high])  # two estimates: they may cross, rarely, within their noise
    value = min(
        max(high.value, ends[0]), ends[1]
    )  # the fresh mean may lie below what the replicates show to be the least
    return fits, Quantity(value, ends[0], ends[1], "estimated", draws.count)
