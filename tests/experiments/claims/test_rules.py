"""Every form of rule confirms, refutes and stays open; effects are the textbook's, and nothing infinite is averaged."""

import numpy as np
import pytest
import scipy.stats

from experiments.claims.claim import Claim, Region, Rule
from experiments.claims.trial import more, outside, trial, trials
from experiments.claims.verdict import decide
from tests.experiments.claims.made import DECAY, run

CLAIM = dict.fromkeys(("statement", "source", "figures", "worlds", "schemes", "lengths", "protocols"), "said")
SPREAD = np.array([-1.5, -0.5, 0.5, 1.5])


def claim(*rules):
    return Claim("C0", **CLAIM, rules=rules)


def ruled(form, readings, confirm, refute, **more):
    regions = [Region(k, tuple(np.atleast_1d(v).tolist())) for k, v in ((*confirm.items(),)[0], (*refute.items(),)[0])]
    return claim(Rule("a rule", form, readings, *regions, 0.01, "nats/token", **more))


def verdict(asked, runs):
    return decide([asked], runs)[0].verdict


def members(mean, spread=0.001):
    return (mean + spread * SPREAD).tolist()


LONG = {name: {"scheme": name, "length": 2} for name in ("alibi", "rope")}
PAIR = {"a": {"scheme": "alibi"}, "b": {"scheme": "rope"}}
DIFFERENCE = ruled("difference", PAIR, {"above": 0.01}, {"below": 0.01})
RATIO = ruled("ratio", {"a": {"scheme": "alibi", "length": 2}, "b": {"scheme": "alibi"}}, {"above": 10}, {"below": 2})
SHARE = ruled(
    "share",
    {"a": LONG["rope"], "b": {"scheme": "alibi"}, "c": LONG["rope"], "d": {"scheme": "rope"}},
    {"above": 0.8},
    {"below": 0.8},
)
ORDER = ruled(
    "order",
    {"x": {"scheme": "rope"}, "y": {"scheme": "t5"}, "z": {"scheme": "alibi"}},
    {"above": 0.01},
    {"below": 0.01},
)
FLIP = ruled(
    "flip",
    {"a": {"scheme": "alibi"}, "b": {"scheme": "rope"}, "c": LONG["alibi"], "d": LONG["rope"]},
    {"above": 0.01},
    {"below": 0.01},
)
HOME = ruled(
    "home",
    {"home": {"scheme": "alibi"}, "order_free": {"scheme": "nope"}, "offset": {"scheme": "rope"}},
    {"above": 0.01},
    {"below": 0.01},
)
CASES = {  # what alibi, rope, t5 and nope lose on average at the trained length and at twice it, and what follows
    "difference, confirmed": (DIFFERENCE, {"alibi": (0.05, 0), "rope": (0.02, 0)}, "confirmed"),
    "difference, refuted": (DIFFERENCE, {"alibi": (0.02, 0), "rope": (0.02, 0)}, "refuted"),
    "difference, at the edge": (DIFFERENCE, {"alibi": (0.03, 0), "rope": (0.02, 0)}, "undecided"),
    "ratio, confirmed": (RATIO, {"alibi": (0.02, 0.5)}, "confirmed"),
    "ratio, refuted": (RATIO, {"alibi": (0.02, 0.021)}, "refuted"),
    "ratio, between": (RATIO, {"alibi": (0.02, 0.1)}, "undecided"),
    "share, confirmed": (SHARE, {"alibi": (0.03, 0), "rope": (0.02, 0.5)}, "confirmed"),
    "share, refuted": (SHARE, {"alibi": (0.4, 0), "rope": (0.02, 0.5)}, "refuted"),
    "share, at the edge": (SHARE, {"alibi": (0.116, 0), "rope": (0.02, 0.5)}, "undecided"),
    "order, confirmed": (ORDER, {"rope": (0.3, 0), "t5": (0.2, 0), "alibi": (0.1, 0)}, "confirmed"),
    "order, one step wrong": (ORDER, {"rope": (0.3, 0), "t5": (0.1, 0), "alibi": (0.2, 0)}, "refuted"),
    "order, one step open": (ORDER, {"rope": (0.3, 0), "t5": (0.11, 0), "alibi": (0.1, 0)}, "undecided"),
    "flip, confirmed": (FLIP, {"alibi": (0.2, 0.1), "rope": (0.1, 0.2)}, "confirmed"),
    "flip, the same sign": (FLIP, {"alibi": (0.2, 0.3), "rope": (0.1, 0.2)}, "refuted"),
    "flip, one half open": (FLIP, {"alibi": (0.2, 0.19), "rope": (0.1, 0.2)}, "undecided"),
    "home, confirmed": (HOME, {"alibi": (0.1, 0), "nope": (0.2, 0), "rope": (0.3, 0)}, "confirmed"),
    "home, a rival is as good": (HOME, {"alibi": (0.1, 0), "nope": (0.2, 0), "rope": (0.1, 0)}, "refuted"),
    "home, a rival is near": (HOME, {"alibi": (0.1, 0), "nope": (0.2, 0), "rope": (0.11, 0)}, "undecided"),
}


@pytest.mark.parametrize("asked, losses, said", CASES.values(), ids=CASES.keys())
def test_forms(tmp_path, asked, losses, said):
    turned = {name: np.roll(SPREAD, n) for n, name in enumerate(losses)}  # schemes do not share their luck
    runs = [
        run(tmp_path, name, name, {1: (one + 0.001 * turned[name]).tolist(), 2: (two + 0.001 * turned[name]).tolist()})
        for name, (one, two) in losses.items()
    ]
    assert verdict(asked, runs) == said


def swept(tmp_path, losses):
    predicted = [0.1, 0.2, 0.3, 0.4, 0.5]
    runs = [
        run(tmp_path, f"m{n}", "alibi", {1: members(x, 0.01)}, perceived=p, numbers={"slopes": p})
        for n, (p, x) in enumerate(zip(predicted, losses, strict=True))
    ]
    readings = {"measured": {"scheme": "alibi"}, "predicted": {"scheme": "alibi", "of": "perception"}}
    asked = ruled("rank", readings, {"above": 0.9}, {"below": 0.5}, along=("perception.scheme.slopes",))
    return decide([asked], runs)[0]


def test_ranks_follow_a_prediction_or_do_not(tmp_path):
    assert swept(tmp_path / "1", [0.1, 0.2, 0.3, 0.4, 0.5]).verdict == "confirmed"
    assert swept(tmp_path / "2", [0.5, 0.4, 0.3, 0.2, 0.1]).verdict == "refuted"
    assert swept(tmp_path / "3", [0.2, 0.1, 0.4, 0.3, 0.5]).verdict == "undecided"  # rho = 0.8, between
    assert swept(tmp_path / "1", [0.1, 0.2, 0.3, 0.4, 0.5]).trials[0].high <= 1.0


def test_a_difference_is_paired_over_members(tmp_path):
    """Members that differ by 0.5 and schemes that differ by 0.02 in each: pairs see it, means would not."""
    base = np.array([0.1, 0.6, 1.1, 1.6])
    one = run(tmp_path, "a", "alibi", {1: (base + 0.02 + 1e-4 * SPREAD).tolist()})
    two = run(tmp_path, "b", "rope", {1: base.tolist()})
    found = decide([DIFFERENCE], [one, two])[0]
    assert found.verdict == "confirmed"
    expected = scipy.stats.ttest_rel(base + 0.02 + 1e-4 * SPREAD, base).confidence_interval()
    weak = found.weakest
    assert weak is not None and np.allclose((weak.low, weak.high), expected, atol=1e-12)
    assert scipy.stats.ttest_ind(base + 0.02, base).pvalue > 0.5


def test_p_values_are_students(tmp_path):
    values = np.array([0.03, 0.05, 0.02, 0.04])
    made = [run(tmp_path, "a", "alibi", {1: (0.1 + values).tolist()}), run(tmp_path, "b", "rope", {1: [0.1] * 4})]
    (found,), _ = trials(DIFFERENCE, made)
    assert np.isclose(found.confirm, scipy.stats.ttest_1samp(values, 0.01, alternative="greater").pvalue)
    assert np.isclose(found.refute, scipy.stats.ttest_1samp(values, 0.01, alternative="less").pvalue)
    within = Region("within", (0.03, 0.04))
    both = [scipy.stats.ttest_1samp(values, x, alternative=a).pvalue for x, a in ((0.03, "greater"), (0.04, "less"))]
    assert np.isclose(outside(found.effect, within), max(both))
    assert np.isclose(outside(found.effect, Region("beyond", (0.03, 0.04))), min(1, 2 * min(1 - p for p in both)))


def test_the_sampling_of_prefixes_widens_an_interval(tmp_path):
    sharp = [run(tmp_path, n, s, {1: members(x)}) for n, s, x in (("a", "alibi", 0.05), ("b", "rope", 0.02))]
    blunt = [run(tmp_path, n, s, {1: members(x)}, half=0.03) for n, s, x in (("c", "alibi", 0.05), ("d", "rope", 0.02))]
    one, two = (decide([DIFFERENCE], runs)[0] for runs in (sharp, blunt))
    assert (one.verdict, two.verdict) == ("confirmed", "undecided")
    assert one.weakest is not None and two.weakest is not None
    assert np.isclose((two.weakest.high - two.weakest.low) / 2, np.hypot(one.weakest.effect.half(), 0.03 * 2**0.5))


def test_prefixes_that_both_runs_saw_are_paired(tmp_path):
    """By sequence the two differ by 0.03 everywhere; apart, each interval is +-0.03 wide."""
    rows = 0.05 + 0.2 * np.random.default_rng(0).gamma(1.0, 1.0, (4, 64))
    curves = [{"sequences/excess/32": rows}, {"sequences/excess/32": rows - 0.03}]
    made = [
        run(tmp_path, name, name, {1: members(x)}, half=0.03, curves=kept)
        for name, x, kept in zip(("alibi", "rope"), (0.05, 0.02), curves, strict=True)
    ]
    assert verdict(DIFFERENCE, made) == "confirmed"


def test_members_that_diverged_are_said_and_not_averaged(tmp_path):
    lost = [0.05, 0.051, float("inf"), 0.049]
    made = [
        run(tmp_path, "a", "alibi", {1: lost}, diverged={"2": 317}),
        run(tmp_path, "b", "rope", {1: members(0.02)}),
    ]
    found = decide([DIFFERENCE], made)[0]
    assert found.weakest is not None and found.weakest.count == 3
    assert found.weakest.note == "1 of 4 members are infinite (diverged: seed 2 at step 317) and not averaged"
    gone = [run(tmp_path, "c", "alibi", {1: [float("inf")] * 4}), made[1]]
    assert "no member has a finite value" in decide([DIFFERENCE], gone)[0].why


def test_more_seeds_are_asked_for_where_they_would_decide(tmp_path):
    """The number is the least for which Student's test would pass at the same mean and spread."""
    losses = 0.02 + np.array([0.03, 0.012, 0.02, 0.026])
    made = [run(tmp_path, "a", "alibi", {1: losses.tolist()}), run(tmp_path, "b", "rope", {1: [0.02] * 4})]
    found = decide([DIFFERENCE], made)[0]
    (only,) = found.trials
    needed = more(only, 0.05 / 3)
    assert found.verdict == "undecided" and needed is not None and f"about {needed} more seeds" in found.why
    spread, gap = np.std(losses, ddof=1), losses.mean() - 0.03
    passes = [scipy.stats.t.sf(gap / spread * n**0.5, n - 1) <= 0.05 / 3 for n in (3 + needed, 4 + needed)]
    assert passes == [False, True]
    between = [run(tmp_path, "c", "alibi", {1: members(0.02), 2: members(0.1)})]
    assert "between the regions" in decide([RATIO], between)[0].why


def test_one_seed_decides_nothing(tmp_path):
    made = [run(tmp_path, "a", "alibi", {1: [0.5]}), run(tmp_path, "b", "rope", {1: [0.02]})]
    found = decide([DIFFERENCE], made)[0]
    assert found.verdict == "undecided" and "one seed says nothing of the spread" in found.why


def test_numbers_of_concepts_need_no_seeds(tmp_path):
    readings = {"a": {"scheme": "alibi", "of": "perception"}, "b": {"scheme": "rope", "of": "perception"}}
    asked = ruled("difference", readings, {"above": 0.01}, {"below": 0.01})
    made = [
        run(tmp_path, "a", "alibi", {1: [0.5]}, perceived=0.3),
        run(tmp_path, "b", "rope", {1: [0.02]}, perceived=0.1),
    ]
    found = decide([asked], made)[0]
    assert found.verdict == "confirmed" and found.weakest is not None and found.weakest.count == 0


def test_positions_and_the_world_s_own_loss_are_read_from_curves(tmp_path):
    """The last half window of a rising excess, and a loss that is the floor's mean plus the excess's."""
    long = np.linspace(0, 1, 64)
    kept = {
        "excess/64": np.stack([long + x for x in members(0)]),
        "excess/32": np.stack([np.zeros(32) + x for x in members(0)]),
        "floor/64": np.linspace(2, 1, 64),
    }
    made = [run(tmp_path, "a", "alibi", {1: members(0.0), 2: members(0.5)}, curves=kept)]
    readings = {"a": {"scheme": "alibi", "length": 2}, "b": {"scheme": "alibi"}}
    asked = ruled("difference", readings, {"above": 0.1}, {"below": 0.1}, each=({"score": "last"}, {"floor": True}))
    last, loss = trials(asked, made)[0]
    assert np.isclose(last.value, long[48:].mean())
    assert np.isclose(loss.value, 0.5 + kept["floor/64"].mean() - kept["floor/64"][:32].mean())
    assert trial(asked.rules[0], last.effect, []).value == last.value
    assert DECAY["name"] in last.place
