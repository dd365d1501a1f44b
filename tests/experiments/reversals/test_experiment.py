"""The experiment `protocols`: every cell is possible, and a short one runs to its study."""

import subprocess
import sys

import pandas as pd
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from experiments import entry, schema
from experiments.cell import build

assert entry.command and schema.Config  # resolvers and types


def cells():
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", overrides=["experiment=protocols"], return_hydra_config=True)
    return OmegaConf.to_container(config.hydra.sweeper.cells)


@pytest.mark.parametrize("number", range(6))
def test_every_cell_is_possible(number):
    every = cells()
    assert len(every) == 6
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", overrides=["experiment=protocols", *every[number].split()])
    built = build(config)
    assert built.config["study"] == "protocols" and {"nonoverlapping_24", "sliding_24"} <= set(built.protocols)


@pytest.mark.slow  # six runs of two steps: minutes
def test_two_steps_of_each_cell_end_with_the_study(request, tmp_path):
    short = "reach.steps=2 reach.seeds=2 reach.batch=4 measure.tokens=2048 instantiation.width=8".split()
    for label in ("heldout", "nonoverlapping_24", "sliding_24"):
        short += [f"observe.{label}.sequences=4", f"observe.{label}.soft=4"]
    kinds = ("nonoverlapping", "sliding", "sliding_half", "accuracy")
    dropped = [f"~observe.{kind}_{window}" for kind in kinds for window in (16, 24, 32)]
    kept = [x for x in dropped if x not in ("~observe.nonoverlapping_24", "~observe.sliding_24")]
    words = ["experiment=protocols", *short, *kept, f"hydra.sweep.dir={tmp_path}"]
    command = [sys.executable, "-m", "experiments.run", *words]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "reversals in" in done.stdout
    assert len(pd.read_csv(tmp_path / "contrasts.csv")) > 0 and (tmp_path / "fidelity.csv").exists()
