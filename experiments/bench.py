"""Tokens per second of exact scoring and sampling, beside what one would use instead: python -m experiments.bench.

One case or more for each family of worlds. Beside a plain NumPy loop over batches (`experiments.loops`), beside filters
as one writes them in JAX and, where they can be imported, hmmlearn and genlm-grammar (`experiments.peers`), and the
parallel form of lag worlds beside their own scan. Both sides take turns within one run, so that a
busy machine slows both; in each round the fastest of three calls counts. Read the ratios, each the median over the
rounds with the smallest and the largest. Ours, and filters in JAX, share the sequences between all devices (a CPU core
each), NumPy has one. The first call, which compiles, is timed apart. Both sides' laws are compared before.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import jax
import numpy as np
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments import backend
from experiments.cases import GROUPS, Case
from experiments.cell import Refused
from experiments.entry import command

CLOSE = 1e-9  # laws of both sides, in logs
CALLS = 3  # in one round, of which the fastest counts: what else the machine does only adds


@dataclass
class Bench:
    """What is measured, and how large."""

    only: list[str] = field(default_factory=list)  # groups of GROUPS; none named: all
    batch: int = 256  # sequences
    length: int = 256  # tokens of each
    states: int = 64  # of the finite-state world
    symbols: int = 10  # of the grammar, which has five rules for each
    rounds: int = 5
    out: str = "bench.json"


ConfigStore.instance().store(name="bench_schema", node=Bench)


@dataclass(frozen=True)
class Timed:
    """tokens per second of both, medians; ratio > 1 where ours is faster; cold: seconds of our first call."""

    name: str
    peer: str
    ratio: float
    low: float
    high: float
    goal: float | None
    tokens_per_second: float
    peer_tokens_per_second: float
    cold: float


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="bench")
def bench(cfg: DictConfig) -> None:
    """Cases -> interleaved rounds -> ratios, as a table and a file."""
    if unknown := sorted(set(cfg.only) - set(GROUPS)):
        raise Refused(f"bench: only must name groups of {', '.join(GROUPS)}; but has {unknown}")
    for name in ("batch", "length", "states", "symbols", "rounds"):
        if cfg[name] < 1:
            raise Refused(f"bench: {name} must be at least 1, but is {cfg[name]}")
    found = []
    groups = cfg.only or list(GROUPS)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(groups))
        for group in groups:
            progress.update(task, description=group)
            for case in GROUPS[group](cfg):
                progress.update(task, description=f"{case.name} / {case.peer_name}")
                found.append(timed(case, cfg.rounds))
            progress.advance(task)
    Path(cfg.out).write_text(json.dumps([asdict(x) for x in found], indent=2) + "\n", encoding="utf-8")
    show(found, Console(highlight=False, width=None if sys.stdout.isatty() else 150))


def timed(case: Case, rounds: int) -> Timed:
    """Both sides once, compared; then in turns."""
    cold, ours = _seconds(case.ours, 1)
    _, theirs = _seconds(case.peer, 1)
    if case.same:
        np.testing.assert_allclose(ours, theirs, atol=CLOSE, rtol=0, err_msg=case.name)
    sides = (case.ours, case.tokens), (case.peer, case.peer_tokens)
    own, other = np.array([[_seconds(side, CALLS)[0] / count for side, count in sides] for _ in range(rounds)]).T
    ratio = other / own
    middle, low, high = (float(x) for x in (np.median(ratio), ratio.min(), ratio.max()))
    fast, slow = (float(1 / np.median(x)) for x in (own, other))
    return Timed(case.name, case.peer_name, middle, low, high, case.goal, fast, slow, cold)


def _seconds(function: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """The fastest call, and its answer: where it lies, on the device or in NumPy, but there."""
    times, answer = [], None
    for _ in range(calls):
        began = time.perf_counter()
        answer = jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return min(times), answer


def show(found: list[Timed], console: Console) -> None:
    """The table."""
    title = "thousand tokens per second, and how many times faster than the peer (smallest and largest of the rounds)"
    made = Table(title=title, title_justify="left")
    for heading in ("what", "ours", "beside", "theirs", "ratio", "spread", "goal", "first call, s"):
        made.add_column(heading, justify="left" if heading in ("what", "beside") else "right")
    for x in found:
        speeds = [f"{v / 1000:.4g}" for v in (x.tokens_per_second, x.peer_tokens_per_second)]
        goal = "" if x.goal is None else f"{x.goal:g} {'met' if x.ratio >= x.goal else 'missed'}"
        spread = f"{x.low:.3g} to {x.high:.3g}"
        made.add_row(x.name, speeds[0], x.peer, speeds[1], f"{x.ratio:.3g}", spread, goal, f"{x.cold:.2f}")
    console.print(made)
    absent = [name for name, module in (("hmmlearn", "hmmlearn"), ("genlm-grammar", "genlm")) if not find_spec(module)]
    if absent:
        console.print(f"not installed, so not measured: {', '.join(absent)}")


if __name__ == "__main__":
    backend.prepare()
    command(bench)
