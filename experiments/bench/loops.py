"""What one would write without this package: exact next-token laws in a plain NumPy loop over time, batches at once.

For `experiments.bench` alone. Each loop is a world's filter by hand, vectorised over sequences, in plain probabilities;
scoring and sampling are written once over them.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int


@runtime_checkable
class Loop(Protocol):
    """A filter over many sequences."""

    def start(self, batch: int) -> Any:
        """The states before the first token."""
        ...

    def law(self, state: Any) -> Float[np.ndarray, "batch vocab"]:
        """The next token's law."""
        ...

    def advance(self, state: Any, tokens: Int[np.ndarray, "batch"]) -> Any:
        """The states after one more token."""
        ...


def score(loop: Loop, tokens: Int[np.ndarray, "batch time"]) -> Float[np.ndarray, "batch time vocab"]:
    """Log p of every token at every position."""
    state, laws = loop.start(len(tokens)), []
    for column in tokens.T:
        laws.append(loop.law(state))
        state = loop.advance(state, column)
    with np.errstate(divide="ignore"):
        return np.log(np.stack(laws, axis=1))


def sample(loop: Loop, random: np.random.Generator, batch: int, length: int) -> Int[np.ndarray, "batch time"]:
    """Draws sequences, each token by inverting the cumulative law."""
    state, drawn = loop.start(batch), []
    for _ in range(length):
        cumulative = loop.law(state).cumsum(1)
        uniform = random.random((batch, 1)) * cumulative[:, -1:]
        drawn.append((cumulative <= uniform).sum(1).astype(np.int32))
        state = loop.advance(state, drawn[-1])
    return np.stack(drawn, axis=1)


@dataclass(frozen=True)
class Finite:
    """The forward filter. `grouped` multiplies all beliefs that saw the same token at once, and copies no operator."""

    transition: Float[np.ndarray, "vocab state state"]
    initial: Float[np.ndarray, "state"]
    grouped: bool

    def start(self, batch):
        """Beliefs."""
        return np.tile(self.initial, (batch, 1))

    def law(self, state):
        """Row sums of the operators."""
        return state @ self.transition.sum(-1).T

    def advance(self, state, tokens):
        """Bayes, then normalise."""
        if self.grouped:
            after = np.empty_like(state)
            for v in range(len(self.transition)):
                rows = np.flatnonzero(tokens == v)
                after[rows] = state[rows] @ self.transition[v]
        else:
            after = np.matmul(state[:, None, :], self.transition[tokens])[:, 0]
        return after / after.sum(1, keepdims=True)


@dataclass(frozen=True)
class Geometric:
    """Lags of weight rate^(g-1), renormalised, by a recurrence over the mass of each token."""

    rate: float
    rows: Float[np.ndarray, "vocab vocab"]

    def start(self, batch):
        """No mass."""
        return np.zeros((batch, len(self.rows)))

    def law(self, state):
        """Uniform before the first token."""
        total = state.sum(1, keepdims=True)
        return state / total @ self.rows if total.all() else np.full(state.shape, 1 / len(self.rows))

    def advance(self, state, tokens):
        """All are a lag older, one is new."""
        after = self.rate * state
        after[np.arange(len(tokens)), tokens] += 1
        return after


@dataclass(frozen=True)
class Window:
    """Any lag weights of a finite reach, renormalised over the lags that find a token."""

    weights: Float[np.ndarray, "lag"]
    rows: Float[np.ndarray, "vocab vocab"]

    def start(self, batch):
        """No tokens."""
        return np.zeros((batch, 0), np.int32)

    def law(self, state):
        """Reads every remembered token's row."""
        if state.shape[1] == 0:
            return np.full((len(state), len(self.rows)), 1 / len(self.rows))
        weights = self.weights[: state.shape[1]]
        return np.einsum("g,bgv->bv", weights / weights.sum(), self.rows[state])

    def advance(self, state, tokens):
        """The latest first."""
        return np.concatenate([tokens[:, None], state], axis=1)[:, : len(self.weights)]


@dataclass(frozen=True)
class Urn:
    """Laplace's rule: (n_v + alpha) / (n + V alpha)."""

    vocab: int
    alpha: float

    def start(self, batch):
        """Prior counts."""
        return np.full((batch, self.vocab), self.alpha)

    def law(self, state):
        """Counts over their sum."""
        return state / state.sum(1, keepdims=True)

    def advance(self, state, tokens):
        """One more."""
        after = state.copy()
        after[np.arange(len(tokens)), tokens] += 1
        return after


@dataclass(frozen=True)
class Brackets:
    """A stack for each sequence, as deep as the sequence is long."""

    kinds: int
    p_open: float
    length: int

    def start(self, batch):
        """(depth, stack)."""
        return np.zeros(batch, np.int32), np.zeros((batch, self.length + 1), np.int32)

    def law(self, state):
        """Open, or close what is on top, or end."""
        depth, stack = state
        each = np.arange(len(depth))
        law = np.zeros((len(depth), 2 * self.kinds + 1))
        law[:, : self.kinds] = self.p_open / self.kinds
        law[each, np.where(depth > 0, self.kinds + stack[each, depth - 1], 2 * self.kinds)] = 1 - self.p_open
        return law

    def advance(self, state, tokens):
        """Push, pop, or nothing at an end."""
        depth, stack = state
        opens = tokens < self.kinds
        after = stack.copy()
        after[np.flatnonzero(opens), depth[opens]] = tokens[opens]
        return depth + np.where(opens, 1, np.where(tokens == 2 * self.kinds, 0, -1)), after


@dataclass(frozen=True)
class Turns:
    """Laws that take turns over one memory."""

    phases: tuple[Loop, ...]

    def start(self, batch):
        """(time, memory)."""
        return 0, self.phases[0].start(batch)

    def law(self, state):
        """That of the phase."""
        return self.phases[state[0] % len(self.phases)].law(state[1])

    def advance(self, state, tokens):
        """The memory is that of all."""
        return state[0] + 1, self.phases[0].advance(state[1], tokens)


@dataclass(frozen=True)
class Contexts:
    """Laplace's rule for each context of some last tokens, which are uniform themselves."""

    vocab: int
    order: int
    alpha: float

    def start(self, batch):
        """(time, context, counts)."""
        return 0, np.zeros(batch, np.int64), np.full((batch, self.vocab**self.order, self.vocab), self.alpha)

    def law(self, state):
        """Counts of this context over their sum."""
        time, context, counts = state
        if time < self.order:
            return np.full((len(context), self.vocab), 1 / self.vocab)
        here = counts[np.arange(len(context)), context]
        return here / here.sum(1, keepdims=True)

    def advance(self, state, tokens):
        """One more in this context, and the next one."""
        time, context, counts = state
        if time >= self.order:
            counts = counts.copy()
            counts[np.arange(len(context)), context, tokens] += 1
        return time + 1, (context * self.vocab + tokens) % self.vocab**self.order, counts


@dataclass(frozen=True)
class Copies:
    """Letters, a separator, the same letters, the end; then the next."""

    length: int
    letters: int

    def start(self, batch):
        """(place, what was said)."""
        return 0, np.zeros((batch, self.length), np.int64)

    def law(self, state):
        """Uniform over letters, or certain."""
        place, said = state
        law = np.zeros((len(said), self.letters + 2))
        if place < self.length:
            law[:, : self.letters] = 1 / self.letters
        elif place == self.length:
            law[:, self.letters] = 1
        elif place <= 2 * self.length:
            law[np.arange(len(said)), said[:, place - self.length - 1]] = 1
        else:
            law[:, -1] = 1
        return law

    def advance(self, state, tokens):
        """One place on."""
        place, said = state
        if place < self.length:
            said = said.copy()
            said[:, place] = tokens
        return (place + 1) % (2 * self.length + 2), said


@dataclass(frozen=True)
class Mixed:
    """One of several, by Bayes."""

    loops: tuple[Loop, ...]
    weights: Float[np.ndarray, "component"]

    def start(self, batch):
        """(posterior, the memory of each)."""
        return np.tile(self.weights, (batch, 1)), [loop.start(batch) for loop in self.loops]

    def law(self, state):
        """Averaged over the posterior."""
        return np.einsum("bc,cbv->bv", state[0], self._laws(state))

    def advance(self, state, tokens):
        """Bayes, then each its own."""
        joint = state[0] * self._laws(state)[:, np.arange(len(tokens)), tokens].T
        after = [loop.advance(memory, tokens) for loop, memory in zip(self.loops, state[1], strict=True)]
        return joint / joint.sum(1, keepdims=True), after

    def _laws(self, state):
        return np.stack([loop.law(memory) for loop, memory in zip(self.loops, state[1], strict=True)])
