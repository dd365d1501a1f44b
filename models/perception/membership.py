"""A proof without a programme: a world that is itself a mixture of a concept's profiles has P = D."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from models.perception.profiles import Column, Dictionary, Family, Geometric, Lags, Power, table
from worlds.base import World

WIDEST = 256  # tables of a finite family that are compared one by one
CLOSE = 1e-12  # two tables of attention that differ by rounding only


@runtime_checkable
class Reads(Protocol):
    """A world that is a mixture of reads: p_t(y) = sum_h sum_s alpha_h[t, s] M_h[symbol at s, y]."""

    def reads(self, length: int) -> tuple[Float[Array, "head time place"], Float[Array, "head symbol vocab"]]:
        """Profiles and maps; the start symbol is column 0 of the one and row 0 of the other."""
        ...


def reads(
    world: World, length: int
) -> tuple[Float[np.ndarray, "head time place"], Float[np.ndarray, "head symbol vocab"]] | None:
    """The world's own profiles and maps, or None if it is no mixture."""
    if not isinstance(world, Reads) or getattr(world, "readout", "mixture") != "mixture":
        return None
    profiles, maps = world.reads(length)
    return np.asarray(profiles, np.float64), np.asarray(maps, np.float64)


def inside(profile: Float[np.ndarray, "time place"], dictionary: Dictionary) -> bool:
    """Whether a profile is one of the dictionary's, or a mixture of its lags (with the start symbol as their sink)."""
    if np.abs(profile.sum(-1) - 1).max() > CLOSE:
        return False  # it reads at some positions only
    lags = [family for family in dictionary if isinstance(family, Lags)]
    return any(_is_lag_mixture(profile, family) for family in lags) or any(
        np.abs(table(column, len(profile)) - profile).max() <= CLOSE
        for family in dictionary
        for column in candidates(family, profile)
    )


def _is_lag_mixture(profile: Float[np.ndarray, "time place"], family: Lags) -> bool:
    """Mixtures of lags with a sink give every lag one weight, whatever the position."""
    length = len(profile)
    if family.lags is not None:
        return False
    weight = profile[-1, 1:length][::-1]
    off = [np.abs(profile[t, 1 : 1 + t][::-1] - weight[:t]).max(initial=0.0) for t in range(length)]
    return bool(max(off) <= CLOSE)


def candidates(family: Family, profile: Float[np.ndarray, "time place"]) -> list[Column]:
    """The profiles of a family that agree with a table at its ends, found by solving the family's formula."""
    length = len(profile)
    slopes, starts = family.grid(length)
    if isinstance(family, Power):
        exponent = _slope(profile) / np.log1p(family.rate)
        return [Column(family, exponent, 0.0)] if slopes[0] - CLOSE <= exponent <= slopes[-1] else []
    if not isinstance(family, Geometric):
        return [Column(family, float(m), float(s)) for m in slopes for s in starts if len(slopes) <= WIDEST]
    slope = _slope(profile)
    near = [slope] if family.searched[0] else [float(m) for m in slopes if np.isclose(m, slope, rtol=1e-9, atol=1e-12)]
    found = []
    for m in near:
        start = _start(profile, m)
        fits = [start] if family.searched[1] else [float(s) for s in starts if np.isclose(s, start, rtol=1e-9)]
        found += [Column(family, m, s) for s in fits]
    return found


def _slope(profile: Float[np.ndarray, "time place"]) -> float:
    """The slope m from the weights of lags 1 and 2: log of their ratio, to rounding 0 for a uniform profile."""
    if len(profile) < 3:
        return 0.0  # with one lag at most, all slopes are alike
    first, second = profile[-1, -2], profile[-1, -3]
    if second <= 0 or first <= 0:
        return np.inf
    slope = float(np.log(first / second))
    return 0.0 if abs(slope) < 1e-14 else slope


def _start(profile: Float[np.ndarray, "time place"], slope: float) -> float:
    """The half-time tau from the start symbol's share before the second token, E(tau) / (E(tau) + E(1))."""
    share = profile[min(1, len(profile) - 1), 0]
    if share >= 1 or share <= 0 or np.isinf(slope):
        return 0.0
    odds = share / (1 - share)
    return float(odds if slope == 0 else np.log1p(odds * np.expm1(slope)) / slope)
