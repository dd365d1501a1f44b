"""The training loop around the pure program: members on devices, a chunk at a time, with checkpoint and progress."""

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from experiments.backend import padded, spread
from experiments.reach import Curve, Numbers, Shape, initial, restarted, train
from worlds.base import World, cast

Report = Callable[[int, float, float], None]  # (steps done, mean loss, mean excess of the last chunk)


def fit(
    spec: Any,
    shape: Shape,
    world: World,
    numbers: Numbers,
    steps: int,
    weights: Key[Array, "member"],
    data: Key[Array, "member"],
    *,
    start: Any = None,
    checkpoint: Path | None = None,
    report: Report = lambda steps, loss, excess: None,
) -> tuple[Any, Curve]:
    """Trains a member for each key and returns (parameters stacked by member, curve [member, step]).

    A stop at any moment loses at most one chunk: with a checkpoint file the same call goes on where it stopped, and
    ends with the same numbers as an unbroken one.

    Args:
      spec: the network's spec.
      shape: what changes the program.
      world: the law; cast to float32 here.
      numbers: the reals of one training, shared by the members.
      steps: steps to take in all, the length of the schedule.
      weights: a key for each member's initial weights.
      data: a key for each member's data.
      start: parameters stacked by member to start from, instead of fresh ones.
      checkpoint: where to keep the state between chunks; None keeps none.
      report: called after each chunk.
    """
    world = cast(world, jnp.float32)
    (weights, data), count = padded((weights, data))
    if start is None:
        members = _first(spec, shape, world, numbers, weights, data)
    else:
        members = _again(shape, numbers, padded(start)[0], data)
    curve = Curve(*(jnp.zeros((len(data), 0), jnp.float32) for _ in Curve._fields))
    if checkpoint and checkpoint.exists():
        members, curve = load(checkpoint, (members, curve))
    while (done := curve.loss.shape[1]) < steps:
        members, seen = _chunk(spec, shape, world, numbers, members, min(shape.chunk, steps - done))
        curve = Curve(*(jnp.concatenate(pair, axis=1) for pair in zip(curve, seen, strict=True)))
        if checkpoint:
            save(checkpoint, (members, curve))
        report(curve.loss.shape[1], float(seen.loss[:count].mean()), float(seen.excess[:count].mean()))
    return jax.tree.map(lambda x: x[:count], (members.params, curve))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _first(spec, shape, world, numbers, weights, data):
    def one(shared, keys):
        return initial(spec, shape, shared[0], shared[1], keys[0], keys[1])

    return spread(one)((world, numbers), (weights, data))


@functools.partial(jax.jit, static_argnums=0)
def _again(shape, numbers, params, data):
    nothing = jnp.zeros((0, shape.length), jnp.int32)
    return spread(lambda n, x: restarted(shape, n, x[0], x[1], nothing))(numbers, (params, data))


@functools.partial(jax.jit, static_argnums=(0, 1, 5), donate_argnums=4)
def _chunk(spec, shape, world, numbers, members, steps):
    return spread(lambda shared, member: train(spec, shape, steps, shared[0], shared[1], member))(
        (world, numbers), members
    )


def save(path: Path, tree: Any) -> None:
    """Writes the leaves of a pytree as one .npz without pickles; the file appears whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, *(np.asarray(_plain(x)) for x in jax.tree.leaves(tree)))
    write(path, buffer.getvalue())


def load(path: Path, like: Any) -> Any:
    """Reads what `save` wrote, into the structure and types of `like`; refuses a file of another shape."""
    with np.load(path, allow_pickle=False) as file:
        found = [file[f"arr_{i}"] for i in range(len(file.files))]
    leaves, structure = jax.tree.flatten(like)
    if len(found) != len(leaves) or any(a.dtype != _plain(b).dtype for a, b in zip(found, leaves, strict=True)):
        raise ValueError(f"checkpoint: {path} must hold {len(leaves)} arrays of this run's types, but holds others")
    wrapped = [
        jax.random.wrap_key_data(a) if jnp.issubdtype(b.dtype, jax.dtypes.prng_key) else jnp.asarray(a)
        for a, b in zip(found, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, wrapped)


def write(path: Path, content: bytes) -> None:
    """Writes a file that appears whole or not at all, whoever else writes it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _plain(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
