"""Strict everywhere: float64 for laws, and ranks that never broadcast by accident."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(autouse=True)
def strict_ranks():
    """Our own arithmetic never broadcasts ranks by accident."""
    with jax.numpy_rank_promotion("raise"):
        yield
