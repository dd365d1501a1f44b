"""How far a predictor is from the world: the exact conditional divergence at each prefix, in nats per token.

L(q) - H_D = mean over prefixes of KL(p || q). Every predictor is measured on the same prefixes, so that gaps are paired
differences, and each mean takes the control variate D_t = log p/q(x_t) - KL_t, whose expectation is known to be 0
(a martingale difference): never worse than soft labels alone, asymptotically (Glynn & Szechtman 2002).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Int

from experiments.backend import mapped, padded, spread
from experiments.reach import kl
from models.base import pure
from worlds.base import Functional, World, entropy, log_conditionals
from worlds.quantity import Quantity, exact

BATCH = 64  # sequences that a device scores at once: groups of finite-state worlds fill, and charts of grammars fit

Predict = Callable[[Int[Array, "sequence time"]], Float[np.ndarray, "member sequence time vocab"]]


class Measured(NamedTuple):
    """One predictor on one functional, before any averaging over sequences."""

    excess: Float[np.ndarray, "sequence time"]  # KL_t
    control: Float[np.ndarray, "sequence time"]  # D_t, mean 0; zeros where the prefixes are enumerated
    functional: Functional

    def mean(self) -> Quantity:
        """The excess over the functional, with its interval by sequence."""
        return average(self.excess, self.control, self.functional)

    def minus(self, other: "Measured") -> Quantity:
        """The paired difference of two predictors on the same prefixes."""
        if self.functional is not other.functional:
            raise ValueError("measure: losses under different functionals are never subtracted, but these two differ")
        return average(self.excess - other.excess, self.control - other.control, self.functional)

    def by_position(self) -> Float[np.ndarray, "time"]:
        """The mean excess at each position."""
        return np.asarray(self.functional.weight, np.float64) @ self.excess


def average(
    values: Float[np.ndarray, "sequence time"], control: Float[np.ndarray, "sequence time"], functional: Functional
) -> Quantity:
    """The functional's mean of values [sequence, time], with the control variate and a 95 % interval by sequence."""
    position = np.asarray(functional.position, np.float64)
    weight = np.asarray(functional.weight, np.float64)
    per_sequence = values @ position if np.isfinite(values).all() else np.where(position > 0, values, 0).sum(1)
    if functional.exact:
        return exact(float(weight @ per_sequence))
    count = len(per_sequence)
    if not np.isfinite(per_sequence).all():
        return Quantity(np.inf, np.inf, np.inf, "estimated", count)
    centre = control @ position
    variance = centre.var()
    slope = 0.0 if variance == 0 else ((per_sequence - per_sequence.mean()) @ centre) / count / variance
    corrected = per_sequence - slope * centre
    mean, spread_ = corrected.mean(), corrected.std(ddof=2 if variance else 1)
    half = scipy.stats.t.ppf(0.975, count - 2) * spread_ / np.sqrt(count)
    return Quantity(float(mean), float(mean - half), float(mean + half), "estimated", count)


def law(world: World, tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "sequence time vocab"]:
    """The world's own conditionals along many sequences, float64."""
    batch = min(BATCH, -(-len(tokens) // jax.local_device_count()))
    groups = -(-len(tokens) // batch)
    rows = jnp.asarray(tokens)[np.minimum(np.arange(groups * batch), len(tokens) - 1)]
    parts, _ = padded(rows.reshape(groups, batch, -1))
    return np.asarray(_law(world, parts)).reshape(-1, rows.shape[1], world.vocab_size)[: len(tokens)]


@jax.jit
def _law(world, tokens):
    return spread(jax.vmap(log_conditionals, (None, 0)), over="sequence")(world, tokens)


class Members(NamedTuple):
    """Several members of one architecture as one batched predictor in float64, whose residual stream can be read."""

    spec: Any
    params: Any  # stacked by member
    batch: int

    def __call__(self, tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time vocab"]:
        """As `Predict`."""
        return self._batched(_said, tokens)

    def residual(self, tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time width"]:
        """What each member's read-out reads before it speaks of token t, from the tokens before t."""
        if pure(self.spec).residual is None:
            raise ValueError(f"network: it must have a residual stream to be read, but {self.spec} has none")
        return self._batched(_streamed, tokens)

    def _batched(self, run: Callable[[Any, Any, Any], Array], tokens: Int[Array, "sequence time"]) -> np.ndarray:
        batch = min(self.batch, max(1, PAIRS // (self._count() * tokens.shape[1] ** 2)))
        groups = -(-len(tokens) // batch)
        rows = jnp.asarray(tokens)[np.minimum(np.arange(groups * batch), len(tokens) - 1)]
        rows, count = padded(rows.reshape(groups, batch, -1))
        found = np.asarray(run(self.spec, self.params, rows))[:count]  # [group member batch time feature]
        found = found.transpose(1, 0, 2, 3, 4).reshape(found.shape[1], -1, *found.shape[3:])
        return found[:, : len(tokens)]

    def _count(self) -> int:
        return len(jax.tree.leaves(self.params)[0])


PAIRS = (
    2**24
)  # of queries and keys, over members and sequences, whose scores are in memory at once; per head and device


def network(spec: Any, params: Any, batch: int = 32) -> Members:
    """Several members of one architecture (parameters stacked by member) as one batched predictor in float64."""
    return Members(spec, params, batch)


@functools.partial(jax.jit, static_argnums=0)
def _said(spec, params, rows):
    said = _each(pure(spec).apply, params, rows)
    logs = jax.nn.log_softmax(said.astype(jnp.float64))  # float32 logs sum to one to 1e-7 only
    return jnp.where(jnp.isnan(logs), -jnp.inf, logs)  # who left the numbers holds nothing possible


@functools.partial(jax.jit, static_argnums=0)
def _streamed(spec, params, rows):
    return _each(pure(spec).residual, params, rows).astype(jnp.float64)


def _each(function, params, rows):
    def members(params, rows):
        return mapped(lambda own: jax.vmap(lambda row: function(own, row))(rows), params)

    return spread(members, over="sequence")(params, rows)


def measure(
    predict: Predict, functional: Functional, truth: Float[np.ndarray, "sequence time vocab"], batch: int = 1024
) -> list[Measured]:
    """Measures every member of a predictor against the world's conditionals along the functional's sequences."""
    parts = [
        [
            _compare(said, truth[i : i + batch], functional.tokens[i : i + batch], functional.exact)
            for said in predict(functional.tokens[i : i + batch])
        ]
        for i in range(0, len(truth), batch)
    ]
    joined = (tuple(np.concatenate(x) for x in zip(*member, strict=True)) for member in zip(*parts, strict=True))
    return [Measured(excess, control, functional) for excess, control in joined]


def weights(spec: Any, params: Any, floor: Any) -> list[Measured]:
    """Each member of some parameters, stacked, along the sequences of a floor, `layers.Floor`."""
    return measure(network(spec, params), floor.functional, floor.truth)


def _compare(said, truth, tokens, enumerated):
    divergence = np.asarray(kl(jnp.asarray(truth), jnp.asarray(said)))
    if enumerated:
        return divergence, np.zeros_like(divergence)
    at = np.asarray(tokens)[..., None]
    ratio = np.take_along_axis(truth, at, -1)[..., 0] - np.take_along_axis(said, at, -1)[..., 0]
    with np.errstate(invalid="ignore"):  # where the predictor excludes a possible token its excess is inf anyway
        control = ratio - divergence
    return divergence, np.where(np.isfinite(control), control, 0.0)


def floor(functional: Functional, truth: Float[np.ndarray, "sequence time vocab"]) -> tuple[Quantity, np.ndarray]:
    """H_D under the functional, and its curve h_1 ... h_T."""
    h = np.asarray(entropy(jnp.asarray(truth)))
    control = np.zeros_like(h)
    if not functional.exact:
        control = -np.take_along_axis(truth, np.asarray(functional.tokens)[..., None], -1)[..., 0] - h
    return average(h, control, functional), np.asarray(functional.weight, np.float64) @ h
