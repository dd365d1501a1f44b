import jax
import pytest


@pytest.fixture(autouse=True)
def strict_types():
    """Worlds never mix float types by accident (optax does, so this holds here only)."""
    with jax.numpy_dtype_promotion("strict"):
        yield
