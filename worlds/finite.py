"""Worlds with finitely many memories, as hidden Markov worlds.

A world whose filter visits finitely many states is an automaton: p(token v, next t | state s) = p(v | s) where the
filter goes from s to t on v. Worlds that combine others say themselves what they are (`worlds.combinators`).
"""

import functools
from typing import Any, NoReturn, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from worlds import base
from worlds.hmm import HMM

MEMORIES = 1024  # states of an automaton that is found by exploring: its operators hold vocab * MEMORIES^2 numbers
NUMBERS = 2**25  # in the operators: 256 MB in float64
CHUNK = 64  # states explored at once


@runtime_checkable
class Reaching(Protocol):
    """A world whose law depends on the last `reach` tokens alone (None: on all), and on the start before them."""

    @property
    def reach(self) -> int | None:
        """How many tokens."""
        ...


@functools.singledispatch
def as_hmm(world: Any) -> HMM:
    """The same law as a hidden Markov world; an error with the reason where the memory is not finite."""
    return _explored(world)


@as_hmm.register(HMM)
def _(world: HMM) -> HMM:
    return world


def small_enough(vocab: int, states: int, what: str) -> None:
    """Refuses operators that would not fit."""
    if vocab * states**2 > NUMBERS:
        raise ValueError(
            f"{what}: its operators may hold at most {NUMBERS} numbers, but {vocab} tokens and {states} states make "
            f"{vocab * states**2}"
        )


def _explored(world: Any) -> HMM:
    """Follows every possible token from every new state, breadth first, until no state is new."""
    world = _of_fixed_size(world)
    tokens = jnp.arange(world.vocab_size, dtype=jnp.int32)
    further = jax.jit(jax.vmap(jax.vmap(world.advance, (None, 0)), (0, None)))
    following = jax.jit(jax.vmap(world.log_next))
    states = [jax.tree.map(np.asarray, world.start())]
    pasts: list[tuple[int, ...]] = [()]
    known, edges = {_key(world, states[0], ()): 0}, []
    done = 0
    while done < len(states) <= MEMORIES:
        here = range(done, min(done + CHUNK, len(states)))
        padded = [states[min(i, here[-1])] for i in range(done, done + CHUNK)]
        stacked = jax.tree.map(lambda *x: np.stack(x), *padded)
        law, targets = np.exp(following(stacked)), jax.tree.map(np.asarray, further(stacked, tokens))
        for s in here:
            for v in np.flatnonzero(law[s - done]).tolist():
                target = jax.tree.map(lambda x, row=s - done, v=v: x[row, v], targets)
                past = (*pasts[s], v)
                t = known.setdefault(_key(world, target, past), len(states))
                if t == len(states):
                    states.append(target)
                    pasts.append(past)
                edges.append((v, s, t, float(law[s - done, v])))
        done = here.stop
    if len(states) > MEMORIES:
        _refuse(world, f"more than {MEMORIES} states of its filter are reached")
    return _automaton(world.vocab_size, len(states), edges)


def _automaton(vocab: int, states: int, edges: list[tuple[int, int, int, float]]) -> HMM:
    small_enough(vocab, states, "finite")
    transition = np.zeros((vocab, states, states))
    for v, s, t, p in edges:
        transition[v, s, t] = p
    return HMM(jnp.asarray(transition, float), jnp.asarray(np.eye(states)[0], float))


def _of_fixed_size(world: Any) -> Any:
    shapes = [jax.eval_shape(lambda n=n: base.sized(world, n).start()) for n in (2, 3)]
    if jax.tree.leaves(jax.tree.map(lambda x, y: x.shape != y.shape, *shapes)).count(True):
        _refuse(world, "its memory grows with the past")
    return base.sized(world, 2)


def _key(world: Any, state: Any, past: tuple[int, ...]) -> Any:
    """What the law depends on: the last tokens where the world says how many, else the whole state."""
    if isinstance(world, Reaching) and world.reach is not None:
        return past[len(past) - min(len(past), world.reach) :]
    return b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(state))


def _refuse(world: Any, reason: str) -> NoReturn:
    raise ValueError(
        f"finite: noise over a {type(world).__name__} world has an exact filter only where the clean past can be "
        f"followed in finitely many states, but {reason}"
    )
