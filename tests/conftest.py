"""Strict everywhere: float64 for laws, and ranks that never broadcast by accident. Compilation is what tests cost."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

# Before jax wakes. Programs here are tiny and run a few times: compiling them hard costs more than it saves.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
if "NOUMENA_TEST_CACHE" not in os.environ:  # one for all workers, which inherit it
    os.environ["NOUMENA_TEST_CACHE"] = tempfile.mkdtemp(prefix="noumena-xla-")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", os.environ["NOUMENA_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.03)

MAPPED = 30_000  # of the 65,530 regions of memory that Linux lets a process map; every program takes some


def pytest_unconfigure(config):
    """The one that the workers answer to removes what they shared."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["NOUMENA_TEST_CACHE"], ignore_errors=True)


def pytest_configure(config):
    """OmegaConf's DictConfig derives from typing.MutableMapping, of which the run-time type checker warns."""
    config.addinivalue_line("filterwarnings", "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning")


@pytest.fixture(autouse=True)
def strict_ranks():
    """Our own arithmetic never broadcasts ranks by accident."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def room_for_programs(request):
    """Forgets compiled programs before the process runs out of regions to map them to, which would kill it."""
    yield
    tests = request.session.config.stash.setdefault(COUNT, [0])
    tests[0] += 1
    maps = Path("/proc/self/maps")
    if tests[0] % 20 == 0 and maps.exists() and len(maps.read_bytes().splitlines()) > MAPPED:
        jax.clear_caches()
        gc.collect()


COUNT = pytest.StashKey[list]()
