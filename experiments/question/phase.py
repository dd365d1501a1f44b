"""The phase diagram: which concept a world needs, which scheme training prefers, and where the two disagree.

Worlds (1 - share) x geometric(rate) + share x (one lag) lie between decay (share 0), order-freeness (share 0, rate 1)
and one offset (share 1); a periodic world stands for position itself. The concepts are nested, order_free < decay <
offset < absolute, so the richest never loses: a world *needs* the first of them that is within MATERIAL nats of the
floor, and the margin is what the one before it loses, certified. Likewise training *prefers* the first scheme whose
mean excess is within MATERIAL of the best scheme's. One rule judges both layers; where they differ, training found more
in an architecture than its concept holds, or less.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from experiments.claims.arms import clean, said
from experiments.found import Run
from experiments.ledger import number

CHAIN = ("order_free", "decay", "offset", "absolute")
MATERIAL = 0.01  # nats per token, the smallest effect that counts (claim C21)
COLUMNS = {
    "share": "of the one lag in the world's reads; empty for the periodic world",
    "rate": "ratio of successive weights of the decaying reads; 1 is order-free; empty where there are none",
    "world": "its name in words",
    "concept": "order_free, decay, offset or absolute",
    "scheme": "that carries the concept's name",
    "floor": "D, nats per token",
    "perceived": "P - D, nats per token",
    "perceived_low": "lower end of P - D",
    "perceived_high": "upper end",
    "class": "of P - D",
    "reached": "R - D, mean over seeds, nats per token",
    "reached_low": "lower end, 95 %",
    "reached_high": "upper end",
    "seeds": "trained members",
    "needed": f"the first concept within {MATERIAL:g} nats of the floor, by its certified upper end",
    "needed_margin": "what the concept before it loses, lower end, nats; empty for the first",
    "preferred": f"the concept of the first scheme within {MATERIAL:g} nats of the best one",
    "preferred_margin": "what the scheme before it loses to the best one, mean over seeds, nats; empty for the first",
    "preferred_low": "lower end of that, 95 %, paired over seeds",
    "preferred_high": "upper end",
    "best": "the scheme with the smallest mean excess",
    "agree": "whether the needed concept is the preferred one",
    "run": "the run's folder, relative to this table's",
}


class Point(NamedTuple):
    """A world of the diagram, with a run for each concept."""

    share: float | None
    rate: float | None
    runs: dict[str, Run]

    @property
    def needed(self) -> str | None:
        """The first concept whose certified upper end is material to the floor; None if none is shown to be."""
        return next((c for c in CHAIN if c in self.runs and number(gap(self.runs[c], "P-D")["high"]) <= MATERIAL), None)

    @property
    def best(self) -> str:
        """The concept whose scheme has the smallest mean excess."""
        return min(self.runs, key=lambda concept: number(gap(self.runs[concept], "R-D")["nats"]))

    @property
    def preferred(self) -> str:
        """The first concept whose scheme is, in the mean over seeds, within MATERIAL of the best."""
        least = number(gap(self.runs[self.best], "R-D")["nats"])
        close = lambda c: number(gap(self.runs[c], "R-D")["nats"]) - least <= MATERIAL  # noqa: E731
        return next(c for c in CHAIN if c in self.runs and close(c))

    def before(self, concept: str) -> str | None:
        """The next simpler concept that was run."""
        simpler = [c for c in CHAIN[: CHAIN.index(concept)] if c in self.runs]
        return simpler[-1] if simpler else None

    def needed_margin(self) -> float | None:
        """What the next simpler concept loses at least, nats."""
        simpler = None if self.needed is None else self.before(self.needed)
        return None if simpler is None else number(gap(self.runs[simpler], "P-D")["low"])

    def preferred_margin(self) -> tuple[float, float, float] | None:
        """What the next simpler scheme loses to the best one, (mean, low, high), paired over seeds, nats."""
        simpler = self.before(self.preferred)
        return None if simpler is None else paired(self.runs[simpler], self.runs[self.best])


def gap(run: Run, name: str) -> dict[str, Any]:
    """A gap of the ledger at the trained length."""
    return run.ledger["gaps"][name]


def paired(one: Run, other: Run) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student's t) of the difference of two runs' excesses over the seeds they share."""
    rows = zip(one.ledger["members"], other.ledger["members"], strict=False)
    values = np.array([number(a["excess"]) - number(b["excess"]) for a, b in rows])
    mean = float(values.mean())
    if len(values) < 2 or not np.isfinite(values).all():
        return mean, -math.inf, math.inf
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half


def points(runs: list[Run]) -> list[Point]:
    """The diagram's worlds, by share and rate, the periodic one last; runs of other shapes are no part of it."""
    placed = [(flat, run) for flat, run in ((said(run), run) for run in runs) if place(flat) is not None]
    shapes = [_shape(flat) for flat, _ in placed if flat["world.name"] == "decay_heads"]
    if not shapes:
        return []
    shape = max(set(shapes), key=shapes.count)
    found: dict[tuple[float, float], Point] = {}
    for flat, run in placed:
        if _shape(flat) == shape and flat["perception.name"] in CHAIN:
            share, rate = place(flat) or (None, None)
            key = (math.inf if share is None else share, math.inf if rate is None else rate)
            found.setdefault(key, Point(share, rate, {})).runs[flat["perception.name"]] = run
    return [found[key] for key in sorted(found)]


def _shape(flat: dict[str, Any]) -> tuple[Any, Any]:
    return flat.get("reach.length"), flat.get("world.vocab")


def place(flat: dict[str, Any]) -> tuple[float | None, float | None] | None:
    """(share, rate) of a world that lies in the diagram; (None, None) for the periodic one; else None."""
    name, kernel = flat.get("world.name"), str(flat.get("world.kernel._target_", "")).rpartition(".")[2]
    if name == "periodic":
        return None, None
    if name == "decay":
        rate = {"uniform": 1.0, "geometric": flat.get("world.kernel.rate")}.get(kernel)
        return (0.0, rate) if isinstance(rate, float | int) else (1.0, None) if kernel == "offset" else None
    numbers = [flat.get(f"world.heads.{head}.weight") for head in ("near", "far")]
    numbers.append(flat.get("world.heads.near.kernel.rate", 1.0))
    if name != "decay_heads" or not all(isinstance(x, float | int) and x > 0 for x in numbers):
        return None
    near, far, rate = map(float, numbers)  # type: ignore[arg-type]
    return far / (near + far), rate


def table(found: list[Point], out: Path, relative: Any) -> pd.DataFrame:
    """A row for each world and concept; `relative` makes a folder's path relative to `out`."""
    rows = []
    for point in found:
        needed = {"needed": point.needed, "needed_margin": point.needed_margin()}
        margin = dict(
            zip(("preferred_margin", "preferred_low", "preferred_high"), point.preferred_margin() or (), strict=False)
        )
        judged = needed | {"preferred": point.preferred, "best": _scheme(point.runs[point.best])} | margin
        for concept, run in ((c, point.runs[c]) for c in CHAIN if c in point.runs):
            p, r = gap(run, "P-D"), gap(run, "R-D")
            measured = {
                f"perceived{end}": number(p[key]) for end, key in (("", "nats"), ("_low", "low"), ("_high", "high"))
            }
            measured |= {
                f"reached{end}": number(r[key]) for end, key in (("", "nats"), ("_low", "low"), ("_high", "high"))
            }
            own = {"share": point.share, "rate": point.rate, "world": run.ledger["world"]["name"], "concept": concept}
            own |= {"scheme": _scheme(run), "floor": number(run.ledger["layers"]["D"]["loss"]), "class": p["class"]}
            last = {"seeds": len(run.ledger["members"]), "agree": point.needed == point.preferred}
            rows.append(own | measured | judged | last | {"run": relative(run.place, out)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scheme(run: Run) -> str:
    return clean(run.ledger["perception"]["scheme"]["name"])
