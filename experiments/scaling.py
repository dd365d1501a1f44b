"""Scaling: reducible loss against data, parameters and compute, over a floor that is known.

Scaling laws are fitted as L = E + A x^-alpha with a constant E that nobody knows, and the exponent is only as good as
that constant. Here E is the world's own loss, so that the excess over it is measured itself, and

    log(L - E) = log A - alpha log x

is a straight line with two numbers. The fit with a free constant (Hoffmann et al. 2022, arXiv:2203.15556, section 3.3:
Huber's loss on log L, delta 1e-3) stands beside it. Data are tokens seen once, parameters are all of them, compute is
6 x parameters x tokens (Kaplan et al. 2020, arXiv:2001.08361), in floating-point operations.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from experiments import scales
from experiments.fit import write
from experiments.found import Run
from experiments.ledger import number
from experiments.style import said, save

RESAMPLES = 1000
HUBER = 1e-3  # of log L


class Point(NamedTuple):
    """A cell of the grid: one architecture, trained for one duration."""

    parameters: int
    tokens: int  # seen once
    floor: float  # nats per token
    excess: Float[np.ndarray, "seed"]  # over the floor

    @property
    def compute(self) -> float:
        """Floating-point operations of the training."""
        return 6.0 * self.parameters * self.tokens


class Law(NamedTuple):
    """A power law of the excess: exponent and interval, log A; and what the free constant makes of the same losses."""

    exponent: float
    low: float
    high: float
    intercept: float
    departure: float  # the largest |log| of a cell's mean over the line
    amplitude: float  # log A of the fit with a free constant
    free: tuple[float, float, float]  # its exponent, low, high
    constant: tuple[float, float, float]  # its E minus the true floor, nats per token


class Axis(NamedTuple):
    """One question: the cells along which x grows, and the law of their excess."""

    name: str
    x: Float[np.ndarray, "cell"]
    excess: Float[np.ndarray, "cell seed"]
    law: Law


def cells(widths: list[int], steps: list[int]) -> list[str]:
    """The sweep: every width for every duration, each with a seed of its own, so that no two cells share their luck."""
    grid = itertools.product(widths, steps)
    return [f"seed={n} instantiation.width={width} reach.steps={long}" for n, (width, long) in enumerate(grid)]


def scaling(runs: list[Run], out: Path, console: Console) -> list[str]:
    """The study: a table, its LaTeX, the points and the figure."""
    points = [point(run.ledger) for run in runs]
    floor = float(np.mean([p.floor for p in points]))
    found = [fitted(name, x, chosen, floor) for name, x, chosen in axes(points)]
    console.print(_screen(found))
    write(out / "scaling.csv", _points(points).to_csv(index=False).encode())
    write(out / "scaling.tex", _latex(found, len(points[0].excess), floor).encode())
    save(scales.figure(points, found, floor), out / "scaling")
    return ["scaling.csv", "scaling.tex", "scaling.pdf", "scaling.png"]


def point(ledger: dict[str, Any]) -> Point:
    """A run as a point; refused where its data are not fresh, or a seed has no finite excess."""
    reach, excess = ledger["reach"], np.array([number(m["excess"]) for m in ledger["members"]])
    if reach["sequences"] or reach["pool"]:
        raise ValueError(
            "scaling: data must be endless, so that each token is seen once, but a run has its own sequences"
        )
    if not (np.isfinite(excess).all() and (excess > 0).all()):
        raise ValueError(f"scaling: each seed must have a finite excess above 0, but the seeds have {excess.tolist()}")
    tokens = reach["steps"] * reach["batch"] * reach["length"]
    return Point(ledger["parameters"], tokens, number(ledger["layers"]["D"]["loss"]), excess)


def axes(points: list[Point]) -> Iterator[tuple[str, list[float], list[Point]]]:
    """(name, x, cells): data at the largest network, parameters at the longest training, compute along the front."""
    largest, longest = max(p.parameters for p in points), max(p.tokens for p in points)
    data = sorted((p for p in points if p.parameters == largest), key=lambda p: p.tokens)
    sizes = sorted((p for p in points if p.tokens == longest), key=lambda p: p.parameters)
    yield "data", [p.tokens for p in data], data
    yield "parameters", [p.parameters for p in sizes], sizes
    best = front(points)
    yield "compute", [p.compute for p in best], best


def front(points: list[Point]) -> list[Point]:
    """The cells that no cell of at most their compute does better than, by the mean over seeds."""
    kept: list[Point] = []
    for p in sorted(points, key=lambda p: (p.compute, p.excess.mean())):
        if not kept or p.excess.mean() < kept[-1].excess.mean():
            kept.append(p)
    return kept


def fitted(name: str, x: list[float], points: list[Point], floor: float) -> Axis:
    """The two fits of one axis, with percentile intervals over seeds."""
    excess, log_x = np.stack([p.excess for p in points]), np.log(x)
    if excess.shape[1] < 2 or len(x) < 3:
        got = f"{name} has {len(x)} cells of {excess.shape[1]}"
        raise ValueError(f"scaling: an exponent needs at least 3 cells of 2 seeds, but {got}")
    slope, intercept = straight(log_x, excess)
    free = constant(log_x, floor + excess.mean(1))
    again = [[straight(log_x, e)[0], *constant(log_x, floor + e.mean(1), free)[1:]] for e in resampled(excess)]
    low, high = np.quantile(again, levels(*excess.shape), axis=0).tolist()
    departure = float(np.abs(np.log(excess.mean(1)) - intercept + slope * log_x).max())
    ends = (free[1], low[1], high[1]), (free[2] - floor, low[2] - floor, high[2] - floor)
    return Axis(name, np.asarray(x, float), excess, Law(slope, low[0], high[0], intercept, departure, free[0], *ends))


def resampled(excess: Float[np.ndarray, "cell seed"]) -> Iterator[Float[np.ndarray, "cell seed"]]:
    """The bootstrap over seeds: cells' means in logs, and residuals of all cells together, without their bias.

    Seeds scatter by a share of the excess, the same in all cells; n seeds scatter about their own mean by
    (n - 1)/n of their variance (Davison & Hinkley 1997, section 6.2.3).
    """
    logs, seeds = np.log(excess), excess.shape[1]
    centre = logs.mean(1, keepdims=True)
    residuals = ((logs - centre) * np.sqrt(seeds / (seeds - 1))).ravel()
    for draw in np.random.default_rng(0).integers(0, len(residuals), (RESAMPLES, *excess.shape)):
        yield np.exp(centre + residuals[draw])


def levels(cells: int, seeds: int) -> list[float]:
    """Percentiles of a 95 % interval, as far out as Student's t is for so few seeds (Hesterberg 2015, Am. Stat. 69)."""
    far = scipy.stats.t.ppf(0.975, cells * (seeds - 1))
    return [float(scipy.stats.norm.cdf(x)) for x in (-far, far)]


def straight(log_x: Float[np.ndarray, "cell"], excess: Float[np.ndarray, "cell draw"]) -> tuple[float, float]:
    """Least squares of log excess over all seeds: (exponent, log A)."""
    y, centred = np.log(excess).mean(1), log_x - log_x.mean()
    slope = -float(centred @ y / (centred @ centred))
    return slope, float(y.mean() + slope * log_x.mean())


def constant(
    log_x: Float[np.ndarray, "cell"], loss: Float[np.ndarray, "cell"], start: tuple[float, float, float] | None = None
) -> tuple[float, float, float]:
    """The fit that does not know the floor: (log A, exponent, E), from `start` or the best of many starts."""
    centre, logs = log_x.mean(), np.log(loss)
    at = log_x - centre

    def residual(given: Float[np.ndarray, "3"]) -> Float[np.ndarray, "cell"]:
        return np.logaddexp(given[0] - given[1] * at, given[2]) - logs

    def slopes(given: Float[np.ndarray, "3"]) -> Float[np.ndarray, "cell 3"]:
        share = scipy.special.expit(given[0] - given[1] * at - given[2])
        return np.stack([share, -at * share, 1 - share], axis=1)

    def descend(begun: Any) -> Any:
        given: Any = slopes
        return scipy.optimize.least_squares(residual, begun, jac=given, loss="huber", f_scale=HUBER)

    if start is not None:
        begun = [(start[0] - start[1] * centre, start[1], np.log(start[2]))]
    else:
        tried = itertools.product((0.2, 0.5, 1.0, 2.0), (0.5, 0.9, 0.99))
        begun = [(np.log((1 - e) * loss[0]) + a * at[0], a, np.log(e * loss[-1])) for a, e in tried]
    a, exponent, e = min((descend(x) for x in begun), key=lambda found: found.cost).x
    return float(a + exponent * centre), float(exponent), float(np.exp(e))


def _points(points: list[Point]) -> pd.DataFrame:
    """A row for each trained seed."""
    columns = ("parameters", "tokens", "compute", "floor")
    rows = [
        {k: getattr(p, k) for k in columns} | {"seed": n, "excess": x} for p in points for n, x in enumerate(p.excess)
    ]
    return pd.DataFrame(rows).sort_values(["parameters", "tokens", "seed"])


HEADS = (
    "reducible loss against",
    "cells",
    "exponent",
    "95 %",
    "farthest cell",
    "with a free constant",
    "95 %",
    "E - D",
)


def _rows(found: list[Axis]) -> Iterator[tuple[str, ...]]:
    for axis in found:
        law = axis.law
        yield (
            axis.name,
            str(len(axis.x)),
            f"{law.exponent:.3f}",
            f"[{law.low:.3f}, {law.high:.3f}]",
            f"{100 * np.expm1(law.departure):.0f} %",
            f"{law.free[0]:.3f}",
            f"[{law.free[1]:.3f}, {law.free[2]:.3f}]",
            f"{said(law.constant[0])}",
        )


def _screen(found: list[Axis]) -> Table:
    table = Table(title="exponents of the excess over the known floor, and what a free constant makes of them")
    for head in HEADS:
        table.add_column(head, justify="left" if head == HEADS[0] else "right")
    for row in _rows(found):
        table.add_row(*row)
    return table


def _latex(found: list[Axis], seeds: int, floor: float) -> str:
    """A booktabs table in text width."""
    body = " \\\n".join(
        " & ".join(x.replace("%", "\\%").replace("\N{MINUS SIGN}", "$-$") for x in row) for row in _rows(found)
    )
    heads = "& cells & $\\alpha$ & 95\\,\\% & farthest & $\\alpha$, free $E$ & 95\\,\\% & $E-D$"
    return (
        "\\begin{table}\n\\centering\\small\n"
        "\\caption{Exponents of the reducible loss, $L-D\\propto x^{-\\alpha}$, with the floor $D$ known "
        f"({floor:.4f} nats per token), over {seeds} seeds a cell (percentile bootstrap over seeds); farthest: the "
        "largest departure of a cell from the line; right: the same losses fitted with a free constant $E$.}\n"
        f"\\begin{{tabular}}{{@{{}}lrrrrrrr@{{}}}}\n\\toprule\n{heads} \\\\\n\\midrule\n{body} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )
