"""Whatever breaks, a run folder ends in a clear state: what was finished stays, what was not begins where it can."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import fit, folder
from experiments.cell import Refused
from tests.experiments.multirun import kill_when, ledgers, remains, run, same, start, worked


@pytest.mark.parametrize("kept", [0, 40, 300])
def test_a_truncated_checkpoint_is_set_aside_and_said(tmp_path, caplog, kept):
    path, like = tmp_path / "reach.npz", {"a": np.arange(100.0)}
    file = fit.OneFile(path)
    assert file.read(like) is None  # nothing yet
    file.write(like)
    assert np.array_equal(file.read(like)["a"], like["a"])
    path.write_bytes(path.read_bytes()[:kept])
    with caplog.at_level(logging.WARNING):
        assert file.read(like) is None
    assert "cannot be read" in caplog.text and not path.exists()
    assert path.with_suffix(".broken").stat().st_size == kept


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "ledger.json"
    fit.write(path, b"before")

    def full(self, content):
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fit.write(path, b"after")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


HOLD = """
import sys, pathlib
from experiments import folder
with folder.held(pathlib.Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_are_never_in_one_run_folder_and_a_killed_one_leaves_no_lock(request, tmp_path, killed):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    pipe, said = subprocess.PIPE, []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=request.config.rootpath) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "held\n"

        def say(text):
            assert other.poll() is None  # the other is still in it
            said.append(text)
            other.kill() if killed else other.stdin.close()

        with folder.held(tmp_path / "run", say):
            other.wait(300)
    (text,) = said
    assert f"process {other.pid} on " in text and "waiting for it to end" in text


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def absent(file, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(folder.fcntl, "flock", absent)
    with pytest.raises(Refused, match="must be on a file system with locks, .* says: Function not implemented"):
        with folder.held(tmp_path, print):
            pass


TWO = ["world.kernel.rate=0.5,0.6", "reach.steps=600", "reach.chunk=20"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A multirun of two cells that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "study"
    assert run(out, *TWO).returncode == 0
    return out


def taken(out):
    """Checkpoints of trainings that are not finished."""
    return list(out.glob("*/work-*/reach.npz"))


@pytest.mark.slow  # five multiruns of two cells: a minute
def test_a_study_is_terminated_moved_dated_to_the_future_and_corrupted_and_ends_as_an_undisturbed_one(whole, tmp_path):
    out = tmp_path / "study"
    assert kill_when(start(out, *TWO), lambda: taken(out), signal.SIGTERM)
    out = shutil.move(out, tmp_path / "elsewhere")
    assert taken(out) and not ledgers(out)
    dated(out, 4e9)  # the clock was set back by seventy years meanwhile
    assert run(out, *TWO).returncode == 0
    assert same(out, whole) and remains(out) == []

    dated(out, 0)  # and forward
    before = {path: path.read_bytes() for path in out.glob("*/[!.]*.*") if path.suffix != ".log"}
    broken = sorted(out.glob("*/ledger.json"))[0]
    broken.write_bytes(broken.read_bytes()[:1000])
    refused = run(out, *TWO)
    assert refused.returncode == 1
    assert f"{broken} must be a ledger, but cannot be read; force=true writes it anew" in " ".join(
        refused.stderr.split()
    )
    assert all(path.read_bytes() == content for path, content in before.items() if path.parent != broken.parent)
    assert run(out, *TWO, "force=true").returncode == 0
    assert same(out, whole)


def dated(out, when):
    """Sets the time of every file."""
    for path in out.rglob("*"):
        os.utime(path, (when, when))


@pytest.mark.slow  # two multiruns at once
def test_two_multiruns_on_one_folder_do_each_cell_once(whole, tmp_path):
    processes = [start(tmp_path, *TWO) for _ in range(2)]
    said = " ".join(" ".join(process.communicate()[1] for process in processes).split())
    assert [process.returncode for process in processes] == [0, 0], said
    for name in ledgers(whole):
        measured = [word for word in said.split() if word == f"{tmp_path / name}:"]
        assert len(measured) == 1  # the line that says how long it took
    assert same(tmp_path, whole) and remains(tmp_path) == []


@pytest.mark.slow
def test_a_full_disk_ends_a_study_that_goes_on_when_there_is_room(whole, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a disk of 100 kB is mounted by root")
    out = tmp_path / "study"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(out)], check=True)
    try:
        full = run(out, *TWO)
        assert full.returncode == 1 and "No space left on device" in full.stderr
        for path in out.glob("*/ledger.json"):
            assert path.read_bytes() == (whole / path.parent.name / path.name).read_bytes()  # whole, or not there
        subprocess.run(["mount", "-o", "remount,size=100m", str(out)], check=True)
        assert run(out, *TWO).returncode == 0
        assert same(out, whole) and remains(out) == []
    finally:
        subprocess.run(["umount", str(out)], check=True)


KILLS = int(os.environ.get("KILLS", "50"))
MANY = ["world.kernel.rate=0.3,0.5,0.6", "reach.rate=1e-3,1e-2", "seed=0,1,2,3", "reach.steps=600", "reach.chunk=20"]


@pytest.mark.slow  # fifty starts of a multirun of 24 cells: ten minutes
def test_fifty_kills_at_random_moments_lose_no_finished_cell(tmp_path, capsys):
    """Moments are in the process' own CPU time: about half of the kills come before it measures anything."""
    out, whole = tmp_path / "killed", tmp_path / "whole"
    undisturbed = start(whole, *MANY)
    first = None
    while undisturbed.poll() is None and first is None:
        time.sleep(0.1)
        first = worked(undisturbed) if list(whole.glob("*/ledger.json")) else None
    undisturbed.communicate()
    assert undisturbed.returncode == 0 and len(ledgers(whole)) == 24 and first is not None

    random, finished, history = np.random.default_rng(7), {}, []
    while len(history) < KILLS:
        process = start(out, *MANY)
        moment = random.uniform(0, 1.25 * first)
        assert kill_when(process, lambda process=process, moment=moment: worked(process) > moment)
        now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*/ledger.json")}
        assert finished.items() <= now.items()  # none is lost, and none is written again
        finished = now
        history.append(len(now))
    with capsys.disabled():
        print(f"cells finished after each of {KILLS} kills: {history}")
    assert run(out, *MANY).returncode == 0
    assert same(out, whole) and remains(out) == []
