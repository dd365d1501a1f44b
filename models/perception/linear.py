"""Exact posteriors given a feature of the past, for worlds with finitely many hidden states, at any length.

mass_t[phi, s] = sum over pasts with that feature of their joint probability with hidden state s; one step is
mass_{t+1}[g(phi, v), s'] += mass_t[phi, s] T[v, s, s']. Cost: time x features x vocab x states^2. The past itself is
never enumerated, so bags and automata of long sequences are exact; signed (generalised) operators are fine too.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from models.perception.states import Pairs
from worlds.hmm import HMM


def posteriors(world: HMM, length: int, advance: Callable[[Any, Any], Any]) -> Iterator[Pairs]:
    """Yields (feature, probability, p(next token | feature)) for positions 0 ... length - 1.

    Args:
      world: transition [vocab, state, state] and start.
      length: how many positions.
      advance: (codes, tokens) -> codes; 0 before the first token.
    """
    operators = np.asarray(world.transition, np.float64)
    speak = operators.sum(2).T  # [state, vocab]
    code, mass = np.zeros(1, np.int64), np.asarray(world.initial, np.float64)[None]
    for t in range(length):
        joint = mass @ speak
        weight = joint.sum(1)
        yield Pairs(code, weight, joint / weight[:, None])
        if t < length - 1:
            code, mass = _moved(code, mass, operators, advance)


def _moved(
    code: Int[np.ndarray, "code"], mass: Float[np.ndarray, "code state"], operators: np.ndarray, advance: Any
) -> tuple[Int[np.ndarray, "moved"], Float[np.ndarray, "moved state"]]:
    vocab = len(operators)
    moved = np.einsum("ks,vst->kvt", mass, operators).reshape(len(code) * vocab, -1)
    codes = advance(np.repeat(code, vocab), np.tile(np.arange(vocab), len(code)))
    codes, same = np.unique(codes, return_inverse=True)
    total = np.zeros((len(codes), mass.shape[1]))
    np.add.at(total, same, moved)
    kept = total.sum(1) > 0
    return codes[kept], total[kept]
