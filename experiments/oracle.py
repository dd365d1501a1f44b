"""Oracle fits: weights sought with every privilege, so that they bound the architecture's best, I, from above.

Where prefixes are few: L-BFGS on the exact population loss (every prefix with its probability, the world's law as
labels, float64). Nothing is sampled, so restarts differ by optimisation alone. All of them, the best trained members
and fresh weights, take a first stretch; the best goes on. Elsewhere: endless fresh data with soft labels, from the best
members. "Best of n" is a witness, never the infimum; best, median and worst are reported. Excesses are nats per token.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from experiments import fit
from experiments import measure as measuring
from experiments.backend import spread
from experiments.cell import Cell
from experiments.ledger import Rungs, plain
from experiments.reach import Curve, Reals, Shape, kl, numbers
from experiments.screen import Screen
from experiments.streams import members, stream
from models.base import pure
from worlds.base import LIMIT, functional

POPULATION = 32_768  # tokens of all prefixes: above, a step over all of them costs more than many endless steps
MICRO = 64  # sequences whose gradient is computed at once: their activations stay in a core's cache (2.5 times faster)
STEP = 16_384  # tokens that one of `oracle.steps` stands for: fewer prefixes get more iterations,
MORE = 8  # but at most so many times more
STRETCH = 8  # the first stretch of every restart is this part of the iterations
REACH = 4.0  # the furthest that a weight moves in one stretch
MEMORY = 20  # pairs that L-BFGS remembers


class Population(NamedTuple):
    """All sequences of a functional, divided [device, part, MICRO]; those that fill up have weight 0."""

    tokens: Int[Array, "device part sequence time"]
    truth: Float[Array, "device part sequence time vocab"]
    weight: Float[Array, "device part sequence time"]


def exact(cell: Cell) -> bool:
    """Whether the population loss is affordable: then it is what the fits minimise."""
    count = cell.world.vocab_size ** (cell.shape.length - 1)
    return count <= LIMIT and count * cell.shape.length <= POPULATION


def fits(cell: Cell, params: Any, curve: Curve, work: Path, screen: Screen) -> tuple[Any, Curve] | None:
    """Weights stacked by restart, and their curves; None if the config asks for no restarts.

    Args:
      cell: what is measured.
      params: the trained members, stacked.
      curve: of their training.
      work: where finished restarts are kept, so that a run that was stopped goes on.
      screen: for progress.
    """
    if not cell.config["oracle"]["restarts"]:
        return None
    last = np.asarray(curve.excess[:, -min(50, curve.excess.shape[1]) :].mean(axis=1))
    order = np.argsort(np.nan_to_num(last, nan=np.inf))
    return (_population if exact(cell) else _endless)(cell, params, order, work, screen)


def summary(cell: Cell, rungs: Rungs) -> dict[str, Any]:
    """What the fits reached at a length, for the ledger: the spread over restarts says how far optimisation is open."""
    found = sorted(m.mean().value for name, m in rungs.witnesses.items() if name.startswith("oracle "))
    named = "exact population loss, L-BFGS" if exact(cell) else "endless soft labels"
    if not found:
        return {"method": "none", "best": None, "median": None, "worst": None, "restarts": 0}
    values = {"best": found[0], "median": float(np.median(found)), "worst": found[-1]}
    return {"method": named, **{k: plain(v) for k, v in values.items()}, "restarts": len(found)}


def _endless(cell: Cell, params: Any, order: np.ndarray, work: Path, screen: Screen) -> tuple[Any, Curve]:
    """Training from the best members on endless data, the world's law as labels, whatever the cell's own is like."""
    asked, own = cell.config["oracle"], cell.shape
    shape = Shape(batch=own.batch, length=own.length, chunk=own.chunk, micro=own.micro)
    reals = Reals(steps=asked["steps"], rate=asked["rate"], softness=1.0)
    best = np.resize(order, asked["restarts"])
    with screen.task(f"oracle fits, {len(best)} restarts", asked["steps"]) as report:
        keys = members(stream(cell.config["seed"], "oracle"), 0, len(best))
        return fit.fit(
            cell.spec,
            shape,
            cell.world,
            numbers(reals),
            asked["steps"],
            keys,
            keys,
            start=jax.tree.map(lambda x: x[best], params),
            checkpoint=work / "oracle.npz",
            report=lambda steps, loss, excess: report(steps, f"loss {loss:.4f}, excess over the floor {excess:.4f}"),
        )


def _population(cell: Cell, params: Any, order: np.ndarray, work: Path, screen: Screen) -> tuple[Any, Curve]:
    """A first stretch from every start, then the best goes on to the end."""
    count = cell.config["oracle"]["restarts"]
    over = functional(cell.world, cell.shape.length, stream(cell.config["seed"], "oracle"), 2)
    truth = measuring.law(cell.world, over.tokens)
    floor = measuring.floor(over, truth)[0].value
    objective = _objective(fine(cell.spec), divided(over, truth))
    steps = cell.config["oracle"]["steps"] * min(MORE, max(1, STEP // over.tokens.size))
    begun, first = starts(cell, params, order, count), max(1, steps // STRETCH)
    excess, found = np.full((count, steps), np.nan), []
    with screen.task(f"oracle fits on the exact loss, {count} restarts", count * first + steps - first) as report:

        def told(done: int) -> Callable[[int, float], None]:
            return lambda step, value: report(done + step, f"excess over the floor {value:.2e}")

        for n, start in enumerate(begun):
            at = work / f"oracle-{n}.npz"
            found.append(_descended(objective, start, excess[n, :first], at, told(n * first)))
        best = int(np.nanargmin([np.nanmin(row) for row in excess]))
        for n, stretch in enumerate(np.split(excess[best], range(first, steps, first))[1:], count):
            found[best] = _descended(objective, found[best], stretch, work / f"oracle-{n}.npz", told(n * first))
    like = jax.eval_shape(pure(cell.spec).init, jax.random.key(0))
    whole = [jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), weights, like) for weights in found]
    return jax.tree.map(lambda *x: jnp.stack(x), *whole), Curve(jnp.asarray(excess + floor), jnp.asarray(excess))


def fine(spec: Any) -> Any:
    """The same architecture in float64, where it has a precision: what is sought are weights, not rounding."""
    named = dataclasses.is_dataclass(spec) and any(f.name == "precision" for f in dataclasses.fields(spec))
    return dataclasses.replace(spec, precision="float64") if named else spec  # type: ignore[type-var]


def starts(cell: Cell, params: Any, order: np.ndarray, count: int) -> list[Any]:
    """The best members first (half of the restarts), the rest fresh: a fit is no better than its start allows."""
    whole = [n for n in order if all(np.isfinite(np.asarray(x)[n]).all() for x in jax.tree.leaves(params))]
    trained = whole[: (count + 1) // 2]
    keys = members(stream(cell.config["seed"], "oracle"), 0, count)
    fresh = [jax.jit(pure(cell.spec).init)(keys[n]) for n in range(count - len(trained))]
    return [jax.tree.map(lambda x, n=n: x[n], params) for n in trained] + fresh


def divided(over: Any, truth: Float[np.ndarray, "sequence time vocab"]) -> Population:
    """The functional's sequences by device and part, in float64."""
    weight = np.asarray(over.weight, np.float64)[:, None] * np.asarray(over.position, np.float64)
    devices = jax.local_device_count()
    parts = -(-len(weight) // (MICRO * devices))
    room = devices * parts * MICRO
    index = np.arange(room) % len(weight)
    filled = np.where(np.arange(room)[:, None] < len(weight), weight[index], 0.0)
    arrays = np.asarray(over.tokens)[index], np.asarray(truth)[index], filled
    return Population(*(jnp.asarray(x.reshape(devices, parts, MICRO, *x.shape[1:])) for x in arrays))


def _objective(spec: Any, population: Population) -> Callable[[Any], tuple[Array, Any]]:
    """From params to (excess over the floor, gradient), over the whole population."""
    return lambda params: _slope(spec, params, population)


@partial(jax.jit, static_argnums=0)
def _slope(spec, params, population):
    network = pure(spec)

    def part(params, x):
        said = jax.vmap(network.apply, (None, 0))(params, x.tokens)
        lost = kl(x.truth, jax.nn.log_softmax(said.astype(jnp.float64)))
        return jnp.where(x.weight > 0, x.weight * lost, 0.0).sum()

    def share(params, parts):
        def add(total, x):
            return jax.tree.map(jnp.add, total, jax.value_and_grad(part)(params, x)), None

        zero = jnp.zeros((), jnp.float64), jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(add, zero, parts)[0]

    shares = spread(share, over="sequence")(params, population)
    return jax.tree.map(lambda x: x.sum(0), shares)


def _descended(
    objective: Callable[[Any], tuple[Array, Any]],
    start: Any,
    curve: Float[np.ndarray, "step"],
    kept: Path,
    report: Callable[[int, float], None],
) -> Any:
    """L-BFGS from `start` for as many iterations as `curve` has room for, which is filled; kept in a file when done.

    No weight moves further than REACH from the start: too long a step saturates a softmax, and its gradient vanishes.
    """
    wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), start)
    if kept.exists():
        wide, filled = fit.load(kept, (wide, jnp.asarray(curve)))
        curve[:] = filled
        return wide
    flat, whole = ravel_pytree(wide)
    at, taken = np.asarray(flat), 0

    def host(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = objective(whole(jnp.asarray(x)))
        return float(value), np.asarray(ravel_pytree(slope)[0], np.float64)

    def seen(intermediate_result: Any) -> None:
        nonlocal taken
        curve[taken] = intermediate_result.fun
        taken += 1
        report(taken, intermediate_result.fun)

    options = {"maxiter": len(curve), "maxfun": 4 * len(curve), "maxcor": MEMORY, "ftol": 1e-13, "gtol": 1e-10}
    box = np.stack([at - REACH, at + REACH], axis=1)
    found = scipy.optimize.minimize(host, at, jac=True, method="L-BFGS-B", bounds=box, callback=seen, options=options)
    curve[taken:] = found.fun  # it stopped where nothing more is gained
    fit.save(kept, (whole(jnp.asarray(found.x)), jnp.asarray(curve)))
    return whole(jnp.asarray(found.x))
