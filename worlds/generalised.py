"""Generalised hidden Markov worlds: signed operators whose words all have probabilities, though no hidden state has.

p(x_1 ... x_T) = start T[x_1] ... T[x_T] w, with sum_v T[v] w = w, start sum_v T[v] = start and start w = 1. The vector
w is turned into (1, ..., 1) by a change of coordinates M with M w = 1: T -> M T M^-1, start -> start M^-1. Every word
keeps its probability, and all that holds of ordinary worlds' rows and beliefs (they sum to one) holds again.
"""

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from worlds.hmm import HMM

NULL = 1e-9  # a singular value at or below this is zero


def generalised(operators: Float[Array, "vocab state state"], world: str = "generalised") -> HMM:
    """The world of signed operators, started in its stationary law.

    Args:
      operators: T[v, s, t]; their sum must have the eigenvalue 1, once.
      world: the name to blame in errors.
    """
    left, values, right = jnp.linalg.svd(operators.sum(0) - jnp.eye(operators.shape[-1], dtype=operators.dtype))
    if not isinstance(values, Tracer) and int((values <= NULL).sum()) != 1:
        raise ValueError(
            f"{world}: the sum of the operators must have the eigenvalue 1 exactly once, so that probabilities sum to "
            f"one, but the smallest singular values of (sum - 1) are {[float(f'{x:.3g}') for x in values[-2:]]}"
        )
    return in_coordinates(operators, left[:, -1], right[-1])


def in_coordinates(
    operators: Float[Array, "vocab state state"], start: Float[Array, "state"], w: Float[Array, "state"]
) -> HMM:
    """The same words in coordinates where w is (1, ..., 1): M is a reflection times |1| / |w|, so nothing is amplified.

    Args:
      operators: T[v, s, t].
      start: a multiple of the law before the first token; it is scaled so that start w = 1.
      w: the right eigenvector of the sum.
    """
    ones = jnp.ones_like(w)
    size = jnp.linalg.norm(w) / jnp.linalg.norm(ones)
    mirror = w / size - ones
    square = mirror @ mirror
    turn = jnp.eye(len(w), dtype=w.dtype) - jnp.outer(mirror, mirror) * jnp.where(square > 0, 2 / square, 0)
    return HMM(jnp.einsum("ab,vbc,cd->vad", turn, operators, turn), (start @ turn) * size / (start @ w))
