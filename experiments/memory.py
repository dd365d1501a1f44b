"""How many members train at once in the memory there is: an estimate from shapes, before anything is compiled.

A member holds its state (weights, optimiser, averages, its own data), of which some copies exist at the end of a chunk,
and, while it is trained, what its step makes: a value lives from the equation that makes it to the last that reads it.
What is cheap to compute from one other value is taken to be computed again where it is read, as XLA's fusion does;
XLA also orders work better, so that the estimate is mostly from above. How many members are trained at once
follows `backend.spread`: one on each CPU device, all of them on a GPU. Units are bytes.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

from experiments.cell import Cell
from experiments.reach import Member, initial, numbers, train
from worlds.base import cast

COPIES = {"cpu": 4}  # of a state at a chunk's end: before it, after it; on CPUs also what is kept and its file
SHARE = 0.5  # of the memory of a machine: its other processes, the compiler and the measurements need the rest
FREE = 0.8  # of what a device has free: estimates were up to a tenth too low, and products need workspaces
CHEAP = frozenset(
    "add sub mul neg max min integer_pow square convert_element_type broadcast_in_dim reshape squeeze select_n iota "
    "eq ne lt le gt ge and or not copy stop_gradient".split()
)  # an arithmetical step or none for each number


def members(cell: Cell, gigabytes: float | None = None) -> int:
    """How many members of a cell's shape fit at once; at least 1: a single one is tried whatever the estimate says.

    Args:
      cell: any of the population.
      gigabytes: of memory for a population; None asks the device.
    """
    held, worked = needs(cell)
    devices = jax.local_devices()
    room, held = (available() if gigabytes is None else gigabytes * 1e9), held * COPIES.get(devices[0].platform, 2)
    fitting = (room - worked * len(devices)) / held if devices[0].platform == "cpu" else room / (held + worked)
    return max(1, int(fitting))


def needs(cell: Cell) -> tuple[int, int]:
    """(state of one member, what a step makes at most), bytes."""
    key, n, world = jax.random.key(0), numbers(cell.reals), cast(cell.world, jnp.float32)
    state: Member = jax.eval_shape(partial(initial, cell.spec, cell.shape), world, n, key, key)
    step = jax.make_jaxpr(partial(train, cell.spec, cell.shape))(world, n, state, jnp.int32(1))
    return sum(size(x) for x in jax.tree.leaves(state)), peak(step.jaxpr)


def available() -> float:
    """Memory for a population: what this process' devices have, or a share of the machine's or of its SLURM job's."""
    known = [device.memory_stats() for device in jax.local_devices()]
    if all(known):
        return FREE * float(sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in known if stats))
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    asked = int(os.environ.get("SLURM_MEM_PER_NODE") or 0) * 2**20
    return SHARE * (min(machine, asked) if asked else machine)


def peak(jaxpr: Jaxpr) -> int:
    """The most that is alive at once, beside the arguments, where the equations run in their order."""
    source = _sources(jaxpr)
    reads = [
        {source[x] for x in read if isinstance(x, Var) and x in source}
        for read in [*(equation.invars for equation in jaxpr.eqns), jaxpr.outvars]
    ]
    last = {x: n for n, read in enumerate(reads) for x in read}
    alive = most = 0
    for n, equation in enumerate(jaxpr.eqns):
        made = [x for x in equation.outvars if source.get(x) is x]
        alive += sum(size(x.aval) for x in made)
        most = max(most, alive + max(map(peak, _inner(equation.params)), default=0))
        dead = [x for x in reads[n] if last[x] == n] + [x for x in made if x not in last]
        alive -= sum(size(x.aval) for x in dead)
    return most


def _sources(jaxpr: Jaxpr) -> dict[Var, Var]:
    """What each value is kept as: itself, or the one that it is computed from again; none of what arguments give."""
    source: dict[Var, Var] = {}
    for equation in jaxpr.eqns:
        read = {source[x] for x in equation.invars if isinstance(x, Var) and x in source}
        if equation.primitive.name not in CHEAP or len(read) > 1:
            source |= {x: x for x in equation.outvars}
        elif read:
            source |= dict.fromkeys(equation.outvars, read.pop())
    return source


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs inside an equation: a loop's body, a branch."""
    for value in params.values():
        for x in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(x, ClosedJaxpr):
                yield x.jaxpr
            elif isinstance(x, Jaxpr):
                yield x


def size(x: Any) -> int:
    """Bytes of an array or of what stands for one; a key is two words."""
    wide = 8 if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else np.dtype(x.dtype).itemsize
    return int(np.prod(x.shape)) * wide
