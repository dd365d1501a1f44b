"""Probabilistic context-free grammars whose documents follow one another, each closed by an end token.

Derivations are leftmost, and a filter over them needs one number per symbol: reach[A], the expected number of A whose
rewriting starts at this place, given the past. Then p(next token = v | past) = sum_A reach[A] P(A -> v). A new token
closes spans: with inside_i,k[A] = P(A derives exactly tokens i..k) / P(tokens i..k | the tokens before i),

    inside_i,k[A] = sum over pairs (B, C) and splits m of P(A -> B C) inside_i,m[B] inside_m,k[C],
    waiting[C]    = sum over starts i, A and B of reach_i[A] P(A -> B C) inside_i,k[B],   end = inside_0,k[start],
    reach         = waiting (I - L)^-1,   L[A, B] = sum_C P(A -> B C).

(waiting, end) is a probability law, of the symbol on top of the stack. Dividing by the conditionals of the tokens keeps
every number in range: reach_i[A] inside_i,k[A] is a posterior probability, so at most one, at any length.

References: Jelinek & Lafferty 1991 (Computational Linguistics 17:315) for the left-corner closure; Stolcke 1995
(Computational Linguistics 21:165) for forward and inner probabilities; grammar_normal_form.py for the closures before.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int

from worlds import grammar_entropy
from worlds.quantity import Quantity, exact

BLOCK = 8  # starts that are closed, or skipped, together


class Chart(NamedTuple):
    """What a grammar remembers of the document that it is in. Places are counted modulo the chart's room."""

    position: Int[Array, ""]  # tokens read since the world began: equal in all sequences of a batch
    age: Int[Array, ""]  # tokens read of this document
    first: Float[Array, "room room pair"]  # [end, start, (B, C)]: inside of B, for the spans of this document
    reach: Float[Array, "room symbol"]  # [start, A]
    chosen: Float[Array, "room pair"]  # [start, (B, C)]: sum_A reach[A] P(A -> B C)
    end: Float[Array, ""]  # P(the document is complete | past)


@struct.dataclass
class PCFG:
    """A grammar in normal form; token vocab_size - 1 is the end of a document, after which a new one starts.

    Cost per token and sequence: age * pairs * (room + symbols) operations, with age the longest open document in the
    batch; memory room^2 * pairs numbers, with room = min(length, document). So a document of n tokens costs
    n^2 * pairs * (n + symbols) / 2. `pairs` counts the different right-hand pairs (B, C) after
    splitting long rules: about as many as there are rules of two or more symbols. Big charts (a megabyte and
    more) leave a CPU's cache when they are batched: there `jax.lax.map` over sequences is faster than `jax.vmap`.
    A hypothesis is lost when its probability given the past falls below the smallest float (1e-308, or 1e-38 in
    float32). A document longer than `document` tokens ends in an error, also inside a compiled program.
    """

    empty: Float[Array, "*batch"]  # P(a document has no tokens)
    binary: Float[Array, "*batch symbol pair"]  # P(A -> B C | A is not empty); row 0 is the start symbol
    lexical: Float[Array, "*batch symbol token"]  # P(A -> token | A is not empty)
    closure: Float[Array, "*batch symbol symbol"]  # (I - L)^-1: a solve at every token would dwarf the filter
    nats: Float[Array, "*batch"]  # the entropy of a derivation
    tokens: Float[Array, "*batch"]  # expected tokens of a document, the end token included
    left: tuple[int, ...] = struct.field(pytree_node=False)  # B of each pair
    right: tuple[int, ...] = struct.field(pytree_node=False)  # C of each pair
    names: tuple[str, ...] = struct.field(pytree_node=False)  # of the tokens
    unambiguous: bool = struct.field(pytree_node=False)  # no document has two derivations
    document: int = struct.field(pytree_node=False)  # tokens of the longest document that may be read
    length: int | None = struct.field(pytree_node=False, default=None)  # tokens that will be read, where that is known

    @property
    def vocab_size(self) -> int:
        """The grammar's tokens and the end token."""
        return self.lexical.shape[-1] + 1

    @property
    def room(self) -> int:
        """The longest document that the chart holds."""
        return self.document if self.length is None else min(self.length, self.document)

    def sized(self, length: int) -> "PCFG":
        """The same law, with a chart no larger than `length` tokens need."""
        return self.replace(length=max(length, 1))  # pyright: ignore[reportAttributeAccessIssue]

    def start(self) -> Chart:
        """An empty chart, at the start of a document."""
        room, (symbols, pairs), dtype = self.room, self.binary.shape[-2:], self.binary.dtype
        fresh = self._fresh()
        return Chart(
            position=jnp.zeros((), jnp.int32),
            age=jnp.zeros((), jnp.int32),
            first=jnp.zeros((room, room, pairs), dtype),
            reach=jnp.zeros((room, symbols), dtype).at[0].set(fresh),
            chosen=jnp.zeros((room, pairs), dtype).at[0].set(fresh @ self.binary),
            end=self.empty,
        )

    def log_next(self, state: Chart) -> Float[Array, "vocab"]:
        """Log p(next token | past), the end token last."""
        reach = state.reach[state.position % self.room]
        law = jnp.concatenate([reach @ self.lexical, state.end[None]])
        return jnp.where(law > 0, jnp.log(jnp.where(law > 0, law, 1)), -jnp.inf)  # slopes stay finite beside a zero

    def advance(self, state: Chart, token: Int[Array, ""]) -> Chart:
        """Closes the spans that end in this token, then predicts from the symbols that wait behind them."""
        ends = token == self.vocab_size - 1
        emits = self.lexical[:, jnp.where(ends, 0, token)]
        total = state.reach[state.position % self.room] @ emits
        possible = jnp.where(ends, state.end, total) > 0
        self._refuse_overflow(state.age, ~ends & possible)
        column, inside = self._spans(state, jnp.where(total > 0, emits / jnp.where(total > 0, total, 1), 0))
        waiting = jnp.zeros_like(emits).at[np.array(self.right, int)].add((state.chosen * column).sum(0))
        reach = jnp.where(ends, self._fresh(), waiting @ self.closure)
        reach = jnp.where(possible, reach, 0)  # after an impossible token: zeros, so -inf for ever
        place = (state.position + 1) % self.room
        return Chart(
            position=state.position + 1,
            age=jnp.where(ends | ~possible, 0, state.age + 1),
            first=state.first.at[place].set(jnp.where(ends, 0, column)),
            reach=state.reach.at[place].set(reach),
            chosen=state.chosen.at[place].set(reach @ self.binary),
            end=jnp.where(possible, jnp.where(ends, self.empty, (1 - self.empty) * inside), 0),
        )

    def entropy_rate(self) -> Quantity:
        """Entropy of a document / its expected tokens, the end token included.

        Exact where no document has two derivations: then documents have the entropy of derivations,
        sum_A E[number of A] H(rules of A). Otherwise certified (`worlds.grammar_entropy`).
        """
        nats, tokens = float(self.nats), float(self.tokens)
        return exact(nats / tokens) if self.unambiguous else grammar_entropy.rate(self, nats, tokens)

    def _fresh(self) -> Float[Array, "symbol"]:
        """Reach at the start of a document: the start symbol waits, unless the document is empty."""
        return (1 - self.empty) * self.closure[0]

    def _spans(self, state: Chart, emits: Float[Array, "symbol"]) -> tuple[Float[Array, "room pair"], Float[Array, ""]]:
        """Spans from every start to this token, the latest start first: inside of B per pair; of the whole document."""

        def close(carry, back):
            sums, column, inside = carry  # sums [start, (B, C)]: over splits, inside of B times inside of C
            place = (state.position - back) % self.room
            spans = jnp.where(back == 0, emits, self.binary @ sums[place])
            # unreached symbols are left out: nothing bounds their inside once it is divided by the conditionals
            spans = jnp.where((back <= state.age) & (state.reach[place] > 0), spans, 0)
            sums = sums + state.first[place] * spans[np.array(self.right, int)][None]
            column = column.at[place].add(spans[np.array(self.left, int)])  # the last block goes round and adds nothing
            return (sums, column, jnp.where(back == state.age, spans[0], inside)), None

        def block(carry, back):  # static bounds, so that slopes exist; starts before every document are skipped
            within = lambda carry: jax.lax.scan(close, carry, back + jnp.arange(BLOCK, dtype=jnp.int32))[0]  # noqa: E731
            return jax.lax.cond(back <= deepest, within, lambda carry: carry, carry), None

        deepest = _deepest(state.age)
        blank = jnp.zeros_like(state.chosen)
        carry = (blank, blank, jnp.zeros_like(state.end))
        return jax.lax.scan(block, carry, jnp.arange(0, self.room, BLOCK, dtype=jnp.int32))[0][1:]

    def _refuse_overflow(self, age: Int[Array, ""], reads: Array) -> None:
        """An error when a document outgrows the chart, which cannot happen while all the tokens fit into it."""
        if self.length is not None and self.length <= self.document:
            return
        longest = _deepest(jnp.where(reads, age + 1, 0))
        jax.lax.cond(longest > self.room, self._overflow, lambda _: None, longest)

    def _overflow(self, longest: Int[Array, ""]) -> None:
        jax.debug.callback(_refuse, longest, self.room)


def _refuse(longest, room) -> None:
    raise ValueError(
        f"pcfg: a document may have at most document = {room} tokens, but one has {longest}: give document a larger "
        "number (memory grows with its square)"
    )


@custom_vmap
def _deepest(age: Int[Array, ""]) -> Int[Array, ""]:
    """The largest number in the batch, unmapped: loops and errors are decided once for all of its sequences."""
    return age


@_deepest.def_vmap
def _(axis_size, in_batched, age):
    del axis_size, in_batched
    return _deepest(age.max(axis=0)), False
