"""Long-run laws of finite chains, by linear algebra: a periodic chain has no limit, but it has a stationary law."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


def stationary(operators: Float[Array | np.ndarray, "vocab state state"]) -> Float[Array, "state"]:
    """The row vector pi with pi sum_v T[v] = pi and sum pi = 1.

    pi (I - sum_v T[v] + J) = (1 ... 1), with J all ones; the matrix is invertible exactly when pi is unique, whatever
    the chain's period. Transient states of an ordinary world get exactly 0.

    Args:
      operators: T[v, s, t], whose rows sum to one over (v, t). Entries may be negative.

    >>> stationary(jnp.array([[[0.0, 1.0], [1.0, 0.0]]])).tolist()
    [0.5, 0.5]
    """
    xp = numpy_for(operators)
    operators = xp.asarray(operators)
    chain, signed = operators.sum(0), (operators < 0).any()
    ever = recurrent(chain) | signed
    if xp is np and not signed and not (reachable(chain) | ~ever[:, None])[:, ever].all():
        raise ValueError(
            "stationary: the chain must have one set of states that it visits for ever, so that its law is unique, "
            f"but it has several among the states {np.flatnonzero(ever).tolist()}; give an initial law instead"
        )
    ones = xp.ones_like(chain[0])
    solution = xp.linalg.solve((xp.eye(len(chain), dtype=chain.dtype) - chain + ones[:, None]).T, ones)
    kept = xp.where(ever, solution, 0)
    return jnp.asarray(kept / kept.sum(), float)


def numpy_for(*arrays: Any) -> Any:
    """NumPy, unless something is traced: to build a small world then compiles nothing."""
    return jnp if any(isinstance(x, Tracer) for x in arrays) else np


def recurrent(chain: Float[Array | np.ndarray, "state state"]) -> Any:
    """Which states [state] are returned to for ever: whatever they reach, reaches them."""
    reach = reachable(chain)
    return (~reach | reach.T).all(1)


def reachable(chain: Float[Array | np.ndarray, "state state"]) -> Bool[Array | np.ndarray, "state state"]:
    """Whether t can follow s after any number of steps, none included."""
    states = len(chain)
    step = (chain != 0) | np.eye(states, dtype=bool)
    for _ in range((states - 1).bit_length()):  # each squaring doubles the steps
        paths = step.astype(np.float32)
        step = paths @ paths > 0
    return step


def long_run(chain: Float[np.ndarray, "state state"], start: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state"]:
    """The share of time spent in each state from a start law: sum over closed classes p(end there) pi(class).

    For signed operators, whose states are not visited, it is the one stationary law. On the host, in NumPy.
    """
    if (chain < 0).any() or (start < 0).any():
        return _invariant(chain)
    _, names = connected_components(csr_array(chain), connection="strong")
    leaves = np.unique(names[np.nonzero(chain * (names[:, None] != names[None]))[0]])
    passing = np.isin(names, leaves)
    within, out = chain * np.outer(passing, passing), chain * np.outer(passing, ~passing)
    ends = np.where(passing, 0, start) + (start * passing) @ np.linalg.solve(np.eye(len(chain)) - within, out)
    law = np.zeros(len(chain))
    for name in np.setdiff1d(names, leaves):
        inside = names == name
        law[inside] = ends[inside].sum() * _invariant(chain[np.ix_(inside, inside)])
    return law


def _invariant(chain):
    return np.linalg.solve((np.eye(len(chain)) - chain + 1).T, np.ones(len(chain)))
