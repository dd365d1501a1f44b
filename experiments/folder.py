"""The run folder: what a run leaves behind, whole or not at all."""

import fcntl
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import hosts, shares, style
from experiments.cell import Cell, Refused, digest, identity
from experiments.figures import waterfall
from experiments.fit import save, write


def finished(place: Path, cell: Cell) -> dict[str, Any] | None:
    """The ledger of a finished run of this very config, or None."""
    path = place / "ledger.json"
    if not path.exists():
        return None
    try:
        ledger = json.loads(path.read_text())
        found = ledger["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"run folder: {path} must be a ledger, but cannot be read; force=true writes it anew") from error
    if found != identity(cell.config):
        raise Refused(
            f"run folder: {place} must belong to this config ({identity(cell.config)}), but holds a finished run of "
            f"another ({found}); choose another hydra.run.dir, or force=true to replace it"
        )
    return ledger


@contextmanager
def held(place: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keeps other processes out of a run folder, here or on another machine that sees it; waits while one is in it.

    The lock is the kernel's, so that it ends with its process, however that ends; the file only says who holds it.
    Which network file systems pass it on to other machines is told in docs/cluster.md.
    """
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            say(f"{place} is being worked on by {lock.read().strip() or 'another process'}; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise Refused(
                f"run folder: {place} must be on a file system with locks, which keep other processes out, but flock "
                f"says: {error.strerror}; docs/cluster.md names how to mount one"
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}\n")
        lock.flush()
        yield


@contextmanager
def mine(place: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """The folder this process works in: the run folder, held; or, of several, a copy of it that is thrown away."""
    if not hosts.first():
        hosts.meet("the run folder is held")
        with tempfile.TemporaryDirectory() as own:
            copy = Path(own) / place.name
            shutil.copytree(place, copy, ignore=shutil.ignore_patterns(".lock", "*.part"))
            hosts.meet("it is copied")
            yield copy
        return
    with held(place, say):
        if jax.process_count() > 1:
            hosts.meet("the run folder is held")
            hosts.meet("it is copied")
        yield place


def work_of(place: Path, cell: Cell) -> Path:
    """Where the unfinished work of this very config is kept."""
    return place / f"work-{identity(cell.config)}"


@contextmanager
def claimed(place: Path, cell: Cell) -> Iterator[Path]:
    """The folder of the unfinished work of this very config, with its checkpoints; gone when the run is finished.

    With `force` it begins anew, and so it does where a finished run left it (killed after its last file).
    """
    work = work_of(place, cell)
    if work.exists() and (cell.config["force"] or (place / "ledger.json").exists()):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    yield work
    shutil.rmtree(work)


def write_all(place: Path, ledger: dict[str, Any], params: Any, curves: dict[str, np.ndarray], seconds: float) -> None:
    """Writes every file of a finished run; ledger.json comes last, and makes it finished."""
    save(place / "weights.npz", params)
    _arrays(place / "curves.npz", curves)
    style.save(waterfall(ledger), place / "waterfall")
    if ledger.get("ladder"):
        style.save(shares.figure(ledger), place / "ladder")
    write(place / "provenance.json", _json(provenance(ledger, seconds)))
    write(place / "ledger.json", _json(ledger))


def _arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write(path, buffer.getvalue())


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def provenance(ledger: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What made the run: code, versions, device, seeds, time."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "hydra-core", "noumena")
    return {
        "config_hash": ledger["identity"],
        "git": _git(),
        "lock": digest(_lock()),
        "versions": {p: metadata.version(p) for p in packages} | {"python": platform.python_version()},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "seeds": ledger["seeds"],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "wall_seconds": round(seconds, 1),
        "peak_memory_bytes": _peak(),
    }


def _git() -> dict[str, Any]:
    root = Path(__file__).parent.parent

    def ask(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    status = ask("status", "--porcelain", "--untracked-files=no")
    return {"commit": ask("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _lock() -> str:
    lock = Path(__file__).parent.parent / "requirements.lock"
    return lock.read_text() if lock.exists() else ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
