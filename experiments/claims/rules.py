"""Forms of rules: from the readings of one setting to effects, one value for each member.

Every form says its effect in words; its tests ask where the mean over seeds lies (Student's t over members, widened by
the sampling of prefixes). Ratios are compared as logarithms, so that their spread is even and their mean geometric.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from experiments.claims.reading import NORMAL, Missing, Reading, paired


class Effect(NamedTuple):
    """Values by member, on the scale of the form (logarithms for a ratio)."""

    values: Float[np.ndarray, "member"]
    sampling: float  # half-width of the 95 % interval that sampled prefixes add to their mean
    label: str = ""  # which step of a rule with several
    lost: int = 0  # members without a finite value, which are not averaged
    fixed: bool = False  # no members: numbers of worlds and concepts

    @property
    def mean(self) -> float:
        """Over the members that are left."""
        return float(self.values.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over members."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else 0.0

    def error(self, count: int | None = None) -> float:
        """Standard error of the mean of so many members (those there are)."""
        count = len(self.values) if count is None else count
        return float(np.hypot(self.spread / np.sqrt(count), self.sampling / NORMAL))

    def half(self) -> float:
        """Half-width of the 95 % interval."""
        if self.fixed:
            return self.sampling
        if len(self.values) < 2:
            return float("inf")  # one member says nothing of the spread
        student = scipy.stats.t.ppf(0.975, len(self.values) - 1)
        return float(np.hypot(student * self.spread / np.sqrt(len(self.values)), self.sampling))


def aligned(*readings: Reading) -> tuple[list[Float[np.ndarray, "member"]], bool]:
    """The values of the members that all readings have, in one order; numbers without members meet each of them."""
    several = [reading for reading in readings if not reading.fixed]
    members = sorted(set.intersection(*(set(r.values) for r in several))) if several else [(0, 0)]
    if not members:
        raise Missing("no member is in all of the runs")
    rows = [np.array([next(iter(r.values.values())) if r.fixed else r.values[m] for m in members]) for r in readings]
    return rows, not several


def finite(values: Float[np.ndarray, "member"], sampling: float, label: str = "", fixed: bool = False) -> Effect:
    """The effect of the members with a finite value; how many are without is kept."""
    kept = np.isfinite(values)
    if not kept.any():
        raise Missing("no member has a finite value: all diverged, or exclude what can happen")
    return Effect(values[kept], sampling, label, int((~kept).sum()), fixed)


def difference(readings: dict[str, Reading]) -> list[Effect]:
    """What a has more than b, nats per token."""
    return [_minus(readings["a"], readings["b"])]


def _minus(a: Reading, b: Reading, label: str = "") -> Effect:
    (x, y), fixed = aligned(a, b)
    with np.errstate(invalid="ignore"):
        return finite(x - y, paired(a, b), label, fixed)


def ratio(readings: dict[str, Reading]) -> list[Effect]:
    """How many times b is a."""
    a, b = readings["a"], readings["b"]
    (x, y), fixed = aligned(a, b)
    if (x <= 0).any() or (y <= 0).any():
        raise Missing("a ratio needs excesses above 0, but sampling left one at or below it")
    relative = np.hypot(a.sampling / np.mean(x[np.isfinite(x)]), b.sampling / np.mean(y[np.isfinite(y)]))
    return [finite(np.log(x / y), float(relative), fixed=fixed)]


def share(readings: dict[str, Reading]) -> list[Effect]:
    """(a - b) / (c - d), where b and d may be left out."""
    top = _minus(readings["a"], readings["b"]) if "b" in readings else _alone(readings["a"])
    whole = _minus(readings["c"], readings["d"]) if "d" in readings else _alone(readings["c"])
    names = [name for name in ("a", "b", "c", "d") if name in readings]
    rows, fixed = aligned(*(readings[name] for name in names))
    x = dict(zip(names, rows, strict=True))
    if abs(whole.mean) <= whole.sampling:
        raise Missing("a share needs a whole that is not 0, but its interval holds 0")
    values = (x["a"] - x.get("b", 0.0)) / (x["c"] - x.get("d", 0.0))
    sampling = np.hypot(top.sampling, np.mean(values[np.isfinite(values)]) * whole.sampling) / abs(whole.mean)
    return [finite(values, float(sampling), fixed=fixed)]


def _alone(a: Reading) -> Effect:
    rows, fixed = aligned(a)
    return finite(rows[0], a.sampling, fixed=fixed)


def order(readings: dict[str, Reading]) -> list[Effect]:
    """Each reading minus the next, in the order in which the rule names them; all steps must hold."""
    names = list(readings)
    return [_minus(readings[x], readings[y], f"{x} - {y}") for x, y in zip(names, names[1:], strict=False)]


def flip(readings: dict[str, Reading]) -> list[Effect]:
    """First a - b, then d - c: the sign of the comparison changes if both lie above 0."""
    return [_minus(readings["a"], readings["b"], "first"), _minus(readings["d"], readings["c"], "then")]


def home(readings: dict[str, Reading]) -> list[Effect]:
    """The best of each rival minus the best of the home family."""
    rivals = {name: reading for name, reading in readings.items() if name != "home"}
    return [_minus(reading, readings["home"], f"{name} - home") for name, reading in rivals.items()]


FORMS: dict[str, Callable[[dict[str, Reading]], list[Effect]]] = {
    "difference": difference,
    "ratio": ratio,
    "share": share,
    "order": order,
    "flip": flip,
    "home": home,
}
LOGARITHMIC = ("ratio",)
LEAST = 4  # points of a rank correlation


def rank(measured: list[Reading], predicted: list[Reading]) -> Effect:
    """Spearman's correlation, over the points of a sweep, of what is measured with what was predicted; per member."""
    if len(measured) < LEAST:
        raise Missing(f"a rank correlation needs at least {LEAST} points, but there are {len(measured)}")
    rows, _ = aligned(*measured)
    due = [next(iter(reading.values.values())) for reading in predicted]
    if len(set(due)) < 2:
        raise Missing("a rank correlation needs predictions that differ")
    points = np.array(rows)
    kept = np.isfinite(points).all(0)
    found = [float(np.asarray(scipy.stats.spearmanr(column, due))[0]) for column in points[:, kept].T]
    return finite(np.array(found), 0.0)._replace(lost=int((~kept).sum()))
