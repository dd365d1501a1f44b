"""The latent-aware floor: the loss of a predictor that is told what the world hides, and that no model can know.

A world with hidden quantities (the law of an urn, the lag of a sequence, when it was reset) has two floors. The Bayes
floor h_t is the loss of the best prediction from the past alone. The latent-aware floor is E H(x_t | x_<t, hidden):
lower, out of reach, and never the optimum. Both are averaged over the same prefixes, so that their difference, the
price of not knowing, is paired.
"""

from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Key

from worlds.base import LIMIT, State, World, entropy, estimate, functional, sized, states
from worlds.quantity import Quantity


@runtime_checkable
class HasLatent(Protocol):
    """A world that hides something."""

    def latent_entropy(self, state: State) -> Float[Array, ""]:
        """E[H(next token | past, hidden) | past], nats: the hidden quantities are averaged by their exact posterior."""
        ...


def latent_entropy(world: World, state: State) -> Float[Array, ""]:
    """The same for any world: one that hides nothing is aware of all there is."""
    return world.latent_entropy(state) if isinstance(world, HasLatent) else entropy(world.log_next(state))


def latent_floors(
    world: World, length: int, key: Key[Array, ""] | None = None, sequences: int = 1024, limit: int = LIMIT
) -> list[Quantity]:
    """The latent-aware floor at each position, as `worlds.base.floors` gives the Bayes floors: enumerated or estimated.

    With equal arguments both are averages over the same prefixes.
    """
    world = sized(world, length)
    measured = functional(world, length, jax.random.key(0) if key is None else key, sequences, limit=limit)

    def along(tokens):
        return jax.vmap(lambda state: latent_entropy(world, state))(states(world, tokens))

    told = jax.lax.map(along, measured.tokens, batch_size=256)
    return [estimate(told[:, t], measured) for t in range(length)]
