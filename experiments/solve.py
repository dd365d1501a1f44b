"""The difficulty solver: which parameter gives a world the entropy rate that is asked for.

`world.target_entropy=0.7 world.solve_for=rate` in a command replaces the world's `rate` by the value at which the
entropy rate is 0.7 nats per token, or says that none does. The name may be that of a nested number (`kernel.rate`); it
must lead to one number of the world's config, whose present value is where the search begins. Where the entropy rate is
not known well enough, the target is the floor at a length, the mean of h_1 ... h_T: exact, as long as the prefixes can
be enumerated. The answer says by its name which of the two it is.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.optimize
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from jaxtyping import Array, Float

from worlds.base import LIMIT, HasEntropyRate, World, entropy, prefixes
from worlds.quantity import Quantity

NARROW = 1e-6  # nats: an entropy rate known less well than this cannot be aimed at
GRID = np.unique(np.concatenate([np.linspace(0, 1, 17)[1:-1], np.geomspace(1e-3, 1e3, 13), [0.01, 0.495, 0.505, 0.99]]))


def solved(node: dict[str, Any], length: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The world's config without the solver's two keys, its number replaced; and what was solved, if anything was.

    Args:
      node: the plain config of a world; `target_entropy` in nats per token and `solve_for`, a name, come together.
      length: T of the floor that is aimed at where the entropy rate is not known, tokens; None: refuse such worlds.
    """
    world = {k: v for k, v in node.items() if k not in ("target_entropy", "solve_for")}
    target, name = node.get("target_entropy"), node.get("solve_for")
    if target is None and name is None:
        return world, {}
    if target is None or name is None:
        raise ValueError(f"solve: target_entropy and solve_for must be given together, but are {target} and {name}")
    place = _place(world, str(name))
    start = float(_get(world, place))
    rated = _has_rate(world)
    measure = _rate if rated else functools.partial(_floor, length=length)
    value, reached = solve(lambda x: _accepted(measure, _with(world, place, x)), float(target), start)
    zero = {"entropy_rate": reached} if rated else {"floor": reached, "length": length}
    return _with(world, place, value), {".".join(place): value, "target_entropy": float(target)} | zero


def solve(rate: Callable[[float], float | None], target: float, start: float) -> tuple[float, float]:
    """The root of rate(x) = target that is nearest to `start`, and the rate there.

    A grid over (0, 1) and decades around it, and `start`, is tried for two neighbours on either side of the target,
    which are then narrowed (Brent). `rate` gives None where the world refuses the number; roots beyond or between the
    grid's points without a change of sign are not found.
    """
    tried = sorted({*GRID.tolist(), start})
    found = [(x, h) for x in tried if (h := rate(x)) is not None]
    if not found:
        raise ValueError("solve: the world must accept some number, but refuses all that were tried")
    ends = [(a, b) for (a, ha), (b, hb) in zip(found, found[1:], strict=False) if (ha - target) * (hb - target) <= 0]
    if not ends:
        low, high = min(h for _, h in found), max(h for _, h in found)
        raise ValueError(
            f"solve: the target must be an entropy that some value gives, but {target} lies outside "
            f"[{low:.6g}, {high:.6g}], those of the values tried from {found[0][0]:.3g} to {found[-1][0]:.3g}"
        )
    nearest = min(ends, key=lambda pair: max(pair[0] - start, start - pair[1], 0))
    value = scipy.optimize.brentq(lambda x: _known(rate(x)) - target, *nearest, xtol=1e-13)
    return float(value), _known(rate(float(value)))  # type: ignore[arg-type]


def _known(rate: float | None) -> float:
    if rate is None:
        raise ValueError("solve: the world must accept all numbers between two that it accepts, but refuses some")
    return rate


def _accepted(measure: Callable[[Any], float], node: dict[str, Any]) -> float | None:
    """What is aimed at, of a config's world; None if the world refuses its numbers."""
    try:
        world = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError):
            return None
        raise
    return measure(world)


def _has_rate(node: dict[str, Any]) -> bool:
    """Whether the world, with its present numbers, knows its entropy rate well enough to aim at."""
    world = instantiate(node, _convert_="all")
    return isinstance(world, HasEntropyRate) and width(world.entropy_rate()) <= NARROW


def width(rate: Quantity) -> float:
    """Of the interval; infinite where there is none."""
    return rate.high - rate.low if rate.kind != "undefined" else np.inf


def _rate(world: HasEntropyRate) -> float:
    rate = world.entropy_rate()
    if not width(rate) <= NARROW:
        raise ValueError(
            f"solve: the entropy rate must be known to {NARROW} nats at all numbers that are tried, but one gives "
            f"[{rate.low:.6g}, {rate.high:.6g}]"
        )
    return rate.value


def _floor(world: World, length: int | None) -> float:
    """The mean of h_1 ... h_T by enumeration of all prefixes."""
    if length is None or world.vocab_size ** (length - 1) > LIMIT:
        raise ValueError(
            f"solve: the entropy rate must be known to {NARROW} nats, or the floor be of a length at which at most "
            f"{LIMIT} prefixes are enumerated; but this world knows neither at length {length}"
        )
    h = [np.exp(logs) @ np.asarray(_entropies(world, state)) for _, logs, state in prefixes(world, length - 1)]
    return float(np.mean(h))


@jax.jit
def _entropies(world: World, states: Any) -> Float[Array, "prefix"]:
    return entropy(jax.vmap(world.log_next)(states))


def _place(node: dict[str, Any], name: str) -> tuple[str, ...]:
    """The path of the number that a name leads to: the whole path, or its last part where that is unambiguous."""
    paths = list(_numbers(node, ()))
    fitting = [p for p in paths if ".".join(p) == name] or [p for p in paths if p[-1] == name]
    if len(fitting) != 1:
        known = ", ".join(".".join(p) for p in paths) or "none"
        raise ValueError(f"solve: solve_for must name one real number of the world, of {known}; but is {name!r}")
    return fitting[0]


def _numbers(node: Any, path: tuple[str, ...]) -> Any:
    for key, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, float):  # a whole number is a size
            yield (*path, str(key))
        yield from _numbers(value, (*path, str(key)))


def _get(node: Any, path: tuple[str, ...]) -> Any:
    return _get(node[path[0]], path[1:]) if path else node


def _with(node: Any, path: tuple[str, ...], value: float) -> Any:
    if not path:
        return value
    return {**node, path[0]: _with(node[path[0]], path[1:], value)}
