"""Where the time of a training step goes, and what each way of saving some of it gives, on every core at once.

Products and attention, forward and backward, are timed at the shapes and in the micro-batches of a step of each size
of trainings.py, beside the gradient of a whole step: their shares of it say what is left to norms, activations, adding
up and the exact excess. Each saving stands beside what it replaces: micro-batches beside the whole batch at once,
`models.products` beside `x @ w`, causal blocks of `models.attention` beside one masked square.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data, reach
from experiments.alchemy import Shape, numbers
from experiments.backend import spread
from experiments.bench.cases import CALLS
from experiments.bench.found import Found, beside, seconds
from experiments.bench.trainings import REALS, SIZES, Size
from models.attention import attend
from models.base import pure
from models.products import product
from worlds import hmm
from worlds.base import cast


@dataclass(frozen=True)
class Parts:
    """The parts of a step of one size."""

    name: str
    size: Size

    def measured(self, rounds: int) -> list[Found]:
        """Seconds of each part in turns; savings as ratios of speed, shares as ratios of time."""
        size, together = self.size, self.size.micro or self.size.batch
        made = {
            "step": _step(size),
            "products": _products(size, product),
            "attention": _attention(size, None),
            "x @ w": _products(size, lambda x, w: x @ w),
            "one masked square": _attention(size, size.length),
        }
        if size.micro:
            made["the whole batch at once"] = _step(replace(size, micro=0))
        for call in made.values():
            seconds(call)
        times = {k: np.array(x) for k, x in zip(made, _turns(list(made.values()), rounds), strict=True)}
        speed = {k: 1 / x for k, x in times.items()}
        pairs = [("products", "x @ w"), ("attention", "one masked square"), ("step", "the whole batch at once")]
        labels = {"step": f"micro-batches of {together}", "attention": "attention in causal blocks"}
        found = [
            beside(f"{self.name}, {labels.get(a, a)}", b, speed[a], speed[b], unit="a second")
            for a, b in pairs
            if b in speed
        ]
        for part in ("products", "attention"):
            found.append(
                beside(f"{self.name}, time of {part}", "a step's gradient", times[part], times["step"], unit="s")
            )
        return found


def group(cfg: Any) -> Iterator[Parts]:
    """The parts of each size."""
    for name in cfg.sizes:
        yield Parts(f"a step at {name}", SIZES[name])


def _turns(calls: list[Callable[[], Any]], rounds: int) -> list[tuple[float, ...]]:
    return list(zip(*([seconds(call, CALLS)[0] for call in calls] for _ in range(rounds)), strict=True))


def _rows(size: Size, *features: int) -> jax.Array:
    """A batch of numbers in micro-batches: [part, sequence, time, ...]."""
    together = size.micro or size.batch
    return jax.random.normal(jax.random.key(0), (size.batch // together, together, size.length, *features), jnp.float32)


def _added(part: Callable[..., Any], rows: jax.Array, *fixed: Any) -> Callable[[], Any]:
    """The sum of part(rows of a micro-batch, *fixed) over all of them, as one program."""

    def whole(rows, *fixed):
        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, rows[0], *fixed))
        return jax.lax.scan(lambda sums, x: (jax.tree.map(jnp.add, sums, part(x, *fixed)), None), zero, rows)[0]

    return _everywhere(whole, rows, *fixed)


def _everywhere(function: Callable[..., Any], *given: Any) -> Callable[[], Any]:
    """The same on each device, as members of a population train: one alone would borrow the other's core."""
    run = jax.jit(spread(lambda given, _: function(*given)))
    return functools.partial(run, given, jnp.arange(jax.local_device_count()))


def _products(size: Size, multiply: Callable[[Any, Any], jax.Array]) -> Callable[[], Any]:
    """The four products of each layer, with the gradients of what they read and of their matrices."""
    w = size.width
    matrices = [jax.random.normal(jax.random.key(n), (a, b)) for n, (a, b) in enumerate(_sides(w))]
    matrices = [jnp.asarray(m, jnp.float32) for m in matrices]

    def part(x, matrices):
        grads, rest = [], jnp.zeros((), jnp.float32)
        for _ in range(size.layers):
            for m in matrices:
                y, back = jax.vjp(multiply, x[..., : len(m)], m)
                of_x, of_m = back(x[..., : m.shape[1]])  # not y, from which XLA would need one product less
                grads.append(of_m)
                rest += y.mean() + of_x.mean()
                x = x + rest  # so that layers are not one
        return grads, rest

    return _added(part, _rows(size, 4 * w), matrices)


def _sides(w: int) -> tuple[tuple[int, int], ...]:
    return (w, 3 * w), (w, w), (w, 4 * w), (4 * w, w)


def _attention(size: Size, block: int | None) -> Callable[[], Any]:
    """Causal attention of each layer, with the gradients of queries, keys and values."""
    where = jnp.arange(size.length, dtype=jnp.float32)

    def one(q, k, v):
        return attend(q, k, v, None, where[:, None], where, block)

    def part(x):
        for _ in range(size.layers):
            y, back = jax.vjp(jax.vmap(one), *jnp.moveaxis(x, 2, 0))
            x = x + jnp.stack(back(y), 2)
        return x.mean()

    return _added(part, _rows(size, 3, size.heads, size.width // size.heads))


def _step(size: Size) -> Callable[[], Any]:
    """The gradient of a whole step, on a batch that is there."""
    network, n = pure(size.spec), numbers(REALS)
    shape = Shape(batch=size.batch, length=size.length, micro=size.micro)
    world = cast(hmm.random_hmm(16, size.vocab, 0.3, 0), jnp.float32)
    none, step = jnp.zeros((0, size.length), jnp.int32), jnp.zeros((), jnp.int32)
    drawn = jax.jit(lambda key: data.batch(shape, world, n, key, step, none, step[None][:0]))(jax.random.key(0))
    params = jax.jit(network.init)(jax.random.key(0))

    def gradient(params, drawn):
        return reach.gradient(network, shape, n, params, drawn, jax.random.key(1), step)[0]

    return _everywhere(gradient, params, drawn)
