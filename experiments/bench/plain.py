"""The training loop that a JAX user writes first, in a process of its own: one jitted step, called from a Python loop.

The network is written again from its formulas, over a dictionary of arrays, and says what `models.transformer` says
with the same weights (trainings.py compares them). JAX is as it comes: float32, one device that has all cores. The data
are drawn on the device inside the step, through the world's hidden states.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.bench.rivals import Arrays, Loop, serve


def forward(weights: dict[str, Array], tokens: Int[Array, "time"], heads: int) -> Float[Array, "time vocab"]:
    """Log probabilities of a pre-norm transformer with learned positions."""
    time, width = len(tokens), weights["tokens"].shape[1]
    inputs = jnp.concatenate([jnp.full(1, len(weights["tokens"]) - 1, tokens.dtype), tokens[:-1]])
    x = (weights["tokens"][inputs] + weights["positions"][:time]) * width**0.5
    for n in range(sum(name.endswith("qkv.kernel") for name in weights)):
        qkv = _linear(weights, f"{n}.qkv", _norm(weights, f"{n}.norm0", x))
        x = x + _linear(weights, f"{n}.out", _attention(qkv, heads))
        inner = jax.nn.gelu(_linear(weights, f"{n}.inward", _norm(weights, f"{n}.norm1", x)))
        x = x + _linear(weights, f"{n}.outward", inner)
    return jax.nn.log_softmax(_linear(weights, "readout", _norm(weights, "norm", x)))


def _attention(qkv, heads):
    q, k, v = (x.reshape(len(qkv), heads, -1).transpose(1, 0, 2) for x in jnp.split(qkv, 3, axis=-1))
    scores = q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(jnp.tri(len(qkv), dtype=bool)[None], scores, -jnp.inf))
    return (weights @ v).transpose(1, 0, 2).reshape(len(qkv), -1)


def _norm(weights, name, x):
    return jax.nn.standardize(x, epsilon=1e-6) * weights[f"{name}.scale"] + weights[f"{name}.bias"]


def _linear(weights, name, x):
    return x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]


def _sequence(operators, initial, length, key):
    joint = operators.transpose(1, 0, 2).reshape(len(initial), -1).cumsum(1)

    def step(state, u):
        token, after = jnp.divmod(jnp.searchsorted(joint[state], u * joint[state, -1], side="right"), len(initial))
        return after, token

    first, rest = jax.random.split(key)
    return jax.lax.scan(step, jax.random.choice(first, len(initial), p=initial), jax.random.uniform(rest, (length,)))[1]


def loop(setting: dict[str, Any], arrays: Arrays) -> Loop:
    """What it says with the given weights, and its training from them."""
    weights = {k: jnp.asarray(x) for k, x in arrays.items() if k not in ("probe", "operators", "initial")}
    world = [jnp.asarray(arrays[k], jnp.float32) for k in ("operators", "initial")]
    network = jax.vmap(partial(forward, heads=setting["heads"]), (None, 0))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(setting["rate"], *setting["betas"], weight_decay=0.0))

    @jax.jit
    def step(weights, state, key):
        key, own = jax.random.split(key)
        draw = partial(_sequence, *world, setting["length"])
        tokens = jax.vmap(draw)(jax.random.split(own, setting["batch"]))

        def loss(weights):
            return -jnp.take_along_axis(network(weights, tokens), tokens[..., None], -1).mean()

        value, grads = jax.value_and_grad(loss)(weights)
        updates, state = tx.update(grads, state, weights)
        return optax.apply_updates(weights, updates), state, key, value

    now = weights, tx.init(weights), jax.random.key(setting["seed"])

    def train(steps):
        nonlocal now
        losses = []
        for _ in range(steps):
            *now, value = step(*now)
            losses.append(value)
        return float(jnp.stack(losses).mean())

    return lambda probe: np.asarray(jax.jit(network)(weights, jnp.asarray(probe, jnp.int32))), train


if __name__ == "__main__":
    serve(loop)
