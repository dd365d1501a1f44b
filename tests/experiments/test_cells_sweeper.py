"""The sweeper: listed cells times the product of the rest, and an end whatever fails."""

import importlib

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins


def plugin():
    """The module as Hydra holds it: its scan for plugins executes modules anew, so an earlier import is another."""
    Plugins.instance()
    return importlib.import_module("hydra_plugins.cells_sweeper")


def jobs(asked, cells=None, size=None):
    return plugin().CellsSweeper(size, {}, cells).split_arguments(OverridesParser.create().parse_overrides(asked), size)


def test_without_cells_it_is_the_product():
    assert jobs(["a=1,2", "b=3"]) == [[["a=1", "b=3"], ["a=2", "b=3"]]]


def test_each_cell_meets_each_of_the_product_and_its_own_overrides_come_last():
    assert jobs(["a=1,2"], ["b=1 a=5", "c=[1,2]"]) == [
        [["a=1", "b=1", "a=5"], ["a=2", "b=1", "a=5"], ["a=1", "c=[1,2]"], ["a=2", "c=[1,2]"]]
    ]


def test_batches_have_the_size_asked_for():
    assert [len(batch) for batch in jobs(["a=1,2,3"], ["", "b=1"], 4)] == [4, 2]
    assert jobs(["a=1"], []) == []


def test_a_failed_job_does_not_keep_the_multirun_from_its_end(monkeypatch):
    ended = []
    sweeper = plugin().CellsSweeper(None)
    sweeper.config = {}  # type: ignore[assignment]
    sweeper.hydra_context = type(
        "Context", (), {"callbacks": type("C", (), {"on_multirun_end": lambda self, **k: ended.append(k)})()}
    )()  # type: ignore[assignment]
    monkeypatch.setattr(plugin().BasicSweeper, "sweep", lambda *_: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):
        sweeper.sweep([])
    assert len(ended) == 1
