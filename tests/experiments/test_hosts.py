"""Several processes train one cell: the numbers of one process, to float rounding, and one run folder."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from experiments import hosts
from tests.experiments.multirun import ROOT, SMALL, ledger_of, remains

STEPS = ["reach.batch=8", "reach.micro=2", "reach.steps=7", "reach.crop=2", "reach.corruption=0.1"]


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
    hosts.check(8, 4)
    hosts.check(6, 0)
    for batch, micro in ((7, 0), (8, 3), (12, 4)):
        with pytest.raises(ValueError, match=f"each of 2 processes .* but batch is {batch} and micro {micro}"):
            hosts.check(batch, micro)


def started(out, number, count, port, *words):
    """A process of several, with its own devices: not the same number of cores matters, but of devices."""
    several = {"JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(number), "JAX_NUM_CPU_DEVICES": "2"}
    environment = os.environ | several | {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}"}
    asked = [sys.executable, "-m", "experiments.run", *SMALL, *STEPS, *words, f"hydra.run.dir={out}"]
    pipe = subprocess.PIPE
    return subprocess.Popen(asked, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def trained(out, count, *words):
    """Runs a cell in so many processes; returns what each printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [started(out, number, count, port, *words) for number in range(count)]
    said = [process.communicate(timeout=3600) for process in processes]
    assert [process.returncode for process in processes] == [0] * count, said
    return said


@pytest.mark.slow  # five processes that compile the same programs: two minutes
def test_two_processes_train_as_one_and_the_first_writes(tmp_path):
    one, two = tmp_path / "one" / "a", tmp_path / "two" / "a"
    trained(one, 1)
    said = trained(two, 2)
    ours = [[line for line in out.splitlines() if not line.startswith("[Gloo]")] for out, _ in said]
    assert any("R" in line for line in ours[0]) and ours[1] == []  # one ledger is printed
    assert remains(tmp_path) == []
    with np.load(one / "weights.npz") as a, np.load(two / "weights.npz") as b:
        for name in a.files:  # float32 sums in another order, seven steps of rate 3e-3
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=2e-5)
    with np.load(one / "curves.npz") as a, np.load(two / "curves.npz") as b:
        np.testing.assert_allclose(a["train/loss"], b["train/loss"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(a["train/excess"], b["train/excess"], rtol=0, atol=1e-5)
    for layer in "DPRO":
        alone, together = (ledger_of(place)["layers"][layer]["loss"] for place in (one, two))
        assert together == pytest.approx(alone, abs=1e-5)
    again = trained(two, 2)
    assert "finished; force=true runs it again" in again[0][1]
