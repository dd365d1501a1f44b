"""The steady state of worlds that read a finite number of past tokens: a Markov chain over contexts, enumerated."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Float, Int

from worlds.base import Functional, World, entropy, log_conditionals
from worlds.quantity import Quantity, exact, undefined

LIMIT = 100_000  # contexts
DENSE = 1_000  # below this many contexts, by linear algebra


def contexts(vocab: int, horizon: int) -> Int[np.ndarray, "context horizon"]:
    """All words of `horizon` tokens, in order: word number n is n in base vocab."""
    if vocab**horizon > LIMIT:
        raise ValueError(f"steady: at most {LIMIT} contexts can be enumerated, but there are {vocab}^{horizon}")
    return np.stack(np.unravel_index(np.arange(vocab**horizon), (vocab,) * horizon), axis=1).astype(np.int32)


def steady(world: World, horizon: int) -> Functional:
    """The functional of one token after a stationary past of `horizon` tokens, every context with its probability.

    Sequences are [context, horizon + 1]; only the last position has weight. The world must not look further back than
    `horizon` (`Decay.reach`), nor at the time; then this is its law long after any start. Exact to about 1e-14.
    """
    tokens = jnp.asarray(np.pad(contexts(world.vocab_size, horizon), ((0, 0), (0, 1))))
    law = stationary(_chain(_last(world, tokens)))
    if law is None:
        raise ValueError(
            "steady: the contexts must have one stationary law, but this chain never forgets its start; "
            "noise above 0 mends that"
        )
    return Functional(tokens, jnp.asarray(law), jnp.zeros(horizon + 1).at[-1].set(1.0), True)


def entropy_rate(phases: Sequence[World], horizon: int) -> Quantity:
    """The entropy rate of such a world, exact: its next token's mean entropy in the steady state.

    Several phases take turns: the chain is over (phase, context). Undefined where it has no one stationary law.
    """
    words = contexts(phases[0].vocab_size, horizon)
    if len(phases) * len(words) > LIMIT:
        raise ValueError(f"steady: at most {LIMIT} states, but {len(phases)} phases have {len(words)} contexts each")
    tokens = jnp.asarray(np.pad(words, ((0, 0), (0, 1))))
    logs = [_last(world, tokens) for world in phases]
    turns = scipy.sparse.csr_array(np.roll(np.eye(len(phases)), 1, axis=1))
    law = stationary(scipy.sparse.vstack([scipy.sparse.kron(turns[[j]], _chain(x)) for j, x in enumerate(logs)]))
    return undefined() if law is None else exact(float(law @ np.concatenate([entropy(x) for x in logs])))


def stationary(chain: Any) -> Float[np.ndarray, "state"] | None:
    """The law pi = pi P of a chain [state, state], dense or sparse; None if several sets of states are never left."""
    chain = scipy.sparse.csr_array(chain)
    chain.eliminate_zeros()
    count, part = scipy.sparse.csgraph.connected_components(chain, connection="strong")
    origin, end = chain.nonzero()
    if count - len(np.unique(part[origin][part[origin] != part[end]])) > 1:
        return None
    return _solved(chain.toarray()) if chain.shape[0] <= DENSE else _iterated(chain.T.tocsr())


def _chain(logs: Float[jax.Array, "context vocab"]) -> scipy.sparse.csr_array:
    """The chain context -> (context without its first token, next token)."""
    law = np.exp(np.asarray(logs, np.float64))
    count, vocab = law.shape
    end = (np.arange(count)[:, None] * vocab + np.arange(vocab)) % count
    origin = np.repeat(np.arange(count), vocab)
    return scipy.sparse.csr_array((law.ravel(), (origin, end.ravel())), shape=(count, count))


@jax.jit
def _last(world: World, tokens: Int[jax.Array, "context time"]) -> Float[jax.Array, "context vocab"]:
    return jax.lax.map(lambda word: log_conditionals(world, word)[-1], tokens, batch_size=1024)


def _solved(chain: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state"]:
    system = np.vstack([np.eye(len(chain)) - chain.T, np.ones(len(chain))])
    found = np.linalg.lstsq(system, np.append(np.zeros(len(chain)), 1.0))[0]
    found = np.where(found > 0, found, 0.0)  # states that are left for good: 0, up to rounding
    return found / found.sum()


def _iterated(backwards: Any) -> Float[np.ndarray, "state"]:
    """Power iteration, averaged over neighbouring phases so that periodic chains converge too."""
    belief = np.full(backwards.shape[0], 1 / backwards.shape[0])
    for _ in range(100_000):
        moved = (belief + backwards @ belief) / 2
        moved /= moved.sum()
        if np.abs(moved - belief).sum() < 1e-15:
            return moved
        belief = moved
    raise ValueError(
        "steady: the chain must forget its start, but has not within 100000 steps (is the noise nearly 0?)"
    )
