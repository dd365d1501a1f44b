"""Beliefs about a hidden state, kept as (sign, log size) so that none is ever lost to underflow.

A belief is a row vector b that sums to one; for signed (generalised) worlds its entries may be negative. Entry s is
sign[s] exp(log[s]). Products of probabilities span thousands of nats, and a hypothesis that is 1e-400 behind today may
be the only one that explains tomorrow's token, hence no linear numbers here.

A signed sum may cancel. Where it cancels down to rounding, its value is zero and the token is impossible; a sum of
non-negative terms never meets that rule, so ordinary worlds are scored without any threshold. (Rounding grows with the
past: a signed word that cancels only after dozens of tokens may score as e^-29 rather than as impossible.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ROUNDING = 32  # units of float epsilon, relative to the sum of sizes, below which a cancelled signed sum is zero


class Belief(NamedTuple):
    """Entry s is sign[s] exp(log[s]); sign 0 goes with log -inf."""

    sign: Float[Array, "*batch state"]
    log: Float[Array, "*batch state"]


def believe(vector: Float[Array, "*batch state"]) -> Belief:
    """Row vectors as beliefs."""
    return Belief(jnp.sign(vector), _log(jnp.abs(vector)))


def vector(belief: Belief) -> Float[Array, "*batch state"]:
    """The belief as numbers: what lies below the float range is zero here, and here only."""
    return belief.sign * jnp.exp(belief.log)


def through(belief: Belief, matrix: Float[Array, "state other"]) -> Belief:
    """The row vector b M as a belief: sum_s b[s] M[s, t], each t relative to its own largest term."""
    used = matrix != 0
    log = belief.log[:, None]
    top = jax.lax.stop_gradient(jnp.where(used, log, -jnp.inf).max(0))
    top = jnp.where(top > -jnp.inf, top, 0)
    terms = belief.sign[:, None] * matrix * jnp.exp(jnp.where(used, log - top[None], -jnp.inf))
    total, size = terms.sum(0), jnp.abs(terms).sum(0)
    real = jnp.abs(total) > ROUNDING * jnp.finfo(total.dtype).eps * size
    return Belief(jnp.where(real, jnp.sign(total), 0), _log(jnp.where(real, jnp.abs(total), 0)) + top)


def log_positive(belief: Belief) -> Float[Array, "*batch state"]:
    """The log of entries that are probabilities: what rounding has pushed below zero is impossible."""
    return jnp.where(belief.sign > 0, belief.log, -jnp.inf)


def scaled(belief: Belief, log_total: Float[Array, ""]) -> Belief:
    """The belief over exp(log_total); over nothing, it is nothing for ever."""
    alive = log_total > -jnp.inf
    log = jnp.where(alive, belief.log - jnp.where(alive, log_total, 0), -jnp.inf)
    return Belief(jnp.where(alive, belief.sign, 0), log)


def _log(size: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    some = size > 0
    return jnp.where(some, jnp.log(jnp.where(some, size, 1)), -jnp.inf)  # both branches have finite derivatives
