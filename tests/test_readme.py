"""What the README says is so."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import yaml

from worlds.base import World, log_prob

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TINY = (  # the smallest run there is: two steps of training
    "perception=window instantiation.layers=1 instantiation.heads=1 instantiation.width=8 reach.length=4 reach.batch=4 "
    "reach.steps=2 reach.seeds=2 oracle.steps=2 oracle.restarts=1 measure.tokens=64 measure.multiples=[1,2] "
    "observe=[heldout] ledger=heldout"
).split()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def mine(tmp_path):
    """The reader's own folder, outside the repository, with the very lines of the README."""
    (program,), (config,) = blocks("python"), blocks("yaml")
    (tmp_path / "world").mkdir()
    (tmp_path / "sticky.py").write_text(program)
    (tmp_path / "world" / "sticky.yaml").write_text(config)
    return tmp_path


def test_a_world_takes_ten_lines_and_is_a_world(mine, monkeypatch):
    monkeypatch.syspath_prepend(mine)
    from sticky import sticky  # pyright: ignore[reportMissingImports]

    world = sticky(**{k: v for k, v in yaml.safe_load(blocks("yaml")[0]).items() if k != "_target_"})
    lines = [x for x in blocks("python")[0].splitlines() if x.strip() and not x.startswith(("import", "from"))]
    assert isinstance(world, World) and len(lines) <= 10
    logs = jax.jit(log_prob)(world, jnp.array([0, 0, 1, 1], jnp.int32))
    assert float(logs) == pytest.approx(math.log(0.5 * 0.9 * 0.1 * 0.9), abs=1e-12)


@pytest.mark.slow  # a run of its own process: half a minute
def test_a_world_outside_the_repository_runs(mine):
    command = next(x for x in "".join(blocks("sh")).splitlines() if "world=sticky" in x)
    assert command == "PYTHONPATH=~/mine ./run python -m experiments.run --config-dir ~/mine world=sticky"
    asked = command.split("./run python ")[1].replace("~/mine", str(mine)).split()
    environment = os.environ | {"PYTHONPATH": str(mine)}
    out = [*TINY, f"hydra.run.dir={mine / 'run'}"]
    done = subprocess.run([sys.executable, *asked, *out], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ledger = json.loads((mine / "run" / "ledger.json").read_text())
    assert ledger["world"]["name"] == "sticky"
    # the first token is fair, the others are repeated with probability 0.9: (log 2 + 3 H(0.1)) / 4
    assert ledger["layers"]["D"]["loss"] == pytest.approx((0.6931471805599453 + 3 * 0.3250829733914482) / 4, abs=1e-12)


def test_every_file_that_is_named_is_there():
    named = re.findall(r"\]\(([^):]+)\)", README)
    (tree,) = re.findall(r"```\n(worlds/.*?)```", README, re.DOTALL)
    inner = [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]
    folders = [line.split()[0] for line in tree.splitlines() if not line.startswith("  ")]
    assert folders == ["worlds/", "models/", "experiments/", "conf/", "tests/", "results/"]
    missing = [x for x in [*named, *folders, *(f"experiments/{x}" for x in inner)] if not (ROOT / x).exists()]
    assert missing == []


def test_the_checks_call_the_test_command_of_the_readme():
    assert "./run pytest " in blocks("sh")[0]
    assert "\ncheck ./run pytest " in (ROOT / ".ci" / "run").read_text()


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version = "{cited["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert cited["authors"] == [{"name": "The noumena developers"}]
