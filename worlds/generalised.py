"""Generalised hidden Markov worlds: signed operators whose words all have probabilities, though no hidden state has.

p(x_1 ... x_T) = start T[x_1] ... T[x_T] w, with sum_v T[v] w = w, start sum_v T[v] = start and start w = 1. The vector
w is turned into (1, ..., 1) by a change of coordinates B with B (1, ..., 1) = w: T -> B^-1 T B, start -> start B. Every
word keeps its probability, and all that holds of ordinary worlds' rows and beliefs (they sum to one) holds again.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from worlds.chain import numpy_for, stationary
from worlds.hmm import HMM, between, table

Table = Array | np.ndarray

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
    alpha, beta = between(0, np.inf, "tom_quantum", alpha=alpha, beta=beta)
    g = 1 / (4 * (alpha**2 + beta**2))
    m, o, q = (alpha**2 - beta**2) * g, 2 * alpha * beta * g, 1 / 4
    along_x = [[[q, 0, u], [0, m, 0], [u, 0, q]] for u in (o, -o)]
    along_z = [[[q, u, 0], [u, q, 0], [0, 0, m]] for u in (o, -o)]
    mixed = np.array([1.0, 0.0, 0.0])
    return in_coordinates(table([*along_x, *along_z]), mixed, reflection(mixed))


def fanizza(alpha: ArrayLike, lamb: ArrayLike) -> HMM:
    """A renewal process with four signed states that no finite quantum memory explains, for alpha no part of pi.

    After a 0 the wait until the next 0 has a tail that turns by alpha each step while it shrinks by lamb:
    with s = sin alpha, c = cos alpha, d = 1 - 2 lamb c + lamb^2, A = (1 - lamb c + lamb s) / d and
    B = (1 - lamb c - lamb s) / d, T0 = outer(w, pi0) and T1 = lamb (0 + 1 + rotation by alpha), where
    pi0 = (1 - (2/(1 - lamb) - A - B)/4, 1/(2(1 - lamb)), -A/4, -B/4) and
    w = (1, 1 - lamb, 1 + lamb (s - c), 1 - lamb (s + c)). Source: Fanizza, Lumbreras & Winter 2022 (arXiv:2209.11225).

    Args:
      alpha: the turn, radians, any number.
      lamb: the decay r, in (0, 1/2].
    """
    (angle,) = between(-np.inf, np.inf, "fanizza", alpha=alpha)
    (r,) = between(0, np.nextafter(0.5, 1), "fanizza", lamb=lamb)
    xp = numpy_for(angle, r)
    s, c = xp.sin(angle), xp.cos(angle)
    d = 1 - 2 * r * c + r**2
    a, b = (1 - r * c + r * s) / d, (1 - r * c - r * s) / d
    law = [1 - (2 / (1 - r) - a - b) / 4, 1 / (2 * (1 - r)), -a / 4, -b / 4]
    w = [1, 1 - r, 1 + r * (s - c), 1 - r * (s + c)]
    turn = [[0] * 4, [0, r, 0, 0], [0, 0, r * c, -r * s], [0, 0, r * s, r * c]]
    operators = table([[[x * y for y in law] for x in w], turn])
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
    alpha, beta = between(0, np.inf, "post_quantum", alpha=alpha, beta=beta)
    xp = numpy_for(alpha, beta)
    if xp is np and alpha == beta == 1:
        raise ValueError("post_quantum: alpha or beta must differ from 1, so that a 0 can follow a 0, but both are 1")
    zero = [[1, -1, -1], [1, -1, -1], [0, 0, 0]]
    operators = xp.asarray(table([zero, *([[x, 0, 0], [0, 1, 0], [0, xp.log(x), 1]] for x in (alpha, beta))]))
    operators = operators / _largest(operators.sum(0))
    start, w = fixed(operators)
    # x and log x are kept apart: x may be e^1000 and come back
    return in_coordinates(operators, start, table([[w[0], 0, 0], [0, w[1], 0], [0, w[2] - w[1], w[1]]]))


def generalised(operators: Float[Table, "vocab state state"], world: str = "generalised") -> HMM:
    """The world of signed operators, started in its stationary law.

    Args:
      operators: T[v, s, t]; their sum must have the eigenvalue 1, once.
      world: the name to blame in errors.
    """
    start, w = fixed(operators, world)
    return in_coordinates(operators, start, reflection(w))


def fixed(
    operators: Float[Table, "vocab state state"], world: str = "generalised"
) -> tuple[Float[Table, "state"], Float[Table, "state"]]:
    """The left and right eigenvectors of sum_v T[v] with eigenvalue 1, each of length 1."""
    xp = numpy_for(operators)
    left, values, right = xp.linalg.svd(xp.asarray(operators).sum(0) - xp.eye(operators.shape[-1]))
    if xp is np and int((values <= NULL).sum()) != 1:
        raise ValueError(
            f"{world}: the sum of the operators must have the eigenvalue 1 exactly once, so that probabilities sum to "
            f"one, but the smallest singular values of (sum - 1) are {[float(f'{x:.3g}') for x in values[-2:]]}"
        )
    return left[:, -1], right[-1]


def in_coordinates(
    operators: Float[Table, "vocab state state"], start: Float[Table, "state"], basis: Float[Table, "state state"]
) -> HMM:
    """The same words in new coordinates.

    Args:
      operators: T[v, s, t].
      start: a multiple of the law before the first token.
      basis: B, whose rows sum to a multiple of w.
    """
    xp = numpy_for(operators, start, basis)
    operators, start, basis = map(xp.asarray, (operators, start, basis))
    transition = xp.einsum("ab,vbc,cd->vad", xp.linalg.inv(basis), operators, basis)
    return HMM(jnp.asarray(transition, float), jnp.asarray(start @ basis / (start @ basis).sum(), float))


def reflection(w: Float[Table, "state"]) -> Float[Table, "state state"]:
    """A basis whose rows sum to w or -w: a reflection times |w| / |1|, so that nothing is amplified."""
    xp, ones = numpy_for(w), np.ones(len(w))
    w = xp.where(w.sum() > 0, -w, w)  # of the two reflections, the one whose mirror is not lost to rounding
    size = xp.linalg.norm(w) / np.linalg.norm(ones)
    mirror = w / size - ones
    return size * (np.eye(len(w)) - 2 * xp.outer(mirror, mirror) / (mirror @ mirror))


def _largest(matrix: Float[Table, "3 3"]) -> Float[Table, ""] | float:
    """The largest real eigenvalue, by Newton's method from above on the characteristic polynomial."""
    xp = numpy_for(matrix)
    trace, minors = xp.trace(matrix), (xp.trace(matrix) ** 2 - xp.trace(matrix @ matrix)) / 2
    determinant = xp.linalg.det(matrix)
    value = xp.abs(matrix).sum(1).max()
    for _ in range(32):
        slope = 3 * value**2 - 2 * trace * value + minors
        value = value - (((value - trace) * value + minors) * value - determinant) / slope
    return value
