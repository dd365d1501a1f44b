"""Whatever breaks, a run folder ends in a clear state: what was finished stays, what was not begins where it can."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import fit, folder


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


@pytest.mark.parametrize("killed", [False, True])
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
            other.wait(20)
    (text,) = said
    assert f"process {other.pid} on " in text and "waiting for it to end" in text
