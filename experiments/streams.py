"""Streams of random keys: one for each part of a run, so that nothing is ever evaluated on what it was trained on.

A stream is a constant folded into the run's key. Threefry is a permutation of its counter for a fixed key, so keys of
different streams of one run are different by construction; a test draws from all of them and compares.
"""

from typing import Literal

import jax
from jaxtyping import Array, Key

Stream = Literal["initialise", "train", "dataset", "oracle", "perceive", "measure", "observe", "export"]
_STREAMS: dict[str, int] = {
    "initialise": 1,
    "train": 2,
    "dataset": 3,
    "oracle": 4,
    "perceive": 5,
    "measure": 6,
    "observe": 7,
    "export": 8,
}


def stream(seed: int, name: Stream) -> Key[Array, ""]:
    """The key of one part of the run with this seed."""
    return jax.random.fold_in(jax.random.key(seed), _STREAMS[name])


def members(key: Key[Array, ""], first: int, count: int) -> Key[Array, "member"]:
    """A key for each member first, first + 1, ...: member n has the same key in every run, whatever the count."""
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(jax.numpy.arange(first, first + count))
