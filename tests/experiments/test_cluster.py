"""A multirun through a real SLURM of one node; docs/cluster.md is what this test does."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.multirun import ROOT, command, ledgers, remains, run, same

# Long enough not to end in the seconds that SLURM leaves a job which it puts back into the queue.
LONG = ["world.kernel.rate=0.5,0.6", "instantiation.heads=1,2", "reach.steps=300000", "reach.chunk=3000"]

HOUR = 3600


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which SLURM's commands find it."""
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("a SLURM of one node is brought up by root from Debian packages")
    root = tmp_path_factory.mktemp("slurm")
    environment = {"SLURM_ROOT": str(root), "CPUS": "4", "SLURM_CONF": str(root / "slurm.conf")}
    script = ["bash", "tests/slurm_up.sh"]
    up = subprocess.run(
        [*script, "up"], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if up.returncode:
        pytest.skip(f"tests/slurm_up.sh could not bring up SLURM: {up.stderr.strip()[-300:]}")
    yield environment
    subprocess.run([*script, "down"], cwd=ROOT, env=os.environ | environment, check=True)


def half_way(out):
    """The number in the array and the process of each job whose training has a checkpoint."""
    found = {}
    for lock in out.glob("*/.lock"):
        named = re.match(r"process (\d+) on", lock.read_text())
        if named and list(lock.parent.glob("work-*/reach.npz")) and Path(f"/proc/{named[1]}").exists():
            asked = Path(f"/proc/{named[1]}/environ").read_text().split("\0")
            number = next(x.split("=")[1] for x in asked if x.startswith("SLURM_ARRAY_TASK_ID="))
            found[number] = int(named[1])
    return found


REQUEUED = ["scontrol", "requeue"]  # SLURM ends the job's process
SIGNALLED = ["scancel", "--signal=USR2"]  # as SLURM warns of a time-out or a pre-emption: the job asks to be requeued


def disturbed(out, multirun, interrupt, environment):
    """Throws the first job back into the queue and kills the second, each when it is half-way; the array's number."""
    done, began = set(), time.monotonic()
    while len(done) < 2:
        assert multirun.poll() is None and time.monotonic() < began + HOUR
        time.sleep(0.2)
        for number, process in half_way(out).items():
            if number == "0" and number not in done:
                (array,) = {path.name.split("_")[0] for path in (out / ".submitit").glob("*_0_log.err")}
                subprocess.run([*interrupt, f"{array}_0"], env=environment, check=True)
            elif number == "1" and number not in done:
                os.kill(process, signal.SIGKILL)
            done.add(number)
    return array


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same multirun on this machine, undisturbed."""
    out = tmp_path_factory.mktemp("here")
    assert run(out, *LONG, "hydra/launcher=population").returncode == 0
    return out


@pytest.mark.slow  # a multirun with two jobs, one thrown back into the queue and one killed, and an undisturbed one
@pytest.mark.parametrize("interrupt", [REQUEUED, SIGNALLED], ids=["requeued", "signalled"])
def test_a_multirun_outlives_a_requeued_and_a_killed_job(interrupt, slurm, whole, tmp_path):
    out = tmp_path / "cluster"
    asked = command(out, *LONG, "hydra/launcher=population_slurm")
    environment = os.environ | slurm
    with subprocess.Popen(asked, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as multirun:
        try:
            array = disturbed(out, multirun, interrupt, environment)
            said = " ".join(multirun.communicate(timeout=HOUR)[1].split())
        finally:
            subprocess.run(["scancel", "--user", "root"], env=environment, check=True)
            multirun.kill()
    assert multirun.returncode == 0, said[-3000:]
    assert f"submitted 2 jobs as {array};" in said and "submitted 1 jobs as" in said
    assert f"job {array}_0: 2 of 2 cells finished" in said
    assert f"job {array}_1 ended without a word" in said
    log = (out / ".submitit" / f"{array}_0_0_log.out").read_text()
    assert log.count("Starting with JobEnvironment") == 2
    assert ("Caught signal SIGUSR2" in log) == (interrupt is SIGNALLED)
    assert len(ledgers(out)) == 4 and same(out, whole)
    assert remains(out) == []
    again = run(out, *LONG, "hydra/launcher=population_slurm", **slurm)
    assert again.returncode == 0 and "submitted" not in again.stderr
    moved = shutil.move(out, tmp_path / "elsewhere")  # and its pickles with it, which nobody reads
    for path in (moved / ".submitit").glob("*.pkl"):
        path.write_bytes(b"no pickle")
    report = subprocess.run([sys.executable, "-m", "experiments.report", str(moved)], cwd=ROOT, check=False)
    assert report.returncode == 0


@pytest.mark.slow
def test_a_job_that_fails_is_reported_and_the_others_go_on(slurm, tmp_path):
    """Two jobs of one folder, of which one breaks, one that breaks alone, and one whose config is refused before."""
    breaks = "task=null,{_target_:json.loads,_partial_:true}"
    done = run(tmp_path, "world.kernel.rate=0.5,7", breaks, "hydra/launcher=population_slurm", **slurm)
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert "submitted 2 jobs as" in said
    assert ": 1 of 2 cells finished" in said and ": 0 of 1 cells finished" in said
    assert "noumena: TypeError: loads() takes 1 positional argument but 2 were given" in said
    assert len(ledgers(tmp_path)) == 1 and (tmp_path / "report.html").exists()
