"""Entropy rates of finite-state worlds, nats per token: closed where one exists, else an interval with a proof.

The rate h = lim H(x_n | x_<n) is that of the world's long-run law (a start that is not stationary, or that may fall
into one of several closed sets of states, changes finitely many nats in all). In order of preference:

1. unifilar operators (state and token determine the next state): h = sum_s pi[s] H(token | s), exact;
2. finitely many beliefs can be reached: they are the states of a unifilar world, exact;
3. ordinary operators: H(x_n | x_<n, s_0) <= h <= H(x_n | x_<n) (Cover & Thomas, theorem 4.5.1), n growing;
4. signed operators: a token whose operator has rank one makes the past before it irrelevant, so the words since the
   last such token give their part of h exactly, and the others at least 0 and at most what they give at n;
   without such a token the upper bound stands alone, over 0.

Beliefs that agree to rounding are one belief, so worlds with few of them go deep and the others to the budget.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from worlds.chain import long_run
from worlds.quantity import Quantity, certified, exact

SAME = 1e-12  # beliefs that differ by less, entry by entry, are one belief
ROUNDING = 1e-12  # nats by which an interval is widened for floating-point error
ENOUGH = 1e-10  # nats: an interval this narrow is not narrowed further
LONGEST = 10_000  # tokens of past
CLOSED = 64  # mixed states: at most so many are a closed form
BUDGET = 4_000_000  # numbers in one level of the tree of beliefs


class Mixture(NamedTuple):
    """Beliefs that the words of one length lead to, with the probability of each."""

    belief: Float[np.ndarray, "word state"]
    weight: Float[np.ndarray, "word"]
    known: Bool[np.ndarray, "word"]  # the word holds a token that makes the past before it irrelevant


def entropy_rate(
    transition: Float[np.ndarray, "vocab state state"], initial: Float[np.ndarray, "state"], budget: int = BUDGET
) -> Quantity:
    """The entropy rate of a finite-state world, in nats per token.

    Args:
      transition: T[v, s, t], whose rows sum to one over (v, t).
      initial: the law before the first token.
      budget: numbers in the largest level of the tree of beliefs; the default takes about a second.
    """
    operators, initial = np.asarray(transition, np.float64), np.asarray(initial, np.float64)
    signed = bool((operators < 0).any())
    if not signed and (np.count_nonzero(operators, axis=2) <= 1).all():
        return exact(float(long_run(operators.sum(0), initial) @ _entropy(operators.sum(2).T)))
    closed = _closed(operators, initial)
    if closed is not None:
        return exact(closed)
    law = long_run(operators.sum(0), initial)
    return _anchored(operators, law, budget) if signed else _sandwich(operators, law, budget)


def _closed(operators, initial) -> float | None:
    """The rate, if at most CLOSED beliefs can be reached from the start."""
    known = initial[None]
    edges: list[tuple[int, int, float]] = []
    for here in range(CLOSED):
        if here == len(known):
            chain = np.zeros((here, here))
            for a, b, p in edges:
                chain[a, b] += p
            return float(long_run(chain, np.eye(here)[0]) @ _entropy(_law(operators, known)))
        for p, belief in zip(*_children(operators, known[here]), strict=True):
            found = np.flatnonzero(np.abs(known - belief).max(1) < SAME)
            if not len(found):
                found, known = [len(known)], np.concatenate([known, belief[None]])
            edges.append((here, int(found[0]), p))
    return None


def _children(operators, belief):
    weights = _law(operators, belief[None])[0]
    possible = weights > 0
    return weights[possible], np.einsum("s,vst->vt", belief, operators)[possible] / weights[possible, None]


def _sandwich(operators, law, budget) -> Quantity:
    below = Mixture(np.eye(len(law))[law > 0], law[law > 0], np.zeros((law > 0).sum(), bool))
    above = Mixture(law[None], np.ones(1), np.zeros(1, bool))
    lows, highs = [_mean(operators, below)], [_mean(operators, above)]
    while highs[-1] - lows[-1] > ENOUGH and max(len(below.weight), len(above.weight)) * operators.size < budget:
        below, above = _longer(operators, below), _longer(operators, above)
        lows, highs = [*lows, _mean(operators, below)], [*highs, _mean(operators, above)]
    return _interval(lows, highs)


def _anchored(operators, law, budget) -> Quantity:
    resets = np.array([np.linalg.matrix_rank(operator, tol=1e-12) == 1 for operator in operators])
    mixture = Mixture(law[None], np.ones(1), np.zeros(1, bool))
    lows, highs = [0.0], [_mean(operators, mixture)]
    while highs[-1] - lows[-1] > ENOUGH and len(mixture.weight) * operators.size < budget and len(lows) < LONGEST:
        mixture = _longer(operators, mixture, resets)
        lows.append(_mean(operators, Mixture(*(x[mixture.known] for x in mixture))))
        highs.append(_mean(operators, mixture))
    return _interval(lows, highs)


def _interval(lows, highs) -> Quantity:
    """The last bounds; the value within them is where the upper ones converge if they do so geometrically (Aitken)."""
    low, high = max(lows[-1] - ROUNDING, 0), highs[-1] + ROUNDING
    bend = highs[-3] - 2 * highs[-2] + highs[-1] if len(highs) > 2 else 0
    limit = highs[-1] - (highs[-1] - highs[-2]) ** 2 / bend if bend > 0 else (low + high) / 2
    return certified(min(max(limit, low), high), low, high)


def _mean(operators, mixture) -> float:
    return float(mixture.weight @ _entropy(_law(operators, mixture.belief)))


def _longer(operators, mixture, resets=None) -> Mixture:
    """One more token, equal beliefs merged."""
    laws = _law(operators, mixture.belief)
    parts = []
    for v, operator in enumerate(operators):
        word = np.flatnonzero(laws[:, v])
        known = mixture.known[word] | (resets is not None and resets[v])
        parts.append(
            (mixture.belief[word] @ operator / laws[word, v, None], mixture.weight[word] * laws[word, v], known)
        )
    return _merged(Mixture(*map(np.concatenate, zip(*parts, strict=True))))


def _merged(mixture) -> Mixture:
    """Beliefs that agree to SAME are one: neighbours in the order of a fixed random projection are compared."""
    line = mixture.belief @ np.random.default_rng(0).uniform(1, 2, mixture.belief.shape[1]) + 8 * mixture.known
    order = np.argsort(line)
    belief, known = mixture.belief[order], mixture.known[order]
    new = np.ones(len(order), bool)
    near = np.flatnonzero(np.diff(line[order]) < belief.shape[1] * SAME) + 1
    new[near] = (np.abs(belief[near] - belief[near - 1]) > SAME).any(1) | (known[near] != known[near - 1])
    group = np.cumsum(new) - 1
    return Mixture(belief[new], np.bincount(group, mixture.weight[order]), known[new])


def _law(operators, beliefs) -> Float[np.ndarray, "word vocab"]:
    """p(next token | belief); what cancels down to rounding is 0, as in `worlds.belief`."""
    emission = operators.sum(2).T
    law, size = beliefs @ emission, np.abs(beliefs) @ np.abs(emission)
    return np.where(law > 32 * np.finfo(float).eps * size, law, 0.0)


def _entropy(laws) -> Float[np.ndarray, "word"]:
    return -(laws * np.log(np.where(laws > 0, laws, 1))).sum(-1)
