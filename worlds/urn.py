"""The urn: tokens that are exchangeable, so that only their counts matter."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds.kernel import real
from worlds.quantity import Quantity, exact


@struct.dataclass
class Urn:
    """A hidden law p ~ Dirichlet(alpha, ..., alpha), and tokens drawn from it; the state is the counts."""

    alpha: Float[Array, "*batch"]
    vocab_size: int = struct.field(pytree_node=False)

    def start(self) -> Float[Array, "vocab"]:
        """No counts."""
        return jnp.zeros(self.vocab_size, self.alpha.dtype)

    def log_next(self, state: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
        """Log (n_v + alpha) / (n + V alpha)."""
        return jnp.log(state + self.alpha) - jnp.log(state.sum() + self.vocab_size * self.alpha)

    def advance(self, state: Float[Array, "vocab"], token: Int[Array, ""]) -> Float[Array, "vocab"]:
        """One more of that token."""
        return state + jax.nn.one_hot(token, self.vocab_size, dtype=state.dtype)

    def latent_entropy(self, state: Float[Array, "vocab"]) -> Float[Array, ""]:
        """E[H(p) | counts] = psi(A + 1) - sum_v (a_v / A) psi(a_v + 1), with a = counts + alpha and A their sum."""
        a = state + self.alpha
        return jax.scipy.special.digamma(a.sum() + 1) - (a / a.sum()) @ jax.scipy.special.digamma(a + 1)

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """All positions at once, from running counts."""
        ones = jax.nn.one_hot(tokens, self.vocab_size, dtype=self.alpha.dtype)
        return jax.vmap(self.log_next)(jnp.cumsum(ones, axis=0) - ones)

    def entropy_rate(self) -> Quantity:
        """E H(p) = psi(V alpha + 1) - psi(alpha + 1), exact: the floors h_t fall to it as the counts reveal p."""
        return self.latent_aware_floor()

    def latent_aware_floor(self) -> Quantity:
        """The loss, at every position, of a predictor that is told p: E H(p), exact.

        Below every floor h_t, so out of reach of the tokens alone at any finite length.
        """
        alpha = float(self.alpha)
        return exact(float(scipy.special.digamma(self.vocab_size * alpha + 1) - scipy.special.digamma(alpha + 1)))

    def bayes_floors(self, length: int) -> Float[np.ndarray, "time"]:
        """h_1 ... h_T in closed form, exact: with t tokens seen, V E[-q ln q], q = (n + alpha)/(t + V alpha).

        n is the count of one token, beta-binomial (t, alpha, (V - 1) alpha).
        """
        alpha, vocab = float(self.alpha), self.vocab_size
        if vocab == 1:
            return np.zeros(length)
        floors = []
        for t in range(length):
            q = (np.arange(t + 1) + alpha) / (t + vocab * alpha)
            law = scipy.stats.betabinom.pmf(np.arange(t + 1), t, alpha, (vocab - 1) * alpha)
            floors.append(-vocab * law @ (q * np.log(q)))
        return np.array(floors)

    def reads(self, length: int) -> tuple[Float[Array, "1 time 1+time"], Float[Array, "1 symbol vocab"]]:
        """One uniform profile with V alpha pseudo-counts on the start symbol, which says "uniform".

        Tokens say themselves. As Decay.reads: p_t(y) = sum_s alpha[t, s] M[symbol at s, y].
        """
        time = jnp.arange(length).astype(self.alpha.dtype)
        past = jnp.tril(jnp.ones((length, length), self.alpha.dtype), -1)
        pseudo = jnp.full((length, 1), self.vocab_size * self.alpha)
        profile = jnp.concatenate([pseudo, past], axis=1) / (time + self.vocab_size * self.alpha)[:, None]
        start = jnp.full((1, self.vocab_size), 1 / self.vocab_size, self.alpha.dtype)
        return profile[None], jnp.concatenate([start, jnp.eye(self.vocab_size, dtype=start.dtype)])[None]


def dirichlet(vocab: int, alpha: ArrayLike) -> Urn:
    """The Dirichlet-multinomial urn (Polya's for alpha = 1): p(next = v) = (n_v + alpha) / (n + V alpha).

    Order-free: uniform attention with pseudo-counts is exact. The redundancy over E H(p) is about (V - 1)/(2 t) at
    position t (Clarke & Barron 1990, IEEE Trans. Inf. Theory 36:453).

    Args:
      vocab: number of tokens V, at least 1.
      alpha: pseudo-count of each token, above 0. Scalar.

    >>> round(dirichlet(3, 1.0).latent_aware_floor().value, 6)
    0.833333
    """
    if not isinstance(vocab, int) or vocab < 1:
        raise ValueError(f"dirichlet: vocab must be at least 1 token, but is {vocab}")
    if not isinstance(alpha, Tracer) and not np.all((0 < np.asarray(alpha)) & np.isfinite(alpha)):
        raise ValueError(f"dirichlet: alpha must be a finite number above 0, but is {alpha}")
    return Urn(real(alpha), vocab)
