"""Jobs trained as one population end as jobs that were run alone."""

import json
import subprocess
import sys

import numpy as np
import pytest

from experiments.population import Job, Shared, populations
from experiments.reach import Curve

ASKED = (
    "world.vocab=2 world.kernel.rate=0.5,0.6 reach.length=4 reach.batch=4 reach.chunk=3 reach.steps=6 reach.seeds=2 "
    "reach.rate=1e-3,1e-2 oracle.restarts=0 measure.multiples=[1] measure.tokens=64 instantiation=positional "
    "instantiation.heads=1 observe=[heldout] ledger=heldout observe.heldout.sequences=8 observe.heldout.soft=8"
).split()


class Stand:
    """What `populations` asks a cell for."""

    def __init__(self, spec, steps=6, seeds=2, world=()):
        self.spec, self.shape, self.seeds, self.world = spec, "shape", seeds, world
        self.reals = type("Reals", (), {"steps": steps, "dropout": 0.0, "channel": None})()


def test_populations_share_a_program_and_stay_within_their_size(tmp_path):
    jobs = [Job(tmp_path / str(n), Stand("ab"[n % 2]), 0) for n in range(7)]  # type: ignore[arg-type]
    found = populations(jobs, most=4)
    assert [[job.place.name for job in group] for group in found] == [["0", "2"], ["4", "6"], ["1", "3"]]  # 5 is alone
    other = [Job(tmp_path, Stand("a", steps=n), done) for n, done in ((6, 0), (7, 0), (6, 3))]  # type: ignore[arg-type]
    assert populations(other, most=4) == []


def test_a_checkpoint_is_divided_between_jobs_and_joined_again(tmp_path):
    shared = Shared([tmp_path / "a" / "c.npz", tmp_path / "b" / "c.npz"], [slice(0, 2), slice(2, 3)])
    numbers = np.arange(6.0).reshape(3, 2)
    curve = Curve(numbers, -numbers, np.array([0, 2]), numbers[:, :, None])
    tree = ({"w": numbers}, curve)
    assert shared.read(tree) is None
    shared.write(tree)
    members, found = shared.read(tree)
    assert np.array_equal(members["w"], numbers)
    assert all(np.array_equal(a, b) for a, b in zip(found, curve, strict=True))


@pytest.mark.slow  # two multiruns in processes of their own: a minute
def test_jobs_of_a_population_end_with_the_ledgers_of_jobs_alone(request, tmp_path):
    found = {}
    for launcher in ("basic", "population"):
        out = tmp_path / launcher
        command = [sys.executable, "-m", "experiments.run", "-m", *ASKED, f"hydra/launcher={launcher}"]
        done = subprocess.run(
            [*command, f"hydra.sweep.dir={out}"],
            cwd=request.config.rootpath,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert ("training 4 cells of 2 seeds as one program" in done.stderr) == (launcher == "population")
        found[launcher] = {p.parent.name: json.loads(p.read_text()) for p in out.glob("*/ledger.json")}
        assert all((out / name / ".hydra" / "config.yaml").exists() for name in found[launcher])
    assert found["basic"].keys() == found["population"].keys() and len(found["basic"]) == 4
    for name, alone in found["basic"].items():
        for layer in "DPIRO":
            assert found["population"][name]["layers"][layer]["loss"] == pytest.approx(
                alone["layers"][layer]["loss"], abs=1e-5
            )
