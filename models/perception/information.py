"""Information concepts: the past may matter through a feature phi of it, in any way at all.

The best predictor is the posterior p(x_t | phi_t), and P = H(x_t | phi_t): a closed law, found by dynamic programming
over (phi, state of the world) where the pairs are few, for phi that can be updated token by token. Time-aware concepts
know the position too; time-blind ones average over it, by the functional's weights.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int, Key

from models.base import Predictor
from models.perception.base import Perceived, split
from models.perception.contexts import Contexts, divergences
from models.perception.linear import posteriors
from models.perception.mixture import zero
from models.perception.sandwich import REPLICATES, above, bracket, draw
from models.perception.states import Pairs, TooMany, reached
from worlds.base import World, log_conditionals
from worlds.hmm import HMM
from worlds.quantity import exact


class Feature(NamedTuple):
    """phi as one whole number, from 0 before the first token; `advance` works on numpy and jax arrays alike."""

    name: str
    size: int  # codes lie below it
    advance: Callable[[Any, Any], Any]  # (codes, tokens) -> codes


class Table(NamedTuple):
    """The posterior p(. | phi), by code; codes never met get the mean law."""

    code: Int[np.ndarray, "code"]  # ascending
    law: Float[np.ndarray, "code vocab"]
    other: Float[np.ndarray, "vocab"]
    loss: float  # H(x_t | phi_t) of what it was made from, nats
    excess: float  # and how much that is above the entropies of its own laws
    certificate: float = 0.0  # the posterior is the minimiser


@dataclass(frozen=True)
class Everything:
    """The whole past may matter: P = D."""

    name: str = "everything"

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """The world's own conditionals."""
        del length, trained, key, sequences
        return split(
            lambda tokens: log_conditionals(world, tokens),
            exact(0.0),
            zero(),
            {"readout": "any", "profiles": ["the past"]},
        )

    def over(self, contexts: Contexts) -> Perceived:
        """The contexts' own laws; which world they came from is not known here, so there is no predictor."""
        del contexts
        return split(None, exact(0.0), zero(), {"readout": "any", "profiles": ["the past"]})


@dataclass(frozen=True)
class Information:
    """The predictors that see the past through a feature."""

    name: str
    feature: Callable[[int, int], Feature]  # (vocab, length) -> phi
    aware: bool  # of the position

    def perceive(self, world: World, length: int, trained: int, key: Key[Array, ""], sequences: int) -> Perceived:
        """Exact where (phi, state) pairs are few enough to follow, else the sandwich on samples."""
        del trained
        phi = self.feature(world.vocab_size, length)
        self._check(phi, length)
        try:
            found, info = self._followed(world, phi, length), {}
            value = exact(found.excess)
        except TooMany:
            draws = draw(world, length, key, sequences)
            if isinstance(world, HMM):
                found = self._table(posteriors(world, length, phi.advance), phi, length)
                value, info = above(draws, self._law(found, phi, draws.fresh)), {}
            else:
                fits, value = bracket(
                    draws, lambda c, _: self._fitted(c, phi), lambda f, c: self._law(_mean(f), phi, c)
                )
                found, info = _mean(fits), {"replicates": REPLICATES}
        return split(self._predictor(found, phi), value, zero(), info | self._learnt(found, phi))

    def over(self, contexts: Contexts) -> Perceived:
        """The posterior over given contexts; those of one past in two phases are one code."""
        phi = self.feature(contexts.vocab, contexts.length)
        self._check(phi, contexts.length)
        found = self._fitted(contexts, phi)
        return split(self._predictor(found, phi), exact(found.excess), zero(), self._learnt(found, phi))

    def _learnt(self, found: Table, phi: Feature) -> dict[str, Any]:
        time = "aware" if self.aware else "blind"
        return {"readout": "any", "loss": found.loss, "feature": phi.name, "time": time, "codes": len(found.code)}

    def _check(self, phi: Feature, length: int) -> None:
        if phi.size * (length if self.aware else 1) >= 2**63:
            raise ValueError(
                f"{self.name}: the values of the feature must number fewer than 2^63, but there are {phi.size} at each "
                f"of {length} positions"
            )

    def _key(self, phi: Feature, code: Any, time: Any) -> Any:
        return code + phi.size * time if self.aware else code

    def _followed(self, world: World, phi: Feature, length: int) -> Table:
        """The posterior and its excess by following every pair."""
        return self._table(reached(world, length, phi.advance), phi, length)

    def _table(self, steps: Iterable[Pairs], phi: Feature, length: int) -> Table:
        parts = [(self._key(phi, s.code, t), s.weight / length, s.law) for t, s in enumerate(steps)]
        return _posterior(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _fitted(self, contexts: Contexts, phi: Feature) -> Table:
        return _posterior(self._keys(contexts, phi), contexts.weight, contexts.target)

    def _keys(self, contexts: Contexts, phi: Feature) -> Int[np.ndarray, "context"]:
        code = np.zeros((len(contexts.tokens), contexts.length), np.int64)
        for t in range(1, contexts.length):
            code[:, t] = phi.advance(code[:, t - 1], contexts.tokens[:, t - 1].astype(np.int64))
        return self._key(phi, code[contexts.row, contexts.time], contexts.time.astype(np.int64))

    def _law(self, found: Table, phi: Feature, contexts: Contexts) -> Float[np.ndarray, "context vocab"]:
        keys = self._keys(contexts, phi)
        at = np.minimum(np.searchsorted(found.code, keys), len(found.code) - 1)
        return np.where((found.code[at] == keys)[:, None], found.law[at], found.other)

    def _predictor(self, found: Table, phi: Feature) -> Predictor:
        code, logs, other = jnp.asarray(found.code), jnp.log(jnp.asarray(found.law)), jnp.log(jnp.asarray(found.other))

        def predict(tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
            step = lambda code, token: (phi.advance(code, token), code)  # noqa: E731
            codes = jax.lax.scan(step, jnp.zeros((), code.dtype), tokens.astype(code.dtype))[1]
            keys = self._key(phi, codes, jnp.arange(len(tokens)).astype(code.dtype))
            at = jnp.minimum(jnp.searchsorted(code, keys), len(code) - 1)
            return jnp.where((code[at] == keys)[:, None], logs[at], other[None])

        return predict


def everything() -> Everything:
    """The whole past may matter in any way: P = D, the bound of all concepts."""
    return Everything()


def window(last: int, aware: bool = True) -> Information:
    """The last n tokens matter, in any way: the n-gram's idea.

    Args:
      last: n, at least 0.
      aware: whether the position is known too (early on it shows anyway: the window is not full yet).
    """
    if not isinstance(last, int) or last < 0:
        raise ValueError(f"window: last must be a whole number of tokens, at least 0, but is {last!r}")
    return Information(f"window {last}", _Window(last), aware)


def bag() -> Information:
    """How often each token has come matters, in no order: all that one layer of NoPE sees, but for the last token.

    The counts show the position, so the concept is time-aware.
    """
    return Information("bag", _Bag(False), True)


def bag_and_last() -> Information:
    """The counts and the last token: one layer of softmax attention without positions sees no more (exactly that).

    Scores and values depend on what the tokens are, so its output is a function of the last input and the multiset.
    """
    return Information("bag_and_last", _Bag(True), True)


@dataclass(frozen=True)
class _Bag:
    """phi = the counts in base length + 1, and the last token in base vocab + 1, 0 where there is none."""

    last: bool

    def __call__(self, vocab: int, length: int) -> Feature:
        base, symbols = length + 1, vocab + 1
        if not self.last:
            return Feature("bag", base**vocab, lambda code, token: code + base**token)
        return Feature(
            "bag and last token",
            base**vocab * symbols,
            lambda code, token: (code // symbols + base**token) * symbols + 1 + token,
        )


@dataclass(frozen=True)
class _Window:
    """phi = the last n tokens, in base vocab + 1, 0 where there is none."""

    last: int

    def __call__(self, vocab: int, length: int) -> Feature:
        del length
        size = (vocab + 1) ** self.last
        return Feature(f"last {self.last} tokens", size, lambda code, token: (code * (vocab + 1) + 1 + token) % size)


def _posterior(
    keys: Int[np.ndarray, "context"], weight: Float[np.ndarray, "context"], law: Float[np.ndarray, "context vocab"]
) -> Table:
    """p(. | phi) = the mean law of the contexts of each code."""
    code, same = np.unique(keys, return_inverse=True)
    joint = np.zeros((len(code), law.shape[1]))
    np.add.at(joint, same, weight[:, None] * law)
    total = np.bincount(same, weight)
    posterior = joint / joint.sum(1, keepdims=True)
    above_own = float(weight @ divergences(law, posterior[same]))
    loss = float(total @ -scipy.special.xlogy(posterior, posterior).sum(1))
    return Table(code, posterior, joint.sum(0) / total.sum(), loss, above_own)


def _mean(fits: Sequence[Table]) -> Table:
    """The even mixture of the posteriors, each with its mean law where it has met nothing."""
    code = np.unique(np.concatenate([fit.code for fit in fits]))
    law = np.zeros((len(code), fits[0].law.shape[1]))
    for fit in fits:
        at = np.minimum(np.searchsorted(fit.code, code), len(fit.code) - 1)
        law += np.where((fit.code[at] == code)[:, None], fit.law[at], fit.other) / len(fits)
    return Table(
        code,
        law,
        np.mean([fit.other for fit in fits], axis=0),
        *(float(np.mean([getattr(fit, k) for fit in fits])) for k in ("loss", "excess")),
    )
