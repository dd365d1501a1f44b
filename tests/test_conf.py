"""Every file of conf/ says what it is, composes alone, and names something that accepts its keys."""

import inspect
import pathlib

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from worlds import base

CONF = pathlib.Path(__file__).parents[1] / "conf"
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.glob("*/**/*.yaml"))
CHOICES = [name for name in FILES if not name.startswith("experiment/")]  # an experiment is a change to another file
WORLDS = [name for name in CHOICES if name.startswith("world/") and name.count("/") == 1]


def composed(name):
    """The part of the tree that the file fills."""
    with initialize_config_module("conf", version_base="1.3"):
        return OmegaConf.select(compose(name), name.rpartition("/")[0].replace("/", "."))


def targets(node):
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield node
        node = [node._get_node(key) for key in node]
    if isinstance(node, list | ListConfig):
        for child in node:
            yield from targets(child)


@pytest.mark.parametrize("name", FILES)
def test_files_begin_with_their_meaning(name):
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("# @package")).startswith("# ")


@pytest.mark.parametrize("name", CHOICES)
def test_targets_accept_their_keys(name):
    for node in targets(composed(name)):
        keys = {str(key): None for key in node if not str(key).startswith("_")}
        inspect.signature(get_method(node._target_)).bind_partial(**keys)


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_built_from_their_files(name):
    chosen = composed(name)
    if not OmegaConf.missing_keys(chosen):
        assert isinstance(instantiate(chosen, _convert_="all"), base.World)


def test_a_user_s_operators_are_the_only_world_that_asks_for_a_value():
    assert [name for name in WORLDS if OmegaConf.missing_keys(composed(name))] == ["world/operators"]
