"""The phase diagram and the matrix: one rule for both layers, worlds placed by what their ledgers say."""

import numpy as np
import pytest

from experiments.question import matrix, phase
from experiments.question.diagram import diagram
from experiments.question.studies import relative
from tests.experiments.claims.made import run

SCHEMES = dict(zip(phase.CHAIN, ("nope", "alibi", "rope", "sinusoidal"), strict=True))
GEOMETRIC, UNIFORM, OFFSET = (f"worlds.kernel.{name}" for name in ("geometric", "uniform", "offset"))


def heads(share, rate):
    near = {"_target_": UNIFORM} if rate == 1 else {"_target_": GEOMETRIC, "rate": rate}
    far = {"_target_": OFFSET, "lag": 3}
    return {
        "name": "decay_heads",
        "vocab": 3,
        "heads": {"near": {"kernel": near, "weight": 1 - share}, "far": {"kernel": far, "weight": share}},
    }


def alone(kernel, **numbers):
    return {"name": "decay", "vocab": 3, "kernel": {"_target_": kernel, **numbers}}


PERIODIC = {"name": "periodic", "vocab": 3, "kernel": {"_target_": OFFSET, "lag": 1}}


def world(folder, name, law, perceived, reached):
    """A run for each concept of the chain, with what it must lose and what training loses."""
    wiggle = 1e-3 * np.array([-1.0, 0.0, 1.0])
    return [
        run(
            folder,
            f"{name} {c}",
            SCHEMES[c],
            {1: (r + wiggle).tolist()},
            law,
            trained=8,
            perceived=p,
            concept={"name": c},
        )
        for c, p, r in zip(phase.CHAIN, perceived, reached, strict=True)
    ]


@pytest.fixture
def runs(tmp_path):
    """Decay, an order-free world, a mixed one whose offset training does not need, one lag, and periodic lags."""
    return [
        *world(tmp_path, "d", alone(GEOMETRIC, rate=0.4), (0.03, 0, 0, 0), (0.04, 0.002, 0.003, 0.02)),
        *world(tmp_path, "u", alone(UNIFORM), (0, 0, 0, 0), (0.001, 0.003, 0.002, 0.005)),
        *world(tmp_path, "m", heads(0.3, 0.4), (0.06, 0.02, 0, 0), (0.05, 0.004, 0.003, 0.006)),
        *world(tmp_path, "o", alone(OFFSET, lag=3), (0.5, 0.4, 0, 0), (0.3, 0.2, 0.01, 0.06)),
        *world(tmp_path, "p", PERIODIC, (0.3, 0.2, 0.1, 0), (0.2, 0.2, 0.2, 0.01)),
        *world(tmp_path / "long", "d", alone(GEOMETRIC, rate=0.4) | {"vocab": 4}, (0.9,) * 4, (0.9,) * 4),
    ]


def test_worlds_stand_where_their_ledgers_say(runs):
    points = phase.points(runs)
    assert [(p.share, p.rate) for p in points] == [(0, 0.4), (0, 1.0), (0.3, 0.4), (1, None), (None, None)]
    assert all(set(p.runs) == set(phase.CHAIN) for p in points)


def test_the_first_concept_that_holds_a_world_is_needed_and_the_one_before_pays_the_margin(runs):
    points = phase.points(runs)
    assert [p.needed for p in points] == ["decay", "order_free", "offset", "offset", "absolute"]
    assert [p.needed_margin() for p in points] == [0.03, None, 0.02, 0.4, 0.1]


def test_training_is_judged_by_the_same_rule_and_may_disagree(runs):
    points = phase.points(runs)
    assert [p.preferred for p in points] == ["decay", "order_free", "decay", "offset", "absolute"]
    mean, low, high = points[0].preferred_margin()  # nope minus alibi, paired: no spread is left
    assert (mean, low, high) == pytest.approx((0.038, 0.038, 0.038))
    table = phase.table(points, points[0].runs["decay"].place.parent, relative)
    assert list(table.columns) == list(phase.COLUMNS) and len(table) == 20
    assert table.groupby(["share", "rate"], dropna=False).agree.first().tolist() == [True, True, False, True, True]


def test_a_concept_that_is_not_shown_to_hold_is_not_needed(tmp_path):
    runs = world(tmp_path, "m", heads(0.3, 0.4), (0.5, 0.4, 0.3, 0.2), (0.1,) * 4)
    (only,) = phase.points(runs)
    assert only.needed is None and only.needed_margin() is None


def test_the_diagram_draws_every_world_and_frames_the_differences(runs):
    figure = diagram(phase.points(runs))
    left, right = figure.axes
    assert len(left.patches) == 5 and len(right.patches) == 6  # one frame
    assert {text.get_text() for text in left.texts} >= {"0.030", "0.020", "0.400", "0.100"}


def test_the_matrix_is_the_largest_set_that_differs_in_world_and_scheme_alone(tmp_path):
    laws = {"urn": {"name": "dirichlet", "vocab": 4}, "decay": alone(GEOMETRIC, rate=0.75) | {"vocab": 4}}
    runs = [
        run(tmp_path, f"{w} {s}", s, {1: [0.1, 0.2]}, law, perceived=0.05, concept={"name": c})
        for w, law in laws.items()
        for c, s in (*SCHEMES.items(), ("offset", "t5"))
    ]
    runs.append(run(tmp_path, "other", "nope", {1: [0.1, 0.2]}, laws["urn"], layers=1))
    found = matrix.entries(runs)
    assert len(found) == 10 and {place for place, _ in found} == {"dirichlet", "decay geometric rate 0.75"}
    table = matrix.table(found, tmp_path, relative)
    assert set(table.scheme) == {"nope", "alibi", "rope", "t5", "sinusoidal"} and np.allclose(table["R-D"], 0.15)
    framed = [p for p in matrix.figure(found).axes[0].patches if not p.get_fill()]
    assert len(framed) == 2  # NoPE on the urn, ALiBi on decay
