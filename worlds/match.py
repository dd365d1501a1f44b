"""Content gating: only positions whose n previous tokens equal the present ones are read."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from worlds.base import State, World, sized
from worlds.latent import latent_entropy


class Matched(NamedTuple):
    """One state of the inner world for each context of n tokens, and the context of now."""

    inner: State  # [context, ...]
    context: Int[Array, ""]  # the last n tokens, as a number in base vocab
    time: Int[Array, ""]  # tokens seen, up to n
    possible: Bool[Array, ""]  # False for ever after an impossible token


@struct.dataclass
class Match:
    """A copy of a world for every context of n tokens; made by `match`."""

    world: World
    order: int = struct.field(pytree_node=False)

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.world.vocab_size

    def sized(self, length: int) -> "Match":
        """Room for `length` tokens, all of which may follow the same context."""
        return dataclasses.replace(self, world=sized(self.world, length))

    def start(self) -> Matched:
        """No context has been seen."""
        copies = self.vocab_size**self.order
        inner = jax.tree.map(lambda x: jnp.broadcast_to(x, (copies, *jnp.shape(x))), self.world.start())
        return Matched(inner, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), jnp.array(True))

    def log_next(self, state: Matched) -> Float[Array, "vocab"]:
        """The inner world's law after the tokens that followed this context; uniform before there is a context."""
        logs = self.world.log_next(self._present(state))
        logs = jnp.where(state.time < self.order, jnp.full_like(logs, -jnp.log(self.vocab_size)), logs)
        return jnp.where(state.possible, logs, -jnp.inf)

    def advance(self, state: Matched, token: Int[Array, ""]) -> Matched:
        """The token joins those that followed this context, and becomes part of the next."""
        token = token.astype(jnp.int32)
        possible = self.log_next(state)[token] > -jnp.inf
        present = self._present(state)
        after = self.world.advance(present, token)
        inner = jax.tree.map(
            lambda all, old, new: all.at[state.context].set(jnp.where(state.time < self.order, old, new)),
            *(state.inner, present, after),
        )
        context = (state.context * self.vocab_size + token) % self.vocab_size**self.order
        return Matched(inner, context, jnp.minimum(state.time + 1, self.order), possible)

    def latent_entropy(self, state: Matched) -> Float[Array, ""]:
        """The inner world's, in this context; ln V before there is one."""
        told = latent_entropy(self.world, self._present(state))
        return jnp.where(state.time < self.order, jnp.full_like(told, jnp.log(self.vocab_size)), told)

    def _present(self, state: Matched) -> State:
        return jax.tree.map(lambda x: x[state.context], state.inner)


def match(world: World, n: int) -> Match:
    """Reads gated by content: the past is the tokens that followed earlier occurrences of the last n tokens.

    p(x_t | x_<t) = p_world(x_t | x_s, s < t, (x_{s-n} ... x_{s-1}) = (x_{t-n} ... x_{t-1})), the read of an induction
    head (Olsson et al. 2022, arXiv:2209.11895); the first n tokens are uniform. Lags count matches: a geometric kernel
    decays from match to match, offset 1 is the latest match, the uniform kernel is order-free among matches. With an
    urn inside, each context has a law of its own: a Markov chain learnt in context. Memory: vocab^n states of the inner
    world.

    Args:
      world: whose law holds among the matches.
      n: tokens that must match, at least 1.
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"match: n must be at least 1 token, but is {n}")
    return Match(world, n)
