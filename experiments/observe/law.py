"""The law of a window: what the best predictor knows that sees a window of a stream, but not its past or place.

If a document is cut into windows that start at `offsets`, all equally frequent, a predictor that is shown one window
faces the mixture over offsets k of the laws of x_{k+1} x_{k+2} ... That mixture is a stochastic process, so it is a
World again, whose conditionals are p*: not the world's own rule restarted in the middle of its stream.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from experiments.observe.contexts import Contexts, contexts, mean_law
from worlds.base import LIMIT, World, prefixes
from worlds.combinators import Mixture
from worlds.decay import Decay
from worlds.finite import as_hmm
from worlds.hmm import HMM
from worlds.reset import Hidden
from worlds.urn import Urn


def window_law(world: World, offsets: tuple[int, ...], window: int, limit: int = LIMIT) -> World | None:
    """The law of windows of at most `window` tokens at uniformly drawn offsets; None where it is not known exactly.

    Known: all windows start where the world starts; the world says it itself (`shifted`); or the whole document has
    at most `limit` possible prefixes, so that it can be enumerated.
    """
    if not any(offsets):
        return world
    law = shifted(world, offsets)
    if law is None and world.vocab_size ** (max(offsets) + window) <= limit:
        return tabulated(world, offsets, window)
    return law


STATES = 256  # hidden states, above which the law of windows is not kept
CONTEXTS = 5_000  # words as long as the reach; above this many, their law is not kept


@functools.singledispatch
def shifted(world: World, offsets: tuple[int, ...]) -> World | None:
    """The world seen from a uniformly drawn, undisclosed offset; None where that law is not known exactly.

    Any world whose past can be followed in at most `STATES` states is a hidden Markov world, whose law is known.
    Another family registers its own rule with `shifted.register`, as below.
    """
    try:
        finite = as_hmm(world)
    except ValueError:  # it says why the memory is not finite; here that means an interval instead of a number
        return None
    return shifted(finite, offsets) if finite.initial.shape[-1] <= STATES else None


@shifted.register
def _(world: Mixture, offsets: tuple[int, ...]) -> Mixture | None:
    """Each component seen from there: which component it is does not depend on the place."""
    found = tuple(shifted(component, offsets) for component in world.worlds)
    return None if any(law is None for law in found) else Mixture(found, world.weights)


@shifted.register
def _(world: Hidden, offsets: tuple[int, ...]) -> Hidden | None:
    """Resets come at any moment alike, so exchangeable tokens between them have no place either."""
    return world if isinstance(world.world, Urn) else None


@shifted.register
def _(world: HMM, offsets: tuple[int, ...]) -> HMM:
    """The same transitions from the mean of the state's laws at the offsets: mixtures of starts are linear."""
    step = world.transition.sum(0)
    return dataclasses.replace(world, initial=mean_law(world.initial, lambda law: law @ step, offsets))


@shifted.register
def _(world: Urn, offsets: tuple[int, ...]) -> Urn:
    """Exchangeable tokens have no place."""
    del offsets
    return world


@shifted.register
def _(world: Decay, offsets: tuple[int, ...]) -> Contexts | None:
    """A finite reach leaves a belief about the last tokens before the window; an endless one has no exact law here."""
    reach = world.reach
    return None if not reach or world.vocab_size**reach > CONTEXTS else contexts(world, reach, offsets)


@struct.dataclass
class Tabulated:
    """A law given by the log probabilities of its prefixes, breadth first: node i is followed by i vocab + 1 + v."""

    logs: Float[Array, "prefix"]
    vocab_size: int = struct.field(pytree_node=False)

    def start(self) -> Int[Array, ""]:
        """The empty prefix."""
        return jnp.zeros((), jnp.int32)

    def log_next(self, state: Int[Array, ""]) -> Float[Array, "vocab"]:
        """The difference log P(prefix v) - log P(prefix); -inf after an impossible prefix."""
        here = self.logs[state]
        after = self.logs[state * self.vocab_size + 1 + jnp.arange(self.vocab_size, dtype=state.dtype)]
        return after - jnp.where(here > -jnp.inf, here, 0)

    def advance(self, state: Int[Array, ""], token: Int[Array, ""]) -> Int[Array, ""]:
        """The longer prefix."""
        return state * self.vocab_size + 1 + token.astype(state.dtype)


def tabulated(world: World, offsets: tuple[int, ...], window: int) -> Tabulated:
    """The law of a window by enumeration of all documents: P(w) = mean over offsets k of P(x_{k+1} ... = w)."""
    vocab = world.vocab_size
    levels = [np.zeros(vocab**d) for d in range(window + 1)]
    for seen, (tokens, logs, _) in enumerate(prefixes(world, max(offsets) + window)):
        for depth in (seen - offset for offset in offsets if 0 <= seen - offset <= window):
            codes = tokens[:, seen - depth :] @ vocab ** np.arange(depth)[::-1]
            np.add.at(levels[depth], codes, np.exp(logs) / len(offsets))
    with np.errstate(divide="ignore"):  # impossible windows
        return Tabulated(jnp.asarray(np.log(np.concatenate(levels))), vocab)
