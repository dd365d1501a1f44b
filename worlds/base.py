"""Worlds: stochastic processes over tokens that know their own next-token law.

Everything is written for one sequence, in nats; callers vmap. A world is a frozen pytree of numbers with a vocabulary
and three methods; sampling, scoring and floors are the free functions below, written once over these three, so that
sampling and scoring cannot disagree. Arrays follow the world's own float type: float64 under `jax_enable_x64`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key

from worlds.quantity import Quantity

State = Any  # a pytree of arrays: whatever the world must remember of its past
Tree = TypeVar("Tree")


@runtime_checkable
class World(Protocol):
    """A frozen pytree of numbers whose conditionals are exact."""

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        ...

    def start(self) -> State:
        """The state before the first token."""
        ...

    def log_next(self, state: State) -> Float[Array, "vocab"]:
        """Log p(next token = v | the past that led to this state); exactly -inf where impossible."""
        ...

    def advance(self, state: State, token: Int[Array, ""]) -> State:
        """The state after one more token."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A world whose memory grows with the past, and so must be told how long the past may become."""

    def sized(self, length: int) -> "World":
        """The same law, with room for `length` tokens."""
        ...


@runtime_checkable
class Parallel(Protocol):
    """A world that scores a whole sequence faster than its own filter, to float precision the same."""

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """As the free function of this name."""
        ...


@runtime_checkable
class Drawing(Protocol):
    """A world that draws faster than by its own filter, the same sequences from the same keys."""

    def sample_with_law(
        self, key: Key[Array, ""], length: int
    ) -> tuple[Int[Array, "time"], Float[Array, "time vocab"]]:
        """As the free function of this name."""
        ...


@runtime_checkable
class HasEntropyRate(Protocol):
    """A world whose entropy rate has a closed form or a certified interval."""

    def entropy_rate(self) -> Quantity:
        """The limit of H(x_t | x_<t), nats per token."""
        ...


def sized(world: World, length: int) -> World:
    """The world with room for `length` tokens."""
    return world.sized(length) if isinstance(world, Growing) else world


def cast(tree: Tree, dtype: Any) -> Tree:
    """Every float array of a pytree in another float type; integers stay."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def sample(world: World, key: Key[Array, ""], length: int) -> Int[Array, "time"]:
    """Draws one sequence."""
    return sample_with_law(world, key, length)[0]


def sample_with_law(
    world: World, key: Key[Array, ""], length: int
) -> tuple[Int[Array, "time"], Float[Array, "time vocab"]]:
    """Draws one sequence, and returns the conditionals that each of its tokens was drawn from."""
    if length < 1:
        raise ValueError(f"sample: length must be at least 1 token, but is {length}")
    world = sized(world, length)
    return world.sample_with_law(key, length) if isinstance(world, Drawing) else drawn(world, key, length)


def drawn(world: World, key: Key[Array, ""], length: int) -> tuple[Int[Array, "time"], Float[Array, "time vocab"]]:
    """The same, always by the world's own filter."""
    world = sized(world, length)

    law = jax.eval_shape(world.log_next, world.start())
    along, noise = noises(key, length, law)

    def step(state, item):
        law = world.log_next(state)
        token = chosen(noise(item), law)
        return world.advance(state, token), (token, law)

    return jax.lax.scan(step, world.start(), along)[1]


AT_ONCE = 2048  # numbers of a sequence's noise; more would leave a CPU's cache, and need room


def noises(key: Key[Array, ""], length: int, law: Any) -> tuple[Array, Callable[[Array], Array]]:
    """(an item for each token, item -> Gumbel noise like `law`), from a key for each token.

    Noise is made at once where there is little of it: a CPU makes it slowly step by step.
    """
    keys, own = jax.random.split(key, length), lambda key: jax.random.gumbel(key, law.shape, law.dtype)
    return (jax.vmap(own)(keys), lambda noise: noise) if length * law.size <= AT_ONCE else (keys, own)


def chosen(noise: Float[Array, "vocab"], law: Float[Array, "vocab"]) -> Int[Array, ""]:
    """A token drawn from log probabilities, the one that `jax.random.categorical` draws: the largest of a noisy law."""
    return jnp.argmax(noise + law).astype(jnp.int32)


def log_conditionals(world: World, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
    """Returns log p(x_t = v | x_1 ... x_{t-1}) for every t and v, by the parallel form where the world has one."""
    _check_tokens(world, tokens)
    world = sized(world, len(tokens))
    return world.log_conditionals(tokens) if isinstance(world, Parallel) else filtered(world, tokens)


def filtered(world: World, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
    """The same, always by the world's own filter."""
    _check_tokens(world, tokens)
    world = sized(world, len(tokens))

    def step(state, token):
        return world.advance(state, token), world.log_next(state)

    return jax.lax.scan(step, world.start(), tokens)[1]


def log_prob(world: World, tokens: Int[Array, "time"]) -> Float[Array, ""]:
    """Returns log p(x_1 ... x_T)."""
    return jnp.take_along_axis(log_conditionals(world, tokens), tokens[:, None], axis=-1).sum()


def states(world: World, tokens: Int[Array, "time"]) -> State:
    """The states before each token, stacked along time."""
    _check_tokens(world, tokens)
    world = sized(world, len(tokens))
    return jax.lax.scan(lambda s, token: (world.advance(s, token), s), world.start(), tokens)[1]


def _check_tokens(world: World, tokens: Int[Array, "time"]) -> None:
    """Refuses tokens outside the vocabulary, where they are seen; in a compiled program nothing can be refused."""
    if isinstance(tokens, Tracer) or len(tokens) == 0:
        return
    low, high = int(np.min(tokens)), int(np.max(tokens))
    if low < 0 or high >= world.vocab_size:
        wrong = low if low < 0 else high
        raise ValueError(f"tokens: all must lie in 0 ... {world.vocab_size - 1}, the vocabulary, but one is {wrong}")


def entropy(logs: Float[Array, "*batch vocab"]) -> Float[Array, "*batch"]:
    """H(p) = - sum p log p, with 0 log 0 = 0."""
    return -jnp.where(logs > -jnp.inf, jnp.exp(logs) * jnp.where(logs > -jnp.inf, logs, 0), 0).sum(-1)


class Functional(NamedTuple):
    """What a loss averages over: sequences, their weights and the weights of positions.

    L(q) = sum_n weight_n sum_t position_t ( - sum_v p(v | x_n,<t) log q(v | x_n,<t) ).
    Two losses under different functionals are never subtracted.
    """

    tokens: Int[Array, "sequence time"]  # the last token is never read as a past
    weight: Float[Array, "sequence"]  # sums to one
    position: Float[Array, "time"]  # sums to one
    exact: bool  # every prefix is here with its exact probability; otherwise the sequences are independent draws


LIMIT = 20_000  # enumerate below this many prefixes, sample above


def functional(
    world: World, length: int, key: Key[Array, ""], sequences: int, position: Any = None, limit: int = LIMIT
) -> Functional:
    """The functional of a world at a length: exact if at most `limit` prefixes need enumeration, else sampled.

    Args:
      world: the law.
      length: tokens per sequence, at least 1.
      key: for the draws, when they are needed.
      sequences: how many to draw, at least 2 when draws are needed.
      position: [time] weights that sum to one; uniform if None.
      limit: the most prefixes that are enumerated.
    """
    if length < 1:
        raise ValueError(f"functional: length must be at least 1 token, but is {length}")
    position = jnp.full(length, 1 / length) if position is None else jnp.asarray(position)
    if world.vocab_size ** (length - 1) <= limit:
        *_, (tokens, logs, _) = prefixes(world, length - 1)
        tokens = np.concatenate([tokens, np.zeros_like(tokens[:, :1], shape=(len(tokens), 1))], axis=1)
        return Functional(jnp.asarray(tokens), jnp.exp(jnp.asarray(logs)), position, True)
    if sequences < 2:
        raise ValueError(f"functional: an interval needs at least 2 sequences, but got {sequences}")
    tokens = samples(world, jax.random.split(key, sequences), length)
    return Functional(tokens, jnp.full(sequences, 1 / sequences), position, False)


@partial(jax.jit, static_argnums=2)  # here, so that a world of the same shape compiles once
def samples(world: World, keys: Key[Array, "sequence"], length: int) -> Int[Array, "sequence time"]:
    """Draws a sequence for each key."""
    return jax.vmap(lambda key: sample(world, key, length))(keys)


def prefixes(
    world: World, length: int
) -> Iterator[tuple[Int[np.ndarray, "prefix time"], Float[np.ndarray, "prefix"], State]]:
    """Yields (tokens, log probabilities, states) of all possible prefixes of 0, 1, ... `length` tokens.

    Impossible prefixes are dropped as soon as they appear, so that worlds with few words stay small.
    """
    world = sized(world, length)
    vocab = world.vocab_size
    tokens, logs = np.zeros((1, 0), np.int32), np.zeros(1)
    state = jax.tree.map(lambda x: jnp.asarray(x)[None], world.start())
    yield tokens, logs, state
    for _ in range(length):
        reached = (logs[:, None] + np.asarray(_following(world, state))).ravel()
        further = _one_more(world, state, jnp.arange(vocab, dtype=jnp.int32))
        state = jax.tree.map(lambda x: x.reshape(x.shape[0] * vocab, *x.shape[2:]), further)  # some hold no numbers
        kept = np.flatnonzero(reached > -np.inf)
        tokens = np.concatenate([np.repeat(tokens, vocab, 0), np.tile(np.arange(vocab), len(tokens))[:, None]], 1)
        tokens, logs, state = tokens[kept].astype(np.int32), reached[kept], jax.tree.map(lambda x: x[kept], state)  # noqa: B023
        yield tokens, logs, state


@jax.jit
def _following(world: World, state: State) -> Float[Array, "prefix vocab"]:
    return jax.vmap(world.log_next)(state)


@jax.jit
def _one_more(world: World, state: State, tokens: Int[Array, "vocab"]) -> State:
    return jax.vmap(jax.vmap(world.advance, (None, 0)), (0, None))(state, tokens)


def floors(
    world: World, length: int, key: Key[Array, ""] | None = None, sequences: int = 1024, limit: int = LIMIT
) -> list[Quantity]:
    """h_1 ... h_T: the exact loss H(x_t | x_<t) of the best possible predictor at each position.

    Enumerated where the prefixes are at most `limit`, otherwise the mean exact entropy over sampled prefixes.
    """
    measured = functional(world, length, jax.random.key(0) if key is None else key, sequences, limit=limit)
    h = jax.lax.map(lambda x: entropy(log_conditionals(world, x)), measured.tokens, batch_size=256)
    return [estimate(h[:, t], measured) for t in range(length)]


def estimate(values: Float[Array, "sequence"], measured: Functional) -> Quantity:
    """The functional's mean of one number per sequence, with its 95 % interval by sequence (Student's t)."""
    numbers = np.asarray(values, np.float64)
    mean = float(np.asarray(measured.weight, np.float64) @ numbers)
    if measured.exact:
        return Quantity(mean, mean, mean, "exact")
    count = len(numbers)
    half = float(scipy.stats.t.ppf(0.975, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
    half = 0.0 if np.isnan(half) else half  # inf - inf: an impossible token, whose loss is inf for certain
    return Quantity(mean, mean - half, mean + half, "estimated", count)
