"""Optimisers, schedules and averages of weights, built inside the traced function from traced reals.

Every member is the same chain: clip, precondition, decay, schedule, rate. Shampoo and SOAP are not in optax 0.2.8, and
are left out; Muon is Shampoo without accumulation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.alchemy import SCHEDULES, Numbers, Shape


def optimiser(shape: Shape, n: Numbers) -> optax.GradientTransformation:
    """The chain of one training."""
    decay = optax.add_decayed_weights(n.decay)
    precondition = PRECONDITIONERS[shape.optimiser](n)
    middle = (decay, precondition) if shape.optimiser == "adam" else (precondition, decay)  # L2, or decoupled
    return optax.chain(
        optax.clip_by_global_norm(n.clip),
        *middle,
        optax.scale_by_schedule(lambda count: factor(n, jnp.asarray(count))),
        optax.scale(-n.rate),
    )


def factor(n: Numbers, count: Int[Array, ""]) -> Float[Array, ""]:
    """The rate of step `count` (from 0) as a share of its peak."""
    at = count.astype(jnp.float32)
    warm = jnp.maximum(1.0, n.warmup * n.steps)
    done = jnp.clip((at - warm) / jnp.maximum(1.0, n.steps - warm), 0, 1)
    level = jnp.maximum(warm, (1 - n.cooldown) * n.steps)
    falls = {
        "constant": jnp.ones(()),
        "cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)),
        "linear": 1 - done,
        "wsd": 1 - jnp.clip((at - level) / jnp.maximum(1.0, n.steps - level), 0, 1),  # Hu et al. 2024, arXiv:2404.06395
    }
    fall = jnp.stack([falls[name].astype(jnp.float32) for name in SCHEDULES])[n.schedule]
    return jnp.minimum(1.0, (at + 1) / warm) * (n.final + (1 - n.final) * fall)


def muon(n: Numbers) -> optax.GradientTransformation:
    """Muon (Jordan 2024) for matrices, Adam for the rest; one rate serves both, because matrices' updates are scaled to
    Adam's usual size, 0.2 sqrt(max(rows, columns)) (Liu et al. 2025, arXiv:2502.16982).
    """
    coefficients: Any = tuple(np.float32(x) for x in (3.4445, -4.7750, 2.0315))  # optax's, kept from becoming float64
    whole = lambda updates: jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), updates)  # noqa: E731
    orthogonal = optax.contrib.scale_by_muon(coefficients, beta=n.momentum, weight_dimension_numbers=whole)
    matrices = optax.chain(orthogonal, optax.stateless(_usual_size))
    rest = optax.scale_by_adam(b1=n.momentum, b2=n.beta2)
    return optax.partition(
        {"matrix": matrices, "rest": rest},
        lambda params: jax.tree.map(lambda x: "matrix" if x.ndim == 2 else "rest", params),
    )


def _usual_size(updates: Any, params: Any) -> Any:
    del params
    return jax.tree.map(lambda x: x * (0.2 * max(x.shape) ** 0.5), updates)


def adafactor(n: Numbers) -> optax.GradientTransformation:
    """Adafactor (Shazeer & Stern 2018, arXiv:1804.04235): every matrix factored, updates clipped to size 1 and scaled
    by the size of their weights, so that the rate is relative; it has no momentum.
    """
    del n
    return optax.chain(
        optax.scale_by_factored_rms(min_dim_size_to_factor=2),
        optax.clip_by_block_rms(1.0),
        optax.scale_by_param_block_rms(),
    )


PRECONDITIONERS: dict[str, Callable[[Numbers], optax.GradientTransformation]] = {
    "adafactor": adafactor,
    "adam": lambda n: optax.scale_by_adam(b1=n.momentum, b2=n.beta2),
    "adamw": lambda n: optax.scale_by_adam(b1=n.momentum, b2=n.beta2),
    "lion": lambda n: optax.scale_by_lion(b1=n.momentum, b2=n.beta2),
    "momentum": lambda n: optax.trace(decay=n.momentum),
    "muon": muon,
    "sgd": lambda n: optax.identity(),
}


def averaged(shape: Shape, n: Numbers, step: Int[Array, ""], average: Any, params: Any) -> Any:
    """The average after step `step` (from 1): it moves towards the weights by their share in it.

    "ema": (1 - d) / (1 - d^step), the exponential mean without the initial weights in it. "tail": 1 / (steps so far of
    the last ones), and all of it before they begin, so that there is an average at any moment.
    """
    taken = step.astype(jnp.float32)
    if shape.average == "ema":
        share = (1 - n.ema) / -jnp.expm1(taken * jnp.log(n.ema))
    else:
        share = 1 / jnp.maximum(1.0, taken - jnp.floor((1 - n.tail) * n.steps))
    return jax.tree.map(lambda mean, x: (mean + share * (x - mean)).astype(x.dtype), average, params)
