"""The float types that a network may compute in."""

from typing import Any

import jax
import jax.numpy as jnp

PRECISIONS = ("float32", "bfloat16", "float64")


def float_type(network: str, name: str, choices: tuple[str, ...] = PRECISIONS) -> Any:
    """The jax type of a precision's name; float64 is refused where JAX would silently make it float32."""
    if name not in choices:
        raise ValueError(f"{network}: precision must be one of {', '.join(choices)}, but is {name!r}")
    if name == "float64" and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(f"{network}: precision float64 needs jax_enable_x64, but it is off")
    return jnp.dtype(name)
