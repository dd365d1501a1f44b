"""The richest mixture read-out: every position reads every earlier position through a map of its own.

q_t(y) = sum_{s < t} M_{t,s}[x_s, y], the rows of M_{t,s} summing to w_{t,s}. It holds every mixture of profiles, since
those have M_{t,s} = sum_h alpha^h[t, s] M_h. The programme separates over t, and so does its certificate.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from models.perception import programme
from models.perception.contexts import Contexts, excess


class Absolute(NamedTuple):
    """maps[t] is [source, 1 + vocab, vocab]: the start symbol is the only source at t = 0, else tokens 0 ... t - 1.

    Where contexts have phases, there is one for each moment that has weight, whatever its t.
    """

    maps: tuple[Float[np.ndarray, "source symbol vocab"], ...]
    excess: float
    certificate: float


def project(contexts: Contexts, tolerance: float = 1e-9) -> Absolute:
    """The optimum at every moment that has weight; at other positions the even law."""
    vocab, solved = contexts.vocab, []
    guess, gap = np.empty_like(contexts.target), 0.0
    for here in contexts.moments:
        t, weight = int(contexts.time[here.start]), contexts.weight[here]
        features = sources(contexts.tokens[contexts.row[here], :t], vocab)
        found = programme.solve(features, contexts.target[here], weight / weight.sum(), tolerance)
        guess[here] = programme.mixed(features, found.maps)
        gap += weight.sum() * found.certificate
        solved.append((t, found.maps))
    if contexts.phase is None:
        even = {t: np.full((max(t, 1), 1 + vocab, vocab), 1 / (vocab * max(t, 1))) for t in range(contexts.length)}
        solved = sorted((even | dict(solved)).items())
    return Absolute(tuple(maps for _, maps in solved), excess(contexts, guess), float(gap))


def sources(past: Int[np.ndarray, "context source"], vocab: int) -> programme.Features:
    """One profile per earlier position; before the first token, the start symbol."""
    if past.shape[1] == 0:
        return np.tile(np.eye(1, 1 + vocab), (len(past), 1, 1))
    return np.eye(1 + vocab)[1 + past]


def predictor(found: Absolute):
    """The mixture as a predictor of at most as many tokens as it has positions."""
    length, symbols, vocab = len(found.maps), *found.maps[0].shape[1:]
    full = np.zeros((length, length, symbols, vocab))  # source 0 of row 0 stands for the start symbol
    for t, maps in enumerate(found.maps):
        full[t, : len(maps)] = maps
    full = jnp.asarray(full)

    def predict(tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        time = tokens.shape[0]
        if time > length:
            raise ValueError(f"absolute: at most {length} positions have a meaning, but got {time} tokens")
        past = jnp.where(jnp.arange(time)[:, None] > 0, 1 + tokens[None, :], 0)  # row 0 reads the start symbol
        rows = full[jnp.arange(time)[:, None], jnp.arange(time)[None, :], past]
        return jnp.log(rows.sum(1))

    return predict
