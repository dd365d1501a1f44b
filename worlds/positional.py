"""Worlds where the place of a token matters: by its phase, by its distance from the start, or by its order alone."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from worlds import lagged, steady
from worlds.base import HasEntropyRate, State, World, filtered, log_conditionals, sized
from worlds.decay import Decay, Memory, decay
from worlds.kernel import Kernel, real
from worlds.latent import latent_entropy
from worlds.quantity import Quantity, certified, exact, undefined
from worlds.table import Row, Rows, Table, checked_rows, dirichlet


class Turning(NamedTuple):
    """What a periodic world remembers, and the phase of the next token."""

    memory: Memory
    phase: Int[Array, ""]


@struct.dataclass
class Periodic:
    """One world for each phase, over one memory; made by `periodic`."""

    phases: tuple[Decay, ...]

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.phases[0].vocab_size

    def sized(self, length: int) -> "Periodic":
        """Room for `length` tokens in every phase, and no more than the farthest reaching one needs."""
        windows = [phase.window for phase in self.phases]
        room = max(length, 1) if None in windows else max(w for w in windows if w is not None)
        return Periodic(tuple(dataclasses.replace(phase, capacity=room) for phase in self.phases))

    def start(self) -> Turning:
        """Phase 0, nothing read."""
        return Turning(self.phases[0].start(), jnp.zeros((), jnp.int32))

    def log_next(self, state: Turning) -> Float[Array, "vocab"]:
        """The law of this phase."""
        return jnp.stack([phase.log_next(state.memory) for phase in self.phases])[state.phase]

    def advance(self, state: Turning, token: Int[Array, ""]) -> Turning:
        """The memory is the same for all phases; whether the token was possible is not."""
        possible = self.log_next(state)[token] > -jnp.inf
        memory = self.phases[0].advance(state.memory, token)
        return Turning(memory._replace(possible=possible), (state.phase + 1) % len(self.phases))

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """Every phase scores all positions, and each position takes its own."""
        if not all(phase.positive for phase in self.phases):
            return filtered(self, tokens)
        logs = jnp.stack([log_conditionals(phase, tokens) for phase in self.phases])
        return logs[np.arange(len(tokens)) % len(self.phases), np.arange(len(tokens))]

    @property
    def readout(self) -> str:
        """The same for all phases."""
        return self.phases[0].readout

    def reads(self, length: int) -> tuple[Float[Array, "head time 1+time"], Float[Array, "head symbol vocab"]]:
        """As Decay.reads; a head of one phase reads nothing in the others, and phases of equal maps share heads."""
        every = [phase.reads(length) for phase in self.phases]
        mine = [jnp.arange(length) % len(every) == j for j in range(len(every))]
        profiles = jnp.stack([jnp.where(here[None, :, None], x, 0) for here, (x, _) in zip(mine, every, strict=True)])
        maps = jnp.stack([maps for _, maps in every])
        if bool((maps == maps[:1]).all()):
            return profiles.sum(0), maps[0]
        return profiles.reshape(-1, *profiles.shape[2:]), maps.reshape(-1, *maps.shape[2:])

    def entropy_rate(self) -> Quantity:
        """Exact where phases and contexts can be enumerated, else only known to lie between 0 and ln V."""
        reaches = [phase.reach for phase in self.phases]
        if None not in reaches:
            reach = max(r for r in reaches if r is not None)
            if len(self.phases) * self.vocab_size**reach <= steady.LIMIT:
                return steady.entropy_rate(self.phases, reach)
        return certified(np.log(self.vocab_size) / 2, 0, np.log(self.vocab_size))


@struct.dataclass
class Delayed:
    """w_g = v_{g - delay} of another kernel."""

    kernel: Kernel
    delay: int = struct.field(pytree_node=False)
    ratio = None

    @property
    def reach(self) -> int | None:
        """The other's, and the delay."""
        return None if self.kernel.reach is None else self.kernel.reach + self.delay

    def weights(self, lags: Int[Array, "lag"]) -> Float[Array, "lag"]:
        """None at lags within the delay."""
        weight = self.kernel.weights(jnp.maximum(lags - self.delay, 1))
        return jnp.where(lags > self.delay, weight, 0)

    def tail(self, lag: int) -> Float[Array, ""]:
        """The other's, counted after the delay."""
        return self.kernel.tail(max(lag - self.delay, 0))


def periodic(
    vocab: int,
    period: int,
    kernel: Kernel,
    table: Table | Rows,
    turns: str = "kernel",
    stride: int = 1,
    noise: ArrayLike = 0.0,
    readout: str = "mixture",
    horizon: int | None = None,
    early: str = "renormalise",
    start: Row | None = None,
) -> Periodic:
    """A decaying-attention world that turns with the clock: token t (from 0) is in phase j = t mod period.

    turns="kernel": phase j reads stride j lags further back, phi_j,g = phi_{g - stride j}: with offset(1), period 2 and
    stride 2, lag 1 and lag 3 take turns. turns="table": phase j reads the row of another token, K_j[a] = K[(a + stride
    j) mod V]. Only what knows the position, at least modulo the period, can see it (exactness of absolute and rotary
    schemes).

    Args:
      vocab: number of tokens V, at least 1.
      period: number of phases, at least 1.
      kernel: as in `worlds.decay.decay`.
      table: as in `worlds.decay.decay`.
      turns: "kernel" or "table".
      stride: by how many lags, or tokens, each phase turns further; at least 1.
      noise: as in `worlds.decay.decay`.
      readout: as in `worlds.decay.decay`.
      horizon: as in `worlds.decay.decay`; every phase is cut there.
      early: as in `worlds.decay.decay`.
      start: as in `worlds.decay.decay`.
    """
    for name, number in (("period", period), ("stride", stride)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"periodic: {name} must be a whole number, at least 1, but is {number}")
    if turns not in ("kernel", "table"):
        raise ValueError(f"periodic: turns must be kernel or table, but is {turns!r}")
    rows = checked_rows("periodic", table, vocab, readout)
    steps = [stride * j for j in range(period)]
    kernels = [Delayed(kernel, step) if turns == "kernel" else kernel for step in steps]
    tables = [jnp.roll(rows, -step, axis=0) if turns == "table" else rows for step in steps]
    phases = [decay(vocab, k, r, noise, readout, horizon, early, start) for k, r in zip(kernels, tables, strict=True)]
    return Periodic(tuple(phases)).sized(phases[0].capacity)


@struct.dataclass
class Template:
    """p(x_t = v) = row[t, v]; made by `template`."""

    row: Float[Array, "*batch time vocab"]  # the last one holds for ever after

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.row.shape[-1]

    def start(self) -> Int[Array, ""]:
        """No token yet."""
        return jnp.zeros((), jnp.int32)

    def log_next(self, state: Int[Array, ""]) -> Float[Array, "vocab"]:
        """The row of this place."""
        return lagged.log(self.row[state])

    def reads(self, length: int) -> tuple[Float[Array, "head time 1+time"], Float[Array, "head symbol vocab"]]:
        """As Decay.reads: a head for each position, which reads the start symbol there and nothing elsewhere."""
        profiles = jnp.zeros((length, length, 1 + length), self.row.dtype)
        at = jnp.arange(length)
        rows = self.row[jnp.minimum(at, len(self.row) - 1)]
        return profiles.at[at, at, 0].set(1), jnp.repeat(rows[:, None], 1 + self.vocab_size, axis=1)

    def advance(self, state: Int[Array, ""], token: Int[Array, ""]) -> Int[Array, ""]:
        """One place on, whatever the token."""
        del token
        return jnp.minimum(state + 1, self.row.shape[-2] - 1)

    def entropy_rate(self) -> Quantity:
        """Ln V, exact: after the template, tokens are uniform."""
        return exact(np.log(self.vocab_size))


def template(vocab: int, length: int, concentration: float = 0.3, floor: float = 0.02, seed: int = 0) -> Template:
    """Tokens that depend on nothing but how far they are from the start: x_t ~ row t of a random template.

    Rows are floor / V + (1 - floor) Dirichlet(concentration); from position `length` (from 0) on, tokens are uniform.
    Only what knows the absolute position can see it.

    Args:
      vocab: number of tokens V, at least 1.
      length: positions of the template, tokens, at least 1.
      concentration: above 0; small makes rows sharp.
      floor: share of the uniform law in every row, in [0, 1).
      seed: of the draw, as in worlds/table.py.
    """
    if not isinstance(vocab, int) or vocab < 1:
        raise ValueError(f"template: vocab must be at least 1 token, but is {vocab}")
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"template: length must be at least 1 position, but is {length}")
    rows = dirichlet(vocab, "mixture", concentration, floor, seed, length)
    return Template(jnp.concatenate([rows, jnp.full((1, vocab), 1 / vocab, rows.dtype)]))


@struct.dataclass
class Clock:
    """A world with fillers, the last token of the vocabulary; made by `clock`."""

    world: World
    fill: Float[Array, "*batch"]

    @property
    def vocab_size(self) -> int:
        """The inner world's tokens and the filler."""
        return self.world.vocab_size + 1

    def sized(self, length: int) -> "Clock":
        """Room for `length` tokens."""
        return dataclasses.replace(self, world=sized(self.world, length))

    def start(self) -> State:
        """The inner world's."""
        return self.world.start()

    def log_next(self, state: State) -> Float[Array, "vocab"]:
        """A filler with probability fill, else the inner world's next token."""
        inner = self.world.log_next(state)
        filler = jnp.where(inner.max() > -jnp.inf, lagged.log(self.fill), -jnp.inf)  # nothing follows the impossible
        return jnp.concatenate([jnp.log1p(-self.fill) + inner, filler[None]])

    def advance(self, state: State, token: Int[Array, ""]) -> State:
        """A filler leaves the inner world as it was."""
        last = self.world.vocab_size - 1
        after = self.world.advance(state, jnp.minimum(token, last))
        return jax.tree.map(lambda new, old: jnp.where(token > last, old, new), after, state)

    def latent_entropy(self, state: State) -> Float[Array, ""]:
        """The coin's entropy, and the inner world's where it speaks."""
        return self._coin() + (1 - self.fill) * latent_entropy(self.world, state)

    def entropy_rate(self) -> Quantity:
        """H_b(fill) + (1 - fill) h, with h the inner world's rate and its class."""
        if not isinstance(self.world, HasEntropyRate):
            return undefined()
        rate, coin, share = self.world.entropy_rate(), float(self._coin()), float(1 - self.fill)
        return dataclasses.replace(
            rate, value=coin + share * rate.value, low=coin + share * rate.low, high=coin + share * rate.high
        )

    def _coin(self) -> Float[Array, ""]:
        both = jnp.stack([self.fill, 1 - self.fill])
        return -(both * jnp.where(both > 0, lagged.log(both), 0)).sum()


def clock(world: World, fill: ArrayLike) -> Clock:
    """A world whose clock is random: before each of its tokens come fillers, each with probability fill.

    The filler is token V, one more than the world's. The order of the world's tokens matters, their distance does not:
    what counts by distance (ALiBi, RoPE) is misled, what counts contents (CoPE, Golovneva et al. 2024,
    arXiv:2405.18719) is not.

    Args:
      world: whose tokens come between fillers.
      fill: probability that the next token is a filler, in [0, 1). Scalar.
    """
    if not isinstance(fill, Tracer) and not np.all((0 <= np.asarray(fill)) & (np.asarray(fill) < 1)):
        raise ValueError(f"clock: fill must be in [0, 1), but is {fill}")
    return Clock(world, real(fill))
