"""Reads that what is there decides, not distance alone: attention gated by content, with a mixture read-out.

A dictionary here is a finite list of heads, each an attention profile that may depend on the past itself; its features
phi_t,h[a] are the attention that symbol a gets. The programme and its certificate are those of `programme`, over the
whole list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from models.base import Predictor
from models.perception import programme
from models.perception.base import Perceived, split
from models.perception.contexts import Contexts, enumerated, excess
from models.perception.mixture import MIXED, proved, zero
from models.perception.sandwich import REPLICATES, bracket, draw
from worlds.base import LIMIT, World, functional
from worlds.quantity import Quantity


class Fit(NamedTuple):
    """Maps of every head."""

    maps: programme.Maps
    excess: float
    certificate: float


@dataclass(frozen=True)
class Content:
    """The mixtures of a finite list of content-gated reads."""

    name: str
    heads: Callable[[Int[Array, "time"], int], Float[Array, "time head symbol"]]  # (tokens, vocab) -> phi; hashable

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """The programme over all prefixes where they are few, else the sandwich.

        Content-gated reads are no profiles, so there is no richest dictionary of their kind: all of the excess is put
        down to the concept.
        """
        del trained
        if world.vocab_size ** (length - 1) <= LIMIT:
            return self.over(enumerated(world, functional(world, length, key, sequences)))
        draws = draw(world, length, key, sequences)
        fits, bounds = bracket(draws, lambda c, _: self.fitted(c, 1e-6), lambda f, c: self._law(_mean(f), c))
        return self._perceived(_mean(fits), bounds, {"replicates": REPLICATES})

    def over(self, contexts: Contexts) -> Perceived:
        """The programme over given contexts."""
        found = self.fitted(contexts)
        bounds = proved(found.excess, found.certificate)
        return self._perceived(found, bounds, {"certificate": found.certificate})

    def _perceived(self, found: Fit, bounds: Quantity, info: dict[str, Any]) -> Perceived:
        return split(
            self._predictor(found),
            bounds,
            zero(),
            info | {"readout": MIXED, "weight": found.maps[:, 0].sum(-1).tolist()},
        )

    def fitted(self, contexts: Contexts, tolerance: float = 1e-9) -> Fit:
        """The optimum over the contexts."""
        features = self._features(contexts)
        found = programme.solve(features, contexts.target, contexts.weight, tolerance)
        return Fit(found.maps, excess(contexts, programme.mixed(features, found.maps)), found.certificate)

    def _features(self, contexts: Contexts) -> programme.Features:
        read = jax.jit(lambda x: jax.lax.map(lambda y: self.heads(y, contexts.vocab), x, batch_size=256))
        rows = np.asarray(read(jnp.asarray(contexts.tokens)), np.float64)
        return rows[contexts.row, contexts.time]

    def _law(self, found: Fit, contexts: Contexts) -> Float[np.ndarray, "context vocab"]:
        return programme.mixed(self._features(contexts), found.maps)

    def _predictor(self, found: Fit) -> Predictor:
        maps = jnp.asarray(found.maps)
        return lambda tokens: jnp.log(jnp.einsum("tha,hay->ty", self.heads(tokens, maps.shape[2]), maps))


def _mean(fits: Sequence[Fit]) -> Fit:
    return Fit(np.mean([fit.maps for fit in fits], axis=0), float("nan"), max(fit.certificate for fit in fits))


def match(
    last: int,
    slopes: Sequence[float] = (0.0, 0.0625, 0.25, 1.0),
    lags: Sequence[int] = (1, 2, 3),
    starts: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0),
) -> Content:
    """What followed the last n tokens before matters: induction heads' reads (Olsson et al. 2022, arXiv:2209.11895).

    Token s is a match for t if the n tokens before it equal the n before t. Among the matches, the latest at distance
    1, decays, order-freeness and offsets apply: weights e^{-m (g-1)} beside the start symbol's c, or all on match g.
    Where nothing is found, the start symbol is read.

    Args:
      last: n, at least 1.
      slopes: m, each at least 0; 0 reads all matches alike.
      lags: g, each at least 1, in matches.
      starts: c, pseudo-counts of the start symbol, each at least 0.
    """
    if not isinstance(last, int) or last < 1:
        raise ValueError(f"match: last must be a whole number of tokens, at least 1, but is {last!r}")
    if min(lags, default=1) < 1:
        raise ValueError(f"match: lags must be at least 1 match, but are {list(lags)}")
    heads = _Match(last, _checked("slopes", slopes), tuple(sorted(set(lags))), _checked("starts", starts))
    return Content(f"match {last}", heads)


def gated_decay(levels: Sequence[float] = (0.0, 0.5, 1.0), starts: Sequence[float] = (0.0, 1.0)) -> Content:
    """The past fades by what comes after it: token s keeps prod_{s < l < t} f(x_l), f a factor of each token's own.

    The forgetting transformer's concept (FoX; Lin et al. 2025, arXiv:2503.02130) with gates that see one token.

    Args:
      levels: the values f may take, each in [0, 1]; there is a head for every assignment of them to tokens.
      starts: c, pseudo-counts of the start symbol, each at least 0.
    """
    levels = _checked("levels", levels)
    if max(levels) > 1:
        raise ValueError(f"gated_decay: levels must be at most 1, so that the past fades, but are {levels}")
    return Content("gated_decay", _Gated(levels, _checked("starts", starts)))


def _checked(name: str, numbers: Sequence[float]) -> tuple[float, ...]:
    values = tuple(sorted({float(x) for x in numbers}))
    if not values or not values[0] >= 0:
        raise ValueError(f"content: {name} must be one or more numbers, each at least 0, but are {list(numbers)}")
    return values


MOST = 128  # heads of one list


@dataclass(frozen=True)
class _Match:
    last: int
    slopes: tuple[float, ...]
    lags: tuple[int, ...]
    starts: tuple[float, ...]

    def __call__(self, tokens: Int[Array, "time"], vocab: int) -> Float[Array, "time head symbol"]:
        position = np.arange(tokens.shape[0])
        past = jnp.stack([jnp.roll(tokens, k) for k in range(1, self.last + 1)], axis=1)  # column k-1: the kth before
        same = (past[:, None, :] == past[None, :, :]).all(-1)
        same = same & (position[:, None] > position[None, :]) & (position >= self.last)[None, :]
        rank = jnp.cumsum(same[:, ::-1], axis=1)[:, ::-1]  # matches from here to now
        said = jnp.eye(vocab)[tokens]
        fading = [jnp.where(same, jnp.exp(-m * (rank - 1.0)), 0.0) @ said for m in self.slopes]
        single = [jnp.where(same & (rank == g), 1.0, 0.0) @ said for g in self.lags]
        heads = _with_starts(jnp.stack(fading, axis=1), self.starts)
        return jnp.concatenate([heads, _with_starts(jnp.stack(single, axis=1), (0.0,))[:, :-1]], axis=1)


@dataclass(frozen=True)
class _Gated:
    levels: tuple[float, ...]
    starts: tuple[float, ...]

    def __call__(self, tokens: Int[Array, "time"], vocab: int) -> Float[Array, "time head symbol"]:
        if len(self.levels) ** vocab * len(self.starts) > MOST:
            raise ValueError(
                f"gated_decay: levels^vocab x starts must be at most {MOST} heads, so that all are searched, but are "
                f"{len(self.levels)}^{vocab} x {len(self.starts)}; give fewer levels"
            )
        gates = jnp.asarray(list(product(self.levels, repeat=vocab)))  # [head, token]

        def step(kept, token):
            return gates[:, token, None] * kept + jnp.eye(vocab)[token][None], kept

        kept = jax.lax.scan(step, jnp.zeros((len(gates), vocab)), tokens)[1]
        return _with_starts(kept, self.starts)


def _with_starts(mass: Float[Array, "time gate vocab"], starts: tuple[float, ...]) -> Float[Array, "time head symbol"]:
    """Normalises with each pseudo-count; nothing to read is the start symbol; the last head reads only that."""
    total = mass.sum(-1)
    heads = []
    for c in starts:
        empty = total + c == 0
        norm = jnp.where(empty, 1.0, total + c)
        start = jnp.where(empty, 1.0, c / norm)
        heads.append(jnp.concatenate([start[..., None], mass / norm[..., None]], axis=-1))
    unigram = jnp.zeros_like(heads[0][:, :1]).at[..., 0].set(1.0)
    return jnp.concatenate([*heads, unigram], axis=1)
