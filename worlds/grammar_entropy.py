"""The entropy of a grammar's documents where words may have several derivations: an interval with a proof.

H(document) = sum over open prefixes x of P(x) H(next token | x), a sum of non-negative terms: its part over prefixes
shorter than T is a lower bound. The rest is at most log V per token yet to come, and sum_t P(open after t tokens) is
the expected number of tokens, known in closed form: so it is at most log V (E[tokens] - sum_{t<T} P(open after t)).
The entropy of derivations is another upper bound. The value is the lower end, which is what converges.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from worlds.quantity import Quantity, certified

LONGEST = 32  # tokens of prefix
NUMBERS = 2**22  # in the charts of all prefixes of one length
CHUNK = 32  # prefixes that are extended at once: one program for all lengths


def rate(world: Any, derivation_nats: float, tokens: float) -> Quantity:
    """The entropy rate of an endless stream of documents, nats per token.

    Args:
      world: the grammar; its last token is the end.
      derivation_nats: the entropy of a derivation.
      tokens: expected tokens of a document, its end included.
    """
    world = world.sized(min(LONGEST, world.document))
    start = jax.tree.map(lambda x: np.asarray(x)[None], world.start())
    most = max(NUMBERS // sum(x.size for x in jax.tree.leaves(start)), 1)
    weights, states = np.ones(1), start
    known, passed = 0.0, 0.0
    for t in range(world.room + 1):
        laws, further = _extended(world, states)
        known += float(weights @ -(laws * np.log(np.where(laws > 0, laws, 1))).sum(1))
        passed += float(weights.sum())
        joint = (weights[:, None] * laws[:, :-1]).ravel()  # the end closes the document
        kept = np.flatnonzero(joint)
        if not len(kept) or len(kept) > most or t == world.room:
            break
        weights, states = joint[kept], jax.tree.map(lambda x: x[kept], further)  # noqa: B023
    rest = max(tokens - passed, 0.0) * float(np.log(world.vocab_size))
    low, high = known / tokens, min(known + rest, derivation_nats) / tokens
    slack = 1e-12  # rounding
    return certified(low if low <= high else high, min(low, high) - slack, high + slack)


def _extended(world: Any, states: Any) -> tuple[np.ndarray, Any]:
    """The laws after each prefix, and the states after each prefix and token (the end left out)."""
    tokens = jnp.arange(world.vocab_size - 1, dtype=jnp.int32)
    count = len(jax.tree.leaves(states)[0])
    laws, further = [], []
    for first in range(0, count, CHUNK):
        index = np.minimum(np.arange(first, first + CHUNK), count - 1)
        law, after = _step(world, jax.tree.map(lambda x: x[index], states), tokens)  # noqa: B023
        laws.append(np.exp(law)[: count - first])
        further.append(jax.tree.map(lambda x: np.asarray(x)[: count - first], after))  # noqa: B023
    whole = jax.tree.map(lambda *x: np.concatenate(x), *further)
    return np.concatenate(laws), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), whole)


@jax.jit
def _step(world: Any, states: Any, tokens: Any) -> Any:
    further = jax.vmap(jax.vmap(world.advance, (None, 0)), (0, None))
    return jax.vmap(world.log_next)(states), further(states, tokens)
