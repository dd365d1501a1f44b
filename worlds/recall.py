"""Recall worlds: documents of a fixed plan in which some tokens repeat what was said before.

A plan has places 0 ... period-1. Each place has a law given what the document said so far, the end token stands at the
last place, and then the next document begins. What is drawn costs nats, what must be recalled costs none: the loss of a
predictor at the answers is wholly its own. `answers` marks them; they depend on the place alone, so a loss masked to
them is measured under `base.functional(world, length, key, sequences, position=mask / mask.sum())`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from worlds.quantity import Quantity, exact


@runtime_checkable
class Answers(Protocol):
    """A world that knows which tokens answer a question that the past has posed."""

    def answers(self, tokens: Int[Array, "time"]) -> Bool[Array, "time"]:
        """Whether each token of a stream from the world's start is an answer."""
        ...


class Memory(NamedTuple):
    """Where in the document we are, and what it said; place -1 after something impossible."""

    place: Int[Array, ""]
    said: Int[Array, "period"]  # the tokens of the document so far, by place; later ones are of no meaning


@runtime_checkable
class Plan(Protocol):
    """What a document says at each place."""

    @property
    def period(self) -> int:
        """Tokens of a document, the end token included."""
        ...

    @property
    def vocab_size(self) -> int:
        """Tokens there are, the end token last."""
        ...

    @property
    def answered(self) -> range:
        """The places of the answers."""
        ...

    def law(self, numbers: Float[Array, "..."], past: Memory) -> Float[Array, "vocab"]:
        """p(token at past.place | what was said), for every place but the last."""
        ...

    def nats(self, numbers: Float[np.ndarray, "..."]) -> float:
        """The entropy of a document."""
        ...


@struct.dataclass
class Documents:
    """A stream of documents of one plan. Cost per token: the plan's period and the vocabulary, whatever the past."""

    numbers: Float[Array, "..."]  # the real numbers of the plan's law
    plan: Plan = struct.field(pytree_node=False)

    @property
    def vocab_size(self) -> int:
        """Tokens, the end token last."""
        return self.plan.vocab_size

    def start(self) -> Memory:
        """The first place of a document."""
        return Memory(jnp.zeros((), jnp.int32), jnp.zeros(self.plan.period, jnp.int32))

    def log_next(self, state: Memory) -> Float[Array, "vocab"]:
        """The law of the place; the end token for sure at the last one."""
        end = _sure(self.vocab_size - 1, self.vocab_size, self.numbers.dtype)
        law = jnp.where(state.place == self.plan.period - 1, end, self.plan.law(self.numbers, state))
        law = jnp.where(state.place >= 0, law, 0)
        return jnp.where(law > 0, jnp.log(jnp.where(law > 0, law, 1)), -jnp.inf)

    def advance(self, state: Memory, token: Int[Array, ""]) -> Memory:
        """One place further, if the token was possible."""
        possible = self.log_next(state)[token] > -jnp.inf
        said = state.said.at[jnp.maximum(state.place, 0)].set(token.astype(jnp.int32))
        ends = state.place == self.plan.period - 1  # forgets the document, so that equal memories are equal
        return Memory(jnp.where(possible, (state.place + 1) % self.plan.period, -1), jnp.where(ends, 0, said))

    def answers(self, tokens: Int[Array, "time"]) -> Bool[Array, "time"]:
        """The answers, by their place in the document; the tokens only say how many there are."""
        place = jnp.arange(len(tokens)) % self.plan.period
        return jnp.isin(place, jnp.array(self.plan.answered))

    def entropy_rate(self) -> Quantity:
        """Entropy of a document / its tokens."""
        return exact(self.plan.nats(np.asarray(self.numbers, np.float64)) / self.plan.period)


@dataclass(frozen=True)
class Copy:
    """Letters, separator, the same letters."""

    length: int
    letters: int

    @property
    def period(self) -> int:
        """Tokens of a document."""
        return 2 * self.length + 2

    @property
    def vocab_size(self) -> int:
        """Tokens there are."""
        return self.letters + 2

    @property
    def answered(self) -> range:
        """The places of the answers."""
        return range(self.length + 1, 2 * self.length + 1)

    def law(self, numbers: Float[Array, "letter"], past: Memory) -> Float[Array, "vocab"]:
        """p(token at past.place | what was said)."""
        letter = jnp.concatenate([numbers, jnp.zeros_like(numbers, shape=2)])
        separator = _sure(self.letters, self.vocab_size, numbers.dtype)
        again = _sure(past.said[jnp.maximum(past.place - self.length - 1, 0)], self.vocab_size, numbers.dtype)
        return jnp.where(past.place < self.length, letter, jnp.where(past.place == self.length, separator, again))

    def nats(self, numbers: Float[np.ndarray, "letter"]) -> float:
        """The entropy of a document."""
        return self.length * _entropy(numbers)


@dataclass(frozen=True)
class Induction:
    """Letters with a cue somewhere among them, the cue again, the letter that followed it."""

    length: int
    letters: int

    @property
    def period(self) -> int:
        """Tokens of a document."""
        return self.length + 4

    @property
    def vocab_size(self) -> int:
        """Tokens there are."""
        return self.letters + 2

    @property
    def answered(self) -> range:
        """The places of the answers."""
        return range(self.length + 2, self.length + 3)

    def law(self, numbers: Float[Array, "letter"], past: Memory) -> Float[Array, "vocab"]:
        """p(token at past.place | what was said)."""
        cue = _sure(self.letters, self.vocab_size, numbers.dtype)
        cues = (past.said == self.letters) & (_count(self.period) < past.place)
        left = jnp.maximum(self.length - past.place, 1).astype(numbers.dtype)  # places that the first cue may yet take
        hazard = jnp.where(cues.any(), 0, 1 / left)
        body = hazard * cue + (1 - hazard) * jnp.concatenate([numbers, jnp.zeros_like(numbers, shape=2)])
        answer = _sure(past.said[(jnp.argmax(cues) + 1) % self.period], self.vocab_size, numbers.dtype)
        asks = past.place == self.length + 1
        return jnp.where(past.place <= self.length, body, jnp.where(asks, cue, answer))

    def nats(self, numbers: Float[np.ndarray, "letter"]) -> float:
        """The entropy of a document."""
        return float(np.log(self.length)) + self.length * _entropy(numbers)


@dataclass(frozen=True)
class Pairs:
    """Key, value, key, value, ...; then a key that was said, its value, ..."""

    pairs: int
    queries: int
    keys: int
    values: int

    @property
    def period(self) -> int:
        """Tokens of a document."""
        return 2 * (self.pairs + self.queries) + 1

    @property
    def vocab_size(self) -> int:
        """Tokens there are."""
        return self.keys + self.values + 1

    @property
    def answered(self) -> range:
        """The places of the answers."""
        return range(2 * self.pairs + 1, 2 * (self.pairs + self.queries), 2)

    def law(self, numbers: Float[Array, ""], past: Memory) -> Float[Array, "vocab"]:
        """p(token at past.place | what was said)."""
        blank = jnp.zeros(self.vocab_size, numbers.dtype)
        is_value = (_count(self.vocab_size) >= self.keys) & (_count(self.vocab_size) < self.vocab_size - 1)
        value = jnp.where(is_value, blank + 1 / self.values, 0)
        said = past.said[: 2 * self.pairs : 2]
        before = _count(0, 2 * self.pairs, 2) < past.place
        used = blank.at[said].max(before.astype(blank.dtype))
        unused = jnp.where(_count(self.vocab_size) < self.keys, 1 - used, 0)
        key = unused / jnp.maximum(unused.sum(), 1)
        asked = blank.at[said].add(self._asks(numbers, past.place // 2))
        question = past.said[jnp.maximum(past.place - 1, 0)]
        answer = _sure(past.said[2 * jnp.argmax(said == question) + 1], self.vocab_size, blank.dtype)
        first = past.place < 2 * self.pairs
        return jnp.where(past.place % 2 == 0, jnp.where(first, key, asked), jnp.where(first, value, answer))

    def _asks(self, gap: Float[Array, ""], slot: Int[Array, ""]) -> Float[Array, "pair"]:
        """p(the query at this slot asks each pair), proportional to g^(gap - 1) at g slots back."""
        back = jnp.maximum(slot - _count(self.pairs), 1).astype(gap.dtype)
        weight = back ** (gap - 1)
        return weight / weight.sum()

    def nats(self, numbers: Float[np.ndarray, ""]) -> float:
        """The entropy of a document."""
        keys = np.log(np.arange(self.keys - self.pairs + 1, self.keys + 1)).sum()
        back = np.arange(self.pairs, self.pairs + self.queries)[:, None] - np.arange(self.pairs)
        weight = back ** (float(numbers) - 1)
        queries = sum(_entropy(row / row.sum()) for row in weight)
        return float(keys + self.pairs * np.log(self.values) + queries)


def copy(length: int, vocab: int) -> Documents:
    """Copying: `length` letters, a separator, the same letters, the end token; then the next document.

    Tokens: 0 ... vocab-1 letters (uniform), vocab the separator, vocab+1 the end. Answers: the second letters.
    Entropy rate length log(vocab) / (2 length + 2). Source: Graves, Wayne & Danihelka 2014, arXiv:1410.5401.

    Args:
      length: letters to copy, at least 1.
      vocab: letters there are, at least 1.
    """
    _at_least_1("copy", length=length, vocab=vocab)
    return Documents(jnp.full(vocab, 1 / vocab), Copy(length, vocab))


def induction(length: int, vocab: int) -> Documents:
    """Induction: letters with a cue somewhere among them; at the end the cue again, then the letter that followed it.

    `length` letters (uniform) with the cue before one of them (uniform), the cue, the answer, the end token.
    Tokens: 0 ... vocab-1 letters, vocab the cue, vocab+1 the end. Answer: the letter after the second cue.
    Entropy rate (log(length) + length log(vocab)) / (length + 4). Source: the induction head task of Fu et al. 2023,
    arXiv:2212.14052.

    Args:
      length: letters before the question, at least 1.
      vocab: letters there are, at least 1.
    """
    _at_least_1("induction", length=length, vocab=vocab)
    return Documents(jnp.full(vocab, 1 / vocab), Induction(length, vocab))


def recall(pairs: int, queries: int, gap: ArrayLike, keys: int = 16, values: int = 16) -> Documents:
    """Multi-query associative recall: key, value, key, value, ..., then queries: a key that was said, its value.

    Keys are drawn uniformly without repetition, values uniformly. The query at slot i (pairs and queries are slots of
    two tokens) asks the pair at slot j with probability proportional to (i - j)^(gap - 1), each query on its own: gap 1
    asks all alike, below 1 rather the recent ones, above 1 rather the old ones. Tokens: 0 ... keys-1 keys, then values,
    last the end. Answers: the values after queries. Entropy rate: (log(keys! / (keys - pairs)!) + pairs log(values)
    + sum of the entropies of the questions) / (2 (pairs + queries) + 1).
    Source: Arora et al. 2023 (Zoology), arXiv:2312.04927, whose gap law is the same power; there each key is asked
    once, between noise.

    Args:
      pairs: at least 1, at most `keys`.
      queries: at least 1.
      gap: exponent of the gap law, above 0. Scalar.
      keys: keys there are.
      values: values there are, at least 1.
    """
    _at_least_1("recall", pairs=pairs, queries=queries, values=values)
    if keys < pairs:
        raise ValueError(f"recall: keys must be at least pairs = {pairs}, so that no key repeats, but is {keys}")
    if not isinstance(gap, Tracer) and not (np.asarray(gap) > 0).all():
        raise ValueError(f"recall: gap must be above 0, but is {gap}")
    return Documents(jnp.asarray(gap, float), Pairs(pairs, queries, keys, values))


def flip_flop_answers(tokens: Int[Array, "time"]) -> Bool[Array, "time"]:
    """The answers of `worlds.automata.flip_flop`: the bits that follow a read (token 1); they depend on the tokens."""
    return jnp.concatenate([jnp.zeros(1, bool), tokens[:-1] == 1])


def _count(*bounds: int) -> Int[Array, "place"]:
    return jnp.arange(*bounds, dtype=jnp.int32)


def _sure(token: int | Int[Array, ""], vocab: int, dtype) -> Float[Array, "vocab"]:
    return (_count(vocab) == token).astype(dtype)


def _entropy(law: Float[np.ndarray, "outcome"]) -> float:
    return float(-(law * np.log(law)).sum())


def _at_least_1(world: str, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{world}: {name} must be at least 1, but is {value}")
