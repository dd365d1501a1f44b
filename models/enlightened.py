"""Constructed weights: what an architecture says of a world if somebody who knows the world sets its weights.

They witness the I layer from above where training may not get. Nothing here is claimed to be the best: the ledger
measures what the weights lose, and exactness of a construction shows as a loss equal to the floor.
"""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from models.perception.membership import reads

Params = Any  # the pytree that a network's init makes
MATCH = 1e-6  # two attention tables that differ by less, entry by entry, are one: float32 of weights at most 1


@runtime_checkable
class Adjustable(Protocol):
    """A bias with learned numbers that can be set so that head h attends as profile h does, as far as it can."""

    def adjust(self, profiles: Float[np.ndarray, "profile time time"]) -> None:
        """Sets the numbers."""
        ...


def positional(spec: Any, world: Any, length: int) -> Params | None:
    """The weights with which positional heads hold a world exactly up to a length; None if they cannot.

    Each profile of the world needs a head whose bias and some start logit give it. For ALiBi slope m that is the
    geometric world of rate e^-m, with the sink at start logit -ln(1 - e^-m) and renormalised at -inf; for NoPE (m = 0)
    the urn, at start logit ln(V alpha), each symbol saying itself.

    Args:
      spec: a `Positional`.
      world: any world.
      length: tokens per sequence.
    """
    own = reads(world, length)
    if own is None:
        return None
    profiles, maps = own
    profiles = profiles[:, :, :length]  # the last column is read by nobody
    module = spec(nnx.Rngs(0))
    if isinstance(module.position.bias, Adjustable):
        module.position.bias.adjust(profiles)
    biases = np.asarray(module.biases(jnp.zeros(length, jnp.int32)), np.float64)
    heads = _assigned(profiles, biases)
    return None if heads is None else _written(module, heads, maps)


def _assigned(
    profiles: Float[np.ndarray, "profile time time"], biases: Float[np.ndarray, "head time time"]
) -> list[tuple[int, float]] | None:
    """For each profile a head of its own, with the start logit that makes the head attend so; None if one has none."""
    found: list[tuple[int, float]] = []
    for profile in profiles:
        free = (k for k in range(len(biases)) if k not in [head for head, _ in found])
        fits = [(k, start) for k in free if (start := _start_logit(profile, biases[k])) is not None]
        if not fits:
            return None
        found.append(fits[0])
    return found


def _start_logit(profile: Float[np.ndarray, "time time"], bias: Float[np.ndarray, "time time"]) -> float | None:
    """The start logit with which a bias gives a profile: read off row 1, then checked on all rows."""
    if len(profile) == 1:
        return 0.0
    with np.errstate(divide="ignore"):
        start = float(np.log(profile[1, 0]) - np.log(profile[1, 1]) - (bias[1, 0] - bias[1, 1]))
    scores = np.where(np.tri(len(bias)) > 0, bias, -np.inf)
    scores[1:, 0] += start
    if not start < np.inf:
        return None
    attention = np.exp(scores - scores.max(1, keepdims=True))
    attention /= attention.sum(1, keepdims=True)
    return start if np.abs(attention - profile).max() < MATCH else None


def _written(module: Any, heads: list[tuple[int, float]], maps: Float[np.ndarray, "profile symbol vocab"]) -> Params:
    """The module's weights: rows and shares as logits, -inf for what is never said and for heads that are not used."""
    start, weights = np.zeros(module.spec.heads), np.zeros(module.spec.heads)
    values = np.zeros(module.values.shape)
    for (head, logit), table in zip(heads, maps, strict=True):
        start[head], weights[head] = logit, table[0].sum()
        values[head] = np.roll(table / weights[head], -1, axis=0)  # the start symbol is our last row
        values[head] = _log(values[head])
    for param, numbers in ((module.start, start), (module.weights, _log(weights)), (module.values, values)):
        param[...] = jnp.asarray(numbers, module.dtype)
    return nnx.state(module, nnx.Param)


def _log(probabilities: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
