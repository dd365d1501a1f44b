"""The studies' cells: every one composes, for every budget, and says what its names promise."""

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf

import experiments.entry
import experiments.schema  # noqa: F401  the types of the config
from experiments.cell import made
from experiments.question.cells import between, cells, perception, scheme
from experiments.solve import solved
from worlds import base

STUDIES = ("alibi_question", "extrapolation", "slopes", "long_range")
BUDGETS = ("small", "paper")


def listed(study, budget):
    """The cells of a study as its config lists them, and the config."""
    with initialize_config_module("conf", version_base="1.3"):
        asked = [f"experiment={study}", f"budget={budget}"]
        config = compose("config", overrides=asked, return_hydra_config=True)
        return instantiate(config.hydra.sweeper.cells), config


def composed(study, budget, cell):
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", overrides=[f"experiment={study}", f"budget={budget}", *cell.split()])


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_cell_is_its_own_and_the_first_of_each_kind_composes(study, budget):
    found, config = listed(study, budget)
    assert len(set(found)) == len(found) > 10
    assert config.hydra.mode.name == "MULTIRUN" and config.study == study
    kinds = {}  # one cell for each world and one for each scheme
    for cell in found:
        words = cell.split()
        kinds.setdefault(next(w for w in words if w.startswith("world=")), cell)
        kinds.setdefault(next(w for w in words if w.startswith("perception/scheme=")), cell)
    for cell in set(kinds.values()):
        config = composed(study, budget, cell)
        assert config.oracle.restarts >= 0 and config.reach.length in (7, 8, 32, 38, 64, 256)


def test_worlds_between_the_corners_are_the_corners_at_their_ends():
    worlds = between(3, 3, [0, 0.3, 1], [0.4, 1])
    assert len(worlds) == 5  # the offset has no rate
    built = []
    for text in worlds:
        config = composed("alibi_question", "small", text)
        law, _ = solved(OmegaConf.to_container(config.world, resolve=True))
        world = made(law)
        assert isinstance(world, base.World)
        built.append(world)
    assert [len(world.kernels) for world in built] == [1, 1, 2, 2, 1]
    assert [float(built[n].kernels[0].rate) for n in (0, 1, 2, 3)] == [0.4, 1.0, 0.4, 1.0]
    assert [float(x) for x in built[2].weights] == pytest.approx([0.7, 0.3])
    same = (built[4].tables == built[2].tables[1:]).all() and (built[0].tables == built[2].tables[:1]).all()
    assert same  # the ends are the heads of the middle, so that a walk between them changes nothing else


def test_constants_are_matched_unless_they_are_given():
    assert scheme("alibi", 64) == "perception/scheme=alibi perception.scheme.slopes=matched"
    assert perception("rope base=10000", "everything", 64).endswith("perception.scheme.base=10000")
    assert "perception.concept.slopes=[0.1]" in perception("alibi slopes=0.1", "own", 64)


def test_groups_and_budgets_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="budget must be one of small, but is 'large'"):
        cells("large", small=[])
    with pytest.raises(ValueError, match="a group of cells must have concept, length"):
        cells("small", small=[{"length": 3}])
    with pytest.raises(ValueError, match="window must have a home"):
        perception("window width=3", "home", 64)


def test_resolvers_of_the_run_are_known_here():
    assert experiments.entry.sweep_name(["a"])
