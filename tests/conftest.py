"""Strict everywhere: float64 for laws, and ranks that never broadcast by accident."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", None)


def pytest_configure(config):
    """OmegaConf's DictConfig derives from typing.MutableMapping, of which the run-time type checker warns."""
    config.addinivalue_line("filterwarnings", "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning")


@pytest.fixture(autouse=True)
def strict_ranks():
    """Our own arithmetic never broadcasts ranks by accident."""
    with jax.numpy_rank_promotion("raise"):
        yield
