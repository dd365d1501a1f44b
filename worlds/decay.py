"""Decaying attention: the next token reads the past through lag kernels.

With phi_h the normalised kernel of head h (worlds/kernel.py), w_h its weight, and the start symbol a row of K too,

    mixture:    p_t(y) = noise / V + (1 - noise) sum_h w_h sum_g phi_h,g K_h[x_{t-g}, y],
    loglinear:  p_t(y) = noise / V + (1 - noise) softmax_y(sum_h w_h sum_g phi_h,g W_h[x_{t-g}, y]).

The mixture is the mixture transition distribution (Raftery 1985, JRSS B 47:528; Berchtold & Raftery 2002, Stat. Sci.
17:328), the loglinear form a product of experts, what one attention layer with a softmax read-out says. Symbols are
numbered with the start symbol first, so that token v is symbol v + 1. Nats per token.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from worlds import base, kernel, lagged, steady
from worlds.kernel import Kernel, real
from worlds.quantity import Quantity, certified, undefined
from worlds.table import READOUTS, Row, Rows, Table, checked_row, checked_rows

CAPACITY = 1024  # tokens that an endless world remembers where nobody said how many; the free functions say it


class Memory(NamedTuple):
    """What is remembered of the past: O(vocab) for recurrent heads, the last tokens for the others.

    Head h has read symbol a with weight ratio_h^age[a] * mass[h, a]: mass and its exponent apart, so that no
    weight underflows, however long ago the symbol was seen.
    """

    age: Int[Array, "symbol"]  # tokens since each symbol was read last
    mass: Float[Array, "recurrent symbol"]
    recent: Int[Array, "lag"]  # symbols, the latest first; the start symbol where there is no token
    possible: Bool[Array, ""]  # False for ever after an impossible token


@struct.dataclass
class Decay:
    """A world of decaying attention; see the module. Made by `decay` and `decay_heads`."""

    kernels: tuple[Kernel, ...]
    tables: Float[Array, "*batch head symbol vocab"]  # row 0: start symbol; probabilities, or logits W
    weights: Float[Array, "*batch head"]  # sum to one
    noise: Float[Array, "*batch"]
    readout: str = struct.field(pytree_node=False)
    horizon: int | None = struct.field(pytree_node=False)
    early: str = struct.field(pytree_node=False)
    positive: bool = struct.field(pytree_node=False)  # no token is ever impossible or nearly so: linear sums are safe
    capacity: int = struct.field(pytree_node=False)  # tokens that heads without recurrence remember

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.tables.shape[-1]

    @property
    def recurrent(self) -> tuple[int, ...]:
        """The heads that are read by a recurrence in O(vocab) memory."""
        return tuple(h for h, k in enumerate(self.kernels) if k.ratio is not None and self.horizon is None)

    @property
    def windowed(self) -> tuple[int, ...]:
        """The heads that are read from remembered tokens."""
        return tuple(h for h in range(len(self.kernels)) if h not in self.recurrent)

    @property
    def reach(self) -> int | None:
        """The largest lag that any head reads; None if endless."""
        ends = [kernel.reach(k, self.horizon) for k in self.kernels]
        return None if None in ends else max(end for end in ends if end is not None)

    @property
    def window(self) -> int | None:
        """The lags that windowed heads reach; None if endless."""
        ends = [kernel.reach(self.kernels[h], self.horizon) for h in self.windowed]
        return None if None in ends else max((end for end in ends if end is not None), default=0)

    def sized(self, length: int) -> "Decay":
        """Room for `length` tokens, and no more than the window reaches."""
        return dataclasses.replace(self, capacity=max(length, 1) if self.window is None else self.window)

    def start(self) -> Memory:
        """Nothing but the start symbol has been read."""
        mass = jnp.zeros((len(self.recurrent), 1 + self.vocab_size), self.tables.dtype).at[:, 0].set(1)
        age, recent = jnp.zeros(1 + self.vocab_size, jnp.int32), jnp.zeros(self.capacity, jnp.int32)
        return Memory(age, mass, recent, jnp.array(True))

    def log_next(self, state: Memory) -> Float[Array, "vocab"]:
        """Log p(next token = v); exactly -inf where impossible."""
        reads = [self._recurrent_reads(state, i, h) for i, h in enumerate(self.recurrent)]
        reads += [self._windowed_reads(state.recent, h) for h in self.windowed]
        maps = self._maps()
        places = jnp.concatenate([state.recent, jnp.zeros(1, jnp.int32)])  # beyond what is remembered: the start symbol
        rows = jnp.concatenate([maps[h] for h in self.recurrent] + [maps[h][places] for h in self.windowed])
        total = jnp.concatenate([weight for weight, _ in reads]) @ rows
        if self.readout == "loglinear":
            return self._with_noise(jax.nn.log_softmax(total))
        if self.positive:
            return jnp.log(total)
        logs = lagged.log_mixture(total, jnp.concatenate([logs for _, logs in reads]), rows)
        return jnp.where(state.possible, logs, -jnp.inf)

    def advance(self, state: Memory, token: Int[Array, ""]) -> Memory:
        """One more token: it is the previous one now, and all others are a lag further away."""
        symbol = 1 + token.astype(jnp.int32)
        self._refuse_overflow(state)
        age = state.age + 1
        ratio = self._ratios()
        seen = jnp.arange(1 + self.vocab_size, dtype=jnp.int32) == symbol
        again = 1 + state.mass * ratio ** age.astype(ratio.dtype)[None, :]
        recent = jnp.concatenate([symbol[None], state.recent])[: self.capacity]
        possible = state.possible if self.positive else self.log_next(state)[token] > -jnp.inf
        return Memory(jnp.where(seen, 0, age), jnp.where(seen[None, :], again, state.mass), recent, possible)

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """All positions at once, by matrix products of kernels with table rows.

        O(time vocab) where heads are recurrent or have a finite reach, else O(time^2 vocab). Where a token may be all
        but impossible, sums of probabilities could underflow: then by the filter, in logs.
        """
        if not self.positive or len(tokens) == 0:
            return base.filtered(self, tokens)
        maps = self._maps()
        heads = [lagged.reads(k, self.horizon, self.early, maps[h], tokens) for h, k in enumerate(self.kernels)]
        total = sum((weight * head for weight, head in zip(self.weights, heads, strict=True)), jnp.zeros_like(heads[0]))
        return jnp.log(total) if self.readout == "mixture" else self._with_noise(jax.nn.log_softmax(total))

    def entropy_rate(self) -> Quantity:
        """Exact where the contexts of a finite reach can be enumerated, else (for a mixture) certified between bounds.

        With the noise in K, P = sum_h w_h K_h and pi = pi P the law of one token, entropy is concave and conditioning
        lowers it: sum_h w_h sum_a pi_a H(K_h[a]) <= h <= H(pi). Undefined where the start is never forgotten.
        """
        if self.reach is not None and self.vocab_size**self.reach <= steady.LIMIT:
            return steady.entropy_rate([self], self.reach)
        if self.readout == "loglinear":
            return certified(np.log(self.vocab_size) / 2, 0, np.log(self.vocab_size))
        maps, weights = np.asarray(self._maps()[:, 1:], np.float64), np.asarray(self.weights, np.float64)
        law = steady.stationary(np.einsum("h,hab->ab", weights, maps))
        if law is None:
            return undefined()
        low = float(np.einsum("h,a,ha->", weights, law, base.entropy(jnp.log(maps))))
        high = float(base.entropy(jnp.log(law)))
        return certified((low + high) / 2, low, high)

    def reads(self, length: int) -> tuple[Float[Array, "head time 1+time"], Float[Array, "head symbol vocab"]]:
        """Profiles alpha and maps M with p_t(y) = sum_h sum_s alpha_h[t, s] M_h[symbol at s, y], noise included.

        Column 0 of a profile and row 0 of a map are the start symbol's. Mixture read-out only.
        """
        if self.readout != "mixture":
            raise ValueError(f"reads: the read-out must be a mixture to be linear in its reads, but is {self.readout}")
        profiles = [kernel.profile(k, length, self.early, self.horizon) for k in self.kernels]
        return jnp.stack(profiles), self.weights[:, None, None] * self._maps()

    def _maps(self) -> Float[Array, "head symbol vocab"]:
        """The tables with the noise, where it may go in at once."""
        if self.readout == "loglinear":
            return self.tables
        return self.noise / self.vocab_size + (1 - self.noise) * self.tables

    def _ratios(self) -> Float[Array, "recurrent 1"]:
        ratios = [self.kernels[h].ratio for h in self.recurrent]
        return jnp.stack(ratios)[:, None] if ratios else jnp.zeros((0, 1), self.tables.dtype)  # type: ignore[arg-type]

    def _recurrent_reads(self, state: Memory, i: int, h: int) -> tuple[Float[Array, "symbol"], Float[Array, "symbol"]]:
        """The weight with which a head reads each symbol, times its own; and its log, which does not underflow."""
        ratio = self._ratios()[i, 0]
        age = state.age.astype(ratio.dtype)
        is_token = jnp.arange(1 + self.vocab_size) > 0
        scale = jnp.where(is_token, 1 - ratio, 1)
        if self.early == "renormalise":
            latest = jnp.where(is_token, state.mass[i] * ratio**age, 0).sum()  # at least 1 after the first token
            scale = jnp.where(is_token == (latest > 0), 1 / jnp.where(latest > 0, latest, 1), 0)
        mass = self.weights[h] * scale * state.mass[i]
        return mass * ratio**age, age * jnp.log(ratio) + lagged.log(mass)

    def _windowed_reads(self, recent: Int[Array, "lag"], h: int) -> tuple[Float[Array, "lag+1"], Float[Array, "lag+1"]]:
        """The weight with which a head reads each remembered place and, last, all that is older; and its log."""
        weight, found, missing = kernel.mass(self.kernels[h], self.horizon, self.capacity + 1)
        unread = max(self.capacity - len(weight), 0)
        each = jnp.concatenate([weight[: self.capacity], jnp.zeros(unread, weight.dtype), missing[-1:]])
        if self.early == "sink":
            each = each / (found[0] + missing[0])
        else:
            is_token = jnp.concatenate([recent, jnp.zeros(1, jnp.int32)]) > 0
            total = jnp.where(is_token, each, 0).sum()
            only_start = jnp.zeros_like(each).at[-1].set(1)
            each = jnp.where(total > 0, jnp.where(is_token, each, 0) / jnp.where(total > 0, total, 1), only_start)
        each = self.weights[h] * each
        return each, lagged.log(each)

    def _with_noise(self, logs: Float[Array, "*time vocab"]) -> Float[Array, "*time vocab"]:
        """log(noise / V + (1 - noise) exp(logs)), also where that exponential underflows."""
        total = self.noise / self.vocab_size + (1 - self.noise) * jnp.exp(logs)
        return jnp.where(total > 0, lagged.log(total), jnp.log1p(-self.noise) + logs)

    def _refuse_overflow(self, memory: Memory) -> None:
        """An endless world whose memory is full would forget; the free functions size it, a loop by hand must."""
        if self.window is not None or isinstance(memory.recent, Tracer):
            return
        if memory.recent.ndim == 1 and memory.recent[-1] > 0:
            raise ValueError(
                f"decay: an endless world must have room for its past, but {self.capacity} tokens fill it; "
                "make room with world.sized(length)"
            )


class Head(NamedTuple):
    """A kernel with what it reads and how much it counts."""

    kernel: Kernel
    table: Table | Rows
    weight: ArrayLike


def head(kernel: Kernel, table: Table | Rows, weight: ArrayLike = 1.0) -> Head:
    """One head of `decay_heads`: kernel, table and relative weight (above 0)."""
    if not isinstance(weight, Tracer) and not np.all((0 < np.asarray(weight)) & np.isfinite(weight)):
        raise ValueError(f"head: weight must be a finite number above 0, but is {weight}")
    return Head(kernel, table, weight)


def decay(
    vocab: int,
    kernel: Kernel,
    table: Table | Rows,
    noise: ArrayLike = 0.0,
    readout: str = "mixture",
    horizon: int | None = None,
    early: str = "renormalise",
    start: Row | None = None,
) -> Decay:
    """One head: p_t = noise/V + (1 - noise) sum_g phi_g K[x_{t-g}], or its loglinear form (see the module).

    Args:
      vocab: number of tokens V, at least 1.
      kernel: of worlds/kernel.py.
      table: what reading a token says: `dirichlet`, `identity`, `given` of worlds/table.py, or [vocab, vocab] rows.
      noise: share of the uniform law, in [0, 1). Scalar.
      readout: "mixture" or "loglinear".
      horizon: the largest lag read, tokens, at least 1; None if endless.
      early: "renormalise" or "sink": what lags read that find no token (worlds/kernel.py).
      start: [vocab] row of the start symbol: probabilities (mixture) or logits (loglinear); uniform if None.
    """
    return decay_heads(vocab, {"only": head(kernel, table)}, noise, readout, horizon, early, start)


def decay_heads(
    vocab: int,
    heads: Mapping[str, Head],
    noise: ArrayLike = 0.0,
    readout: str = "mixture",
    horizon: int | None = None,
    early: str = "renormalise",
    start: Row | None = None,
) -> Decay:
    """A world with several heads, each with its kernel, table and weight; the rest as `decay`.

    Args:
      vocab: number of tokens V, at least 1.
      heads: by name; at least one. Weights are relative.
      noise: as in `decay`, and so all that follow; the start symbol has one row for all heads.
      readout: "mixture" or "loglinear".
      horizon: of all heads.
      early: "renormalise" or "sink".
      start: [vocab], or None.
    """
    _check_scalars(vocab, heads, noise, readout)
    first = real(jnp.full(vocab, 1 / vocab)) if start is None else checked_row(start, vocab, readout)
    for h in heads.values():
        kernel.check(h.kernel, horizon, early)
    rows = [checked_rows(name, h.table, vocab, readout) for name, h in heads.items()]
    tables = jnp.stack([jnp.concatenate([first[None], r]) for r in rows])
    weights = jnp.stack([real(h.weight) for h in heads.values()])
    noise = real(noise)
    world = Decay(
        tuple(h.kernel for h in heads.values()), tables, weights / weights.sum(), noise, readout, horizon, early,
        positive=_is_positive(tables, noise, readout), capacity=1,
    )  # fmt: skip
    return world.sized(CAPACITY)


def _check_scalars(vocab: int, heads: Mapping[str, Head], noise: ArrayLike, readout: str) -> None:
    if not isinstance(vocab, int) or vocab < 1:
        raise ValueError(f"decay: vocab must be at least 1 token, but is {vocab}")
    if not heads:
        raise ValueError("decay: a world must have at least one head, but got none")
    if readout not in READOUTS:
        raise ValueError(f"decay: readout must be mixture or loglinear, but is {readout!r}")
    if not isinstance(noise, Tracer) and not np.all((0 <= np.asarray(noise)) & (np.asarray(noise) < 1)):
        raise ValueError(f"decay: noise must be in [0, 1), but is {noise}")


def _is_positive(tables: Float[Array, "..."], noise: Float[Array, ""], readout: str) -> bool:
    """Whether every probability is so far from zero, float32's too, that its sums need no logs."""
    if readout == "loglinear":
        return True
    if isinstance(tables, Tracer) or isinstance(noise, Tracer):
        return False
    return bool(jnp.all(noise / tables.shape[-1] + (1 - noise) * tables > 1e-30))
