"""The training loop around the pure program: members on devices, a chunk at a time, with checkpoint and progress."""

import functools
import io
import logging
import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments import hosts
from experiments.backend import dealt, spread
from experiments.reach import Curve, Numbers, Shape, initial, restarted, train
from worlds.base import World, cast

log = logging.getLogger(__name__)
Report = Callable[[int, float, float], None]
"""(steps done, mean loss and mean excess of the last chunk, over the members that have not diverged)."""


@runtime_checkable
class Checkpoint(Protocol):
    """Where a training's state, (members, curve), is kept between chunks."""

    def read(self, like: Any) -> Any:
        """What was kept, in the structure and types of `like`; None where there is nothing."""
        ...

    def write(self, tree: Any) -> None:
        """Keeps it, whole or not at all."""
        ...


@dataclass(frozen=True)
class OneFile:
    """One .npz. One that cannot be read is set aside, and its part of the work begins anew."""

    path: Path

    def read(self, like: Any) -> Any:
        """As `Checkpoint.read`."""
        if not self.path.exists():
            return None
        try:
            return load(self.path, like)
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            broken = self.path.with_suffix(".broken")
            os.replace(self.path, broken)
            log.warning("checkpoint: %s cannot be read (%s); it is now %s, and begins anew", self.path, error, broken)
            return None

    def write(self, tree: Any) -> None:
        """As `Checkpoint.write`."""
        save(self.path, tree)


class Watch(NamedTuple):
    """What is measured of the evaluated weights now and then, and when."""

    steps: list[int]  # steps taken; 0 are the initial weights
    measure: Callable[[Any], Float[np.ndarray, "member time"]]  # of parameters stacked by member


def fit(
    spec: Any,
    shape: Shape,
    world: World | list[World],
    numbers: Numbers,
    steps: int,
    weights: Key[Array, "member"],
    data: Key[Array, "member"],
    *,
    start: Any = None,
    checkpoint: "Path | Checkpoint | None" = None,
    watch: Watch | None = None,
    report: Report = lambda steps, loss, excess: None,
) -> tuple[Any, Curve]:
    """Trains a member for each key and returns (evaluated parameters stacked by member, their curves [member, step]).

    The members may be seeds of one cell, or cells of one shape: then numbers and worlds are their own, and a member
    whose schedule is over rests while the others go on. A stop at any moment loses at most one chunk: with a
    checkpoint file the same call goes on where it stopped, and ends with the same numbers as an unbroken one.

    Args:
      spec: the network's spec.
      shape: what changes the program.
      world: the law, or one for each member, alike but for their numbers; cast to float32 here.
      numbers: the reals of one training, shared by the members, or stacked by member.
      steps: steps to take in all, the length of the longest schedule.
      weights: a key for each member's initial weights.
      data: a key for each member's data.
      start: parameters stacked by member to start from, instead of fresh ones.
      checkpoint: where to keep the state between chunks; None keeps none.
      watch: what to measure on the way.
      report: called after each chunk.
    """
    hosts.check(shape.batch, shape.micro or 0)
    lengths = np.broadcast_to(np.asarray(numbers.steps, int), len(data))
    place, back = dealt(lengths)  # where members are, so that the devices share the work
    shared, own = _divided(world, numbers, place)
    members, curve = _begin(spec, shape, shared, own, _at(place, (start, weights, data))), _blank(shape, data, watch)
    files = OneFile(checkpoint) if isinstance(checkpoint, Path) else checkpoint
    if files and (found := files.read((members, curve))) is not None:
        kept, curve = found
        members = jax.tree.map(lambda x, now: jax.device_put(x, now.sharding), _at(place, kept), members)
        curve = jax.tree.map(np.asarray, curve)
    rest = len(set(lengths.tolist())) > 1
    moments = {s for s in watch.steps if 0 <= s <= steps} if watch else set()
    ends = {*range(shape.chunk, steps, shape.chunk), steps}
    for stop in sorted(ends | moments):
        todo = stop - curve.loss.shape[1]
        if todo > 0:
            members, seen = _advanced(spec, shape, rest, shared, own, members, jnp.int32(todo))
            curve = _longer(curve, seen, back, todo)
        if watch and stop in moments and todo >= 0:
            curve = _watched(watch, curve, stop, _kept(back, members.evaluated()))
        if todo > 0 and stop in ends:
            if files:
                files.write((_kept(back, members), curve))
            report(stop, *_news(curve, lengths, stop - shape.chunk))
    return _kept(back, members.evaluated()), curve


def _divided(world: Any, numbers: Numbers, place: Int[np.ndarray, "place"]) -> tuple[Any, Any]:
    """(world, numbers) that all members share, and those that are each member's own; None where it is the other."""
    laws = cast(stacked(world) if isinstance(world, list) else world, jnp.float32)
    both = (laws, isinstance(world, list)), (numbers, numbers.steps.ndim > 0)
    return tuple(None if own else x for x, own in both), _at(place, tuple(x if own else None for x, own in both))


def _longer(curve: Curve, seen: Curve, back: Int[np.ndarray, "member"], steps: int) -> Curve:
    """The curve and what a chunk added to it."""
    pairs = (curve.loss, seen.loss), (curve.excess, seen.excess)
    loss, excess = (np.concatenate([a, np.asarray(b)[back, :steps]], axis=1) for a, b in pairs)
    return curve._replace(loss=loss, excess=excess)


def _watched(watch: Watch, curve: Curve, steps: int, params: Any) -> Curve:
    """The curve and what was measured of the weights after `steps` steps, unless a checkpoint knew it."""
    assert curve.watched is not None and curve.by_position is not None
    if steps in curve.watched:
        return curve
    found = np.asarray(watch.measure(params), np.float32)[:, None]
    return curve._replace(
        watched=np.append(curve.watched, np.int32(steps)),
        by_position=np.concatenate([curve.by_position, found], axis=1),
    )


def _blank(shape: Shape, members: Any, watch: Watch | None) -> Curve:
    nothing = np.zeros((len(members), 0), np.float32)
    if watch is None:
        return Curve(nothing, nothing)
    return Curve(nothing, nothing, np.zeros(0, np.int32), np.zeros((len(members), 0, shape.length), np.float32))


def stacked(trees: list[Any]) -> Any:
    """Pytrees of one structure as one whose leaves have a leading member axis."""
    kinds = {str((jax.tree.structure(x), [jnp.shape(leaf) for leaf in jax.tree.leaves(x)])) for x in trees}
    if len(kinds) != 1:
        raise ValueError(f"fit: the worlds of a population may differ in their numbers only, but are {sorted(kinds)}")
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *trees)


def diverged(params: Any, curve: Curve, lengths: int | Int[np.ndarray, "member"]) -> dict[int, int]:
    """The members that left the numbers, and after how many steps: the first loss, or else the end, is not finite."""
    lost = _lost(curve, np.broadcast_to(lengths, len(curve.loss)))
    fine = np.all([np.isfinite(x).reshape(len(x), -1).all(1) for x in jax.tree.leaves(params)], axis=0)
    ends = np.broadcast_to(lengths, len(lost))
    return {n: int(ends[n] if step < 0 else step) for n, step in enumerate(lost) if step >= 0 or not fine[n]}


def _lost(curve: Curve, lengths: Int[np.ndarray, "member"]) -> Int[np.ndarray, "member"]:
    """The first step of its own at which each member's loss was not finite; -1 where there is none."""
    steps = np.arange(curve.loss.shape[1])
    bad = ~np.isfinite(curve.loss) & (steps[None] < lengths[:, None])
    return np.where(bad.any(1), bad.argmax(1) if len(steps) else 0, -1)


def _news(curve: Curve, lengths: Int[np.ndarray, "member"], since: int) -> list[float]:
    """Mean loss and excess since a step, over the members that have not diverged; nan where all have."""
    recent = [x[_lost(curve, lengths) < 0, max(0, since) :] for x in (curve.loss, curve.excess)]
    known = [x[np.isfinite(x)] for x in recent]
    return [float(x.mean()) if x.size else float("nan") for x in known]


def _at(place: Int[np.ndarray, "place"], tree: Any) -> Any:
    """The members that belong at each place."""
    return jax.tree.map(lambda x: x if np.array_equal(place, np.arange(len(x))) else x[place], tree)


def _kept(back: Int[np.ndarray, "member"], tree: Any) -> Any:
    """The members in their own order, as arrays that outlive the next step."""
    return jax.tree.map(lambda x: np.asarray(_plain(x))[back], tree)


def _mine(shared: Any, own: Any) -> Any:
    """A member's world and numbers, its own or everybody's."""
    return tuple(s if o is None else o for s, o in zip(shared, own, strict=True))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(spec, shape, shared, own, given):
    def one(shared, item):
        (world, n), (start, weights, data) = _mine(shared, item[0]), item[1]
        if start is None:
            return initial(spec, shape, world, n, weights, data)
        return restarted(shape, world, n, start, data)

    return spread(one)(shared, (own, given))


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=5)
def _chunk(spec, shape, rest, shared, own, members, todo):
    def one(shared, item):
        (world, n), member = _mine(shared[0], item[0]), item[1]
        steps = jnp.minimum(shared[1], n.steps.astype(jnp.int32) - member.step) if rest else shared[1]
        return train(spec, shape, world, n, member, steps)

    return spread(one, grid=hosts.mesh("member") if jax.process_count() > 1 else None)((shared, todo), (own, members))


def _advanced(spec: Any, shape: Shape, rest: bool, shared: Any, own: Any, members: Any, todo: Int[Array, ""]) -> Any:
    """(members, curve) after a chunk, which several processes take together."""
    if jax.process_count() == 1:
        return _chunk(spec, shape, rest, shared, own, members, todo)
    shared, todo = hosts.everywhere((shared, todo))
    own, members = hosts.everywhere((own, members), "member")
    return hosts.here(_chunk(spec, shape, rest, shared, own, members, todo), "member")


def save(path: Path, tree: Any) -> None:
    """Writes the leaves of a pytree as one .npz without pickles; the file appears whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, *(np.asarray(_plain(x)) for x in jax.tree.leaves(tree)))
    write(path, buffer.getvalue())


def load(path: Path, like: Any) -> Any:
    """Reads what `save` wrote, into the structure and types of `like`; refuses a file of another shape."""
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
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
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError:  # no room, say: what was there before stays, and nothing is left over
        part.unlink(missing_ok=True)
        raise


def _plain(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
