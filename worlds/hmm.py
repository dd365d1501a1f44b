"""Hidden Markov worlds: a hidden state moves and speaks at once, and the world's memory is the belief about it.

`transition[v, s, t]` is p(token v, next state t | state s), so that p(x_1 ... x_T) = pi T[x_1] ... T[x_T] 1. Signed
entries are allowed (generalised hidden Markov worlds, `worlds.generalised`): nothing below asks for a sign. Worlds here
start in their stationary law. Sources, where no other is named: Crutchfield & Feldman 2003, arXiv:cond-mat/0102181.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from worlds.belief import Belief, believe, log_positive, scaled, through
from worlds.chain import numpy_for, stationary
from worlds.entropy import entropy_rate
from worlds.quantity import Quantity
from worlds.scoring import drawn, scored


@struct.dataclass
class HMM:
    """p(token v, next state t | state s) = transition[v, s, t]; the world's state is the belief, from `initial`."""

    transition: Float[Array, "*batch vocab state state"]
    initial: Float[Array, "*batch state"]

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self.transition.shape[-3]

    def start(self) -> Belief:
        """The belief before the first token."""
        return believe(self.initial)

    def log_next(self, state: Belief) -> Float[Array, "vocab"]:
        """Log p(v) = log sum_s b[s] sum_t T[v, s, t]."""
        return log_positive(through(state, self.transition.sum(-1).T))

    def advance(self, state: Belief, token: Int[Array, ""]) -> Belief:
        """Bayes, b T[v], then normalise by p(v)."""
        operator = self.transition[token]
        return scaled(through(state, operator), log_positive(through(state, operator.sum(-1, keepdims=True)))[0])

    def log_conditionals(self, tokens: Int[Array, "time"]) -> Float[Array, "time vocab"]:
        """As the filter of `log_next` and `advance`, in a faster form (`worlds.scoring`)."""
        return scored(self, tokens)

    def sample_with_law(
        self, key: Key[Array, ""], length: int
    ) -> tuple[Int[Array, "time"], Float[Array, "time vocab"]]:
        """As the filter draws from the same key, in a faster form (`worlds.scoring`)."""
        return drawn(self, key, length)

    def entropy_rate(self) -> Quantity:
        """Closed form where there is one, else a certified interval (`worlds.entropy`)."""
        return entropy_rate(np.asarray(self.transition), np.asarray(self.initial))


def coin(p: ArrayLike) -> HMM:
    """Independent throws of one coin; entropy rate H_b(p).

    Args:
      p: probability of a one, in (0, 1).
    """
    (p,) = between(0, 1, "coin", p=p)
    return HMM(table([[[1 - p]], [[p]]]), table([1]))


def golden_mean(p: ArrayLike) -> HMM:
    """The golden mean process: binary, no two ones in a row; a one may follow a zero with probability p.

    Entropy rate H_b(p) / (1 + p): 2/3 bit at p = 1/2. A Markov chain of order one.

    Args:
      p: probability of a one after a zero, in (0, 1).
    """
    (p,) = between(0, 1, "golden_mean", p=p)
    return HMM(table([[[1 - p, 0], [1, 0]], [[0, p], [0, 0]]]), table([1 / (1 + p), p / (1 + p)]))


def even(p: ArrayLike) -> HMM:
    """The even process: ones come in blocks of even length, between any number of zeros.

    Entropy rate H_b(p) / (1 + p). Strictly sofic: no finite window suffices, yet two states do.

    Args:
      p: probability that a block of ones begins, in (0, 1).
    """
    (p,) = between(0, 1, "even", p=p)
    return HMM(table([[[1 - p, 0], [0, 0]], [[0, p], [1, 0]]]), table([1 / (1 + p), p / (1 + p)]))


def z1r(p: ArrayLike) -> HMM:
    """Zero, one, random, for ever: three states in a ring, of which only the last has a choice. Period 3.

    Entropy rate H_b(p) / 3 (Shai et al. 2024, arXiv:2405.15943, at p = 1/2).

    Args:
      p: probability that the random token is a one, in (0, 1).
    """
    (p,) = between(0, 1, "z1r", p=p)
    zero, one = [[0, 1, 0], [0, 0, 0], [1 - p, 0, 0]], [[0, 0, 0], [0, 0, 1], [p, 0, 0]]
    return HMM(table([zero, one]), table([1 / 3] * 3))


def rrxor(p1: ArrayLike, p2: ArrayLike) -> HMM:
    """Random, random, xor: two coins, then the xor of the two, for ever.

    Five states: 0 before the first coin; 1, 2 after it fell 0, 1; 3, 4 when the xor must be 1, 0.
    Entropy rate (H_b(p1) + H_b(p2)) / 3.

    Args:
      p1: probability that the first coin falls 0, in (0, 1).
      p2: probability that the second coin falls 0, in (0, 1).
    """
    p1, p2 = between(0, 1, "rrxor", p1=p1, p2=p2)
    a, b = 1 - p1, 1 - p2
    zero = [[0, p1, 0, 0, 0], [0, 0, 0, 0, p2], [0, 0, 0, p2, 0], [0] * 5, [1, 0, 0, 0, 0]]
    one = [[0, 0, a, 0, 0], [0, 0, 0, b, 0], [0, 0, 0, 0, b], [1, 0, 0, 0, 0], [0] * 5]
    return HMM(table([zero, one]), table([1 / 3, p1 / 3, a / 3, (p1 * b + a * p2) / 3, (p1 * p2 + a * b) / 3]))


def sns(p: ArrayLike, q: ArrayLike) -> HMM:
    """The simple nonunifilar source: a renewal process, each wait the sum of two geometric ones (Crutchfield 1994).

    State A says 0 and moves to B with probability p, unseen; B says 0 and stays, or says 1 and returns to A with
    probability q. Infinitely many beliefs; its entropy rate is a series over the zeros since the last one.

    Args:
      p: probability of leaving A, in (0, 1).
      q: probability of leaving B, in (0, 1).
    """
    p, q = between(0, 1, "sns", p=p, q=q)
    return HMM(table([[[1 - p, p], [0, 1 - q]], [[0, 0], [q, 0]]]), table([q / (p + q), p / (p + q)]))


def mess3(x: ArrayLike, a: ArrayLike) -> HMM:
    """The Mess3 process: three states, three tokens, each token a noisy name of the state just entered.

    With b = (1 - a)/2 and y = 1 - 2x, p(token v, next t | state s) = c(v, t) d(s, t), where c is a if v = t else b, and
    d is y if s = t else x. Its beliefs fill a fractal (Marzen & Crutchfield 2017), and its entropy rate has no closed
    form. The uniform law is stationary.

    Args:
      x: probability of moving to a given other state, in (0, 1/2).
      a: probability that a token names the state just entered, in (0, 1).

    >>> mess3(0.25, 0.5).transition.sum((0, 2)).tolist()
    [1.0, 1.0, 1.0]
    """
    (x,) = between(0, 0.5, "mess3", x=x)
    (a,) = between(0, 1, "mess3", a=a)
    xp, same = numpy_for(x, a), np.eye(3, dtype=bool)
    emit, move = xp.where(same, a, (1 - a) / 2), xp.where(same, 1 - 2 * x, x)
    return HMM(jnp.asarray(emit[:, None, :] * move[None, :, :], float), table([1 / 3] * 3))


def random_hmm(states: int, vocab: int, concentration: float, seed: int) -> HMM:
    """A world drawn at random: p(., . | s) ~ Dirichlet(concentration) over the (token, next state) pairs, each s alone.

    Drawn with NumPy on the host, so that a seed names one world on every device and in every float type. Small
    concentrations make worlds that are nearly automata; what underflows is an impossible move.

    Args:
      states: how many, at least 1.
      vocab: tokens, at least 1.
      concentration: of each pair, above 0.
      seed: names the draw.
    """
    for name, number in {"states": states, "vocab": vocab}.items():
        if number < 1:
            raise ValueError(f"random_hmm: {name} must be at least 1, but is {number}")
    if not 0 < concentration < np.inf:
        raise ValueError(f"random_hmm: concentration must be finite and above 0, but is {concentration}")
    rows = np.random.default_rng(seed).dirichlet(np.full(vocab * states, concentration), size=states)
    transition = rows.reshape(states, vocab, states).swapaxes(0, 1)
    return HMM(jnp.asarray(transition, float), jnp.asarray(stationary(transition), float))


def between(low: float, high: float, world: str, **numbers: Any) -> list[Any]:
    """The numbers, each strictly between two bounds: on the host, unless they are traced."""
    for name, value in numbers.items():
        if not isinstance(value, Tracer) and not low < float(value) < high:
            raise ValueError(f"{world}: {name} must lie strictly between {low} and {high}, but is {value}")
    return [jnp.asarray(x, float) if isinstance(x, Tracer) else np.float64(x) for x in numbers.values()]


def table(numbers: Any) -> Float[Array, "..."]:
    """Nested lists of numbers, some of which may be traced, as one float array."""
    shape, leaves = [], jax.tree.leaves(numbers)
    while isinstance(numbers, (list, tuple)):
        shape, numbers = [*shape, len(numbers)], numbers[0]
    xp = numpy_for(*leaves)
    return jnp.asarray(xp.stack([xp.asarray(x, float) for x in leaves]).reshape(shape), float)
