"""Several processes, on one machine or many, train one cell: each takes its share of every batch, and the first writes.

All of them run the main flow, each on its own devices, and come to the same numbers; together they do one thing, the
gradient of a batch, whose parts are averaged over the processes in each step. Data are drawn whole by every process, so
that a training does not depend on how many there are but for the order of its sums. The first process alone has the run
folder; the others begin with a copy of what lies there, so that all go on from one checkpoint, and nobody keeps theirs.

SLURM tells a step's processes about each other. Elsewhere JAX_NUM_PROCESSES, JAX_PROCESS_ID and JAX_COORDINATOR_ADDRESS
(host:port of the first) do, in the environment of each.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "host"


def joined() -> None:
    """Meets the other processes of this run, if there are any. Call before any array."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        jax.distributed.initialize()
    elif int(os.environ.get("JAX_NUM_PROCESSES") or 1) > 1:
        number, own = (int(os.environ[f"JAX_{name}"]) for name in ("NUM_PROCESSES", "PROCESS_ID"))
        jax.distributed.initialize(num_processes=number, process_id=own)


def first() -> bool:
    """Whether this process is the one that writes, and speaks."""
    return jax.process_index() == 0


def check(batch: int, micro: int) -> None:
    """Refuses a batch that the processes cannot share."""
    hosts = jax.process_count()
    if batch % hosts or (micro and batch // hosts % micro):
        raise ValueError(
            f"reach: each of {hosts} processes must have the same number of a batch's sequences, whole micro-batches, "
            f"but batch is {batch} and micro {micro}"
        )


def meet(where: str) -> None:
    """Waits until all processes are there."""
    multihost_utils.sync_global_devices(where)


def share(batch: Any) -> Any:
    """This process' rows of a batch, in a program of `mesh`."""
    hosts = jax.process_count()
    if hosts == 1:
        return batch
    place = jax.lax.axis_index(AXIS)

    def rows(x):
        return jax.lax.dynamic_slice_in_dim(x, place * (len(x) // hosts), len(x) // hosts)

    return jax.tree.map(rows, batch)


def averaged(means: Any) -> Any:
    """The mean over the processes of what each found on its share."""
    return means if jax.process_count() == 1 else jax.lax.pmean(means, AXIS)


def mesh(over: str) -> Mesh:
    """The devices of all processes, [host, over]."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    grid = np.array(devices).reshape(jax.process_count(), -1)
    return Mesh(grid, (AXIS, over), axis_types=(AxisType.Auto, AxisType.Auto))


def everywhere(tree: Any, over: str | None = None) -> Any:
    """What all processes have, each for itself, as arrays of all of them together, with an axis split over devices."""
    sharding = NamedSharding(mesh(over or "member"), PartitionSpec(over) if over else PartitionSpec())

    def one(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)))
        own = np.asarray(x)
        return jax.make_array_from_callback(own.shape, sharding, lambda index: own[index])

    return jax.tree.map(one, tree)


def here(tree: Any, over: str) -> Any:
    """The other way: what this process' devices hold of arrays of all processes, which is a whole."""
    sharding = NamedSharding(Mesh(mesh(over).local_mesh.devices.ravel(), (over,)), PartitionSpec(over))

    def one(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)))
        whole = np.zeros(x.shape, x.dtype)
        for shard in x.addressable_shards:
            whole[shard.index] = np.asarray(shard.data)
        return jax.device_put(whole, sharding)

    return jax.tree.map(one, tree)
