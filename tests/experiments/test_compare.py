"""Two groups of runs are compared in pairs, seed by seed, and nothing is averaged without saying so."""

import io

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from rich.console import Console

from experiments import report as command
from experiments.compare import COLUMNS, compare
from experiments.differences import ALL, Sampling, differences, half, student
from experiments.found import find
from experiments.ledger import entry
from experiments.measure import average
from experiments.pairs import group, paired
from experiments.pooling import pooled
from tests.experiments.folders import folder
from worlds.base import Functional
from worlds.quantity import Quantity, exact

SEEDS = 4


def ledger_of(ledgers, excess, scores=(), sampled=0.0, world="decay"):
    """A ledger whose seeds end at these excesses, each known to `sampled` nats (exactly where 0)."""
    found = ledgers[0](seeds=len(excess))
    found["world"] = {"name": world}
    kind = "estimated" if sampled else "exact"
    members = [entry(Quantity(x, x - sampled, x + sampled, kind, 9), "excess") for x in excess]
    for part in (found, *found["lengths"].values()):
        part["members"] = [dict(x) for x in members]
    for seen in found["protocols"].values():
        seen["scores"] = list(scores)
    return found


def run(place, ledger, config, number=0, **arrays):
    """A finished run with its config and curves."""
    folder(place, ledger, number)
    (place / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    np.savez(place / "curves.npz", **arrays)


def config(rate, seed=0, **more):
    return {"seed": seed, "world": {"rate": 0.6}, "reach": {"rate": rate}, "study": "whatever", **more}


def two(ledgers, tmp_path, a, b, seeds=(0, 0), **more):
    """The pairing of one run in either group."""
    for name, excess, seed in (("A", a, seeds[0]), ("B", b, seeds[1])):
        run(tmp_path / name, ledger_of(ledgers, excess, **more), config(0.1 if name == "A" else 0.2, seed))
    return paired(find([tmp_path / "A"])[0], find([tmp_path / "B"])[0])


def only(found, layer, multiple=1.0):
    return [x for x in found if x.layer == layer and x.multiple == multiple]


def test_runs_are_pairs_where_all_agrees_but_what_differs_between_the_groups(ledgers, tmp_path):
    ledger = ledger_of(ledgers, [0.01])
    for n, (rate, seed) in enumerate([(0.1, 0), (0.1, 1), (0.1, 2), (0.2, 0), (0.2, 1)]):
        run(tmp_path / f"{rate}" / f"{seed}", ledger, config(rate, seed), n)
    a, _ = group(f"{tmp_path}:reach.rate=0.1")
    b, _ = group(f"{tmp_path}:reach.rate=0.2")
    assert len(a) == 3 and len(b) == 2 and len(group(f"{tmp_path}:world=decay,seed=1")[0]) == 2
    found = paired(a, b)
    assert found.differs == {"reach.rate": (["0.1"], ["0.2"])}
    assert [(p.first.place.name, p.second.place.name, p.seed) for p in found.pairs] == [
        ("0", "0", "0"),
        ("1", "1", "1"),
    ]
    assert len({p.condition for p in found.pairs}) == 1  # repetitions of one condition
    (alone,) = found.alone
    assert alone.run.place.name == "2" and "differs in seed" in alone.reason


def test_runs_without_a_unique_partner_are_no_pairs(ledgers, tmp_path):
    ledger = ledger_of(ledgers, [0.01])
    for name, rate in (("a", 0.1), ("b", 0.2), ("c", 0.2)):
        run(tmp_path / name, ledger, config(rate))
    folder(tmp_path / "d", ledger)
    runs, _ = find([tmp_path])
    found = paired(runs[:1], runs[1:])
    assert found.pairs == []
    reasons = {x.run.place.name: x.reason for x in found.alone}
    assert reasons["d"] == "it has no config to read" and all("no pair is unique" in reasons[x] for x in "abc")
    with pytest.raises(ValueError, match="no run may belong to both groups, but 1 do"):
        paired(runs[:2], runs[1:])


def test_a_difference_of_exact_seeds_is_the_paired_t_interval(ledgers, tmp_path):
    a, b = [0.010, 0.020, 0.017, 0.013], [0.008, 0.014, 0.016, 0.009]
    pairing = two(ledgers, tmp_path, a, b)
    (found,) = only(differences(pairing.pairs[0]), "R-D")
    theirs = scipy.stats.ttest_rel(a, b).confidence_interval()
    ours = (found.quantity.value, found.quantity.low, found.quantity.high)
    assert ours == pytest.approx((np.mean(a) - np.mean(b), theirs.low, theirs.high), abs=1e-12)  # float64 of order 0.01
    assert found.over == ALL and found.quantity.count == 4 and "prefixes enumerated; seeds paired" in found.method


def test_seeds_of_other_keys_are_no_pairs(ledgers, tmp_path):
    a, b = [0.010, 0.020, 0.017, 0.013], [0.008, 0.014, 0.016, 0.009]
    pairing = two(ledgers, tmp_path, a, b, seeds=(0, 1))
    (found,) = only(differences(pairing.pairs[0]), "R-D")
    theirs = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found.quantity.low, found.quantity.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert "not paired" in found.method and found.seeds == {}


def test_without_common_prefixes_sampling_is_bounded_by_the_sum(ledgers, tmp_path):
    pairing = two(ledgers, tmp_path, [0.02], [0.01], sampled=0.003)
    (found,) = only(differences(pairing.pairs[0]), "R-D")
    assert (found.quantity.low, found.quantity.high) == pytest.approx((0.01 - 0.006, 0.01 + 0.006), abs=1e-12)
    assert "prefixes bounded" in found.method and "one seed" in found.method


def test_on_common_prefixes_the_sampling_is_that_of_the_differences(ledgers, tmp_path):
    rng = np.random.default_rng(0)
    easy = rng.gamma(2.0, 0.005, 64)  # what a prefix costs any reader
    excess = {name: easy + rng.normal(level, 0.001, (SEEDS, 64)) for name, level in (("A", 0.02), ("B", 0.01))}
    control = {name: rng.normal(0, 0.001, (SEEDS, 64)) for name in excess}
    for name, rate in (("A", 0.1), ("B", 0.2)):
        arrays = {"sequences/excess/32": excess[name], "sequences/control/32": control[name], "floor/32": np.ones(32)}
        run(tmp_path / name, ledger_of(ledgers, excess[name].mean(1), sampled=0.003), config(rate), **arrays)
    pair = paired(find([tmp_path / "A"])[0], find([tmp_path / "B"])[0]).pairs[0]
    (found,) = only(differences(pair), "R-D")
    functional = Functional(np.zeros((64, 1)), np.full(64, 1 / 64), np.ones(1), False)
    mean = [(x["A"] - x["B"]).mean(0)[:, None] for x in (excess, control)]
    theirs = average(mean[0], mean[1], functional)  # as within one run
    assert found.sampling == pytest.approx(theirs.high - theirs.value, rel=1e-9)
    assert found.sampling < 0.001 < 0.003  # the prefixes' own difficulty is gone
    assert "paired by prefix" in found.method
    assert only(differences(pair), "D")[0].quantity == exact(0.0)


def test_the_intervals_cover_the_truth():
    """Seeds and prefixes both vary, and A and B share the prefixes: 2000 comparisons, whose truth is 0.01."""
    rng, hit, runs = np.random.default_rng(1), 0, 2000
    for _ in range(runs):
        prefix = rng.normal(0, 0.02, 40)
        seeds = 0.01 + rng.normal(0, 0.004, 5)
        rows = seeds[:, None] + prefix + rng.normal(0, 0.002, (5, 40))
        value = rows.mean(1)
        total = np.hypot(student(value), half(Sampling([rows], np.zeros(5)), [*range(5)]))
        hit += abs(value.mean() - 0.01) <= total
    # nominal 95 %: four standard errors of 2000 draws are 1.9 points; wider is allowed, since both parts add up
    assert hit / runs > 0.95 - 0.019


def test_what_diverged_is_in_no_mean_in_silence(ledgers, tmp_path):
    pairing = two(ledgers, tmp_path, [0.01, np.inf, 0.03], [0.01, 0.01, 0.01])
    whole, rest = only(differences(pairing.pairs[0]), "R-D")
    assert whole.quantity.value == whole.quantity.low == np.inf and whole.over == ALL
    assert rest.quantity.value == pytest.approx(0.01) and rest.over == "the 2 of 3 seeds that are finite in both"


def test_an_unbounded_interval_stays_unbounded(ledgers, tmp_path):
    pairing = two(ledgers, tmp_path, [0.02], [0.01], sampled=0.003)
    (found,) = only(differences(pairing.pairs[0]), "R-D", 2.0)
    assert np.isfinite(found.quantity.high)
    pairing.pairs[0].second.ledger["lengths"]["64"]["members"][0]["high"] = "inf"
    (found,) = only(differences(pairing.pairs[0]), "R-D", 2.0)
    assert (found.quantity.low, found.quantity.high) == (-np.inf, np.inf)


def test_both_sides_infinite_is_undefined(ledgers, tmp_path):
    pairing = two(ledgers, tmp_path, [0.01, np.inf], [np.inf, 0.01])
    (whole,) = only(differences(pairing.pairs[0]), "R-D")
    assert whole.quantity.kind == "undefined" and whole.over == ALL


def test_losses_under_two_functionals_are_never_subtracted(ledgers, tmp_path):
    for name, law in (("A", "decay"), ("B", "mess3")):
        ledger = ledger_of(ledgers, [0.01, 0.02], world=law)
        for length, part in ledger["lengths"].items():
            part["functional"] = f"{law} T={length}"
        run(tmp_path / name, ledger | {"functional": f"{law} T=32"}, config(0.1) | {"world": law})
    pair = paired(find([tmp_path / "A"])[0], find([tmp_path / "B"])[0]).pairs[0]
    found = list(differences(pair))
    assert not only(found, "D") and only(found, "R-D") and only(found, "P-D")


def test_brackets_are_subtracted_end_by_end(ledgers, tmp_path):
    pairing = two(ledgers, tmp_path, [0.02, 0.02], [0.01, 0.01])
    a, b = (r.ledger["gaps"]["R-I"] for r in (pairing.pairs[0].first, pairing.pairs[0].second))
    (found,) = only(differences(pairing.pairs[0]), "R-I")
    q = found.quantity
    assert (q.value, q.low, q.high) == (a["nats"] - b["nats"], a["low"] - b["high"], a["high"] - b["low"])


def test_the_mean_over_pairs_averages_conditions_first_and_then_seeds(ledgers, tmp_path):
    rng, pairs = np.random.default_rng(2), []
    values = {}
    for n, (width, seed) in enumerate([(8, 0), (8, 1), (16, 0), (16, 1)]):
        values[width, seed] = rng.uniform(0.01, 0.03, (2, 3))
        for name, rate, excess in zip("AB", (0.1, 0.2), values[width, seed], strict=True):
            place = tmp_path / name / f"{n}"
            run(place, ledger_of(ledgers, excess), config(rate, seed, instantiation={"width": width}), n)
    pairs = paired(find([tmp_path / "A"])[0], find([tmp_path / "B"])[0]).pairs
    (found,) = only(pooled([(pair, list(differences(pair))) for pair in pairs]), "R-D")
    gap = {k: x[0] - x[1] for k, x in values.items()}
    each = np.concatenate([(gap[8, seed] + gap[16, seed]) / 2 for seed in (0, 1)])
    theirs = scipy.stats.ttest_1samp(each, 0).confidence_interval()
    assert (found.quantity.low, found.quantity.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert found.quantity.count == 6 and found.over == "all pairs"


@pytest.fixture
def groups(ledgers, tmp_path):
    """Two groups of two runs, one seed of which diverged, and a run without a partner."""
    for n, (rate, seed) in enumerate([(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1), (0.1, 7)]):
        excess = [0.01 + rate / 10, 0.02, np.inf if (rate, seed) == (0.2, 1) else 0.03]
        ledger = ledger_of(ledgers, excess, scores=[1.7, 1.8, 1.9])
        run(tmp_path / "runs" / f"{n}", ledger, config(rate, seed), n)
    return tmp_path


def test_a_comparison_writes_its_files_and_says_what_is_no_pair(groups):
    said = io.StringIO()
    console = Console(file=said, width=120, highlight=False)
    a, b = (f"{groups / 'runs'}:reach.rate={rate}" for rate in (0.1, 0.2))
    assert compare(a, b, groups / "out", console)
    table = pd.read_csv(groups / "out" / "compare.csv")
    assert list(table) == list(COLUMNS) and set(table["pair"].dropna()) == {1, 2}
    whole = table[table["pair"].isna() & (table.layer == "R-D") & (table.multiple == 1)]
    assert whole.value.tolist() == [-np.inf, pytest.approx(-0.01 / 3)]
    assert whole.over.tolist() == ["all pairs", "the 1 of 2 pairs that are finite"]
    listed = pd.read_csv(groups / "out" / "pairs.csv")
    assert listed["pair"].notna().sum() == 2 and listed.reason.notna().sum() == 1
    assert {"compare.tex", "compare.pdf", "compare.png", "report.html"} <= {x.name for x in (groups / "out").iterdir()}
    text = said.getvalue()
    assert "differs: reach.rate: 0.1 against 0.2" in text and "no pair: A" in text and "−∞" in text
    page = (groups / "out" / "report.html").read_text()
    assert "compare.csv" in page and "pairs.csv" in page and 'href="#run-0"' in page


def test_the_command_compares_and_refuses_what_cannot_be(groups, capsys, monkeypatch):
    where = str(groups / "runs")
    assert command.main(["--compare", f"{where}:reach.rate=0.1", where, "--out", str(groups / "out")]) == 1
    assert "no run may belong to both groups" in capsys.readouterr().out
    assert command.main(["--compare", f"{where}:rate", where, "--out", str(groups / "out")]) == 1
    assert "must be FOLDER or FOLDER:key=value" in capsys.readouterr().out
    assert command.main(["--compare", f"{where}/0", f"{where}/3", "--out", str(groups / "out")]) == 0
    for asked in ([], [where, "--compare", where, where], ["--compare", where, where]):
        with pytest.raises(SystemExit):
            command.main(asked)
    assert "--out must say where the files go" in capsys.readouterr().err
