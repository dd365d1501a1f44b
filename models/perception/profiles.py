"""Attention profiles: ways of spreading one unit of attention over the past and a start symbol, by distance alone.

A family is a lag kernel k(g; slope), g = 1 for the previous token, renormalised over the tokens that are there, and a
share that goes to the start symbol instead, which depends on how many tokens t there are:
alpha[t, t-g] = (1 - share_t) k(g) / sum_{g' <= t} k(g'),   alpha[t, start] = share_t,   share_0 = 1.
A dictionary is a tuple of families; the union of two dictionaries is their concatenation, so larger concepts contain
smaller ones by construction.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import scipy.special
from jaxtyping import Float


@runtime_checkable
class Family(Protocol):
    """Profiles that share a formula, told apart by two numbers, slope and start."""

    @property
    def searched(self) -> tuple[bool, bool]:
        """Whether slopes, and whether starts, are a continuum, of which `grid` is where the search begins."""
        ...

    def grid(self, length: int) -> tuple[Float[np.ndarray, "slope"], Float[np.ndarray, "start"]]:
        """The numbers to look at for sequences of `length` tokens, ascending."""
        ...

    def kernel(
        self, slopes: Float[np.ndarray, "slope"], lags: Float[np.ndarray, "lag"]
    ) -> Float[np.ndarray, "slope lag"]:
        """k(g), not normalised."""
        ...

    def share(
        self, slopes: Float[np.ndarray, "slope"], starts: Float[np.ndarray, "start"], times: Float[np.ndarray, "time"]
    ) -> Float[np.ndarray, "slope start time"]:
        """What the start symbol gets where `times` tokens are there."""
        ...

    def label(self, slope: float, start: float) -> str:
        """A profile's name for a reader."""
        ...


@runtime_checkable
class Continuum(Family, Protocol):
    """A family that is searched beyond its grid: k(g) = e^(-slope d_g), for the start e^(weight - slope d_{t+1}).

    So logits are linear in (slope, weight), which is what proofs over the continuum rest on (`continuum`).
    """

    def distance(self, lags: Float[np.ndarray, "lag"]) -> Float[np.ndarray, "lag"]:
        """d_g, ascending from 0 at g = 1."""
        ...

    def steepest(self, times: Float[np.ndarray, "time"], starts: Float[np.ndarray, "start"]) -> float:
        """The slope beyond which profiles no longer change, or the last that the family has."""
        ...

    def weight(self, slopes: Float[np.ndarray, "*n"], starts: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """The start symbol's weight, from the number that it goes by."""
        ...

    def start(self, slopes: Float[np.ndarray, "*n"], weights: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Back again."""
        ...

    def bend(self, starts: Float[np.ndarray, "start"]) -> Float[np.ndarray, "start"]:
        """A bound on |d^2 weight / d slope^2| where the start's number stays."""
        ...

    def partition(self, slopes: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"] | None:
        """The logarithm of all lags' sum, if lags that find no token read the start symbol; None if it has a weight."""
        ...


Dictionary = tuple[Family, ...]


class Column(NamedTuple):
    """One profile of a family."""

    family: Family
    slope: float
    start: float


def table(column: Column, length: int) -> Float[np.ndarray, "time place"]:
    """alpha[t, 0] for the start symbol, alpha[t, 1 + s] for token s < t; rows sum to one."""
    slopes, starts, times = np.array([column.slope]), np.array([column.start]), np.arange(float(length))
    kernel = column.family.kernel(slopes, np.arange(1.0, length))[0]
    share = column.family.share(slopes, starts, times)[0, 0]
    lag = np.arange(length)[:, None] - np.arange(length)[None, :]
    raw = np.where(lag > 0, np.append(kernel, 0.0)[np.where(lag > 0, lag, length) - 1], 0.0)
    total = raw.sum(1)
    return np.column_stack([share, raw * ((1 - share) / np.where(total > 0, total, 1))[:, None]])


@dataclass(frozen=True)
class Geometric:
    """k(g) = e^{-m (g-1)}, m in [0, inf]: ALiBi's bias (Press et al. 2022, arXiv:2108.12409); m = 0 is order-free.

    The start symbol stands before the first token, at distance t + 1, with a bias of its own, b:
    share_t = c e^{-m t} / (c e^{-m t} + sum_{g <= t} e^{-m (g-1)}), c = e^b. Its number here is the half-time tau at
    which the share is one half, c = (e^{m tau} - 1) / (1 - e^{-m}), so c = tau at m = 0 (pseudo-counts), and
    share_t = E(tau) / (E(tau) + E(t)) with E(t) = e^{m t} - 1 (t at m = 0). tau = ln 2 / m is the sink of a geometric
    law: the mass that finds no token reads the start symbol. tau = 0: no start symbol.

    Args:
      slopes: m, ascending; None for the continuum [0, inf].
      starts: tau in tokens, ascending; None for the continuum [0, inf).
    """

    slopes: tuple[float, ...] | None = None
    starts: tuple[float, ...] | None = None

    @property
    def searched(self) -> tuple[bool, bool]:
        """Continua where no numbers were given."""
        return self.slopes is None, self.starts is None

    def grid(self, length):
        """40 slopes from an eighth of 1/length to 12, and 0 and inf; 24 starts from 0 to 16 lengths."""
        slopes = np.r_[0.0, np.geomspace(0.125 / length, 12, 40), np.inf] if self.slopes is None else self.slopes
        starts = np.r_[0.0, np.geomspace(0.05, 16 * length, 24)] if self.starts is None else self.starts
        return np.asarray(slopes, float), np.asarray(starts, float)

    def kernel(self, slopes, lags):
        """e^{-m (g-1)}, with inf * 0 = 0."""
        with np.errstate(invalid="ignore"):
            return np.exp(-np.where(lags[None, :] > 1, slopes[:, None] * (lags[None, :] - 1), 0.0))

    def share(self, slopes, starts, times):
        """E(tau) / (E(tau) + E(t)), by logarithms."""
        m, tau, t = slopes[:, None, None], starts[None, :, None], times[None, None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            odds = m * (tau - t) + np.log(-np.expm1(-m * tau)) - np.log(-np.expm1(-m * t))
            odds = np.where(m == 0, np.log(tau) - np.log(t), odds)
            odds = np.where(np.isinf(m), np.where(t < tau, np.inf, -np.inf), odds)
            return np.where(t == 0, 1.0, np.where(tau == 0, 0.0, scipy.special.expit(odds)))

    def distance(self, lags):
        """d_g = g - 1."""
        return lags - 1.0

    def steepest(self, times, starts):
        """Where a step of one token, or from a given half-time to the nearest token, is worth 48 nats."""
        if self.starts is None:
            return 48.0
        steps = np.abs(times[:, None] - starts[None, :])
        return float(48 / min(1.0, steps[steps > 1e-9].min(initial=1.0)))

    def weight(self, slopes, starts):
        """The weight b = log(e^(m tau) - 1) - log(1 - e^-m)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            full = slopes * starts + np.log(-np.expm1(-slopes * starts)) - np.log(-np.expm1(-slopes))
            return np.where(starts == 0, -np.inf, np.where(slopes == 0, np.log(starts), full))

    def start(self, slopes, weights):
        """The half-time tau = log(1 + e^b (1 - e^-m)) / m."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.logaddexp(0.0, weights + np.log(-np.expm1(-slopes))) / slopes
            return np.where(slopes == 0, np.exp(weights), found)

    def bend(self, starts):
        """The second derivative of log(sinh(m tau / 2) / m) is in [0, tau^2 / 12]; b is a difference of two such."""
        return np.where(starts == 0, 0.0, np.maximum(starts**2, 1.0) / 12)

    def partition(self, slopes):
        """The start symbol has a weight."""
        del slopes

    def label(self, slope, start):
        """Slope, and half-time of the start symbol where it is read."""
        return f"slope {slope:.4g}" + (f", start {start:.4g}" if start else "")


@dataclass(frozen=True)
class Lags:
    """k(g) = 1 at g = d only: one lag each; where there is no such token yet, the start symbol is read (a sink).

    Args:
      lags: d, ascending; None for all that fit. The lag inf always reads the start symbol: the unigram's profile.
    """

    lags: tuple[float, ...] | None = None

    @property
    def searched(self) -> tuple[bool, bool]:
        """Whole numbers: all are looked at."""
        return False, False

    def grid(self, length):
        """Lags 1 to length - 1."""
        return np.arange(1.0, max(length, 2)) if self.lags is None else np.asarray(self.lags, float), np.zeros(1)

    def kernel(self, slopes, lags):
        """1 at the lag."""
        return (slopes[:, None] == lags[None, :]).astype(float)

    def share(self, slopes, starts, times):
        """1 while the lag reaches before the first token."""
        return (times[None, None, :] < slopes[:, None, None]).astype(float) * np.ones((1, len(starts), 1))

    def label(self, slope, start):
        """The lag."""
        del start
        return f"lag {slope:.0f}" if np.isfinite(slope) else "start symbol"


@dataclass(frozen=True)
class Windows:
    """k(g) = 1 up to g = n: uniform windows; lags that find no token read the start symbol (a sink).

    Their mixtures are the profiles that never grow with distance, entry by entry: by Abel summation,
    M_1 >= M_2 >= ... means M_g = sum_{n >= g} N_n / n with N_n = n (M_n - M_{n+1}) >= 0.
    """

    searched = (False, False)

    def grid(self, length):
        """Windows of 1 to length - 1 tokens."""
        return np.arange(1.0, max(length, 2)), np.zeros(1)

    def kernel(self, slopes, lags):
        """1 within the window."""
        return (slopes[:, None] >= lags[None, :]).astype(float)

    def share(self, slopes, starts, times):
        """The part of the window before the first token."""
        missing = np.maximum(1 - times[None, None, :] / slopes[:, None, None], 0.0)
        return missing * np.ones((1, len(starts), 1))

    def label(self, slope, start):
        """The window."""
        del start
        return f"window {slope:.0f}"


STEEPEST = 32.0  # exponent of the steepest power law


@dataclass(frozen=True)
class Power:
    """k(g) = (1 + r (g-1))^-s, s in [0, 32]: KERPLE's logarithmic decay (Chi et al. 2022, arXiv:2205.09921).

    The start symbol stands at distance t + 1 with a bias, share_t = c k(t+1) / (c k(t+1) + sum_{g <= t} k(g)), its
    number here being c; or, with `sink`, it is read by the lags that find no token; then s is in [1.05, 33].

    Args:
      rate: r, above 0.
      sink: whether lags beyond the first token read the start symbol.
    """

    rate: float
    sink: bool = False

    @property
    def searched(self) -> tuple[bool, bool]:
        """Exponents and starts are continua."""
        return True, not self.sink

    def grid(self, length):
        """25 exponents up to 32; 20 starts up to 16 lengths."""
        if self.sink:
            return 1 + np.geomspace(0.05, STEEPEST, 24), np.zeros(1)
        return np.r_[0.0, np.geomspace(0.05, STEEPEST, 24)], np.r_[0.0, np.geomspace(0.05, 16 * length, 20)]

    def kernel(self, slopes, lags):
        """(1 + r (g-1))^-s."""
        return (1 + self.rate * (lags[None, :] - 1)) ** -slopes[:, None]

    def share(self, slopes, starts, times):
        """By the formula; tails by Hurwitz's zeta."""
        if self.sink:
            tail = scipy.special.zeta(slopes[:, None], 1 / self.rate + times[None, :])
            return (tail / scipy.special.zeta(slopes[:, None], 1 / self.rate))[:, None, :]
        last = int(times.max()) + 1
        kernel = self.kernel(slopes, np.arange(1.0, 1 + last))
        found = np.concatenate([np.zeros((len(slopes), 1)), np.cumsum(kernel, 1)], 1)[:, None, times.astype(int)]
        own = starts[None, :, None] * kernel[:, None, times.astype(int)]
        return np.where(times[None, None, :] == 0, 1.0, own / np.where(own + found > 0, own + found, 1))

    def distance(self, lags):
        """d_g = log(1 + r (g-1))."""
        return np.log1p(self.rate * (lags - 1.0))

    def steepest(self, times, starts):
        """The last exponent."""
        del times, starts
        return STEEPEST + self.sink

    def weight(self, slopes, starts):
        """The weight is log c."""
        del slopes
        with np.errstate(divide="ignore"):
            return np.log(starts)

    def start(self, slopes, weights):
        """The number is c."""
        return 0.0 if self.sink else np.exp(weights)

    def bend(self, starts):
        """None."""
        return np.zeros_like(starts)

    def partition(self, slopes):
        """With a sink, log sum_g (1 + r (g-1))^-s = log zeta(s, 1/r) - s log r."""
        if self.sink:
            return np.log(scipy.special.zeta(slopes, 1 / self.rate)) - slopes * np.log(self.rate)
        return None

    def label(self, slope, start):
        """Exponent and rate."""
        return f"exponent {slope:.4g}, rate {self.rate:.4g}" + (f", start {start:.4g}" if start else "")


ALL_LAGS = Lags()
UNIGRAM = Lags((np.inf,))  # in every dictionary: a head that always reads the start symbol
