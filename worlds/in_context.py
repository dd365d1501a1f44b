"""Worlds whose law must be learnt from the sequence itself, by an exact Bayes predictor: its floor is the optimum."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds import lagged, steady
from worlds.base import entropy
from worlds.kernel import real
from worlds.match import Match, match
from worlds.quantity import Quantity, exact, undefined
from worlds.reset import Hidden, reset
from worlds.table import Rows, Table, checked_rows
from worlds.urn import dirichlet


def markov_in_context(vocab: int, order: int, alpha: ArrayLike) -> Match:
    """A Markov chain of any order whose rows are drawn afresh for each sequence, row ~ Dirichlet(alpha, ..., alpha).

    Bayes: p(v | past) = (n_cv + alpha) / (n_c + V alpha), with n counted where the last `order` tokens were the same
    context c (Edelman et al. 2024, arXiv:2402.11004). The first `order` tokens are uniform. Order 0 is the urn.

    Args:
      vocab: number of tokens V, at least 1.
      order: tokens of context, at least 1; memory grows as vocab^(order + 1).
      alpha: pseudo-count of each token in each row, above 0. Scalar.
    """
    return match(dirichlet(vocab, alpha), order)


def switching(vocab: int, alpha: ArrayLike, hazard: ArrayLike) -> Hidden:
    """An urn whose hidden law p ~ Dirichlet(alpha) is drawn anew before each token with probability hazard, unseen.

    Bayes is the exact run-length filter (Adams & MacKay 2007, arXiv:0710.3742), with nothing pruned: memory grows with
    the past. The latent-aware floor, told p, is psi(V alpha + 1) - psi(alpha + 1) at every position.

    Args:
      vocab: number of tokens V, at least 1.
      alpha: pseudo-count of each token, above 0. Scalar.
      hazard: probability of a new law before each token but the first, in [0, 1). Scalar.
    """
    return reset(dirichlet(vocab, alpha), hazard, visible=False)  # type: ignore[return-value]


class Lags(NamedTuple):
    """What the past says of the lag, and the tokens it may point to."""

    log_posterior: Float[Array, "lag"]
    recent: Int[Array, "time"]  # symbols, the latest first: 0 where there is no token, else token + 1


@struct.dataclass
class UnknownLag:
    """Made by `unknown_lag`."""

    table: Float[Array, "*batch symbol vocab"]  # row 0: no token there
    noise: Float[Array, "*batch"]
    lags: tuple[int, ...] = struct.field(pytree_node=False)

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.table.shape[-1]

    def start(self) -> Lags:
        """Every lag is as likely, and nothing has been seen."""
        prior = jnp.full(len(self.lags), -np.log(len(self.lags)), self.table.dtype)
        return Lags(prior, jnp.zeros(max(self.lags), jnp.int32))

    def log_next(self, state: Lags) -> Float[Array, "vocab"]:
        """Log of the average over the posterior of the lag."""
        rows = self._rows(state)
        return lagged.log_mixture(jnp.exp(state.log_posterior) @ rows, state.log_posterior, rows)

    def advance(self, state: Lags, token: Int[Array, ""]) -> Lags:
        """Bayes over the lag; after an impossible token no lag is left."""
        joint = state.log_posterior + lagged.log(self._rows(state)[:, token])
        total = lagged.log_sum(joint)
        recent = jnp.concatenate([1 + token.astype(jnp.int32)[None], state.recent[:-1]])
        return Lags(joint - jnp.where(total > -jnp.inf, total, 0), recent)

    def latent_entropy(self, state: Lags) -> Float[Array, ""]:
        """Told the lag: the posterior mean of the entropy of the row it points to."""
        return jnp.exp(state.log_posterior) @ entropy(lagged.log(self._rows(state)))

    def entropy_rate(self) -> Quantity:
        """sum_i pi_i H(K_i), exact: the lag is worth at most ln(number of lags) nats over the whole sequence."""
        rows = np.asarray(self._maps()[1:], np.float64)
        law = steady.stationary(rows)
        return undefined() if law is None else exact(float(law @ entropy(lagged.log(jnp.asarray(rows)))))

    def _maps(self) -> Float[Array, "symbol vocab"]:
        return self.noise / self.vocab_size + (1 - self.noise) * self.table

    def _rows(self, state: Lags) -> Float[Array, "lag vocab"]:
        return self._maps()[state.recent[np.array(self.lags) - 1]]


def unknown_lag(vocab: int, lags: Sequence[int], table: Table | Rows, noise: ArrayLike = 0.0) -> UnknownLag:
    """Each sequence has one lag k, uniform over `lags` and hidden: x_t ~ noise / V + (1 - noise) K[x_{t-k}, .].

    Bayes averages over the posterior of k; not knowing it costs at most ln(number of lags) nats in all. The first k
    tokens are uniform. Offsets selected in context (d'Angelo et al. 2025; interleaved chains).

    Args:
      vocab: number of tokens V, at least 1.
      lags: the lags that may be, tokens, each at least 1, no two the same.
      table: K: of worlds/table.py, or [vocab, vocab] rows.
      noise: share of the uniform law, in [0, 1). Scalar.
    """
    lags = tuple(lags)
    if not isinstance(vocab, int) or vocab < 1:
        raise ValueError(f"unknown_lag: vocab must be at least 1 token, but is {vocab}")
    if not lags or any(not isinstance(k, int) or k < 1 for k in lags) or len(set(lags)) < len(lags):
        raise ValueError(f"unknown_lag: lags must be different whole numbers, each at least 1, but are {lags}")
    if not isinstance(noise, Tracer) and not np.all((0 <= np.asarray(noise)) & (np.asarray(noise) < 1)):
        raise ValueError(f"unknown_lag: noise must be in [0, 1), but is {noise}")
    rows = checked_rows("unknown_lag", table, vocab, "mixture")
    return UnknownLag(jnp.concatenate([jnp.full((1, vocab), 1 / vocab, rows.dtype), rows]), real(noise), lags)
