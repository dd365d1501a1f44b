"""The map of perceptions: its cells, its files, its homes, and that it goes on where it stopped."""

import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_module

import experiments.schema  # noqa: F401  the types of the config
from experiments import perceptions
from experiments.cell import Refused, made
from experiments.maps import short
from experiments.perceptions import Map, setting, survey
from experiments.screen import Screen
from models import perception
from worlds import kernel
from worlds.decay import decay
from worlds.positional import periodic
from worlds.urn import dirichlet

ROWS = [[0.7, 0.3], [0.2, 0.8]]
WORLDS = {
    "spike": decay(2, kernel.offset(2), ROWS),
    "turning": periodic(2, 2, kernel.offset(1), ROWS, stride=2),
}
CONCEPTS = {"unigram": perception.unigram(), "offset": perception.offset(), "absolute": perception.absolute()}
HOMES = {"spike": ["offset"], "turning": ["absolute"]}
MAPS = {
    "steady": Map(4, WORLDS, CONCEPTS, HOMES, steady=True),
    "fresh": Map(3, WORLDS | {"urn": dirichlet(2, 0.5)}, CONCEPTS, HOMES),
}


def test_a_map_leaves_its_tables_and_figures_and_is_not_made_twice(tmp_path, monkeypatch):
    survey(tmp_path, Screen(), MAPS)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(first) == {
        *("perceptions.csv", "perceptions.pdf", "perceptions.png", "lag_mass.csv", "lag_mass.pdf", "lag_mass.png"),
        *("profiles.csv", "values.csv"),
    }
    table = pd.read_csv(tmp_path / "perceptions.csv")
    assert list(table.columns) == ["world", "concept", "readout", "length", "floor", "low", "high", "class"]
    home = pd.read_csv(tmp_path / "values.csv")["home"]
    assert len(table) == 15 and (table["low"] <= table["high"]).all() and (table["high"][home] < 1e-8).all()
    lags = pd.read_csv(tmp_path / "lag_mass.csv")
    spike = lags[(lags["world"] == "spike") & (lags["concept"] == "the world") & (lags["map"] == "steady")]
    # of the row of token a, min_a K[a, y] says the same whatever the token: 1 - (0.2 + 0.3) depends on it
    assert list(spike["mass"]) == pytest.approx([0, 0.5, 0, 0], abs=1e-12)

    def die(*arguments):
        raise AssertionError("a finished cell was found again")

    monkeypatch.setattr(perceptions, "setting", die)
    survey(tmp_path, Screen(), MAPS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == first
    with pytest.raises(AssertionError, match="found again"):
        survey(tmp_path, Screen(), MAPS | {"steady": Map(5, WORLDS, CONCEPTS, HOMES, steady=True)})  # another question


def test_the_steady_floor_is_the_entropy_rate():
    for world in WORLDS.values():
        assert setting(MAPS["steady"], world).floor.value == pytest.approx(world.entropy_rate().value, abs=1e-13)


def test_rows_of_two_maps_are_told_apart(tmp_path):
    with pytest.raises(Refused, match="steady and other both have spike, turning at 4 tokens"):
        survey(tmp_path, Screen(), {"steady": MAPS["steady"], "other": Map(4, WORLDS, CONCEPTS)})


def test_names_that_are_not_there_are_refused():
    with pytest.raises(Refused, match="homes must name concepts of the map"):
        Map(4, WORLDS, CONCEPTS, {"spike": ["nowhere"]})
    with pytest.raises(Refused, match="homes must name worlds of the map"):
        Map(4, WORLDS, CONCEPTS, {"nowhere": ["offset"]})
    with pytest.raises(Refused, match="must have `over"):
        Map(4, WORLDS, CONCEPTS | {"mine": object()}, steady=True)


def test_numbers_are_short_and_zero_is_certified():
    def entry(value, high):
        return {"value": value, "low": 0.0, "high": high, "class": "certified"}

    assert short(entry(-1e-17, 9e-9)) == "0" and short(entry(0.0, 1e-3)) != "0"
    assert short(entry(1.27, 1.27)) == "1.2700" and short({"value": None, "high": None}) == "–"


@functools.cache
def maps():
    with initialize_config_module("conf", version_base="1.3"):
        return made(compose("config", ["experiment=perceptions"]).task).keywords["maps"]


TYPED = yaml.safe_load((Path(__file__).parents[2] / "conf/experiment/perceptions.yaml").read_text())["task"]["maps"]


@pytest.mark.slow  # programmes of seven tokens
@pytest.mark.parametrize(("world", "concept"), [(w, c) for w, found in TYPED["fresh"]["homes"].items() for c in found])
def test_each_concept_of_the_map_is_at_home_where_it_says(world, concept):
    """At five tokens; membership is proved at any length, and the rest is certified below 1e-8."""
    law = maps()["fresh"].worlds[world]
    found = setting(Map(5, {}, {}), law).weigh(maps()["fresh"].concepts[concept])
    assert found.excess.kind in ("certified", "exact") and found.excess.high < 1e-8


SMALLER = [  # the second allows all that the first does
    *itertools.pairwise(["unigram", "order_free", "decay", "offset", "absolute"]),
    *[("alibi", "decay"), ("decay", "monotone"), ("monotone", "offset"), ("order_free", "power_decay")],
    *[("window_1", "window_2"), ("bag", "bag_and_last"), ("window_1", "bag_and_last")],
]


@pytest.mark.slow  # the whole map: minutes
def test_the_whole_map_is_nested_and_every_home_is_won(tmp_path):
    survey(tmp_path, Screen(), maps())
    table = pd.read_csv(tmp_path / "perceptions.csv").join(pd.read_csv(tmp_path / "values.csv")[["map", "home"]])
    table = table.set_index(["map", "world", "concept"])
    assert set(table["class"]) <= {"certified", "exact"}
    assert (table["high"] - table["low"]).max() < 1e-7
    assert (table["high"][table["home"]] < 1e-8).all() and table["home"].sum() >= 23
    for name, one in maps().items():
        for world, (smaller, larger) in itertools.product(one.worlds, SMALLER):
            low, high = table.loc[(name, world, larger), "low"], table.loc[(name, world, smaller), "high"]
            assert low <= high + 1e-12, (name, world, smaller, larger)
    for path in (tmp_path / "cells").glob("steady periodic*.json"):
        cell = json.loads(path.read_text())
        assert np.isfinite(cell["excess"]["value"])
