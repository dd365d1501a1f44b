"""Protocols that read a score off windows of a stream: held-out, non-overlapping, sliding, last token, per position.

Documents start where the world starts. Each is cut into `windows` windows of `window` tokens, `stride` apart, and every
window is shown alone; its last `scored` tokens count, all alike. So the score estimates
O(q) = sum_j position_j E[-log q(x_j | x_1 ... x_{j-1})], where x is a window at a uniformly drawn, undisclosed place.
(Press, Smith & Lewis 2022, arXiv:2108.12409, appendix B, on the early-token curse.)
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    BATCH,
    NATS,
    Observation,
    Predict,
    Reading,
    ask,
    at_least,
    chunks,
    conditionals,
    documents,
    hard,
    hull,
    mean,
    named,
    readable,
    soft,
    split,
)
from experiments.observe.law import window_law
from worlds.base import World, functional
from worlds.quantity import Quantity


@dataclass(frozen=True)
class Windows:
    """A protocol on windows. Build it with the functions below."""

    name: str
    sequences: int  # hard-labelled documents, at least 2
    soft: int  # independent sequences behind the exact target, where it cannot be enumerated
    windows: int = 1  # per document
    window: int | None = None  # tokens per window; None: the trained length
    stride: int | None = None  # tokens between windows; None: the window, so that windows do not overlap
    scored: int | None = None  # the last so many tokens of a window count; None: all
    skip: int = 0  # tokens of a document before its first window
    curve: bool = False  # also report every position of the window
    reading: Reading = NATS

    @property
    def unit(self) -> str:
        """Of its score."""
        return self.reading.unit

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        del world
        readable(self.name, spec, length, self.cut(length).window)

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe."""
        cut = self.cut(length)
        law = window_law(world, cut.offsets, cut.window)
        key_hard, key_soft = jax.random.split(key)
        shown = Sample(documents(world, key_hard, self.sequences, cut.stream), cut.offsets)
        came = marks(self.reading, predict, world, law, cut, shown, labels=False)
        target = expectation(world, law, cut, key_soft, self.soft)
        due = marks(self.reading, predict, world, law, cut, target, labels=True)
        found = self.report(cut, came, due, target.weight, law is not None, reached, floor)
        return found._replace(tokens=cut.stream, fair_tokens=target.tokens.shape[1], documents=named(shown.tokens))

    def report(
        self,
        cut: "Cut",
        came: Float[np.ndarray, "predictor sample time"],
        due: Float[np.ndarray, "predictor document time"],
        weight: Float[np.ndarray, "document"] | None,
        known: bool,
        reached: Quantity,
        floor: Quantity,
    ) -> Observation:
        """Averages hard-labelled marks (came) and exact ones (due): see `marks` for their predictors."""
        got, fair = scored(came, cut.position), scored(due, cut.position)
        members, truth = fair[:-2].mean(0), fair[-1]
        shown = truth if known else fair[self.reading.best(fair[:-1].mean(-1))]  # best known that sees the windows only
        score, expected = mean(got[:-2].mean(0)), mean(members, weight)
        ceiling = hull(mean(shown, weight), mean(truth, weight))
        excess = hull(mean(minus(members, shown), weight), mean(minus(members, truth), weight))
        rows = [mean_curve(x, w) for x, w in [(came[:-2].mean(0), None), (due[:-2].mean(0), weight), (due[-1], weight)]]
        return Observation(
            name=self.name,
            unit=self.reading.unit,
            score=score,
            scores=tuple(got[:-2].mean(-1).tolist()),
            expected=expected,
            targets=tuple(float(mean(x, weight).value) for x in fair[:-2]),
            ceiling=ceiling,
            world=mean(got[-1]),
            parts=split(score, expected, ceiling, excess, reached, floor) if self.reading is NATS else None,
            curve=np.stack(rows) if self.curve else None,
            shows=f"sequences of {cut.window} tokens from the world's start"
            if not any(cut.offsets)
            else f"windows of {cut.window} tokens, without their past or their place",
            marks=got[:-2],
            fair=fair[:-2] if weight is None else None,
            better="smaller" if self.reading.best is np.argmin else "larger",
            window=cut.window,
        )

    def cut(self, length: int) -> "Cut":
        """Where windows start and what counts, at a trained length."""
        window = self.window or length
        scored, stride = self.scored or window, self.stride or window
        if not scored <= window:
            raise ValueError(
                f"{self.name}: at most the {window} tokens of a window can be scored, but scored is {scored}"
            )
        position = np.where(np.arange(window) < window - scored, 0, 1 / scored)
        return Cut(tuple(self.skip + stride * k for k in range(self.windows)), window, position)


class Cut(NamedTuple):
    """Windows of a document: where they start, how long they are, and how much each position counts."""

    offsets: tuple[int, ...]
    window: int
    position: Float[np.ndarray, "time"]  # sums to one

    @property
    def stream(self) -> int:
        """Tokens per document."""
        return max(self.offsets) + self.window


class Sample(NamedTuple):
    """Documents, and the offsets at which their windows start. Weighted, they are all there are: then no sampling."""

    tokens: Int[np.ndarray, "document stream"]
    offsets: tuple[int, ...]
    weight: Float[np.ndarray, "document"] | None = None


def expectation(world: World, law: World | None, cut: Cut, key: Key[Array, ""], count: int) -> Sample:
    """Windows for the exact target: all if they are few, else draws of their law, or of documents if it is unknown."""
    if law is None:
        return Sample(documents(world, key, count, cut.stream), cut.offsets)
    measured = functional(law, cut.window, key, count)
    return Sample(np.asarray(measured.tokens), (0,), np.asarray(measured.weight) if measured.exact else None)


def marks(
    reading: Reading, predict: Predict, world: World, law: World | None, cut: Cut, sample: Sample, labels: bool
) -> Float[np.ndarray, "predictor document time"]:
    """Mean points over the windows of each document, by position in the window.

    Predictors: the members, then the best known predictor that sees the windows only, then the truth that sees at
    least the windows. The last two are one where the law of the windows is known; where it is not, the first is the
    world's rule restarted in each window, the second knows the whole past, and p* lies between them.

    Args:
      reading: points per token.
      predict: the members.
      world: the law.
      law: the law of windows, or None.
      cut: how documents are cut.
      sample: the documents.
      labels: soft labels (the exact law of the last predictor) if true, else the tokens that came.
    """
    found, ends = [], np.asarray(sample.offsets)[:, None] + np.arange(cut.window)
    for rows, index in chunks(len(sample.tokens), max(1, BATCH // len(sample.offsets))):
        tokens = sample.tokens[index]
        shown = tokens[:, ends].reshape(-1, cut.window)
        near = np.asarray(conditionals(world if law is None else law, shown), np.float64)
        far = np.asarray(conditionals(world, tokens), np.float64)[:, ends].reshape(near.shape) if law is None else near
        points = reading.points(np.concatenate([ask(predict, shown), near[None], far[None]]))
        kept = soft(far, points) if labels else hard(shown, points)
        kept = kept.reshape(len(kept), len(index), len(sample.offsets), cut.window).mean(2)
        found.append(kept[:, : rows.stop - rows.start])
    return np.concatenate(found, 1)


def scored(
    marks: Float[np.ndarray, "predictor document time"], position: Float[np.ndarray, "time"]
) -> Float[np.ndarray, "predictor document"]:
    """The marks of the positions that count (an infinite loss elsewhere is none)."""
    return marks[..., position > 0] @ position[position > 0]


def mean_curve(
    marks: Float[np.ndarray, "document time"], weight: Float[np.ndarray, "document"] | None
) -> Float[np.ndarray, "time"]:
    """The mean over documents at each position."""
    return marks.mean(0) if weight is None else weight @ marks


def minus(a: Float[np.ndarray, "*n"], b: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The difference a - b, where two equal infinities are the same impossible token."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def heldout(sequences: int, soft: int, window: int | None = None) -> Windows:
    """The test loss of papers: whole hard-labelled sequences from the world's start, every token counts.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent sequences behind the exact target, where it cannot be enumerated; at least 2.
      window: tokens per sequence, at least 1; None is the trained length.
    """
    return checked(Windows("heldout", sequences, soft, window=window))


def nonoverlapping(sequences: int, soft: int, windows: int, window: int | None = None) -> Windows:
    """Non-overlapping windows: documents of `windows` times `window` tokens, cut end to end, every token counts.

    Its target is the mean of the window's per-position losses: the early tokens of each window have little to read,
    which is the early-token curse. With windows = 1 it is `heldout`, and the world part is zero at the trained length.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      windows: per document, at least 1.
      window: tokens, at least 1; None is the trained length.
    """
    return checked(Windows("nonoverlapping", sequences, soft, windows, window))


def sliding(sequences: int, soft: int, windows: int, stride: int, window: int | None = None) -> Windows:
    """A window that slides by `stride` tokens; the last `stride` tokens of each window count, in the first one too.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent documents behind the exact target, where it cannot be enumerated; at least 2.
      windows: per document, at least 1.
      stride: tokens, from 1 to `window`.
      window: tokens, at least 1; None is the trained length.
    """
    return checked(Windows("sliding", sequences, soft, windows, window, stride, stride))


def last_token(sequences: int, soft: int, window: int | None = None) -> Windows:
    """The last token of whole sequences from the world's start: the loss at the fullest context.

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent sequences behind the exact target, where it cannot be enumerated; at least 2.
      window: tokens per sequence, at least 1; None is the trained length.
    """
    return checked(Windows("last_token", sequences, soft, window=window, scored=1))


def per_position(sequences: int, soft: int, window: int | None = None) -> Windows:
    """The loss at each position of whole sequences from the world's start, as a curve [score expected ceiling, time].

    Args:
      sequences: hard-labelled documents, at least 2.
      soft: independent sequences behind the exact target, where it cannot be enumerated; at least 2.
      window: tokens per sequence, at least 1; None is the trained length.
    """
    return checked(Windows("per_position", sequences, soft, window=window, curve=True))


def checked(protocol: Windows) -> Windows:
    """The protocol, if its numbers are possible."""
    least = {"sequences": 2, "soft": 2, "windows": 1, "window": 1, "stride": 1, "scored": 1, "skip": 0}
    at_least(protocol.name, **{name: (getattr(protocol, name), lowest) for name, lowest in least.items()})
    return protocol
