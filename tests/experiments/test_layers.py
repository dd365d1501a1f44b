"""Steps that cells of a study share."""

from hydra import compose, initialize_config_module

import experiments.schema  # noqa: F401  the types of the config
from experiments import layers
from experiments.cell import build
from experiments.screen import Screen

ASKED = ["world=golden_mean", "reach.length=4", "measure.multiples=[1]"]


def perceived(*overrides):
    with initialize_config_module("conf", version_base="1.3"):
        cell = build(compose("config", overrides=[*ASKED, *overrides]))
    return layers.perceive(cell, Screen())[4]


def test_a_concept_is_found_once_for_all_schemes_and_again_for_whatever_it_depends_on(monkeypatch):
    first = perceived("perception=window")
    assert perceived("perception=window", "perception/scheme=t5", "reach.steps=7") is first
    for change in ("world.p=0.3", "seed=1", "perception=unigram"):
        assert perceived("perception=window", change) is not first
    monkeypatch.setattr(layers, "KEPT", 1)
    perceived("perception=unigram", "seed=2")
    again = perceived("perception=window")
    assert again is not first and again.excess == first.excess
