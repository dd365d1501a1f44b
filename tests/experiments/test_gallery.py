"""The page of worlds: what it shows is a sample of each, beside its own zero."""

import sys

import matplotlib.image
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, gallery
from experiments.gallery import FAMILIES, TOKENS, Strip
from worlds.quantity import Quantity, certified, exact

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]  # handlers would outlive the captured streams


@pytest.fixture
def type_in(monkeypatch, capsys, tmp_path):
    """Runs the command in this process and in a folder of its own, as typed."""

    def type_in(*words):
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["experiments.gallery", *QUIET, *words])
        entry.command(gallery.gallery)
        return capsys.readouterr()

    return type_in


def strip(name="a", family="hmm", vocab=2, zero=None, rate=True):
    return Strip(name, family, vocab, np.zeros((3, 8), np.int32), zero or exact(0.5), rate)


def words(figure):
    """All that is written on the page."""
    return [t.get_text() for t in figure.texts] + [t.get_text() for a in figure.axes for t in a.texts]


def test_the_command_draws_the_worlds_by_name_with_their_zeros(type_in, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "DRAWN", 8)
    seen = []
    monkeypatch.setattr(gallery, "drawn", lambda *x, draw=gallery.drawn: seen.append(x) or draw(*x))
    assert "2 worlds" in type_in("worlds=[golden_mean,operators,switching]", "length=24", "out=new/page").out
    (golden, switching), untold = seen[0]
    assert untold == ["operators (path)"]
    assert (golden.rate, golden.family, golden.tokens.shape) == (True, "hmm", (5, 24))
    assert golden.zero.value == pytest.approx(2 / 3 * np.log(2), abs=1e-12)  # p = 1/2: a coin after each zero
    assert not (golden.tokens[:, 1:] & golden.tokens[:, :-1]).any()  # no two ones in a row
    assert (switching.rate, switching.zero.kind, switching.zero.count) == (False, "estimated", 8)
    assert 0 < switching.zero.value < np.log(4)
    assert matplotlib.image.imread(tmp_path / "new" / "page.png").std() > 0
    assert (tmp_path / "new" / "page.pdf").read_bytes().startswith(b"%PDF")


def test_every_strip_is_on_the_page_once_in_its_family():
    strips = [strip(f"{f} {n}", f, vocab) for f in ("hmm", "recall", "mine") for n, vocab in enumerate((2, 8, 9))]
    figure = gallery.drawn(strips, [])
    written = words(figure)
    for one in strips:
        assert written.count(one.name) == 1
    assert len(figure.axes) == 9 and {"Finite state", "Recall", "mine"} <= set(written) and "Grammars" not in written
    places = [axes.get_position().bounds for axes in figure.axes]
    assert all(0 <= x and 0 <= y and x + w <= 1 and y + h <= 1 for x, y, w, h in places)
    assert len({(x, y) for x, y, _, _ in places}) == 9


def test_a_zero_is_written_as_what_it_is():
    floor = Quantity(1.0, 0.9, 1.1, "estimated", 8)
    page = gallery.drawn([strip(), strip(zero=certified(1, 0.5, 1.5)), strip(zero=floor, rate=False)], ["x (path)"])
    written = " ".join(words(page))
    for said in (
        "entropy rate 0.5000",
        "entropy rate in [0.5000, 1.5000]",
        "floor of 8 in [0.9000, 1.1000]",
        "x (path)",
    ):
        assert said in written


def test_tokens_have_colours_of_their_own():
    for vocab in (2, 8, 9, 33):
        colours = gallery._colours(vocab)(np.arange(vocab))
        assert len(np.unique(colours, axis=0)) == vocab
    assert len(set(TOKENS)) == 8 and len({m for of in FAMILIES.values() for m in of}) == sum(
        map(len, FAMILIES.values())
    )


@pytest.mark.parametrize(
    "asked, rule",
    [
        ("length=0", "gallery: length must be at least 1, but is 0"),
        ("sequences=0", "gallery: sequences must be at least 1, but is 0"),
        ("worlds=[nowhere]", "but one is 'nowhere'"),
    ],
)
def test_bad_input_ends_in_one_message(type_in, capsys, asked, rule):
    with pytest.raises(SystemExit) as stopped:
        type_in(asked)
    assert stopped.value.code == 1 and rule in capsys.readouterr().err
