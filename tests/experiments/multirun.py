"""A small multirun as a user types it, in processes of its own, and what it leaves behind."""

import json
import os
import subprocess
import sys

import numpy as np

ROOT = __file__.rsplit("/tests/", 1)[0]
SMALL = (
    "world.vocab=2 reach.length=4 reach.batch=4 reach.chunk=3 reach.steps=6 reach.seeds=2 oracle.restarts=0 "
    "measure.multiples=[1] measure.tokens=64 instantiation=positional instantiation.heads=1 observe=[heldout] "
    "ledger=heldout observe.heldout.sequences=8 observe.heldout.soft=8"
).split()


def command(out, *words):
    """The command; later words win."""
    return [sys.executable, "-m", "experiments.run", "-m", *SMALL, f"hydra.sweep.dir={out}", *words]


def run(out, *words, **environment):
    """Runs it to its end; what it printed goes into the failure's message."""
    done = subprocess.run(
        command(out, *words), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    return done


def ledgers(out):
    """What each run found, by its folder's name."""
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/ledger.json")}


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
