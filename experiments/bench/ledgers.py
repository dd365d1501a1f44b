"""Seconds from a command to its ledgers, each command a process of its own: cold (no program is cached), or warm.

One cell: the default one, one seed (CELL), to the precision that its ledger states. A sweep of 16 such cells (SWEEP)
through `hydra/launcher=population`, beside 16 cold commands, and beside the same multirun through Hydra's own launcher,
which runs the jobs one after another in one process. Of the 16 cold commands `rounds` are run, and their seconds times
16 stand for all: they do nothing for one another. Seconds end with the last ledger, so that the report is not in them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.found import Found

CELL = ["reach.seeds=1", "reach.steps=300", "oracle.restarts=1", "oracle.steps=100", "measure.multiples=[1,2]"]
SWEEP = ["-m", "reach.rate=1e-3,2e-3,3e-3,5e-3", "seed=range(4)"]
CELLS = 16
GOALS = 8.0, 2.0  # beside separate cold commands; beside one process


@dataclass(frozen=True)
class Ledgers:
    """All of it: some ten minutes on two cores."""

    name: str = "ledgers"

    def measured(self, rounds: int) -> list[Found]:
        """Cold and warm commands in turns, then both sweeps, each with an empty cache."""
        with tempfile.TemporaryDirectory(prefix="noumena-ledgers-") as folder:
            root = Path(folder)
            runs = [[_run(root / f"{n}", root / f"{n}-{kind}") for kind in ("cold", "warm")] for n in range(rounds)]
            cold, warm = np.array(runs).T
            width = _width(root / "0-cold")
            many, alone = (
                _run(root / f"cache-{launcher}", root / launcher, *SWEEP, f"hydra/launcher={launcher}")
                for launcher in ("population", "basic")
            )
        name, sweep = f"a ledger whose R - D is known to {width:.1g} nats", f"a sweep of {CELLS} cells, cold"
        found = [_faster(f"{name}, warm", "the same, cold", warm, cold, None)]
        found.append(_faster(sweep, f"{CELLS} cold commands", np.full(rounds, many), CELLS * cold, GOALS[0]))
        found.append(_faster(sweep, "one process, one after another", np.array([many]), np.array([alone]), GOALS[1]))
        return found


def group(cfg: Any) -> Iterator[Ledgers]:
    """One comparison."""
    del cfg
    yield Ledgers()


def _faster(name: str, peer: str, ours: np.ndarray, theirs: np.ndarray, goal: float | None) -> Found:
    ratio = theirs / ours
    medians = float(np.median(ours)), float(np.median(theirs))
    return Found(
        name, peer, float(np.median(ratio)), float(ratio.min()), float(ratio.max()), goal, unit="s", ours=medians[0],
        theirs=medians[1],
    )  # fmt: skip


def _run(cache: Path, out: Path, *words: str) -> float:
    """Seconds until the command's last ledger; `cache` is where it looks for compiled programs."""
    place = f"hydra.sweep.dir={out}" if "-m" in words else f"hydra.run.dir={out}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_", "NOUMENA_"))}
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", *words, *CELL, place],
        env=environment | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"bench: a run must finish, but ended with {done.returncode}:\n{done.stderr[-2000:]}")
    ledgers = list(out.glob("**/ledger.json"))
    if len(ledgers) != (CELLS if words else 1):
        raise RuntimeError(f"bench: {CELLS if words else 1} ledgers were asked for, but found {len(ledgers)}")
    return max(path.stat().st_mtime for path in ledgers) - began


def _width(out: Path) -> float:
    """Half the width of the interval of R - D, nats per token."""
    gap = json.loads((out / "ledger.json").read_text())["gaps"]["R-D"]
    return (gap["high"] - gap["low"]) / 2
