"""What must be settled before JAX wakes: float type, devices, the compilation cache; and how members are mapped.

Measured on two cores (thousand tokens a second, small transformer): members one after another on a device a core beat
`vmap` over members by 1.4 to 1.9 times except where one member is far too small; on a GPU these models leave the device
idle, and `vmap` over many members is what fills it. So the backend decides.
"""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Int

from experiments import hosts


def prepare() -> None:
    """Laws in float64, a single-threaded device for each CPU core, programs cached on disk. Call before any array."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    jax.config.update("jax_enable_x64", True)
    if not os.environ.get("JAX_NUM_CPU_DEVICES"):
        asked = int(os.environ.get("SLURM_CPUS_PER_TASK") or 2**16)  # not every cluster binds a job to its cores
        jax.config.update("jax_num_cpu_devices", min(asked, len(os.sched_getaffinity(0))))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "noumena" / "xla"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    hosts.joined()


def spread(function: Callable[..., Any], *, over: str = "member", grid: Mesh | None = None) -> Callable[..., Any]:
    """Maps function(shared, item) over the leading axis of items, shared between the devices of this process.

    On CPUs the items of one device run one after another (`lax.map`), on other backends at once (`vmap`).
    The number of items must be a multiple of the number of devices: see `padded`.

    Args:
      function: (shared, item) -> result, for one item; pure.
      over: the name of the mapped axis, for error messages and profiles.
      grid: devices of all processes, `hosts.mesh`, where they work together.
    """
    devices = jax.local_devices()
    mesh = grid or jax.make_mesh((len(devices),), (over,), (jax.sharding.AxisType.Auto,), devices=devices)

    def many(shared: Any, items: Any) -> Any:
        return mapped(lambda item: function(shared, item), items)

    split, whole = PartitionSpec(over), PartitionSpec()
    return jax.shard_map(many, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False)


def mapped(function: Callable[[Any], Any], items: Any) -> Any:
    """function(item) for each of the leading axis, within a device: one after another on a CPU, elsewhere at once."""
    return jax.lax.map(function, items) if jax.default_backend() == "cpu" else jax.vmap(function)(items)


def padded(items: Any) -> tuple[Any, int]:
    """Repeats the last items until their number is a multiple of the devices; returns (items, the true number)."""
    count = len(jax.tree.leaves(items)[0])
    places = -(-count // jax.local_device_count()) * jax.local_device_count()
    index = np.minimum(np.arange(places), count - 1)
    return (items if places == count else jax.tree.map(lambda x: jnp.asarray(x)[index], items)), count


def dealt(
    work: Int[np.ndarray, "item"], devices: int | None = None
) -> tuple[Int[np.ndarray, "place"], Int[np.ndarray, "item"]]:
    """Shares out items of unequal work between the devices: (item at each place, place of each item).

    The longest first, to one device after another; the last is repeated until their number is a multiple of the
    devices. Items of equal work stay in their order.
    """
    count, devices = len(work), jax.local_device_count() if devices is None else devices
    places = -(-count // devices) * devices
    ranked = np.argsort(-np.asarray(work), kind="stable")[np.minimum(np.arange(places), count - 1)]
    place = ranked if len(set(np.asarray(work).tolist())) == 1 else ranked.reshape(-1, devices).T.ravel()
    return place, np.array([np.flatnonzero(place == item)[0] for item in range(count)])


MAPPED = 30_000  # of the 65,530 regions of memory that Linux lets a process map; every compiled program takes some


def make_room() -> None:
    """Forgets compiled programs before there is no room for more, which would kill a long multirun.

    Those that took half a second to compile are on disk, and found again.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPPED:
        jax.clear_caches()
        gc.collect()
