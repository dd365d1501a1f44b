"""Where the gain of longer inputs comes from: fewer early tokens, or use of context.

A model trained at L tokens and read in whole windows of T > L has the loss P1; its last tokens, those that a window
that slides by L/2 reports, P2. Both are the world's own loss plus an excess, each exact on its prefixes. Then

    P1(T) - P1(L) = [P2(T) - P2(L)]  +  [curse(T) - curse(L)],      curse = P1 - P2,

use of context and the early-token curse (Press, Smith & Lewis 2022, appendix B). Beside them stand the exact window
null, which reads the last L - 1 tokens and gains from the curse alone, and the world itself. All in nats per token; a
gain is negative where the loss falls.
"""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float
from matplotlib.figure import Figure

from experiments.claims.arms import clean, said
from experiments.claims.reading import Missing, at, kept_curves
from experiments.claims.trial import world
from experiments.found import Run
from experiments.ledger import number
from experiments.style import COLOURS, MARKERS, SPELT, STYLE, TEXT

Interval = tuple[float, float, float]  # mean, low, high over seeds: 95 %, Student's t


class Split(NamedTuple):
    """The decomposition of one run at one length, beside the null and the world."""

    run: Run
    place: str
    scheme: str
    length: int
    whole: Interval  # P1(T) - P1(L)
    context: Interval  # P2(T) - P2(L)
    curse: Interval
    null: float  # the window null's P1(T) - P1(L)
    world: float  # the world's own
    share: Interval  # of the null's gain


def splits(runs: list[Run]) -> list[Split]:
    """Every run and length that can be decomposed: those in a world whose window null some run measured."""
    nulls: dict[tuple, Run] = {}
    for run in runs:
        if kept_curves(run).get("observe/window_null", np.zeros(0)).ndim == 2:
            nulls.setdefault(_key(run), run)
    found = []
    for run in runs:
        lengths = [int(n) for n in run.ledger["lengths"] if int(n) > int(run.ledger["train_length"])]
        null = nulls.get(_key(run))
        found += [s for n in sorted(lengths) if null is not None for s in _split(run, n, null)]
    return found


def _key(run: Run) -> tuple:
    flat = said(run)
    return tuple(sorted((k, str(v)) for k, v in flat.items() if k.startswith("world") or k == "reach.length"))


def _split(run: Run, length: int, reader: Run) -> list[Split]:
    null = kept_curves(reader)["observe/window_null"]
    trained = int(run.ledger["train_length"])
    try:
        part, short = at(run, length), at(run, trained)
    except Missing:
        return []
    rows = [kept_curves(run).get(f"excess/{n}", np.zeros(0)) for n in (length, trained)]
    shapes = [(len(part["members"]), n) for n in (length, trained)]
    if len(null) < 2 or length > null.shape[1] or not part["members"] or [x.shape for x in rows] != shapes:
        return []
    span = max(1, trained // 2)
    h, beyond = null[0], null[1]
    level = float(h[:length].mean() - h[:trained].mean())
    tail = float(h[length - span : length].mean() - h[trained - span : trained].mean())
    whole = np.add(level, np.subtract(_members(part), _members(short)))
    late, early = (x[:, -span:].mean(1) for x in rows)
    context = tail + late - early
    gain = level + float(beyond[:length].mean())
    return [
        Split(
            run,
            world(said(run)),
            _name(run),
            length,
            interval(whole),
            interval(context),
            interval(whole - context),
            gain,
            level,
            interval(whole / gain),
        )
    ]


def _members(part: dict[str, Any]) -> Float[np.ndarray, "member"]:
    return np.array([number(entry["excess"]) for entry in part["members"]])


def _name(run: Run) -> str:
    scheme = run.ledger["perception"]["scheme"]
    more = "".join(f" {scheme[k]:g}" for k in ("width", "exponent") if isinstance(scheme.get(k), int | float))
    name = clean(str(scheme["name"]))
    return SPELT.get(name, name.replace("_", " ")) + more


def interval(values: Float[np.ndarray, "member"]) -> Interval:
    """Mean and 95 % interval over members; infinite where a member is, or where there is one member only."""
    mean = float(values.mean())
    if len(values) < 2 or not np.isfinite(values).all():
        return mean, -np.inf, np.inf
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half


def table(found: list[Split], out: Path, relative: Any) -> pd.DataFrame:
    """A row for each run and length; gains in nats per token."""
    rows = []
    for s in found:
        row: dict[str, Any] = {"world": s.place, "scheme": s.scheme, "train_length": int(s.run.ledger["train_length"])}
        row |= {"length": s.length, "seeds": len(s.run.ledger["members"]), "null_gain": s.null, "world_gain": s.world}
        for name in ("whole", "context", "curse", "share"):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), getattr(s, name), strict=True))
        rows.append(row | {"run": relative(s.run.place, out)})
    return pd.DataFrame(rows)


def figure(found: list[Split]) -> Figure:
    """For each world, at its longest length: the change in whole windows above, in full context below; by scheme."""
    places = list(dict.fromkeys(s.place for s in found))
    longest = {place: max(s.length for s in found if s.place == place) for place in places}
    shown = [s for s in found if s.length == longest[s.place]]
    schemes = list(dict.fromkeys(s.scheme for s in sorted(shown, key=lambda s: s.scheme)))
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(TEXT, 1.0 + 0.25 * len(schemes)), layout="constrained")
        grid = drawn.subplots(2, len(places), sharey=True, sharex=True, squeeze=False)
        for column, place in enumerate(places):
            here = {s.scheme: s for s in shown if s.place == place}
            _panel(grid[0][column], here, schemes, "whole")
            _panel(grid[1][column], here, schemes, "context")
            grid[0][column].set_title(f"{place}\n{longest[place]} tokens", loc="left", fontweight="bold")
        grid[0][0].set_yticks(range(len(schemes)), schemes)
        grid[0][0].invert_yaxis()
        grid[0][0].set_ylabel("whole windows")
        grid[1][0].set_ylabel("full context")
        drawn.supxlabel("change of the loss from the trained length on, nats per token; negative is a gain", fontsize=7)
        handles = [grid[0][0].plot([], [], color="black", linewidth=0.8, linestyle=x)[0] for x in (NULL, IDEAL)]
        labels = ["the window null: no more than the trained length is read", "the world itself"]
        drawn.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
        return drawn


NULL, IDEAL = (0, (4, 2)), (0, (1, 1))  # dashes
LINEAR = 0.1  # nats: beyond it the axis is logarithmic


def _panel(axes: Any, shown: dict[str, Split], schemes: list[str], what: str) -> None:
    one = next(iter(shown.values()))
    axes.axvline(0, color="0.75", linewidth=0.6, zorder=0)
    if what == "whole":
        axes.axvline(one.null, color="black", linewidth=0.8, linestyle=NULL, zorder=0)
        axes.axvline(one.world, color="black", linewidth=0.8, linestyle=IDEAL, zorder=0)
    for n, scheme in enumerate(schemes):
        if scheme in shown:
            mean, low, high = getattr(shown[scheme], what)
            look: dict[str, Any] = {"color": COLOURS[n % len(COLOURS)]}
            axes.plot([low, high], [n, n], linewidth=1.0, **look)
            axes.plot([mean], [n], marker=MARKERS[n % len(MARKERS)], markersize=3.2, linestyle="none", **look)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_xticks(
        [-1, -0.1, 0, 0.1, 1, 10], [f"{x:g}".replace("-", "\N{MINUS SIGN}") for x in (-1, -0.1, 0, 0.1, 1, 10)]
    )
    axes.xaxis.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=5)
