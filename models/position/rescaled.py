"""Schemes changed for lengths beyond training: interpolated, rescaled and randomised positions."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.position.base import Anywhere, Position, Scheme, Size, positive
from models.position.offset import frequencies, turned


@dataclasses.dataclass(frozen=True)
class Interpolated:
    """Positions divided by s, so that a longer sequence fits the trained range (Chen et al. 2023, arXiv:2306.15595).

    Around ALiBi this is its interpolation, slopes x L / T (Al-Khateeb et al. 2023, arXiv:2310.13017). The clock depends
    on the length that is read, so that a row's prediction changes with what follows once T > L.

    Attributes:
      scheme: any scheme that is defined between whole positions.
      factor: s, at least 1; None for T / L at lengths T beyond the trained L, and 1 within it.
    """

    scheme: Scheme
    factor: float | None = None

    def __post_init__(self):
        _at_least_one("interpolated", self.factor)

    @property
    def shared(self) -> bool:
        """As the scheme inside."""
        return self.scheme.shared

    def limit(self, trained: int) -> int | None:
        """As the scheme inside."""
        return self.scheme.limit(trained)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """The scheme inside with a slower clock."""
        position = self.scheme(size, rngs)
        position.clock = Slower(self.factor, size.length)
        return position


@dataclasses.dataclass(frozen=True)
class Slower:
    """0, 1/s, 2/s, ..."""

    factor: float | None
    length: int

    def __call__(self, inputs: Int[Array, "time"]) -> Float[Array, "time"]:
        """Positions."""
        return jnp.arange(len(inputs)) / stretch(self.factor, len(inputs), self.length)


def stretch(factor: float | None, time: int, length: int) -> float:
    """How much a sequence is longer than training: the factor given, else max(1, T / L)."""
    return max(1.0, time / length) if factor is None else factor


def _at_least_one(scheme: str, factor: float | None) -> None:
    if factor is not None and not factor >= 1:
        raise ValueError(f"{scheme}: factor must be at least 1, or null to follow the length, but is {factor}")


@dataclasses.dataclass(frozen=True)
class NTK(Anywhere):
    """RoPE with base x s^(d / (d-2)): the slowest pair turns s times slower, the fastest as trained (NTK-aware, 2023).

    Attributes:
      base: RoPE's.
      factor: s, at least 1; None for max(1, T / L).
    """

    base: float = 10_000.0
    factor: float | None = None
    shared: ClassVar[bool] = True

    def __post_init__(self):
        positive("ntk", base=self.base)
        _at_least_one("ntk", self.factor)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A rotation whose speed depends on the length."""
        if size.head_width < 4:
            raise ValueError(f"ntk: d / (d-2) needs a head width of at least 4, but it is {size.head_width}")
        frequencies(size.head_width, self.base)
        return Position(rotation=Rescaled(self, size))


@dataclasses.dataclass(frozen=True)
class YaRN(Anywhere):
    """RoPE by parts: fast pairs turn as trained, slow ones s times slower (Peng et al. 2024, arXiv:2309.00071).

    With r = L theta / 2 pi turns in training, gamma = (r - slow) / (fast - slow) within [0, 1] and theta' = (1 - gamma)
    theta / s + gamma theta; queries and keys are multiplied by 0.1 ln s + 1 each.

    Attributes:
      base: RoPE's.
      factor: s, at least 1; None for max(1, T / L).
      slow: pairs with fewer turns are interpolated.
      fast: pairs with more turns stay.
    """

    base: float = 10_000.0
    factor: float | None = None
    slow: float = 1.0
    fast: float = 32.0
    shared: ClassVar[bool] = True

    def __post_init__(self):
        positive("yarn", base=self.base, **{"fast - slow": self.fast - self.slow})
        _at_least_one("yarn", self.factor)

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """A rotation whose speed depends on the length."""
        frequencies(size.head_width, self.base)
        return Position(rotation=Rescaled(self, size))


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """A rotation with the frequencies that a sequence's length calls for."""

    scheme: NTK | YaRN
    size: Size

    def speeds(self, time: int) -> tuple[tuple[float, ...], float]:
        """Angles per token, and the factor of queries and keys."""
        d, s = self.size.head_width, stretch(self.scheme.factor, time, self.size.length)
        if isinstance(self.scheme, NTK):
            return frequencies(d, self.scheme.base * s ** (d / (d - 2))), 1.0
        trained, low, high = frequencies(d, self.scheme.base), self.scheme.slow, self.scheme.fast
        turns = [self.size.length * theta / (2 * math.pi) for theta in trained]
        kept = [min(max((r - low) / (high - low), 0.0), 1.0) for r in turns]
        return tuple((1 - k) * t / s + k * t for k, t in zip(kept, trained, strict=True)), 0.1 * math.log(s) + 1

    def __call__(
        self, q: Float[Array, "time head size"], k: Float[Array, "time head size"], position: Float[Array, "time"]
    ) -> tuple[Float[Array, "time head size"], Float[Array, "time head size"]]:
        """The turned queries and keys."""
        speeds, factor = self.speeds(len(position))
        angle = position[:, None] * jnp.asarray(speeds, position.dtype)[None, :]
        return turned(q, angle) * factor, turned(k, angle) * factor


@dataclasses.dataclass(frozen=True)
class Randomised:
    """Positions are a random increasing sequence below `longest` (Ruoss et al. 2023, arXiv:2305.16843).

    Only their order means anything, and no position is new at any length up to `longest`. The draw is a function of the
    tokens read so far, so that a network stays a causal function of its input: other sequences get other positions, in
    training and in evaluation alike, but the first inputs, of which there are few, meet few draws. n positions are
    i + floor of the i-th of n uniform order statistics on [0, longest - n].

    Attributes:
      scheme: any scheme with positions.
      longest: positions there are, and the longest sequence.
      seed: of the draws.
    """

    scheme: Scheme
    longest: int = 2048
    seed: int = 0

    def __post_init__(self):
        if self.longest < 1:
            raise ValueError(f"randomised: longest must be at least 1 token, but is {self.longest}")

    @property
    def shared(self) -> bool:
        """As the scheme inside."""
        return self.scheme.shared

    def limit(self, trained: int) -> int | None:
        """Every position below `longest` is met in training."""
        return self.longest

    def __call__(self, size: Size, rngs: nnx.Rngs) -> Position:
        """The scheme inside, sized for all positions, with a random clock."""
        if size.length > self.longest:
            raise ValueError(f"randomised: longest must hold the trained {size.length} tokens, but is {self.longest}")
        position = self.scheme(size._replace(length=self.longest), rngs)
        position.clock = Drawn(self.longest, self.seed)
        return position


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Increasing positions below `longest`, drawn from the tokens read."""

    longest: int
    seed: int

    def __call__(self, inputs: Int[Array, "time"]) -> Float[Array, "time"]:
        """Positions: the next order statistic of r left in (u, 1) is 1 - (1 - u) v^(1/r), v uniform."""
        time = len(inputs)

        def step(carry, read):
            key, u = carry
            token, left = read
            key = jax.random.fold_in(key, token)
            u = 1 - (1 - u) * jax.random.uniform(key, (), jnp.float32) ** (1 / left)
            return (key, u), u

        left = jnp.arange(time, 0, -1, dtype=jnp.float32)
        start = jax.random.key(self.seed), jnp.zeros((), jnp.float32)
        orders = jax.lax.scan(step, start, (inputs, left))[1]
        free = self.longest - time
        return jnp.arange(time) + jnp.minimum(jnp.floor(orders * (free + 1)), free)
