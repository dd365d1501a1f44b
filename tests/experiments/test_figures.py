"""Figures say what the ledger says: heights, brackets, signs, and words where there is no height."""

import copy
import itertools
import math

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from experiments.figures import first_look, waterfall
from experiments.ladder import limits, rungs
from experiments.style import COLUMN, TEXT, said, save, threshold
from worlds.quantity import Quantity, certified, undefined

INFINITE = {"nats": "inf", "low": "inf", "high": "inf", "class": "estimated"}
UNDEFINED = {"nats": None, "low": None, "high": None, "class": "undefined"}


def diverged(ledger):
    """The same run, had one seed excluded a possible token."""
    ledger = copy.deepcopy(ledger)
    for part in (ledger, ledger["lengths"]["64"]):
        part["gaps"] |= {gap: INFINITE for gap in ("R-I", "R-D")}
        part["members"][0] |= {"excess": "inf", "low": "inf", "high": "inf"}
    ledger["gaps"] |= {"O-D": INFINITE, "O-R": {"nats": 0.0, "low": 0.0, "high": 0.0, "class": "estimated"}}
    return ledger


def words(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_each_rung_starts_where_the_last_one_ended_and_ends_at_its_gap(ledgers):
    made, _ = ledgers
    ledger = made()
    steps = rungs(ledger)
    assert [step.layer for step in steps] == ["P", "I", "R", "O"]
    assert [step.start for step in steps[1:]] == [step.end for step in steps[:-1]]
    for step in steps:  # sums of a few float64 numbers near 1
        assert step.end - step.start == pytest.approx(step.gap["nats"], abs=1e-12)
        assert step.low <= step.end <= step.high


def test_the_bracket_of_the_architecture_is_free_of_the_floors_own_interval(ledgers):
    made, _ = ledgers
    inside, outside = (rungs(made(contained=x))[1] for x in (True, False))
    assert inside.low == pytest.approx(0.00209, abs=1e-12)  # P's lower end
    assert outside.low == pytest.approx(0.0, abs=1e-12)  # D
    assert inside.high == pytest.approx(inside.end, rel=0.2)


def test_the_waterfall_fits_a_column_and_says_every_gap_with_its_class(ledgers):
    made, _ = ledgers
    ledger = made()
    figure = waterfall(ledger)
    shown = words(figure)
    assert figure.get_size_inches()[0] == COLUMN
    for gap in ("P-D", "I-P", "R-I", "O-R"):
        entry = ledger["gaps"][gap]
        assert f"{said(entry['nats'])}  {entry['class']}" in shown
    assert any("thing-in-itself" in x for x in shown)


def test_a_value_beyond_its_interval_is_drawn(ledgers):
    """An estimate may lie below the least that a theorem allows, which has cut its interval."""
    made, _ = ledgers
    ledger = made("order_free", "nope", Quantity(0.040, 0.041, 0.043, "estimated", 64), best=0.05, contained="")
    assert words(waterfall(ledger))


def test_a_surplus_is_hatched_and_a_loss_is_not(ledgers):
    made, _ = ledgers
    surplus = waterfall(made("order_free", "nope", certified(0.04, 0.04, 0.04), best=0.005, contained=False))
    loss = waterfall(made(observed=0.05))
    assert [bar.get_hatch() is not None for bar in surplus.axes[0].patches] == [False, True, False, False]
    assert not any(bar.get_hatch() for bar in loss.axes[0].patches)


def test_what_is_undefined_or_infinite_is_said_and_stays_off_the_scale(ledgers):
    made, _ = ledgers
    blank, broken = made("absolute", "learned", undefined(), contained=False), diverged(made())
    assert words(waterfall(blank)).count("undefined  ") == 2  # P - D and I - P
    assert "∞  estimated" in words(waterfall(broken))
    assert all(map(math.isfinite, limits([blank, broken])))
    gone = made("absolute", "learned")
    gone["lengths"]["128"]["gaps"]["R-D"], gone["lengths"]["128"]["members"] = UNDEFINED, []
    shown = words(first_look([gone, broken]))
    assert "learned: undefined" in shown and "ALiBi: ∞" in shown


def boxes(figure):
    """Where each text that is drawn lies."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, texts = canvas.get_renderer(), [x for part in (figure, *figure.subfigs) for x in part.texts]
    for axes in (x for x in figure.axes if x.axison):
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts += [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
        texts += axes.get_legend().get_texts() if axes.get_legend() else []
    shown = [x for x in texts if x.get_visible() and x.get_text().strip()]
    return {f"{n} {x.get_text()}": x.get_window_extent(renderer) for n, x in enumerate(shown)}


def test_no_text_covers_another_or_leaves_the_page(ledgers):
    made, four = ledgers
    sets = [four(), [diverged(made()), *four()], [made("absolute", "learned", undefined(), contained=False)]]
    for figure in [first_look(x) for x in sets] + [waterfall(x) for x in four()]:
        found = boxes(figure)
        pairs = itertools.combinations(found.items(), 2)
        assert not [(a, b) for (a, x), (b, y) in pairs if x.shrunk(0.98, 0.85).overlaps(y.shrunk(0.98, 0.85))]
        assert not [
            a for a, x in found.items() if x.x0 < 0 or x.y0 < 0 or x.x1 > figure.bbox.x1 or x.y1 > figure.bbox.y1
        ]


def test_runs_share_one_scale_which_turns_logarithmic_only_when_they_differ_widely(ledgers):
    made, _ = ledgers
    near = first_look([made(reached=(0.010, 0.012, 0.02)), made(reached=(0.012, 0.013, 0.02))])
    far = first_look([made(reached=(0.010, 1.2, 2.0)), made(reached=(3.0, 4.0, 5.0), best=2.0, observed=3.1)])
    assert [axes.get_xscale() for axes in near.axes] == ["linear", "linear", "log"]
    assert [axes.get_yscale() for axes in (near.axes[-1], far.axes[-1])] == ["linear", "symlog"]
    assert [axes.get_xscale() for axes in far.axes[:2]] == ["symlog", "symlog"]
    assert far.axes[0].get_xlim() == far.axes[1].get_xlim()
    assert any("logarithmic above 0.01" in text for text in words(far))


def test_curves_show_the_mean_the_band_and_every_seed(ledgers):
    made, _ = ledgers
    ledger = made(reached=(0.01, 0.02, 0.03), seeds=4)
    axes = first_look([ledger]).axes[-1]
    line = next(x for x in axes.lines if x.get_label() == "decay / ALiBi")
    lengths = [ledger["lengths"][n] for n in ("32", "64", "128")]
    assert line.get_ydata().tolist() == [part["gaps"]["R-D"]["nats"] for part in lengths]
    seeds = [x.get_ydata().tolist() for x in axes.lines if x is not line]
    assert seeds == [[m["excess"] for m in part["members"]] for part in lengths]
    assert len(axes.collections) == 1  # the band


def test_lines_differ_by_dash_and_marker_as_well_as_colour(ledgers):
    _, four = ledgers
    figure = first_look(four())
    lines = [x for x in figure.axes[-1].lines if not x.get_label().startswith("_")]
    assert figure.get_size_inches()[0] == TEXT
    for look in ("get_color", "get_marker"):
        assert len({getattr(line, look)() for line in lines}) == 4
    assert len({str(line._dash_pattern) for line in lines}) == 4


def test_files_are_whole_the_same_each_time_and_without_type_3_fonts(ledgers, tmp_path):
    made, _ = ledgers
    contents = []
    for n in range(2):
        save(waterfall(made()), tmp_path / f"{n}.run")
        contents.append([(tmp_path / f"{n}.run.{ending}").read_bytes() for ending in ("pdf", "png")])
    assert contents[0] == contents[1]
    assert len(list(tmp_path.iterdir())) == 4
    pdf, png = contents[0]
    assert png.startswith(b"\x89PNG") and b"/Type3" not in pdf and b"/CIDFontType2" in pdf


@pytest.mark.parametrize("count", [0, 13])
def test_a_figure_holds_one_to_twelve_runs(count, ledgers):
    made, _ = ledgers
    with pytest.raises(ValueError, match=f"1 to 12 runs, but got {count}"):
        first_look([made()] * count)


def test_seven_runs_take_two_rows_and_labels_wrap(ledgers):
    made, _ = ledgers
    labels = [f"decay / ALiBi reach.rate=0.00{n} world.kernel.rate=0.1" for n in range(7)]
    figure = first_look([made()] * 7, labels)
    assert len([axes for axes in figure.axes if axes.axison]) == 8
    assert max(map(len, words(figure)[0].splitlines())) <= 17


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "+0.0123"),
        (-0.5, "−0.5000"),
        (12.34, "+12.3"),
        (3e-6, "+3e−6"),
        (-1e-12, "0"),
        ("inf", "∞"),
        (None, "undefined"),
    ],
)
def test_numbers_are_said_as_a_reader_wants_them(value, text):
    assert said(value) == text


def test_the_threshold_is_a_power_of_ten_below_all_sizes():
    assert threshold([0.02, 0.3]) == 0.0
    assert threshold([0.02, 0.0, math.inf]) == 0.0
    assert threshold([0.02, 3.0]) == 0.01
