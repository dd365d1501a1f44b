"""Automata that tell where they are: flip-flops and brackets of bounded depth, as hidden Markov worlds."""

import itertools

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from worlds.chain import numpy_for, stationary
from worlds.hmm import HMM, between, table

LARGEST = 2**25  # numbers in the operators: 256 MB in float64


def flip_flop(p_ignore: ArrayLike, start: str = "fresh") -> HMM:
    """Flip-flop language modelling: pairs of an instruction and a bit; a read repeats the bit written last.

    Tokens: 0 write, 1 read, 2 ignore, 3 the bit zero, 4 the bit one. Instructions are independent: ignore p_ignore,
    write and read (1 - p_ignore)/2 each. The bit after write or ignore is fair; the bit after read is the memory.
    Entropy rate (H(instruction) + (1 - p_read) log 2) / 2; 0.6314 nats per token at p_ignore = 0.8.
    Liu et al. 2023 (arXiv:2306.00946) train at p_ignore = 0.8 and test at 0.98 (sparse) and 0.1 (dense), on sequences
    of 512 tokens that begin with a write; theirs also end with a read, which an endless stream cannot.

    States: 0 the beginning; 1, 2 an instruction is due and the memory is 0, 1; 3 after write; 4, 5 after read;
    6, 7 after ignore.

    Args:
      p_ignore: probability of ignore, in (0, 1).
      start: `fresh`, where the first token is a write, or `stationary`, in the middle of a stream.
    """
    (ignore,) = between(0, 1, "flip_flop", p_ignore=p_ignore)
    moves = np.zeros((5, 4, 8, 8))  # token, probability (1, 1/2, ignore, write or read), from, to
    for token, kind, source, target in [
        *[(0, 0, 0, 3), (0, 3, 1, 3), (0, 3, 2, 3), (3, 1, 3, 1), (4, 1, 3, 2), (3, 0, 4, 1), (4, 0, 5, 2)],
        *[(1, 3, 1 + m, 4 + m) for m in (0, 1)],
        *[(2, 2, 1 + m, 6 + m) for m in (0, 1)],
        *[(bit, 1, 6 + m, 1 + m) for bit in (3, 4) for m in (0, 1)],
    ]:
        moves[token, kind, source, target] = 1
    numbers = table([1, 1 / 2, ignore, (1 - ignore) / 2])
    xp = numpy_for(numbers)
    return _started("flip_flop", xp.einsum("vkst,k->vst", moves, xp.asarray(numbers)), start)


def dyck_bounded(kinds: int, depth: int, p_open: ArrayLike, p_end: ArrayLike, start: str = "fresh") -> HMM:
    """Well-nested brackets of several kinds, never deeper than a bound: Dyck-(kinds, depth).

    Tokens: 0 ... kinds-1 open, kinds ... 2 kinds-1 close, 2 kinds END. On an empty stack: END with p_end, else open.
    Between: open with p_open, else close the bracket on top. At the full depth: close. An opened kind is uniform.
    After END the next word begins; with p_end = 0 (a number, not traced) there is no END token.
    A word has 2 depth + 1 tokens on average and depth log(4 kinds) nats at p_open = p_end = 1/2
    (Hewitt et al. 2020, arXiv:2010.07515).

    The states are the stacks, 1 + kinds + ... + kinds^depth of them, so memory grows with their square.

    Args:
      kinds: of brackets, at least 1.
      depth: the most that stand open at once, at least 1.
      p_open: probability of opening while neither empty nor full, in (0, 1).
      p_end: probability of END on an empty stack, in [0, 1).
      start: `fresh`, with an empty stack, or `stationary`, in the middle of a stream.
    """
    for name, number in {"kinds": kinds, "depth": depth}.items():
        if number < 1:
            raise ValueError(f"dyck_bounded: {name} must be at least 1, so that one bracket can open, but is {number}")
    (p_open,) = between(0, 1, "dyck_bounded", p_open=p_open)
    endless = not isinstance(p_end, Tracer) and np.all(np.asarray(p_end) == 0)
    (p_end,) = (0.0,) if endless else between(0, 1, "dyck_bounded", p_end=p_end)
    size = sum(kinds**d for d in range(depth + 1))
    if (2 * kinds + 1) * size**2 > LARGEST:
        raise ValueError(
            f"dyck_bounded: the operators may hold at most {LARGEST} numbers, but kinds {kinds} and depth {depth} "
            f"make {size} stacks and {(2 * kinds + 1) * size**2} numbers"
        )
    stacks = [stack for d in range(depth + 1) for stack in itertools.product(range(kinds), repeat=d)]
    place = {stack: i for i, stack in enumerate(stacks)}
    moves = np.zeros((2 * kinds + 1, size, size))
    moves[2 * kinds, 0, 0] = 1
    for stack in stacks[1:]:
        moves[stack[-1], place[stack[:-1]], place[stack]] = 1
        moves[kinds + stack[-1], place[stack], place[stack[:-1]]] = 1
    height = np.array([len(stack) for stack in stacks])
    xp = numpy_for(p_open, p_end)
    opening = xp.where(height == 0, 1 - p_end, xp.where(height == depth, 0.0, p_open))
    closing, end = xp.where(height == 0, 0.0, 1 - opening), xp.where(height == 0, p_end, 0.0)
    chances = xp.stack([opening / kinds] * kinds + [closing] * kinds + [end])
    transition = moves * chances[:, :, None]
    return _started("dyck_bounded", transition[: 2 * kinds] if endless else transition, start)


def _started(world: str, transition: Float[Array | np.ndarray, "vocab state state"], start: str) -> HMM:
    if start not in ("fresh", "stationary"):
        raise ValueError(f"{world}: start must be `fresh` or `stationary`, but is {start!r}")
    first = np.eye(transition.shape[-1])[0] if start == "fresh" else stationary(transition)
    return HMM(jnp.asarray(transition, float), jnp.asarray(first, float))
