"""The ladder's terms add up, whatever the values, and are what brute force over all orders says."""

import itertools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import factors, fit, shares
from experiments import measure as measuring
from experiments.alchemy import Reals, Shape, numbers
from experiments.factors import SETTINGS, Cells, cells, knobs, split, subsets, terms
from experiments.ledger import Rungs, ledger
from experiments.measure import Measured
from experiments.screen import Screen
from tests.experiments.smallest import SHAPE, SPEC, WORLD, keys
from tests.experiments.test_run import TINY, type_in  # noqa: F401  the fixture
from worlds.base import Functional, functional
from worlds.quantity import certified, exact

IDEAL = {"duration": 2.0} | {k: v for part in (Shape(), Reals()) for k, v in vars(part).items() if k in SETTINGS}


def game(k, seed=0, shape=()):
    names = list(factors.FACTORS)[:k]
    draws = np.random.default_rng(seed)
    return names, {s: draws.normal(size=shape) for s in subsets("shapley", names)}


def turns(names, value, factor, orders):
    """What a factor gains at its turn, in each order: by walking along it."""
    found = []
    for order in orders:
        before = frozenset(order[: order.index(factor)])
        found.append(value[before] - value[before | {factor}])
    return found


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_shapley_values_are_means_over_all_orders(k):
    names, value = game(k, shape=(3,))
    orders = list(itertools.permutations(names))
    found = terms("shapley", names, value)
    for factor in names:
        walked = turns(names, value, factor, orders)
        assert np.allclose(found[factor], np.mean(walked, axis=0), atol=1e-12)
        ends = [value[s] - value[s | {factor}] for s in factors.turns("shapley", names, factor)]
        assert np.array_equal(np.min(ends, axis=0), np.min(walked, axis=0))
        assert np.array_equal(np.max(ends, axis=0), np.max(walked, axis=0))
    assert np.allclose(sum(found.values()), value[frozenset()] - value[frozenset(names)], atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_two_orders_are_one_and_its_reverse(k):
    names, value = game(k, seed=1)
    found = terms("two_orders", names, {s: value[s] for s in subsets("two_orders", names)})
    for factor in names:
        walked = turns(names, value, factor, [names, names[::-1]])
        assert np.isclose(found[factor], np.mean(walked), atol=1e-12)
    assert np.isclose(sum(found.values()), value[frozenset()] - value[frozenset(names)], atol=1e-12)
    assert len(subsets("two_orders", names)) == max(2, 2 * k)


def test_a_factor_with_one_turn_only_takes_its_gain_in_every_order():
    """An additive game: no interaction, so the range over orders is one number, and the Shapley value is it."""
    names, gains = list(factors.FACTORS)[:4], {"duration": 0.5, "labels": -0.25, "data": 0.125, "noise": 0.0}
    value = {s: 1 - sum(gains[f] for f in s) for s in subsets("shapley", names)}
    assert terms("shapley", names, value) == pytest.approx(gains)


DRAWS = np.random.default_rng(0)
FUNCTIONAL = Functional(jnp.zeros((60, 4), jnp.int32), jnp.full(60, 1 / 60), jnp.full(4, 0.25), False)


def weights_of(level):
    return Measured(level * DRAWS.gamma(5, 0.2, (60, 4)), 0.01 * DRAWS.normal(size=(60, 4)), FUNCTIONAL)


def measured_ladder(method, k, seeds=3, broken=False):
    names, value = game(k, seed=2)
    rows = {s: [weights_of(1 + abs(value[s]) + 0.1 * n) for n in range(seeds)] for s in subsets(method, names)}
    if broken:
        rows[frozenset(names[:1])][1] = weights_of(np.inf)
    changes = {f: {"steps": [1, 2]} for f in names}
    lost = {frozenset(names[:1]): {1: 7}} if broken else {}
    best = min((m for row in rows.values() for m in row), key=lambda m: m.mean().value)
    rungs = Rungs("made", exact(1.0), certified(0.1, 0.1, 0.1), "", rows[frozenset()], {"best": best})
    return Cells(method, changes, rows, lost, ("best", None)), rungs


@pytest.mark.parametrize("method", ["shapley", "two_orders"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_ladder_s_terms_sum_to_the_gap_of_the_ledger(method, seeds):
    """R - I to 1e-9, for the mean and, with its own term, for each seed."""
    found, rungs = measured_ladder(method, 4, seeds)
    ladder, gap = split(found, rungs), ledger(rungs)["gaps"]["R-I"]["nats"]
    shared = sum(x["nats"] for x in ladder["terms"].values()) + ladder["top"]["nats"]
    assert (
        abs(shared - gap) < 1e-9 and abs(ladder["residual"]) < 1e-9 and ladder["sum"] == pytest.approx(gap, abs=1e-12)
    )
    best = min(m.mean().value for row in found.measured.values() for m in row)
    for own, deviation in zip(rungs.members, ladder["seeds"], strict=True):
        assert abs(shared + deviation - (own.mean().value - best)) < 1e-9
    assert ladder["top"]["nats"] >= 0
    for share in ladder["terms"].values():
        assert (
            share["low"] < share["nats"] < share["high"] and share["orders"][0] <= share["nats"] <= share["orders"][1]
        )
        assert (share["se"] is None) == (seeds == 1) and ("interaction" in share) == (method == "two_orders")


def test_a_ladder_with_a_diverged_cell_has_no_terms_and_says_which_cell():
    ladder = split(*measured_ladder("shapley", 3, broken=True))
    assert all(x["nats"] is None and x["class"] == "undefined" for x in ladder["terms"].values())
    assert ladder["residual"] is None and ladder["diverged"] == {"duration": {"1": 7}}
    json.dumps(ladder, allow_nan=False)


def test_factors_change_their_knobs_and_those_that_are_ideal_are_left_out():
    found = knobs(Shape(sequences=8), Reals(steps=10, softness=0.5, rate=0.5), IDEAL)
    assert found == {
        "duration": {"steps": [10, 20]},
        "labels": {"softness": [0.5, 1.0]},
        "data": {"sequences": [8, 0]},
        "optimiser": {"rate": [0.5, 0.003]},
    }
    shape, reals = factors.ideally(
        Shape(sequences=8), Reals(steps=10, rate=0.5), found, frozenset({"data", "optimiser"})
    )
    assert (shape, reals) == (Shape(), Reals(steps=10))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: factors.asked("shaply", Shape(), Reals(), IDEAL),
            "ladder must be one of .*, but is 'shaply'",
        ),
        (
            lambda: knobs(Shape(), Reals(), IDEAL | {"duration": 0.5}),
            "duration must be at least 1 times the steps",
        ),
        (lambda: knobs(Shape(), Reals(softness=1.0), IDEAL | {"duration": 1.0}), "at least one factor must be other"),
        (lambda: knobs(Shape(), Reals(), IDEAL | {"rate": -1.0}), "rate must be positive, but is -1"),
    ],
)
def test_impossible_ladders_are_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_cells_are_trained_as_if_alone_with_the_same_seeds(tmp_path):
    shape, reals = SHAPE, Reals(steps=5, rate=0.1)
    config = {"seed": 0, "reach": {"ladder": "shapley"}, "ladder": IDEAL | {"rate": 0.1}}
    cell = SimpleNamespace(spec=SPEC, world=WORLD, shape=shape, reals=reals, seeds=2, config=config)
    over = functional(WORLD, 6, jax.random.key(0), 8, limit=0)  # sampled: compiles less than enumeration
    floor = SimpleNamespace(functional=over, truth=measuring.law(WORLD, over.tokens))
    params, _ = fit.fit(SPEC, shape, WORLD, numbers(reals), 5, *keys(0))
    found = cells(cell, floor, params, tmp_path, Screen())
    assert set(found.knobs) == {"duration", "labels"} and not found.lost
    for names in found.measured:
        own = factors.ideally(shape, reals, found.knobs, names)[1]
        alone, _ = fit.fit(SPEC, shape, WORLD, numbers(own), own.steps, *keys(0))
        expected = measuring.measure(measuring.network(SPEC, alone), over, floor.truth)
        for a, b in zip(found.measured[names], expected, strict=True):
            assert np.allclose(a.excess, b.excess, atol=1e-6)
    values = [m.mean().value for row in found.measured.values() for m in row]
    assert found.best[0].startswith("ladder duration") and len(set(values)) == 8


@pytest.mark.slow
def test_a_run_with_a_ladder_writes_prints_and_draws_it(type_in, tmp_path):  # noqa: F811
    printed = type_in(*TINY, "reach.ladder=two_orders", "reach.corruption=0.2", f"hydra.run.dir={tmp_path / 'a'}")
    ledger = json.loads((tmp_path / "a" / "ledger.json").read_text())
    assert set(ledger["ladder"]["terms"]) == {"duration", "labels", "noise"}
    assert abs(ledger["ladder"]["residual"]) < 1e-9
    assert abs(ledger["ladder"]["sum"] - ledger["gaps"]["R-I"]["nats"]) < 1e-9
    assert "R - I by factor" in printed.out and "corruption 0.2, 0.0" in printed.out
    assert all((tmp_path / "a" / f"ladder.{kind}").stat().st_size > 0 for kind in ("pdf", "png"))


def test_the_figure_says_in_words_what_has_no_number(ledgers):
    made, _ = ledgers
    for broken in (False, True):
        ladder = split(*measured_ladder("shapley", 3, broken=broken))
        figure = shares.figure(made() | {"ladder": ladder})
        text = " ".join(t.get_text() for t in figure.axes[0].texts)
        assert ("undefined" in text) == broken


@pytest.mark.slow
def test_a_run_whose_seeds_diverge_is_a_finished_run_that_says_so(type_in, tmp_path):  # noqa: F811
    wild = ["reach.optimiser=sgd", "reach.rate=1e38", "reach.clip=inf", f"hydra.run.dir={tmp_path / 'a'}"]
    printed = type_in(*TINY, *wild)
    ledger = json.loads((tmp_path / "a" / "ledger.json").read_text())
    assert set(ledger["diverged"]) == {"0", "1"} and all(1 <= step <= 6 for step in ledger["diverged"].values())
    assert ledger["gaps"]["R-I"]["nats"] == "inf" and [m["excess"] for m in ledger["members"]] == ["inf", "inf"]
    assert "2 of 2 seeds diverged (seed 0 at step" in printed.out
    with np.load(tmp_path / "a" / "curves.npz") as curves:
        assert (
            np.isfinite(curves["train/by_position"][:, 0]).all() and np.isinf(curves["train/by_position"][:, -1]).all()
        )


@pytest.mark.slow
def test_intervals_of_terms_cover_the_expected_term():
    """92-98 % at 95 %: seeds scatter, prefixes are a sample; the expected Shapley values are known."""
    names, level = ["duration", "labels"], {(): 1.0, ("duration",): 0.5, ("labels",): 0.7, ("duration", "labels"): 0.1}
    value = {frozenset(s): x for s, x in level.items()}
    expected, draws = terms("shapley", names, value), np.random.default_rng(3)
    hits = dict.fromkeys(names, 0)
    for _ in range(400):
        hard = draws.gamma(5, 0.2, (60, 4))  # how hard each prefix is, for every member: mean 1
        rows = {
            s: [Measured((x + 0.1 * draws.normal()) * hard, np.zeros((60, 4)), FUNCTIONAL) for _ in range(4)]
            for s, x in value.items()
        }
        witness = {"best": Measured(0.01 * hard, np.zeros((60, 4)), FUNCTIONAL)}
        rungs = Rungs("made", exact(1.0), exact(0.0), "", rows[frozenset()], witness)
        found = split(Cells("shapley", {f: {"steps": [1, 2]} for f in names}, rows, {}, ("", None)), rungs)["terms"]
        for name in names:
            hits[name] += found[name]["low"] <= expected[name] <= found[name]["high"]
    assert all(0.92 <= n / 400 <= 0.98 for n in hits.values()), hits
