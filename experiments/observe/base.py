"""Observation protocols: what an evaluation reports about weights, its exact target and the best attainable score.

A protocol shows token sequences to predictors and turns their answers into a number. Beside that number stand the
protocol's own expectation for the same weights, the score of the best predictor *given what the protocol shows it*,
and the world's own score on the same sample. Nats per token, natural logarithms, unless `unit` says otherwise.
"""

import hashlib
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from worlds.base import Functional, World, estimate, log_conditionals, samples
from worlds.quantity import Quantity, undefined

Predict = Callable[[Int[Array, "sequence time"]], Float[np.ndarray, "member sequence time vocab"]]
"""Log probabilities (float64, normalised) of several members, seeds of one training or different models, for a batch
of token sequences; row t is what a member says of token t from the tokens before t, row 0 from the start symbol."""

BATCH = 256  # sequences per call of a predictor: every call of a protocol then has the same shape, and compiles once


class Observation(NamedTuple):
    """What a protocol says of some members, and what it should be compared with."""

    name: str
    unit: str
    score: Quantity  # what the protocol reports: hard labels, a finite sample, mean over members
    scores: tuple[float, ...]  # the same for each member
    expected: Quantity  # the protocol's expectation for these very weights, mean over members
    targets: tuple[float, ...]  # the same for each member
    ceiling: Quantity  # the expected score of the best possible predictor given what is shown
    world: Quantity  # the world's own score on the protocol's own sample: its distance to the ceiling is luck
    parts: dict[str, Quantity] | None = (
        None  # in nats only: "world", "model" and "sampling", the split of score - reached
    )
    curve: Float[np.ndarray, "row point"] | None = None  # rows: score, expected, ceiling; points: see the protocol
    shows: str = ""  # what the predictor gets to see, in words
    marks: Float[np.ndarray, "member document"] | None = None  # the score of each independent document
    fair: Float[np.ndarray, "member other"] | None = None  # the same behind `expected`; None where that is exact
    better: typing.Literal["smaller", "larger"] = "smaller"  # which scores are good ones
    window: int = 0  # the most tokens that a predictor sees at once
    tokens: int = 0  # of text in a document of the marks
    fair_tokens: int = 0  # and in one of the fair marks
    documents: str = ""  # a name for the sample: equal names, equal documents, so that marks are paired


class Protocol(typing.Protocol):
    """A frozen dataclass of numbers, made from conf/observe/NAME.yaml."""

    @property
    def unit(self) -> str:
        """Of its score; only nats/token enter the ledger."""
        ...

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """Applies the protocol.

        Args:
          predict: the members.
          world: the law.
          length: the trained length T, tokens.
          reached: L_R, the members' mean exact loss under the ledger's functional (T, world's start, uniform).
          floor: H_D, the world's own loss under the same functional.
          key: for the protocol's samples, from a stream that training never sees.
        """
        ...


@typing.runtime_checkable
class Checked(typing.Protocol):
    """A protocol that says before anything is trained what it cannot be applied to."""

    def check(self, world: World, spec: Any, length: int) -> None:
        """Raises ValueError for a world, an architecture's spec or a trained length that it cannot observe."""
        ...


def readable(protocol: str, spec: Any, length: int, shown: int) -> None:
    """Refuses to show more tokens than the position scheme is defined at."""
    limit = spec.scheme.limit(length)
    if limit is not None and shown > limit:
        raise ValueError(
            f"{protocol}: at most the {limit} tokens that {spec.scheme} is defined at can be shown, but {shown} are"
        )


class Reading(NamedTuple):
    """A score per token. `points(logs)[..., v]` is what a predictor that says `logs` gets when token v comes.

    Proper: over all q, sum_v p(v) points(q)[v] is best at q = p, so the best possible score is the truth's.
    """

    unit: str
    points: Callable[[Float[np.ndarray, "*rows vocab"]], Float[np.ndarray, "*rows vocab"]]
    best: Callable[[Float[np.ndarray, "predictor"]], np.integer]  # np.argmin or np.argmax


NATS = Reading("nats/token", lambda logs: -logs, np.argmin)


def soft(logs: Float[np.ndarray, "*rows vocab"], points: Float[np.ndarray, "... vocab"]) -> Float[np.ndarray, "..."]:
    """sum_v p(v) points(v), where impossible tokens count nothing (0 times infinity is 0 here)."""
    possible = logs > -np.inf
    return np.where(possible, np.exp(logs) * np.where(possible, points, 0), 0).sum(-1)


def hard(tokens: Int[np.ndarray, "*rows"], points: Float[np.ndarray, "... vocab"]) -> Float[np.ndarray, "..."]:
    """points(x) of the tokens that came."""
    index = np.broadcast_to(tokens[..., None], (*points.shape[:-1], 1))
    return np.take_along_axis(points, index, -1)[..., 0]


def ask(predict: Predict, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "member sequence time vocab"]:
    """What the members say, refused unless it is a law (or nothing at all, after a past they hold impossible)."""
    logs = np.asarray(predict(jnp.asarray(tokens)), np.float64)
    total = np.exp(logs).sum(-1)
    if logs.shape[1:3] != tokens.shape or not np.all((abs(total - 1) < 1e-5) | (total == 0)):
        raise ValueError(
            f"predict: log probabilities [member, {tokens.shape[0]}, {tokens.shape[1]}, vocab] must sum to one, "
            f"but have shape {logs.shape} and sums from {total.min()} to {total.max()}"
        )
    return logs


def ask_all(
    predict: Predict, tokens: Int[np.ndarray, "sequence time"]
) -> Float[np.ndarray, "member sequence time vocab"]:
    """The same for any number of sequences."""
    found = [ask(predict, tokens[index])[:, : rows.stop - rows.start] for rows, index in chunks(len(tokens), BATCH)]
    return np.concatenate(found, 1)


def chunks(count: int, size: int) -> Iterator[tuple[slice, Int[np.ndarray, "row"]]]:
    """Yields (rows, indices): the indices cover `rows`; the last one repeats, so that all chunks are equally long."""
    size = min(size, count)
    for first in range(0, count, size):
        yield slice(first, min(first + size, count)), np.minimum(np.arange(first, first + size), count - 1)


@jax.jit
def conditionals(world: World, tokens: Int[Array, "sequence time"]) -> Float[Array, "sequence time vocab"]:
    """The world's log conditionals for several sequences."""
    return jax.vmap(log_conditionals, (None, 0))(world, tokens)


def laws(world: World, tokens: Int[np.ndarray, "sequence time"]) -> Float[np.ndarray, "sequence time vocab"]:
    """The same in chunks of one shape, as float64."""
    found = [
        np.asarray(conditionals(world, tokens[index]), np.float64)[: rows.stop - rows.start]
        for rows, index in chunks(len(tokens), BATCH)
    ]
    return np.concatenate(found)


def documents(world: World, key: Key[Array, ""], count: int, length: int) -> Int[np.ndarray, "document time"]:
    """Independent draws of the world from its start."""
    return np.asarray(samples(world, jax.random.split(key, count), length))


def mean(values: Float[np.ndarray, "document"], weight: Float[np.ndarray, "document"] | None = None) -> Quantity:
    """The mean over independent documents with its 95 % interval; exact if these documents, weighted, are all."""
    if np.isnan(values).any():
        return undefined()
    count = len(values)
    weights = jnp.full(count, 1 / count) if weight is None else jnp.asarray(weight)
    with np.errstate(invalid="ignore"):  # the spread of an infinite loss is inf - inf
        return estimate(
            jnp.asarray(values), Functional(jnp.zeros((count, 0), int), weights, weights, weight is not None)
        )


def shared_out(
    total: Float[np.ndarray, "predictor document"],
    count: Float[np.ndarray, "document"],
    weight: Float[np.ndarray, "document"] | None = None,
) -> Float[np.ndarray, "predictor document"]:
    """Numbers per document whose mean is the ratio sum total / sum count, with the ratio's spread (delta method).

    r_n = R + (total_n - R count_n) / mean count. NaN where nothing at all was counted.
    """
    weight = np.full(len(count), 1 / len(count)) if weight is None else weight
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (total @ weight / (count @ weight))[:, None]
        found = ratio + (total - ratio * count) / (count @ weight)
    return np.where(np.isinf(ratio), ratio, found)


def observed(
    name: str,
    unit: str,
    got: Float[np.ndarray, "predictor sample"],
    due: Float[np.ndarray, "member document"],
    weight: Float[np.ndarray, "document"] | None,
    ceiling: Quantity,
    shows: str,
    sample: Int[np.ndarray, "sample time"],
    better: typing.Literal["smaller", "larger"] = "smaller",
) -> Observation:
    """An observation from numbers per document: the members' and the world's on the sample, and the members' exact."""
    return Observation(
        name=name,
        unit=unit,
        score=mean(got[:-1].mean(0)),
        scores=tuple(got[:-1].mean(-1).tolist()),
        expected=mean(due.mean(0), weight),
        targets=tuple(mean(row, weight).value for row in due),
        ceiling=ceiling,
        world=mean(got[-1]),
        shows=shows,
        marks=got[:-1],
        fair=due if weight is None else None,
        better=better,
        window=sample.shape[1],
        tokens=sample.shape[1],
        fair_tokens=sample.shape[1],
        documents=named(sample),
    )


def named(sample: Int[np.ndarray, "document time"]) -> str:
    """Twelve hexadecimal digits that name the tokens of documents, whatever integers hold them."""
    return hashlib.sha256(np.ascontiguousarray(sample, np.int32).tobytes()).hexdigest()[:12]


def at_least(protocol: str, **least: tuple[int | None, int]) -> None:
    """Refuses numbers below their least: name=(number, least)."""
    for name, (number, lowest) in least.items():
        if number is not None and number < lowest:
            raise ValueError(f"{protocol}: {name} must be at least {lowest}, but is {number}")


def hull(near: Quantity, far: Quantity) -> Quantity:
    """One number between two bounds of one kind, with the value of the first; exact bounds that differ certify it."""
    low, high = min(near.low, far.low), max(near.high, far.high)
    return Quantity(
        near.value, low, high, "certified" if near.kind == "exact" and low < high else near.kind, near.count
    )


def less(a: Quantity, b: Quantity) -> Quantity:
    """The difference a - b; undefined where both are infinite with one sign."""
    return undefined() if a.value == b.value and np.isinf(a.value) else a - b


def split(
    score: Quantity, expected: Quantity, ceiling: Quantity, excess: Quantity, reached: Quantity, floor: Quantity
) -> dict[str, Quantity]:
    """The declared split of O - L_R, the only place where losses under two functionals meet.

    O - L_R = [O(p*) - H_D] + [(O(q) - O(p*)) - (L_R - H_D)] + [measured - O(q)]: the world part is the same for every
    model, the model part alone can reverse a ranking, sampling is luck. `excess` is O(q) - O(p*), a paired difference.
    """
    reached, floor = replace(reached, of=""), replace(floor, of="")
    return {
        "world": less(ceiling, floor),
        "model": less(excess, less(reached, floor)),
        "sampling": less(score, expected),
    }
