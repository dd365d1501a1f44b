"""Constructed weights: what an architecture says of a world if somebody who knows the world sets its weights.

They witness the I layer from above where training may not get. Nothing here is claimed to be the best: the ledger
measures what the weights lose, and exactness of a construction shows as a loss equal to the floor.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from flax import nnx
from jaxtyping import Float

from models.base import pure
from models.perception.membership import reads

Params = Any  # the pytree that a network's init makes
MATCH = 1e-6  # two attention tables that differ by less, entry by entry, are one: float32 of weights at most 1
GAP = 40.0  # a logit that outweighs anything: e^-40 is lost beside 1 in float64 too


@runtime_checkable
class Adjustable(Protocol):
    """A bias with learned numbers that can be set so that head h attends as profile h does, as far as it can."""

    def adjust(self, profiles: Float[np.ndarray, "profile time time"]) -> None:
        """Sets the numbers."""
        ...


def positional(spec: Any, world: Any, length: int) -> Params | None:
    """The weights with which positional heads hold a world up to a length; None if they cannot.

    Each profile of the world needs a head whose bias and some start logit give it. For ALiBi slope m that is the
    geometric world of rate e^-m, with the sink at start logit -ln(1 - e^-m) and renormalised at -inf; for NoPE (m = 0)
    the urn, at start logit ln(V alpha), each symbol saying itself. Where a profile has no head of its own, all heads
    together mix it if they can, as geometrics mix a power law: see `mixed`.

    Args:
      spec: a `Positional`.
      world: any world.
      length: tokens per sequence.
    """
    own = reads(world, length)
    if own is None or np.abs(own[0].sum(-1) - 1).max() > MATCH:  # a head reads at every position, or it is none
        return None
    profiles, maps = own
    profiles = profiles[:, :, :length]  # the last column is read by nobody
    module = built(spec)
    if isinstance(module.position.bias, Adjustable):
        module.position.bias.adjust(profiles)
    biases = np.asarray(module.biases(jnp.zeros(length, jnp.int32)), np.float64)
    if (heads := assigned(profiles, biases)) is not None:
        return _written(module, heads, maps)
    found = mixed(profiles, biases)
    if found is None:
        return None
    heads, shares = found
    return _written(module, heads, np.einsum("kh,hay->kay", shares, maps))


def built(spec: Any) -> Any:
    """A module of the spec, to be filled; initialised in one program, which is faster than draw by draw."""
    graph, _ = nnx.split(nnx.eval_shape(lambda: spec(nnx.Rngs(0))), nnx.Param)
    return nnx.merge(graph, jax.jit(pure(spec).init)(jax.random.key(0)))


def assigned(
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


def mixed(
    profiles: Float[np.ndarray, "profile time time"], biases: Float[np.ndarray, "head time time"]
) -> tuple[list[tuple[int, float]], Float[np.ndarray, "head profile"]] | None:
    """Every head's start logit and its share in each profile, if all heads together mix the profiles; else None.

    All heads sink (start logit -ln(1 - e^-m)) or all renormalise (-inf), as fits better. Shares make eps =
    sup |mixture/profile - 1| least, and KL <= -eps - ln(1 - eps).
    """
    if profiles.shape[1] < 3:
        return None
    decay = -np.expm1(biases[:, 2, 1] - biases[:, 2, 2])  # 1 - e^-m
    tries = [np.full(len(biases), -np.inf)] + ([-np.log(decay)] if (decay > 0).all() else [])
    fits = [
        (*_shares(profiles, [attention(b, s) for b, s in zip(biases, starts, strict=True)]), starts) for starts in tries
    ]
    error, shares, starts = min(fits, key=lambda fit: fit[0])
    return (list(enumerate(starts.tolist())), shares) if error < 1 else None


def _shares(
    profiles: Float[np.ndarray, "profile time time"], heads: list[Float[np.ndarray, "time time"]]
) -> tuple[float, Float[np.ndarray, "head profile"]]:
    """The sup of the relative error over what the profiles read, and the shares, which sum to one per profile."""
    errors, columns = [], []
    for profile in profiles:
        read = profile > 0
        unread = max(float(np.abs(head[~read & np.tri(len(read), dtype=bool)]).max(initial=0)) for head in heads)
        error, share = _minimax(np.stack([head[read] / profile[read] for head in heads], axis=1))
        errors.append(error if unread < MATCH else np.inf)
        columns.append(share)
    return max(errors), np.stack(columns, axis=1)


def _minimax(ratios: Float[np.ndarray, "read head"]) -> tuple[float, Float[np.ndarray, "head"]]:
    """The shares c >= 0, sum c = 1, with the least sup |ratios c - 1|: a linear programme in (c, sup)."""
    rows, heads = ratios.shape
    one, cost = np.ones((rows, 1)), np.eye(1, heads + 1, heads)[0]
    bounds = np.block([[ratios, -one], [-ratios, -one]])
    found = scipy.optimize.linprog(cost, bounds, np.repeat([1.0, -1.0], rows), 1 - cost[None], [1.0])
    share = np.maximum(found.x[:heads], 0)
    share = share / share.sum()
    return float(np.abs(ratios @ share - 1).max()), share


def attention(bias: Float[np.ndarray, "time time"], start: float) -> Float[np.ndarray, "time time"]:
    """The profile of a bias with a start logit; row 0 reads the start symbol whatever it is."""
    scores = np.where(np.tri(len(bias)) > 0, bias, -np.inf)
    scores[1:, 0] += start
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _start_logit(profile: Float[np.ndarray, "time time"], bias: Float[np.ndarray, "time time"]) -> float | None:
    """The start logit with which a bias gives a profile: read off row 1, or never, or GAP, checked on all rows.

    GAP is for an offset: a bias that is 0 at its lag and -2 GAP or less elsewhere reads the start symbol where no token
    is that far, and misses at most t e^-GAP of its mass.
    """
    if len(profile) == 1:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        read_off = float(np.log(profile[1, 0]) - np.log(profile[1, 1]) - (bias[1, 0] - bias[1, 1]))
    for start in (read_off, -np.inf, GAP):
        if start < np.inf and np.abs(attention(bias, start) - profile).max() < MATCH:
            return start
    return None


def _written(module: Any, heads: list[tuple[int, float]], maps: Float[np.ndarray, "profile symbol vocab"]) -> Params:
    """The module's weights: rows and shares as logits, -inf for what is never said and for heads that are not used."""
    start, weights = np.zeros(module.spec.heads), np.zeros(module.spec.heads)
    values = np.zeros(module.values.shape)
    for (head, logit), table in zip(heads, maps, strict=True):
        start[head], weights[head] = logit, table[0].sum()
        if weights[head] > 0:
            values[head] = _log(np.roll(table / weights[head], -1, axis=0))  # the start symbol is our last row
    for param, numbers in ((module.start, start), (module.weights, _log(weights)), (module.values, values)):
        param[...] = jnp.asarray(numbers, module.dtype)
    return nnx.state(module, nnx.Param)


def _log(probabilities: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
