"""Exponents are recovered where they are known, and their intervals cover them."""

import json

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from experiments import scaling
from experiments.found import Run
from experiments.scaling import Point, axes, cells, constant, fitted, front, levels, point, resampled, straight

FLOOR = 2.5
X = np.log([1e5, 2e5, 4e5, 8e5, 1.6e6])


def law(parameters, tokens):
    """An excess that falls in both, as far as the other allows (Hoffmann et al. 2022, equation 2)."""
    return 40 / parameters**0.8 + 900 / tokens**0.7


def grid(seeds=4):
    draws = np.random.default_rng(0)
    return [
        Point(n, d, FLOOR, law(n, d) * np.exp(0.1 * draws.normal(size=seeds)))
        for n in (500, 2000, 8000)
        for d in (10**5, 3 * 10**5, 10**6)
    ]


def test_an_exact_power_law_is_recovered_with_and_without_the_floor():
    excess = 300 * np.exp(-0.6 * X)
    slope, intercept = straight(X, np.stack([excess, excess], axis=1))
    assert slope == pytest.approx(0.6, abs=1e-12) and intercept == pytest.approx(np.log(300), abs=1e-10)
    found = constant(X, FLOOR + excess)
    assert found == pytest.approx((np.log(300), 0.6, FLOOR), abs=1e-4)
    assert constant(X, FLOOR + excess, found) == pytest.approx(found, abs=1e-6)


def test_the_straight_fit_is_numpy_s():
    excess = np.exp(np.random.default_rng(0).normal(size=(5, 3)))
    slope, intercept = np.polyfit(np.repeat(X, 3), np.log(excess).ravel(), 1)
    assert straight(X, excess) == pytest.approx((-slope, intercept))


def test_the_bootstrap_has_the_variance_of_a_mean_over_seeds():
    """Its spread of a cell's mean is that of n draws, unbiased: residuals of all cells, rescaled."""
    draws = np.random.default_rng(1)
    expected, found = [], []
    for _ in range(40):
        excess = np.exp(0.2 * draws.normal(size=(5, 3)))
        found.append(np.var([np.log(e).mean(1) for e in resampled(excess)], axis=0).mean())
        expected.append(0.04 / 3)
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.15)


def test_levels_are_student_s():
    """Far out for few seeds, 2.5 % for many."""
    assert levels(5, 2)[0] < levels(5, 4)[0] < 0.025 and levels(100, 100) == pytest.approx([0.025, 0.975], abs=1e-4)


def test_axes_take_the_largest_network_the_longest_training_and_the_front():
    found = {name: (list(x), chosen) for name, x, chosen in axes(grid())}
    assert found["data"][0] == [10**5, 3 * 10**5, 10**6] and {p.parameters for p in found["data"][1]} == {8000}
    assert found["parameters"][0] == [500, 2000, 8000] and {p.tokens for p in found["parameters"][1]} == {10**6}
    assert found["compute"][0] == sorted(6.0 * p.parameters * p.tokens for p in found["compute"][1])


def test_the_front_is_what_nobody_beats_with_less():
    points = [Point(n, d, FLOOR, np.full(2, e)) for n, d, e in ((1, 1, 3.0), (1, 2, 2.0), (2, 1, 2.5), (4, 4, 2.1))]
    assert front(points) == points[:2]


def test_every_cell_has_a_seed_of_its_own():
    found = [dict(part.split("=") for part in cell.split()) for cell in cells([4, 8], [100, 200, 400])]
    assert len({cell["seed"] for cell in found}) == 6
    assert {(c["instantiation.width"], c["reach.steps"]) for c in found} == {
        (w, s) for w in ("4", "8") for s in ("100", "200", "400")
    }


def ledger(p, **reach):
    reach = {"steps": p.tokens // 100, "batch": 10, "length": 10, "sequences": 0, "pool": 0} | reach
    members = [{"excess": float(x)} for x in p.excess]
    return {"reach": reach, "members": members, "parameters": p.parameters, "layers": {"D": {"loss": p.floor}}}


def test_points_are_read_from_ledgers_and_what_is_none_is_refused():
    p = grid()[0]
    read = point(ledger(p))
    assert read[:3] == p[:3] and np.array_equal(read.excess, p.excess)
    with pytest.raises(ValueError, match="each token is seen once, but a run has its own sequences"):
        point(ledger(p, sequences=5))
    with pytest.raises(ValueError, match="each seed must have a finite excess above 0, but .*inf"):
        point(ledger(p._replace(excess=np.array([0.1, np.inf]))))
    with pytest.raises(ValueError, match="at least 3 cells of 2 seeds, but data has 2 cells of 4"):
        fitted("data", [1.0, 2.0], grid()[:2], FLOOR)


def test_the_study_writes_its_table_and_figure(tmp_path, monkeypatch):
    """The known floor gives narrower intervals than a free constant does."""
    monkeypatch.setattr(scaling, "RESAMPLES", 40)
    runs = [Run(tmp_path / str(n), ledger(p), [], {}, n) for n, p in enumerate(grid())]
    console = Console(width=120, record=True)
    assert scaling.scaling(runs, tmp_path, console) == ["scaling.csv", "scaling.tex", "scaling.pdf", "scaling.png"]
    assert "exponents of the excess over the known floor" in console.export_text()
    assert len((tmp_path / "scaling.csv").read_text().splitlines()) == 1 + 9 * 4
    assert r"\bottomrule" in (tmp_path / "scaling.tex").read_text()
    name, x, chosen = next(axes(grid()))
    found = fitted(name, x, chosen, FLOOR).law
    assert found.low < found.exponent < found.high
    assert found.high - found.low < found.free[2] - found.free[1]
    assert matplotlib.rcParams["pdf.fonttype"] == 42


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 4, 8])
def test_intervals_of_exponents_cover_them(seeds, monkeypatch):
    """92-98 % at 95 %: within 4 sigma of the binomial over 1,000 repetitions."""
    monkeypatch.setattr(scaling, "RESAMPLES", 400)
    draws, hits = np.random.default_rng(seeds), 0
    for _ in range(1000):
        excess = np.exp(-0.6 * X)[:, None] * np.exp(0.2 * draws.normal(size=(5, seeds)))
        slopes = [straight(X, again)[0] for again in resampled(excess)]
        low, high = np.quantile(slopes, levels(5, seeds))
        hits += low <= 0.6 <= high
    assert 0.92 <= hits / 1000 <= 0.98


def test_csv_is_readable(tmp_path):
    table = scaling._points(grid())
    assert list(table.columns) == ["parameters", "tokens", "compute", "floor", "seed", "excess"]
    assert json.loads(table.to_json(orient="records"))[0]["seed"] == 0
