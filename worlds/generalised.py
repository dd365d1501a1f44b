"""Generalised hidden Markov worlds: signed operators whose words all have probabilities, though no hidden state has.

p(x_1 ... x_T) = start T[x_1] ... T[x_T] w, with sum_v T[v] w = w, start sum_v T[v] = start and start w = 1. The vector
w is turned into (1, ..., 1) by a change of coordinates B with B (1, ..., 1) = w: T -> B^-1 T B, start -> start B. Every
word keeps its probability, and all that holds of ordinary worlds' rows and beliefs (they sum to one) holds again.
"""

import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from worlds.chain import stationary
from worlds.hmm import HMM, between

NULL = 1e-9  # a singular value at or below this is zero


def tom_quantum(alpha: ArrayLike, beta: ArrayLike) -> HMM:
    """A qubit that is measured over and over along x and z, unsharply: four tokens, one per axis and outcome.

    With g = 1 / (4 (alpha^2 + beta^2)), m = (alpha^2 - beta^2) g and o = 2 alpha beta g, on beliefs (1, x, z):
    T0, T1 = [[1/4, 0, +-o], [0, m, 0], [+-o, 0, 1/4]], T2, T3 = [[1/4, +-o, 0], [+-o, 1/4, 0], [0, 0, m]].
    At alpha = beta the measurements are sharp and the entropy rate is 1.5 bit; otherwise the beliefs fill a disc.
    Source: Riechers, Elliott & Shai 2025 (arXiv:2507.07432).

    Args:
      alpha: amplitude of the outcome, above 0; only beta / alpha matters.
      beta: amplitude of the other outcome, above 0.
    """
    alpha, beta = between(0, jnp.inf, "tom_quantum", alpha=alpha, beta=beta)
    g = 1 / (4 * (alpha**2 + beta**2))
    m, o, q = (alpha**2 - beta**2) * g, 2 * alpha * beta * g, jnp.full_like(g, 1 / 4)
    z = jnp.zeros_like(g)
    tables = [[[q, z, u], [z, m, z], [u, z, q]] for u in (o, -o)] + [[[q, u, z], [u, q, z], [z, z, m]] for u in (o, -o)]
    first = jnp.stack([q * 4, z, z])
    return in_coordinates(_stack(tables), first, reflection(first))


def fanizza(alpha: ArrayLike, lamb: ArrayLike) -> HMM:
    """A renewal process with four signed states that no finite quantum memory explains, for alpha no part of pi.

    After a 0 the wait until the next 0 has a tail that turns by alpha each step while it shrinks by lamb:
    with s = sin alpha, c = cos alpha, d = 1 - 2 lamb c + lamb^2, A = (1 - lamb c + lamb s) / d and
    B = (1 - lamb c - lamb s) / d, T0 = outer(w, pi0) and T1 = lamb (0 + 1 + rotation by alpha), where
    pi0 = (1 - (2/(1 - lamb) - A - B)/4, 1/(2(1 - lamb)), -A/4, -B/4) and
    w = (1, 1 - lamb, 1 + lamb (s - c), 1 - lamb (s + c)). Source: Fanizza, Lumbreras & Winter 2022 (arXiv:2209.11225).

    Args:
      alpha: the turn, radians, any number.
      lamb: the decay, in (0, 1/2].
    """
    (lamb,) = between(0, 0.5 + 1e-12, "fanizza", lamb=lamb)
    alpha = jnp.asarray(alpha, float)
    s, c = jnp.sin(alpha), jnp.cos(alpha)
    d = 1 - 2 * lamb * c + lamb**2
    a, b = (1 - lamb * c + lamb * s) / d, (1 - lamb * c - lamb * s) / d
    law = jnp.stack([1 - (2 / (1 - lamb) - a - b) / 4, 1 / (2 * (1 - lamb)), -a / 4, -b / 4])
    w = jnp.stack([jnp.ones_like(lamb), 1 - lamb, 1 + lamb * (s - c), 1 - lamb * (s + c)])
    zero, one = jnp.zeros_like(s), jnp.ones_like(s)
    turn = _stack([[zero] * 4, [zero, one, zero, zero], [zero, zero, c, -s], [zero, zero, s, c]])
    operators = jnp.stack([jnp.outer(w, law), lamb * turn])
    return HMM(operators, stationary(operators))


def post_quantum(alpha: ArrayLike, beta: ArrayLike) -> HMM:
    """Three signed states beyond quantum ones: after a 0, then i ones and j twos, p(0) grows with x - 1 - log x.

    Here x = alpha^i beta^j, so that the word 00 has probability exactly 0. T0 = outer((1, 1, 0), (1, -1, -1)),
    T1 = [[alpha, 0, 0], [0, 1, 0], [0, log alpha, 1]] and T2 likewise with beta, over the largest eigenvalue of the
    sum. Source: Riechers, Elliott & Shai 2025 (arXiv:2507.07432), for alpha > 1 > beta.

    Args:
      alpha: factor of a one, above 0, not 1.
      beta: factor of a two, above 0, not 1.
    """
    alpha, beta = between(0, jnp.inf, "post_quantum", alpha=alpha, beta=beta)
    if not isinstance(alpha, Tracer) and not isinstance(beta, Tracer) and (alpha == 1).all() and (beta == 1).all():
        raise ValueError(
            "post_quantum: alpha or beta must differ from 1, so that a 0 can follow at all, but both are 1"
        )
    z, e = jnp.zeros_like(alpha), jnp.ones_like(alpha)
    tables = [[[e, -e, -e], [e, -e, -e], [z, z, z]]]
    tables += [[[x, z, z], [z, e, z], [z, jnp.log(x), e]] for x in (alpha, beta)]
    operators = _stack(tables)
    operators = operators / _largest(operators.sum(0))
    start, w = fixed(operators)
    # x and log x are kept apart: x may be e^1000 and come back
    basis = _stack([[w[0], z, z], [z, w[1], z], [z, w[2] - w[1], w[1]]])
    return in_coordinates(operators, start, basis)


def generalised(operators: Float[Array, "vocab state state"], world: str = "generalised") -> HMM:
    """The world of signed operators, started in its stationary law.

    Args:
      operators: T[v, s, t]; their sum must have the eigenvalue 1, once.
      world: the name to blame in errors.
    """
    start, w = fixed(operators, world)
    return in_coordinates(operators, start, reflection(w))


def fixed(
    operators: Float[Array, "vocab state state"], world: str = "generalised"
) -> tuple[Float[Array, "state"], Float[Array, "state"]]:
    """The left and right eigenvectors of sum_v T[v] with eigenvalue 1, each of length 1."""
    left, values, right = jnp.linalg.svd(operators.sum(0) - jnp.eye(operators.shape[-1], dtype=operators.dtype))
    if not isinstance(values, Tracer) and int((values <= NULL).sum()) != 1:
        raise ValueError(
            f"{world}: the sum of the operators must have the eigenvalue 1 exactly once, so that probabilities sum to "
            f"one, but the smallest singular values of (sum - 1) are {[float(f'{x:.3g}') for x in values[-2:]]}"
        )
    return left[:, -1], right[-1]


def in_coordinates(
    operators: Float[Array, "vocab state state"], start: Float[Array, "state"], basis: Float[Array, "state state"]
) -> HMM:
    """The same words in new coordinates.

    Args:
      operators: T[v, s, t].
      start: a multiple of the law before the first token.
      basis: B, whose rows sum to w.
    """
    initial = start @ basis
    transition = jnp.einsum("ab,vbc,cd->vad", jnp.linalg.inv(basis), operators, basis)
    return HMM(transition, initial / initial.sum())


def reflection(w: Float[Array, "state"]) -> Float[Array, "state state"]:
    """A basis whose rows sum to w: a reflection times |w| / |1|, so that nothing is amplified."""
    ones = jnp.ones_like(w)
    size = jnp.linalg.norm(w) / jnp.linalg.norm(ones)
    mirror = w / size - ones
    square = mirror @ mirror
    turn = jnp.outer(mirror, mirror) * jnp.where(square > 0, 2 / jnp.where(square > 0, square, 1), 0)
    return size * (jnp.eye(len(w), dtype=w.dtype) - turn)


def _largest(matrix: Float[Array, "3 3"]) -> Float[Array, ""]:
    """The largest real eigenvalue, by Newton's method from above on the characteristic polynomial."""
    trace, minors = jnp.trace(matrix), (jnp.trace(matrix) ** 2 - jnp.trace(matrix @ matrix)) / 2
    determinant = jnp.linalg.det(matrix)
    value = jnp.abs(matrix).sum(1).max()
    for _ in range(32):
        slope = 3 * value**2 - 2 * trace * value + minors
        value = value - (((value - trace) * value + minors) * value - determinant) / slope
    return value


def _stack(table):
    return jnp.stack([_stack(row) for row in table]) if isinstance(table, list) else table
