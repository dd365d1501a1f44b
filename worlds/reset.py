"""Resets: now and then a world forgets all its past, seen or unseen: decay that depends on a state."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds import lagged
from worlds.base import State, World, sized
from worlds.kernel import real
from worlds.latent import latent_entropy

CAPACITY = 1024  # tokens that an unseen reset may lie back where nobody said how many; the free functions say it


class Runs(NamedTuple):
    """What the past says of the time of the last reset: one state of the inner world for each."""

    log_weight: Float[Array, "run"]  # log posterior that the last reset came just before token s
    inner: State  # [run, ...]: the inner world's state after the tokens since then
    time: Int[Array, ""]  # tokens seen


@struct.dataclass
class Hidden:
    """Resets that are not seen; made by `reset`."""

    world: World
    hazard: Float[Array, "*batch"]
    capacity: int = struct.field(pytree_node=False)

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.world.vocab_size

    def sized(self, length: int) -> "Hidden":
        """Room for `length` tokens: that many times at which the last reset may have been."""
        return dataclasses.replace(self, world=sized(self.world, length), capacity=max(length, 1))

    def start(self) -> Runs:
        """The first token follows a reset for certain."""
        first = jnp.arange(self.capacity) == 0
        zero = jnp.zeros((), self.hazard.dtype)
        inner = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.capacity, *jnp.shape(x))), self.world.start())
        return Runs(jnp.where(first, zero, -jnp.inf), inner, jnp.zeros((), jnp.int32))

    def log_next(self, state: Runs) -> Float[Array, "vocab"]:
        """Log of the mixture over the time of the last reset."""
        return lagged.log_sum(state.log_weight[:, None] + jax.vmap(self.world.log_next)(state.inner))

    def advance(self, state: Runs, token: Int[Array, ""]) -> Runs:
        """Bayes over the time of the last reset, then perhaps one more reset (Adams & MacKay 2007, eq. 3)."""
        self._refuse_overflow(state)
        run = jnp.arange(self.capacity, dtype=jnp.int32)
        joint = state.log_weight + jax.vmap(self.world.log_next)(state.inner)[:, token]
        total = lagged.log_sum(joint)
        posterior = joint - jnp.where(total > -jnp.inf, total, 0)
        fresh = jnp.where(total > -jnp.inf, lagged.log(self.hazard), -jnp.inf)
        log_weight = jnp.where(run == state.time + 1, fresh, posterior + jnp.log1p(-self.hazard))
        after = jax.vmap(self.world.advance, (0, None))(state.inner, token)
        begun = run <= state.time
        inner = jax.tree.map(
            lambda new, old: jnp.where(begun.reshape(-1, *[1] * (new.ndim - 1)), new, old), after, state.inner
        )
        return Runs(log_weight, inner, state.time + 1)

    def latent_entropy(self, state: Runs) -> Float[Array, ""]:
        """Told the time of the last reset, and what the inner world hides."""
        return jnp.exp(state.log_weight) @ jax.vmap(lambda inner: latent_entropy(self.world, inner))(state.inner)

    def _refuse_overflow(self, state: Runs) -> None:
        if not isinstance(state.time, Tracer) and state.time.ndim == 0 and state.time >= self.capacity:
            raise ValueError(
                f"reset: a world with hidden resets must have room for its past, but {self.capacity} tokens fill it; "
                "make room with world.sized(length)"
            )


@struct.dataclass
class Visible:
    """Resets announced by a token of their own, the last of the vocabulary; made by `reset`."""

    world: World
    hazard: Float[Array, "*batch"]

    @property
    def vocab_size(self) -> int:
        """The inner world's tokens and the reset."""
        return self.world.vocab_size + 1

    def sized(self, length: int) -> "Visible":
        """Room for `length` tokens."""
        return dataclasses.replace(self, world=sized(self.world, length))

    def start(self) -> State:
        """The inner world's."""
        return self.world.start()

    def log_next(self, state: State) -> Float[Array, "vocab"]:
        """A reset with probability hazard, else the inner world's next token."""
        inner = self.world.log_next(state)
        announced = jnp.where(
            inner.max() > -jnp.inf, lagged.log(self.hazard), -jnp.inf
        )  # nothing follows the impossible
        return jnp.concatenate([jnp.log1p(-self.hazard) + inner, announced[None]])

    def advance(self, state: State, token: Int[Array, ""]) -> State:
        """The inner world's next state, or its first one after a reset."""
        last = self.world.vocab_size - 1
        after = self.world.advance(state, jnp.minimum(token, last))
        again = (token > last) & (self.world.log_next(state).max() > -jnp.inf)
        return jax.tree.map(lambda new, first: jnp.where(again, first, new), after, self.world.start())


def reset(world: World, hazard: ArrayLike, visible: bool = False) -> Hidden | Visible:
    """A world that starts afresh before each token with probability hazard: all that was before no longer matters.

    visible: a token of its own says so, p = (1 - hazard) p_world(. | tokens since the last reset), hazard for the
    reset. hidden: the exact filter over the time s of the last reset (Adams & MacKay 2007, arXiv:0710.3742), whose
    memory grows:

        p(x_t | x_<t) = sum_s p(s | x_<t) p_world(x_t | x_s ... x_{t-1}).

    With a decaying world inside, decay that depends on a state (the forgetting gate of FoX, Lin et al. 2025,
    arXiv:2503.02130); with an urn, a switching law.

    Args:
      world: what runs between resets.
      hazard: probability of a reset before each token but the first, in [0, 1). Scalar.
      visible: whether resets are tokens.
    """
    if not isinstance(hazard, Tracer) and not np.all((0 <= np.asarray(hazard)) & (np.asarray(hazard) < 1)):
        raise ValueError(f"reset: hazard must be in [0, 1), but is {hazard}")
    return Visible(world, real(hazard)) if visible else Hidden(world, real(hazard), 1).sized(CAPACITY)
