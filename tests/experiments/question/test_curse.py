"""The decomposition of a gain adds up, a window reader is all curse, and sweeps read what they say."""

import numpy as np
import pytest

from experiments.question import curse, sweeps
from experiments.question.studies import relative
from tests.experiments.claims.made import run

URN = {"name": "dirichlet", "vocab": 4, "alpha": 0.5}
TRAINED, LONG = 32, 256
H = 1 + 3 / np.arange(1, LONG + 1)  # a world whose memory never ends
WINDOW = np.where(np.arange(LONG) < TRAINED, 0, H[TRAINED - 1] - H)  # what its window null loses
WIGGLE = 1e-4 * np.array([-1.5, -0.5, 0.5, 1.5])


def reader(folder, scheme, excess, null=True, **more):
    """A run whose members lose `excess` [time] and a little more or less each."""
    rows = excess[None] + WIGGLE[:, None]
    kept = {f"excess/{n}": rows[:, :n] for n in (TRAINED, LONG)}
    if null:
        kept["observe/window_null"] = np.stack([H, WINDOW, 0 * H])
    lengths = {1: kept[f"excess/{TRAINED}"].mean(1).tolist(), LONG // TRAINED: kept[f"excess/{LONG}"].mean(1).tolist()}
    return run(folder, scheme, scheme, lengths, URN, curves=kept, **more)


def test_a_window_reader_gains_by_the_curse_alone_and_the_world_by_context_too(tmp_path):
    runs = [reader(tmp_path, "alibi", WINDOW + 0.02), reader(tmp_path, "nope", 0 * H + 0.02, null=False)]
    window, ideal = curse.splits(runs)
    assert window.null == pytest.approx(H.mean() - H[:TRAINED].mean() + WINDOW.mean())
    assert window.whole[0] == pytest.approx(window.null) and window.share[0] == pytest.approx(1)
    assert window.context[0] == pytest.approx(H[TRAINED - 1] - H[16:TRAINED].mean(), abs=1e-9)  # no token is early
    assert ideal.whole[0] == pytest.approx(ideal.world) and ideal.share[0] > 1
    assert ideal.context[0] == pytest.approx(H[-16:].mean() - H[16:TRAINED].mean())
    for split in (window, ideal):
        assert split.whole[0] == pytest.approx(split.context[0] + split.curse[0])


def test_a_reader_that_fails_far_out_loses_context(tmp_path):
    (only,) = curse.splits([reader(tmp_path, "sinusoidal", np.where(np.arange(LONG) < TRAINED, 0.02, 0.9))])
    assert only.context[0] > 0.5 and only.whole[0] > 0 and only.share[0] < 0


def test_without_a_null_in_its_world_nothing_is_decomposed(tmp_path):
    assert curse.splits([reader(tmp_path, "alibi", WINDOW, null=False)]) == []
    other = reader(tmp_path / "other", "alibi", WINDOW, trained=64)
    assert [s.run.place.name for s in curse.splits([other, reader(tmp_path, "rope", WINDOW, null=False)])] == []


def test_members_that_are_infinite_make_no_interval(tmp_path):
    one = reader(tmp_path, "alibi", WINDOW)
    one.ledger["lengths"][str(LONG)]["members"][0] = {
        "excess": "inf",
        "low": "inf",
        "high": "inf",
        "class": "estimated",
    }
    (only,) = curse.splits([one])
    assert only.whole == (np.inf, -np.inf, np.inf)


def test_table_and_figure_hold_every_split(tmp_path):
    found = curse.splits([reader(tmp_path, "alibi", WINDOW), reader(tmp_path, "rope", WINDOW + 1, null=False)])
    table = curse.table(found, tmp_path, relative)
    assert list(table.scheme) == ["ALiBi", "RoPE"] and list(table.run) == ["alibi", "rope"]
    assert np.allclose(table.whole, table.context + table.curse)
    assert len(curse.figure(found).axes) == 2


def swept(folder):
    laws = [{"name": "switching", "vocab": 4, "hazard": h} for h in (0.02, 0.06)]
    one = [
        run(folder, f"{n} {m}", "alibi", {1: [0.1 + m, 0.11 + m]}, law, perceived=m, numbers={"slopes": m})
        for n, law in enumerate(laws)
        for m in (0.5, 0.1)
    ]
    sets = [
        run(folder, f"s{n}", "alibi", {1: [0.1, 0.2]}, law, numbers={"slopes": "matched"}) for n, law in enumerate(laws)
    ]
    return (
        one
        + sets
        + [run(folder, "fox", "fox", {1: [0.1, 0.2]}, laws[0]), run(folder, "x", "rope", {1: [0.1]}, laws[0])]
    )


def test_slopes_stand_beside_what_they_must_cost(tmp_path):
    table = sweeps.slopes(swept(tmp_path), tmp_path, relative)
    first = table[table.world == "switching hazard 0.02"]
    assert first.slope.dropna().tolist() == [0.1, 0.5] and first.perceived[:2].tolist() == [0.1, 0.5]
    assert set(first.set) == {"one slope", "matched", "FoX"}
    assert len(sweeps.slopes_figure(table).axes) == 2


def test_far_lags_and_answers_are_read_from_their_own_scores(tmp_path):
    near_far = {"name": "decay", "vocab": 4, "kernel": {"_target_": "worlds.kernel.near_far", "far": 16}}
    recall = {"name": "recall", "gap": 1.0, "keys": 4}
    ends = {"low": 0.3, "high": 0.5, "class": "estimated"}
    seen = {"unit": "nats/token", "targets": [0.4], "ceiling": {"value": 0.1} | ends, "expected": {"value": 0.4} | ends}
    runs = [
        run(tmp_path, "a", "alibi", {1: [0.2, 0.3]}, near_far),
        run(tmp_path, "b", "alibi", {1: [0.2, 0.3]}, recall, protocols={"needle": seen}),
    ]
    table = sweeps.ranges(runs, tmp_path, relative)
    assert table.world.tolist() == ["near-far", "recall"] and table["at"].tolist() == [16, 1.0]
    assert table.reached.tolist() == pytest.approx([0.25, 0.3])
    assert len(sweeps.ranges_figure(table).axes) == 2
