"""Well-nested brackets of any depth: the deterministic grammar whose whole memory is one stack."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds.hmm import between
from worlds.quantity import Quantity, exact


class Stack(NamedTuple):
    """The kinds of the open brackets, the outermost first; depth -1 after something impossible."""

    depth: Int[Array, ""]
    kinds: Int[Array, "capacity"]


@struct.dataclass
class Dyck:
    """Brackets; memory and cost per token are those of a stack as deep as the sequence is long."""

    p_open: Float[Array, "*batch"]
    kinds: int = struct.field(pytree_node=False)
    capacity: int = struct.field(pytree_node=False, default=1)  # the deepest stack: set by `sized`

    @property
    def vocab_size(self) -> int:
        """Opening and closing brackets, and the end token."""
        return 2 * self.kinds + 1

    def sized(self, length: int) -> "Dyck":
        """Room for `length` open brackets."""
        return self.replace(capacity=max(length, 1))  # pyright: ignore[reportAttributeAccessIssue]

    def start(self) -> Stack:
        """Nothing is open."""
        return Stack(jnp.zeros((), jnp.int32), jnp.zeros(self.capacity, jnp.int32))

    def log_next(self, state: Stack) -> Float[Array, "vocab"]:
        """Open with p_open (each kind alike), else close the bracket on top, or end where none is open."""
        top = jnp.where(state.depth > 0, state.kinds[state.depth - 1], self.kinds)  # the end closes the empty stack
        closes = jnp.arange(self.kinds + 1, dtype=jnp.int32) == top
        opening = jnp.broadcast_to(jnp.log(self.p_open / self.kinds), (self.kinds,))
        law = jnp.concatenate([opening, jnp.where(closes, jnp.log1p(-self.p_open), -jnp.inf)])
        return jnp.where(state.depth >= 0, law, -jnp.inf)

    def advance(self, state: Stack, token: Int[Array, ""]) -> Stack:
        """Push or pop; an end leaves the stack empty, as it found it."""
        token = token.astype(jnp.int32)
        opens, ends = token < self.kinds, token == 2 * self.kinds
        top = jnp.where(state.depth > 0, state.kinds[state.depth - 1], self.kinds)
        possible = (state.depth >= 0) & (opens | (token - self.kinds == top))
        depth = jnp.where(ends, 0, state.depth + jnp.where(opens, 1, -1))
        pushed = state.kinds.at[jnp.maximum(state.depth, 0)].set(token)
        return Stack(jnp.where(possible, depth, -1), jnp.where(opens & possible, pushed, state.kinds))

    def entropy_rate(self) -> Quantity:
        """H_b(p_open) + p_open log kinds: every token is one such decision."""
        p = float(self.p_open)
        return exact(-p * np.log(p) - (1 - p) * np.log1p(-p) + p * np.log(self.kinds))


def dyck(kinds: int, p_open: ArrayLike) -> Dyck:
    """Words of well-nested brackets without a bound on their depth, each closed by an end token, one after another.

    S -> ( S ) S with probability p_open, spread over the kinds, else empty. So every token is a throw of the same coin:
    open, or else close what is on top, or end where nothing is open. Entropy rate H_b(p_open) + p_open log kinds;
    a word has 1 / (1 - 2 p_open) tokens on average, its end included.
    Tokens: 0 ... kinds-1 open, kinds ... 2 kinds-1 close, 2 kinds END. Starts fresh, with nothing open.

    Args:
      kinds: of brackets, at least 1.
      p_open: in (0, 1/2): beyond, words need not end (the spectral radius 2 p_open must lie below 1).
    """
    if kinds < 1:
        raise ValueError(f"dyck: kinds must be at least 1, so that one bracket can open, but is {kinds}")
    if not isinstance(p_open, Tracer) and np.any(np.asarray(p_open) >= 0.5):
        raise ValueError(
            "dyck: the grammar must not lose mass: the spectral radius 2 p_open of its expectation matrix must lie "
            f"below 1, but is {2 * np.max(np.asarray(p_open))}"
        )
    between(0, 0.5, "dyck", p_open=p_open)
    return Dyck(jnp.asarray(p_open, float), kinds)
