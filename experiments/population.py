"""Cells of one compiled shape trained as one program: what the population launcher does before its jobs run.

Each job's part of the population is written to the job's own checkpoint after every chunk, so that the job, run as if
alone, finds its training done. Whatever is a number may differ between the cells of a population: seeds, rates and all
other reals of the training, the numbers of the world, and the sizes of the sets that batches are drawn from: each
member draws from the first of a largest set's sequences, which are those it has alone. What changes the program
(shapes, schemes, the length of the schedule, the size of an epoch) makes another population.
"""

import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from omegaconf import DictConfig

from experiments import fit, folder, layers, memory
from experiments.cell import Cell, Refused, build
from experiments.reach import Member, Shape, numbers
from experiments.screen import Screen


class Job(NamedTuple):
    """One run of a sweep that is still to be trained."""

    place: Path
    config: DictConfig
    cell: Cell
    done: int  # steps that its checkpoint holds

    @property
    def checkpoint(self) -> Path:
        """Where its run looks for its training."""
        return folder.work_of(self.place, self.cell) / layers.CHECKPOINT


@dataclass(frozen=True)
class Room:
    """What one population may be: `members` (seeds of all its cells) at most, in `gigabytes` of memory (None asks)."""

    members: int
    gigabytes: float | None = None

    def of(self, cell: Cell) -> int:
        """How many members of a cell's shape may be together."""
        return min(self.members, memory.members(cell, self.gigabytes))


def train(configs: Sequence[tuple[Path, DictConfig]], room: Room, screen: Screen) -> None:
    """Trains all populations of two or more cells; whoever is alone, finished or refused is left to its own run.

    Args:
      configs: (run folder, config) of every job.
      room: for one population.
      screen: for progress.
    """
    if jax.process_count() > 1:
        return  # they share the batches of one cell after another: experiments/hosts.py
    groups = populations(untrained(configs), room.of)
    for number, group in enumerate(groups, 1):
        with ExitStack() as held:
            # one order for all, so that no two sweeps wait in a ring
            for job in sorted(group, key=lambda job: job.place):
                held.enter_context(folder.held(job.place, screen.line))
            left = untrained([(job.place, job.config) for job in group])  # another process may have been at it
            for part in populations(left, lambda cell, group=group: len(group) * cell.seeds):
                try:
                    together(part, screen, f"population {number} of {len(groups)}")
                except Exception as error:  # noqa: BLE001  each job trains alone then, and fails alone if it must
                    screen.line(f"a population of {len(part)} cells failed ({error}); its cells train one by one")


def untrained(configs: Sequence[tuple[Path, DictConfig]]) -> list[Job]:
    """The jobs whose training is not finished, one of each folder; the others are recognised or refused as they run."""
    by_place = {place: config for place, config in configs}  # a cell that is asked for twice is one
    return [job for place, config in by_place.items() if (job := _job(place, config)) is not None]


def _job(place: Path, config: DictConfig) -> Job | None:
    try:
        if config.force or config.task is not None:
            return None
        cell = build(config)
        if folder.finished(place, cell) is not None:
            return None
    except Refused:
        return None
    job = Job(place, config, cell, 0)
    job = job._replace(done=_taken(job.checkpoint))
    return job if job.done < cell.reals.steps else None


def _taken(checkpoint: Path) -> int:
    """Steps that a checkpoint holds: its last four arrays are the curve's, of which the loss comes first."""
    if not checkpoint.exists():
        return 0
    try:
        with np.load(checkpoint, allow_pickle=False) as file:
            return file[f"arr_{len(file.files) - 4}"].shape[1]
    except (OSError, EOFError, KeyError, IndexError, zipfile.BadZipFile):
        return 0  # its run will set it aside


def populations(jobs: Sequence[Job], most: Callable[[Cell], int]) -> list[list[Job]]:
    """Jobs that share a program and are equally far, at most `most` members together; none of a single job."""
    groups: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[_shape(job)].append(job)
    found = []
    for group in (group for group in groups.values() if len(group) > 1):
        largest = max((job.cell for job in group), key=lambda cell: cell.shape.sequences)
        size = max(1, most(largest) // largest.seeds)
        found += [group[n : n + size] for n in range(0, len(group), size)]
    return [group for group in found if len(group) > 1]


def _shape(job: Job) -> Any:
    """What must be equal for two jobs to share a program."""
    cell = job.cell
    world = jax.tree.structure(cell.world), tuple(jnp.shape(x) for x in jax.tree.leaves(cell.world))
    reals = cell.reals
    parts = reals.steps, reals.dropout > 0, None if reals.channel is None else len(reals.channel)
    return cell.spec, _sized(cell.shape, 1), str(world), parts, cell.seeds, job.done


def _sized(shape: Shape, sequences: int) -> Shape:
    """The shape with room for so many sequences, where batches are drawn from a finite set of them."""
    return replace(shape, sequences=sequences) if shape.sequences and shape.order == "draws" else shape


def together(group: Sequence[Job], screen: Screen, title: str = "population") -> None:
    """One program for a population; each job's part ends in its own checkpoint."""
    cells, seeds, steps = [job.cell for job in group], group[0].cell.seeds, group[0].cell.reals.steps
    rows = [slice(n * seeds, (n + 1) * seeds) for n in range(len(group))]
    floors = [layers.floor(cell, cell.shape.length) for cell in cells]
    watches = [layers.watch(cell, floor) for cell, floor in zip(cells, floors, strict=True)]

    def measure(params: Any) -> np.ndarray:
        parts = [jax.tree.map(lambda x, r=r: x[r], params) for r in rows]
        return np.concatenate([watch.measure(part) for watch, part in zip(watches, parts, strict=True)])

    own = [cell.shape.sequences for cell in cells for _ in range(seeds)]
    shape, reals = _sized(cells[0].shape, max(own)), numbers([cell.reals for cell in cells for _ in range(seeds)])
    if len(set(own)) > 1:
        reals = replace(reals, sequences=jnp.asarray(own, jnp.int32))
    weights, data = (jnp.concatenate(keys) for keys in zip(*(layers.keys(cell) for cell in cells), strict=True))
    name = f"{title}: {len(weights)} members ({len(group)} cells of {seeds} seeds) as one program, steps"
    with screen.task(name, steps) as report:
        fit.fit(
            cells[0].spec,
            shape,
            [cell.world for cell in cells for _ in range(seeds)],
            reals,
            steps,
            weights,
            data,
            checkpoint=Shared(
                [job.checkpoint for job in group], rows, [c.shape.pool + c.shape.sequences for c in cells]
            ),
            watch=fit.Watch(watches[0].steps, measure),
            report=layers.progress(report),
        )


@dataclass(frozen=True)
class Shared:
    """A population's checkpoint: the checkpoints of its jobs, each with its rows of the members and its own data."""

    paths: list[Path]
    rows: list[slice]
    sequences: list[int]  # of the data of each job's members

    def read(self, like: Any) -> Any:
        """The members together, or None where nothing is kept yet."""
        if not all(path.exists() for path in self.paths):
            return None
        room = like[0].dataset.shape[1]
        parts = [fit.load(path, _cut(like, rows, sequences)) for path, rows, sequences in self._jobs]
        members = jax.tree.map(_joined, *(_filled(members, room) for members, _ in parts))
        curves = [curve for _, curve in parts]
        whole = {k: np.concatenate([getattr(c, k) for c in curves]) for k in ("loss", "excess", "by_position")}
        return members, curves[0]._replace(**whole)

    def write(self, tree: Any) -> None:
        """Each job's rows into its own file."""
        for path, rows, sequences in self._jobs:
            path.parent.mkdir(parents=True, exist_ok=True)
            fit.save(path, _cut(tree, rows, sequences))

    @property
    def _jobs(self) -> list[tuple[Path, slice, int]]:
        return list(zip(self.paths, self.rows, self.sequences, strict=True))


def _joined(*parts: Any) -> Any:
    return jnp.concatenate([jnp.asarray(x) for x in parts])


def _filled(members: Member, room: int) -> Member:
    """Members whose data fill a larger set's room; what is beyond their own is never drawn."""
    beyond = room - members.dataset.shape[1]
    return members._replace(dataset=jnp.pad(members.dataset, ((0, 0), (0, beyond), (0, 0))))


def _cut(tree: Any, rows: slice, sequences: int) -> Any:
    """The rows of (members, curve) with their own data; the moments at which all were watched have no rows."""
    members, curve = tree
    own = {k: getattr(curve, k)[rows] for k in ("loss", "excess", "by_position")}
    members = jax.tree.map(lambda x: x[rows], members)
    return members._replace(dataset=members.dataset[:, :sequences]), curve._replace(**own)
