"""Minimal pairs: of a sequence and its corruption, the member should hold the real one likelier.

The corruption is symmetric, c(x'|x) = c(x|x'), so x is the real one of {x, x'} with chance p(x) / (p(x) + p(x')), and
no ordering beats the truth's. Its score is not one: some corruptions are likelier than what they corrupt. `stamp` is
not symmetric: it shows what biased pairs do, which whoever counts stamps wins without any knowledge of the past.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int, Key

from experiments.observe.base import (
    Observation,
    Predict,
    ask_all,
    at_least,
    documents,
    hard,
    laws,
    mean,
    observed,
    readable,
    shared_out,
)
from experiments.observe.windows import minus
from worlds.base import LIMIT, World, prefixes
from worlds.quantity import Quantity, exact

TIE = 1e-9  # nats: differences of log probabilities below this are rounding, and count one half


class Pairs(NamedTuple):
    """Real sequences and their corruptions; weighted, they are all there are."""

    real: Int[np.ndarray, "pair time"]
    other: Int[np.ndarray, "pair time"]
    weight: Float[np.ndarray, "pair"] | None = None


Corrupt = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # (sequences, a choice for each, vocab) -> corrupted


def swap(tokens: Int[np.ndarray, "sequence time"], choice: Int[np.ndarray, "sequence"], vocab: int) -> np.ndarray:
    """Exchanges the tokens at places choice and choice + 1."""
    del vocab
    row, corrupted = np.arange(len(tokens)), tokens.copy()
    corrupted[row, choice], corrupted[row, choice + 1] = tokens[row, choice + 1], tokens[row, choice]
    return corrupted


def substitute(tokens: Int[np.ndarray, "sequence time"], choice: Int[np.ndarray, "sequence"], vocab: int) -> np.ndarray:
    """Replaces one token by another: choice = place (vocab - 1) + (step - 1), and the token moves up by step."""
    row, corrupted = np.arange(len(tokens)), tokens.copy()
    place, step = choice // (vocab - 1), choice % (vocab - 1) + 1
    corrupted[row, place] = (tokens[row, place] + step) % vocab
    return corrupted


def stamp(tokens: Int[np.ndarray, "sequence time"], choice: Int[np.ndarray, "sequence"], vocab: int) -> np.ndarray:
    """Replaces one token by the last of the vocabulary: one way only, so that the stamp gives the corruption away."""
    row, corrupted = np.arange(len(tokens)), tokens.copy()
    corrupted[row, choice] = vocab - 1
    return corrupted


CORRUPTIONS: dict[str, tuple[Corrupt, Callable[[int, int], int]]] = {  # and how many choices there are
    "swap": (swap, lambda length, vocab: length - 1),
    "substitute": (substitute, lambda length, vocab: length * (vocab - 1)),
    "stamp": (stamp, lambda length, vocab: length if vocab > 1 else 0),
}
ONE_WAY = ("stamp",)  # c(x|x') = 0: the real one is the one with fewer stamps, for certain


@dataclass(frozen=True)
class MinimalPairs:
    """Pairs of whole sequences. Build it with `minimal_pairs`."""

    sequences: int
    soft: int
    corruption: str
    unit: str = "fraction"

    def check(self, world: World, spec: Any, length: int) -> None:
        """As base.Checked."""
        readable("minimal_pairs", spec, length, length)
        self.choices(world, length)

    def choices(self, world: World, length: int) -> int:
        """How many corruptions a sequence has."""
        found = CORRUPTIONS[self.corruption][1](length, world.vocab_size)
        if found < 1:
            raise ValueError(
                f"minimal_pairs: a sequence must have at least one {self.corruption}, but there is none for {length} "
                f"tokens out of {world.vocab_size}"
            )
        return found

    def observe(
        self, predict: Predict, world: World, length: int, reached: Quantity, floor: Quantity, key: Key[Array, ""]
    ) -> Observation:
        """As base.Protocol.observe."""
        del reached, floor  # of another unit
        key_hard, key_soft = jax.random.split(key)
        sample = self.drawn(world, key_hard, self.sequences, length)
        got = self.won(predict, world, sample, labels=False)
        every = self.enumerated(world, length)
        pairs = self.drawn(world, key_soft, self.soft, length) if every is None else every
        due = self.won(predict, world, pairs, labels=True)
        shows = f"sequences of {length} tokens from the world's start, and their corruption by {self.corruption}"
        ceiling = exact(1.0) if self.corruption in ONE_WAY else mean(due[-1], pairs.weight)
        both = np.concatenate([sample.real, sample.other], 1)
        found = observed("minimal_pairs", self.unit, got, due[:-1], pairs.weight, ceiling, shows, both, "larger")
        return found._replace(window=length)

    def won(self, predict: Predict, world: World, pairs: Pairs, labels: bool) -> Float[np.ndarray, "predictor pair"]:
        """Whether the members and, last, the world hold the real one likelier; pairs of equals are left out.

        With soft labels: the chance that the one held likelier is the real one.
        """
        margins = minus(self.totals(predict, world, pairs.real), self.totals(predict, world, pairs.other))
        wins = np.where(np.abs(margins) < TIE, 0.5, margins > 0)
        if labels:
            real = 1.0 if self.corruption in ONE_WAY else scipy.special.expit(margins[-1])  # p(x) / (p(x) + p(x'))
            wins = wins * real + (1 - wins) * (1 - real)
        counted = (pairs.real != pairs.other).any(-1).astype(float)
        return shared_out(wins * counted, counted, pairs.weight)

    def totals(self, predict: Predict, world: World, tokens: Int[np.ndarray, "pair time"]) -> np.ndarray:
        """Log probabilities of whole sequences, by the members and, last, by the world."""
        said = np.concatenate([hard(tokens, ask_all(predict, tokens)), hard(tokens, laws(world, tokens))[None]])
        return said.sum(-1)

    def drawn(self, world: World, key: Key[Array, ""], count: int, length: int) -> Pairs:
        """Independent pairs."""
        key_real, key_choice = jax.random.split(key)
        real = documents(world, key_real, count, length)
        choice = jax.random.randint(key_choice, (count,), 0, self.choices(world, length))
        return Pairs(real, CORRUPTIONS[self.corruption][0](real, np.asarray(choice), world.vocab_size))

    def enumerated(self, world: World, length: int) -> Pairs | None:
        """All pairs with their probabilities; None if they are too many."""
        count = self.choices(world, length)
        if world.vocab_size**length * count > LIMIT:
            return None
        *_, (words, logs, _) = prefixes(world, length)
        real, choice = words.repeat(count, 0), np.tile(np.arange(count), len(words))
        other = CORRUPTIONS[self.corruption][0](real, choice, world.vocab_size)
        return Pairs(real, other, np.exp(logs).repeat(count) / count)


def minimal_pairs(sequences: int, soft: int, corruption: str) -> MinimalPairs:
    """The fraction of pairs in which the member holds the real sequence likelier than its corruption.

    Ties count one half; pairs whose corruption changed nothing are left out.

    Args:
      sequences: pairs, at least 2.
      soft: independent pairs behind the exact target, where they cannot be enumerated; at least 2.
      corruption: "swap" two neighbours at a random place, "substitute" a random token by another, or "stamp" a random
        place with the last token of the vocabulary.
    """
    at_least("minimal_pairs", sequences=(sequences, 2), soft=(soft, 2))
    if corruption not in CORRUPTIONS:
        raise ValueError(f"minimal_pairs: corruption must be one of {', '.join(CORRUPTIONS)}, but is {corruption!r}")
    return MinimalPairs(sequences, soft, corruption)
