"""Which runs are compared: all else must agree, seeds pool, and variants stay apart unless the best is asked for."""

from experiments.claims.arms import matches, said, settings
from experiments.claims.claim import Region, Rule
from tests.experiments.claims.made import DECAY, run

ABOVE, BELOW = Region("above", (0.0,)), Region("below", (0.0,))


def rule(readings, **more):
    return Rule("a rule", "difference", readings, ABOVE, BELOW, 0.01, "nats/token", **more)


def found(readings, runs, **more):
    return settings(rule(readings, **more), {}, [(said(run), run) for run in runs])


PAIR = {"a": {"scheme": "alibi"}, "b": {"scheme": "rope"}}
URN = {"name": "dirichlet", "vocab": 4, "alpha": 0.5}


def test_arms_meet_only_where_world_training_and_architecture_agree(tmp_path):
    runs = [
        run(tmp_path, "1", "alibi", {1: [0.1, 0.2]}),
        run(tmp_path, "2", "rope", {1: [0.1, 0.2]}),
        run(tmp_path, "3", "alibi", {1: [0.1, 0.2]}, URN),
        run(tmp_path, "4", "rope", {1: [0.1, 0.2]}, URN, layers=4),
        run(tmp_path, "5", "rope", {1: [0.1, 0.2]}, URN, reach={"steps": 900}),
    ]
    (only,) = found(PAIR, runs)
    assert only.said["world.name"] == "decay"
    assert [[arm.runs[0].place.name for arm in only.arms[k]] for k in "ab"] == [["1"], ["2"]]


def test_seeds_pool_and_of_two_runs_of_one_seed_the_larger_counts(tmp_path):
    runs = [
        run(tmp_path, "1", "alibi", {1: [0.1, 0.2]}),
        run(tmp_path, "2", "alibi", {1: [0.1, 0.2, 0.3]}),
        run(tmp_path, "3", "alibi", {1: [0.1, 0.2]}, seed=7),
        run(tmp_path, "4", "rope", {1: [0.1, 0.2]}),
    ]
    (only,) = found(PAIR, runs)
    assert {seed: x.place.name for seed, x in only.arms["a"][0].runs.items()} == {0: "2", 7: "3"}


def test_variants_of_a_scheme_are_settings_of_their_own_unless_the_best_is_asked_for(tmp_path):
    runs = [run(tmp_path, f"w{n}", "window", {1: [0.1, 0.2]}, numbers={"width": n}) for n in (8, 16)]
    runs.append(run(tmp_path, "a", "alibi", {1: [0.1, 0.2]}))
    readings = {"a": {"scheme": "alibi"}, "b": {"scheme": "window"}}
    assert len(found(readings, runs)) == 2
    (only,) = found(readings | {"b": {"scheme": "window", "best": "perception.scheme.width"}}, runs)
    assert len(only.arms["b"]) == 2


def test_a_key_that_a_reading_names_may_differ_and_no_other(tmp_path):
    near, far = ({**DECAY, "kernel": {"_target_": "worlds.kernel.near_far", "far": n}} for n in (4, 48))
    runs = [run(tmp_path, "near", "alibi", {1: [0.1, 0.2]}, near), run(tmp_path, "far", "alibi", {1: [0.3, 0.4]}, far)]
    readings = {
        "a": {"scheme": "alibi", "world.kernel.far": {"at_least": 32}},
        "b": {"scheme": "alibi", "world.kernel.far": {"at_most": 8}},
    }
    (only,) = found(readings, runs)
    assert [only.arms[k][0].runs[0].place.name for k in "ab"] == ["far", "near"]
    other = {**far, "vocab": 8}
    assert found(readings, [runs[0], run(tmp_path, "other", "alibi", {1: [0.3, 0.4]}, other)]) == []


def test_selectors_say_values_choices_ranges_and_absence():
    flat = {"world.name": "decay", "world.hazard": 0.03, "reach.length": 64}
    assert matches(flat, {"world.name": ["urn", "decay"], "reach.length": {"at_least": 32}})
    assert matches(flat, {"world.hazard": 0.030000001, "world.kernel": [None, "geometric"]})
    assert not matches(flat, {"world.hazard": {"at_least": 0.04}})
    assert not matches(flat, {"world.kernel": "geometric"})
    assert not matches({"perception.scheme.slopes": "matched"}, {"perception.scheme.slopes": {"at_least": 0}})
