"""A small multirun as a user types it, in processes of its own, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
SMALL = (
    "world.vocab=2 reach.length=4 reach.batch=4 reach.chunk=3 reach.steps=6 reach.seeds=2 oracle.restarts=0 "
    "measure.multiples=[1] measure.tokens=64 instantiation=positional instantiation.heads=1 observe=[heldout] "
    "ledger=heldout observe.heldout.sequences=8 observe.heldout.soft=8"
).split()


def command(out, *words):
    """The command; later words win."""
    return [sys.executable, "-m", "experiments.run", "-m", *SMALL, f"hydra.sweep.dir={out}", *words]


def run(out, *words, **environment):
    """Runs it to its end."""
    return subprocess.run(
        command(out, *words), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def start(out, *words):
    """Starts it, without waiting."""
    pipe = subprocess.PIPE
    return subprocess.Popen(command(out, *words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=pipe, text=True)


def kill_when(process, due, kill=signal.SIGKILL):
    """Kills a process as soon as due() holds; returns whether it was still running then."""
    while process.poll() is None:
        if due():
            process.send_signal(kill)
            process.communicate()
            return True
        time.sleep(0.02)
    process.communicate()
    return False


def worked(process):
    """Seconds of CPU time that a process has had: its own time, whatever else runs on the machine."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ledger_of(place):
    """What a run found."""
    return json.loads((place / "ledger.json").read_text())


def ledgers(out):
    """What each run of a multirun found, by its folder's name."""
    return {path.parent.name: ledger_of(path.parent) for path in out.glob("*/ledger.json")}


def same(one, other):
    """Whether two studies hold the same ledgers and the same arrays, bit for bit."""
    if ledgers(one) != ledgers(other):
        return False
    for name in ledgers(one):
        for file in ("weights.npz", "curves.npz"):
            with np.load(one / name / file) as a, np.load(other / name / file) as b:
                if a.files != b.files or not all(np.array_equal(a[k], b[k], equal_nan=True) for k in a.files):
                    return False
    return True


def remains(out):
    """Unfinished work and parts of files that nothing will ever finish."""
    return [path for path in out.rglob("*") if path.name.startswith("work-") or path.name.endswith(".part")]
