"""The steps of the main flow: each measures one layer of one cell and returns what the next steps need."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments import blind as single
from experiments import fit
from experiments import measure as measuring
from experiments.cell import Cell, digest, law_digest
from experiments.data import dataset
from experiments.factors import Cells
from experiments.ledger import Rungs, instantiated, reached
from experiments.observe.leaky import Informed
from experiments.oracle import fits
from experiments.reach import Curve, numbers
from experiments.screen import Screen
from experiments.store import Store, weights_digest
from experiments.streams import members, stream
from models.base import pure
from models.containment import contained
from models.perception.base import Perceived
from worlds.base import Functional, HasEntropyRate, cast, entropy, estimate, functional
from worlds.quantity import Quantity

CHECKPOINT = "reach.npz"  # of a training, in the folder of the unfinished work
MOMENTS = 8  # of a training at which its excess is measured by position, besides the start


class Floor(NamedTuple):
    """D at one length."""

    functional: Functional
    truth: Float[np.ndarray, "sequence time vocab"]
    loss: Quantity
    curve: Float[np.ndarray, "time"]


class Trained(NamedTuple):
    """Weights, stacked by member, and their curve."""

    params: Any
    curve: Curve


class Weights(NamedTuple):
    """Other weights of the same architecture: what else could witness its best."""

    names: list[str]
    params: list[Any]


def floors(cell: Cell) -> dict[int, Floor]:
    """D at each length."""
    return {length: floor(cell, length) for length in cell.lengths}


def floor(cell: Cell, length: int) -> Floor:
    """D: the functional of a length, the world's law along it, and H_D."""
    key = jax.random.fold_in(stream(cell.config["seed"], "measure"), length)
    sequences = max(32, cell.config["measure"]["tokens"] // length)
    measured = functional(cell.world, length, key, sequences)
    truth = measuring.law(cell.world, measured.tokens)
    loss, curve = measuring.floor(measured, truth)
    return Floor(measured, truth, replace(loss, of=name(cell, length)), curve)


def name(cell: Cell, length: int) -> str:
    """The functional's name: which law, how long, from which start, with which weights."""
    return f"{law_digest(cell.world)} T={length} from the world's start, uniform over positions"


def perceive(cell: Cell, screen: Screen) -> dict[int, Perceived]:
    """P: the best predictor that the concept allows, at each length, without training."""
    found = {}
    with screen.task("perception", len(cell.lengths)) as report:
        for done, length in enumerate(cell.lengths, 1):
            found[length] = _perceived(cell, length)
            report(done, f"{length} tokens")
    return found


_SEEN: dict[str, Perceived] = {}  # by this process: cells of a study differ in their schemes more than in concepts
KEPT = 8


def _perceived(cell: Cell, length: int) -> Perceived:
    """P at one length; found again if a cell before asked for the same."""
    seed, trained = cell.config["seed"], cell.shape.length
    sequences = max(32, cell.config["measure"]["tokens"] // length)
    asked = digest([law_digest(cell.world), cell.config["perception"]["concept"], seed, length, trained, sequences])
    if asked not in _SEEN:
        while len(_SEEN) >= KEPT:
            _SEEN.pop(next(iter(_SEEN)))
        key = jax.random.fold_in(stream(seed, "perceive"), length)
        _SEEN[asked] = cell.concept.perceive(cell.world, length, trained, key, sequences)
    return _SEEN[asked]


def train(cell: Cell, work: Path, screen: Screen, floor: Floor | None = None) -> Trained:
    """R: what training reaches, a member for each seed; on the way its excess by position, over a floor's sequences."""
    with screen.task(f"training {cell.seeds} seeds", cell.reals.steps) as report:
        return Trained(
            *fit.fit(
                cell.spec,
                cell.shape,
                cell.world,
                numbers(cell.reals),
                cell.reals.steps,
                *keys(cell),
                checkpoint=work / CHECKPOINT,
                watch=None if floor is None else watch(cell, floor),
                report=progress(report),
            )
        )


def keys(cell: Cell) -> tuple[Key[Array, "member"], Key[Array, "member"]]:
    """Each seed's key for its initial weights, and for its data."""
    seed, count = cell.config["seed"], cell.seeds
    return members(stream(seed, "initialise"), 0, count), members(stream(seed, "train"), 0, count)


def watch(cell: Cell, floor: Floor) -> fit.Watch:
    """Measures the excess by position at the start, at the end and at moments that crowd towards the start."""
    moments = np.unique(np.geomspace(1, cell.reals.steps, MOMENTS).round().astype(int))

    def by_position(params: Any) -> Float[np.ndarray, "member time"]:
        return np.stack([member.by_position() for member in measuring.weights(cell.spec, params, floor)])

    return fit.Watch([0, *moments.tolist()], by_position)


def diverged(cell: Cell, trained: Trained) -> dict[int, int]:
    """The seeds that left the numbers, and after how many steps."""
    return fit.diverged(trained.params, trained.curve, cell.reals.steps)


def oracle(cell: Cell, trained: Trained, work: Path, screen: Screen) -> Trained | None:
    """Fits that bound I from above: see `experiments.oracle`."""
    found = fits(cell, trained.params, trained.curve, work, screen)
    return None if found is None else Trained(*found)


def progress(report: Callable[[int, str], None]) -> fit.Report:
    """Tells of a training's chunks."""
    return lambda steps, loss, excess: report(steps, f"loss {loss:.4f}, excess over the floor {excess:.4f}")


def witnesses(
    cell: Cell, trained: Trained, oracles: Trained | None, store: Path, ladder: Cells | None = None
) -> dict[int, Weights]:
    """What may witness the architecture's best at each length: constructed, oracle fits, a ladder's best, stored ones.

    Stored weights that this run found itself (it runs again) are left out, so that it ends with the same ledger.
    """
    like = jax.eval_shape(pure(cell.spec).init, jax.random.key(0))
    found = {} if oracles is None else {f"oracle {n}": p for n, p in enumerate(_members(oracles))}
    found |= {} if ladder is None else {ladder.best[0]: ladder.best[1]}
    result = {}
    for length in cell.lengths:
        built = _constructed(cell, length)
        both = found | ({} if built is None else {"constructed": built})
        own = {weights_digest(p) for p in [*_members(trained), *both.values()]}
        both |= {f"stored {k}": v for k, v in store_of(cell, store, length).known(like) if k not in own}
        result[length] = Weights(list(both), list(both.values()))
    return result


def _members(trained: Trained) -> list[Any]:
    return [jax.tree.map(lambda x, n=n: x[n], trained.params) for n in range(len(trained.curve.loss))]


def _constructed(cell: Cell, length: int) -> Any:
    enlightened = getattr(cell.spec, "enlightened", None)
    return enlightened(cell.world, length) if enlightened else None


def store_of(cell: Cell, folder: Path, length: int) -> Store:
    """The witness store of this world, architecture and length."""
    return Store(folder, law_digest(cell.world), cell.spec, length)


def measure(
    cell: Cell,
    floors: dict[int, Floor],
    perceived: dict[int, Perceived],
    trained: Trained,
    witnesses: dict[int, Weights],
    screen: Screen,
) -> dict[int, Rungs]:
    """Every set of weights against the truth, at each length, on the same prefixes."""
    rungs = {}
    with screen.task("measuring", len(floors)) as report:
        for done, (length, floor) in enumerate(floors.items(), 1):
            seeds, others = [], {}
            if defined(cell, length):
                seeds = measuring.weights(cell.spec, trained.params, floor)
                for label, params in zip(witnesses[length].names, witnesses[length].params, strict=True):
                    alone = jax.tree.map(lambda x: x[None], params)  # one program, however many there are
                    (others[label],) = measuring.weights(cell.spec, alone, floor)
            rungs[length] = Rungs(
                name(cell, length),
                floor.loss,
                perceived[length].excess,
                contained(cell.spec, cell.concept),
                seeds,
                others,
            )
            report(done, f"{length} tokens")
    return rungs


def defined(cell: Cell, length: int) -> bool:
    """Whether the position scheme says anything at this length."""
    limit = cell.spec.scheme.limit(cell.shape.length)
    return limit is None or length <= limit


def observe(
    cell: Cell, floors: dict[int, Floor], trained: Trained, rungs: dict[int, Rungs], screen: Screen
) -> dict[str, Any]:
    """O: what each protocol reports of the trained weights."""
    length = cell.shape.length
    floor, predict = floors[length].loss, measuring.network(cell.spec, trained.params)
    truth = reached(rungs[length].members)
    absolute = Quantity(
        floor.value + truth.value, floor.low + truth.low, floor.high + truth.high, truth.kind, truth.count
    )
    key, seen = stream(cell.config["seed"], "observe"), {}
    with screen.task("observing", len(cell.protocols)) as report:
        for done, (label, protocol) in enumerate(cell.protocols.items(), 1):
            told = protocol.informed(own(cell)) if isinstance(protocol, Informed) else protocol
            its = jax.random.fold_in(key, zlib.crc32(label.encode()))  # documents do not depend on what else is asked
            seen[label] = told.observe(predict, cell.world, length, absolute, replace(floor, of=""), its)
            report(done, label)
    return seen


def own(cell: Cell) -> Int[np.ndarray, "member sequence time"]:
    """Each member's own sequences: its pool, or what it was trained on where there is none; drawn as training does."""
    keys = jax.vmap(jax.random.split)(members(stream(cell.config["seed"], "train"), 0, cell.seeds))[:, 0]
    drawn = jax.jit(jax.vmap(partial(dataset, cast(cell.world, jnp.float32), cell.shape)))(keys)
    return np.asarray(drawn)[:, : cell.shape.pool or None, : cell.shape.length]


def blind(cell: Cell, floors: dict[int, Floor]) -> Quantity:
    """What the judged protocol reports, on the same sample, of the reader of single tokens."""
    floor, label = floors[cell.shape.length], cell.config["judged"] or cell.config["ledger"]
    law, place = single.said(floor.functional, floor.truth), list(cell.protocols).index(label) + 1
    key = jax.random.fold_in(stream(cell.config["seed"], "observe"), place)
    loss = replace(floor.loss, of="")
    return cell.protocols[label].observe(single.reader(law), cell.world, cell.shape.length, loss, loss, key).score


def zeros(cell: Cell, floors: dict[int, Floor]) -> dict[str, Quantity]:
    """The zeros by name: no two of them may stand for each other."""
    floor = floors[cell.shape.length]
    at_end = estimate(entropy(jnp.asarray(floor.truth[:, -1])), floor.functional)
    known = {"floor": floor.loss, "bayes_floor": replace(at_end, of="the last position of the trained length")}
    known["order_0"] = single.order_0(floor.functional, floor.truth)
    if isinstance(cell.world, HasEntropyRate):
        known["entropy_rate"] = replace(cell.world.entropy_rate(), of="the rate, from an endless past")
    return known


def remember(cell: Cell, trained: Trained, witnesses: dict[int, Weights], rungs: dict[int, Rungs], store: Path) -> None:
    """Keeps the weights that lowered the bound at a length, for whoever measures this architecture next."""
    for length, found in rungs.items():
        if not found.members:
            continue
        label, best, _ = instantiated(found)
        if not np.isfinite(best.mean().value):
            continue  # all have diverged
        if label.startswith("seed "):
            params = _members(trained)[int(label.split()[1])]
        else:
            params = dict(zip(witnesses[length].names, witnesses[length].params, strict=True))[label]
        store_of(cell, store, length).add(params)
