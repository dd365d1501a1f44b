"""The reader of single tokens: what is to be had without the past, below which there is everything that can be learnt.

It says the mean law of a token over the functional's prefixes, m(v) = E p(v | x_<t), wherever it is asked. Its loss is
the entropy of m: the zero named `order_0`, nats per token. Between it and the floor lies what can be learnt at all.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.measure import Predict
from worlds.base import Functional, estimate
from worlds.quantity import Quantity


def tokens_law(
    functional: Functional, truth: Float[np.ndarray, "sequence time vocab"]
) -> Float[np.ndarray, "sequence vocab"]:
    """The mean law of a token along each sequence; their mean over sequences is m."""
    return np.einsum("ntv,t->nv", np.exp(truth), np.asarray(functional.position, np.float64))


def order_0(functional: Functional, truth: Float[np.ndarray, "sequence time vocab"]) -> Quantity:
    """H(m) = -sum_v m(v) log m(v), exact where the prefixes are enumerated.

    Elsewhere m is itself a mean over sequences, and H(m) = E[-sum_v m_n(v) log m(v)] has the spread of these numbers to
    first order (delta method); its bias, -(V - 1) / 2N at most for N independent tokens, is of second order.
    """
    rows = tokens_law(functional, truth)
    log = said(functional, truth)
    found = estimate(jnp.asarray(-(rows * np.where(log > -np.inf, log, 0)).sum(-1)), functional)
    return replace(found, of="single tokens, blind to the past")


def said(functional: Functional, truth: Float[np.ndarray, "sequence time vocab"]) -> Float[np.ndarray, "vocab"]:
    """Log m."""
    with np.errstate(divide="ignore"):  # tokens that never come
        return np.log(np.asarray(functional.weight, np.float64) @ tokens_law(functional, truth))


def reader(log: Float[np.ndarray, "vocab"]) -> Predict:
    """The predictor that says m everywhere, as one member."""

    def predict(tokens: Int[Array, "sequence time"]) -> Float[np.ndarray, "member sequence time vocab"]:
        return np.broadcast_to(log, (1, *np.shape(tokens), len(log)))

    return predict
