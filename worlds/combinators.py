"""Worlds made of worlds: one of several, several at once, and one seen through a noisy channel.

They are closed under each other: a mixture or product of worlds is a world, whatever they are, and a world seen through
noise is one wherever its clean past can be followed in finitely many states (`worlds.finite`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds import base
from worlds.finite import as_hmm, small_enough
from worlds.hmm import HMM
from worlds.quantity import Quantity, certified, exact, undefined

Worlds = Sequence[Any] | Mapping[str, Any]  # a mapping's names are for the reader of a configuration


@struct.dataclass
class Mixture:
    """One of several worlds, drawn once and for ever; the state holds log p(component | past) and each one's state."""

    worlds: tuple[Any, ...]
    weights: Float[Array, "*batch component"]

    @property
    def vocab_size(self) -> int:
        """That of every component."""
        return self.worlds[0].vocab_size

    def sized(self, length: int) -> "Mixture":
        """Every component sized."""
        return Mixture(tuple(base.sized(w, length) for w in self.worlds), self.weights)

    def start(self) -> tuple[Float[Array, "component"], tuple[Any, ...]]:
        """The prior and the components' starts."""
        return _log(self.weights), tuple(w.start() for w in self.worlds)

    def log_next(self, state: Any) -> Float[Array, "vocab"]:
        """Log sum_c p(c | past) p_c(v | past)."""
        return _log_sum(state[0][:, None] + self._laws(state), 0)

    def advance(self, state: Any, token: Int[Array, ""]) -> Any:
        """Bayes over the components, then each one's own step."""
        joint = state[0] + self._laws(state)[:, token]
        total = _log_sum(joint, 0)
        posterior = jnp.where(total > -jnp.inf, joint - jnp.where(total > -jnp.inf, total, 0), -jnp.inf)
        return posterior, tuple(w.advance(s, token) for w, s in zip(self.worlds, state[1], strict=True))

    def _laws(self, state: Any) -> Float[Array, "component vocab"]:
        return jnp.stack([w.log_next(s) for w, s in zip(self.worlds, state[1], strict=True)])

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """All positions at once, by each component's fastest form and its running log-likelihood."""
        laws = jnp.stack([base.log_conditionals(w, tokens) for w in self.worlds])
        steps = jnp.take_along_axis(laws, tokens[None, :, None], axis=2)[:, :, 0]
        reached = jnp.concatenate([jnp.zeros_like(steps[:, :1]), jnp.cumsum(steps, axis=1)[:, :-1]], axis=1)
        joint = _log(self.weights)[:, None] + reached
        total = _log_sum(joint, 0)
        posterior = jnp.where(total > -jnp.inf, joint - jnp.where(total > -jnp.inf, total, 0)[None], -jnp.inf)
        return _log_sum(posterior[:, :, None] + laws, 0)

    def entropy_rate(self) -> Quantity:
        """sum_c weight_c h_c: which component it is costs a bounded number of nats in all."""
        return _combined(self.worlds, np.asarray(self.weights))


@struct.dataclass
class Product:
    """Independent worlds side by side; the token is their tokens in mixed radix, the first world's the slowest."""

    worlds: tuple[Any, ...]

    @property
    def vocab_size(self) -> int:
        """The product of the factors' vocabularies."""
        return int(np.prod([w.vocab_size for w in self.worlds]))

    def sized(self, length: int) -> "Product":
        """Every factor sized."""
        return Product(tuple(base.sized(w, length) for w in self.worlds))

    def start(self) -> tuple[Any, ...]:
        """The factors' starts."""
        return tuple(w.start() for w in self.worlds)

    def log_next(self, state: tuple[Any, ...]) -> Float[Array, "vocab"]:
        """Sum of the factors' log laws, over all tuples of tokens."""
        return _outer([w.log_next(s) for w, s in zip(self.worlds, state, strict=True)])

    def advance(self, state: tuple[Any, ...], token: Int[Array, ""]) -> tuple[Any, ...]:
        """Every factor reads its digit; a factor that found its own impossible makes all impossible, for ever."""
        digits = self.digits(token)
        return tuple(w.advance(s, digit) for w, s, digit in zip(self.worlds, state, digits, strict=True))

    def digits(self, tokens: Int[Array, "*time"]) -> list[Int[Array, "*time"]]:
        """The tokens of each factor."""
        found = []
        for w in reversed(self.worlds):
            found.append(tokens % w.vocab_size)
            tokens = tokens // w.vocab_size
        return found[::-1]

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """All positions at once, by each factor's fastest form."""
        laws = [base.log_conditionals(w, digit) for w, digit in zip(self.worlds, self.digits(tokens), strict=True)]
        return jax.vmap(_outer)(laws)

    def entropy_rate(self) -> Quantity:
        """Sum of the factors' rates."""
        return _combined(self.worlds, np.ones(len(self.worlds)))


def mixture(worlds: Worlds, weights: Sequence[float] | Mapping[str, float]) -> Mixture:
    """One of several worlds, drawn once and never shown: not ergodic. p = sum_c weights[c] p_c.

    Entropy rate sum_c weights[c] h_c; learning which one it is costs at most H(weights) nats in all.

    Args:
      worlds: the components, with equal vocabularies; a list, or a mapping from names.
      weights: [component], at least 0, their sum 1 (to 1e-9); in the order of the worlds.
    """
    members = _members("mixture", worlds)
    vocabularies = [w.vocab_size for w in members]
    if len(set(vocabularies)) > 1:
        raise ValueError(f"mixture: the worlds must have equal vocabularies, but have {vocabularies}")
    law = np.array([weights[name] for name in worlds] if isinstance(weights, Mapping) else list(weights), float)
    if law.shape != (len(members),):
        raise ValueError(f"mixture: there must be one weight per world, {len(members)}, but there are {len(law)}")
    if law.min() < 0 or abs(law.sum() - 1) > 1e-9:
        raise ValueError(f"mixture: weights must be at least 0 and sum to 1, but are {law.tolist()}")
    return Mixture(members, jnp.asarray(law, float))


def product(worlds: Worlds) -> Product:
    """Independent worlds side by side: p = prod_f p_f; token = ((x_1 V_2 + x_2) V_3 + x_3) ... in mixed radix.

    Entropy rate sum_f h_f. No factor helps to predict another.

    Args:
      worlds: the factors; a list, or a mapping from names.
    """
    return Product(_members("product", worlds))


def noisy(world: Any, rate: ArrayLike) -> HMM | Mixture:
    """A world seen through symbol noise: each token is, with probability `rate`, a uniform draw from all tokens.

    p(seen u | clean v) = (1 - rate) [u = v] + rate / V. Nobody sees the clean past, so the filter must follow it: exact
    where it has finitely many states (hidden Markov worlds and all that `worlds.finite` can turn into one), refused
    with the reason elsewhere.

    Args:
      world: the clean world.
      rate: in [0, 1); at 1 nothing of the world is left. Scalar.
    """
    if not isinstance(rate, Tracer) and not 0 <= float(np.asarray(rate)) < 1:
        raise ValueError(f"noisy: rate must lie in [0, 1), so that something of the world is seen, but is {rate}")
    clean = jnp.eye(world.vocab_size)
    return through(world, (1 - jnp.asarray(rate, clean.dtype)) * clean + rate / world.vocab_size)


def through(world: Any, channel: ArrayLike) -> HMM | Mixture:
    """A world seen through a channel that treats every token alone: T'[u] = sum_v channel[v, u] T[v].

    Args:
      world: the clean world.
      channel: [token, seen], rows that are at least 0 and sum to 1 (to 1e-9).
    """
    if not isinstance(channel, Tracer):
        _is_channel(np.asarray(channel, float), world.vocab_size)
    if isinstance(world, Mixture):
        return Mixture(tuple(through(w, channel) for w in world.worlds), world.weights)
    clean = as_hmm(world)
    seen = jnp.asarray(channel, clean.transition.dtype)
    small_enough(seen.shape[1], clean.initial.shape[-1], "through")
    return HMM(jnp.einsum("vu,vst->ust", seen, clean.transition), clean.initial)


@as_hmm.register(Mixture)
def _(world: Mixture) -> HMM:
    parts = [as_hmm(w) for w in world.worlds]
    small_enough(world.vocab_size, sum(part.initial.shape[-1] for part in parts), "mixture")
    blocks = jax.vmap(lambda *operators: jax.scipy.linalg.block_diag(*operators))(*(p.transition for p in parts))
    return HMM(blocks, jnp.concatenate([w * p.initial for w, p in zip(world.weights, parts, strict=True)]))


@as_hmm.register(Product)
def _(world: Product) -> HMM:
    parts = [as_hmm(w) for w in world.worlds]
    small_enough(world.vocab_size, int(np.prod([part.initial.shape[-1] for part in parts])), "product")
    whole = parts[0]
    for part in parts[1:]:
        pairs = jax.vmap(jax.vmap(jnp.kron, (None, 0)), (0, None))(whole.transition, part.transition)
        whole = HMM(pairs.reshape(-1, *pairs.shape[2:]), jnp.kron(whole.initial, part.initial))
    return whole


def _members(name: str, worlds: Worlds) -> tuple[Any, ...]:
    members = tuple(worlds.values() if isinstance(worlds, Mapping) else worlds)
    if not members:
        raise ValueError(f"{name}: there must be at least one world, but there is none")
    return members


def _is_channel(channel: Float[np.ndarray, "..."], vocab: int) -> None:
    if channel.ndim != 2 or len(channel) != vocab:
        raise ValueError(f"through: the channel must be [token, seen] with {vocab} rows, but is {channel.shape}")
    if channel.min() < 0 or np.abs(channel.sum(1) - 1).max() > 1e-9:
        raise ValueError(
            "through: the rows of the channel must be at least 0 and sum to 1, but the smallest entry is "
            f"{channel.min()} and the sums are {channel.sum(1).tolist()}"
        )


def _combined(worlds: tuple[Any, ...], weights: Float[np.ndarray, "world"]) -> Quantity:
    """sum_i weight_i h_i; a world that does not know its rate brings its bounds, 0 and log V."""
    rates = [
        w.entropy_rate() if isinstance(w, base.HasEntropyRate) else _unknown(float(np.log(w.vocab_size)))
        for w in worlds
    ]
    if any(r.kind == "undefined" for r in rates):
        return undefined()
    value, low, high = (float(weights @ [getattr(r, side) for r in rates]) for side in ("value", "low", "high"))
    return exact(value) if all(r.kind == "exact" for r in rates) else certified(value, low, high)


def _unknown(most: float) -> Quantity:
    return certified(most / 2, 0.0, most)


def _outer(laws: list[Float[Array, "..."]]) -> Float[Array, "vocab"]:
    whole = laws[0]
    for law in laws[1:]:
        whole = (whole[:, None] + law[None, :]).ravel()
    return whole


def _log(numbers: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.where(numbers > 0, jnp.log(jnp.where(numbers > 0, numbers, 1)), -jnp.inf)


def _log_sum(logs: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Log sum exp whose slopes are finite also where all terms are -inf."""
    top = jax.lax.stop_gradient(logs.max(axis, keepdims=True))
    top = jnp.where(top > -jnp.inf, top, 0)
    return _log(jnp.exp(logs - top).sum(axis)) + top.squeeze(axis)
