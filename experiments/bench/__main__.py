"""Ratios of speed, beside what one would use instead: python -m experiments.bench only=[training].

Both sides of a ratio take turns within one run, so that a busy machine slows both; read the ratios, each the median
over the rounds with the smallest and the largest. Absolute numbers belong to this machine and hour. The groups:
  training   tokens per second of one cell and of a population, beside PyTorch loops and a plain JAX step; the share
             of the machine's matrix-product rate that they reach (trainings.py)
  parts      where a step's time goes, and what each way of saving some of it gives (parts.py)
  finite, decaying, positional, learnt, grammar, recall, combinators
             scoring and sampling of each family of worlds (cases.py)
  labels     tokens that it takes to know a loss, beside hard labels (labels.py)
  growth     how time grows with members, batch, steps, length, vocabulary, states: fitted slopes (growth.py)
  ledgers    seconds to complete ledgers, cold and warm, and of sweeps (ledgers.py); long, so only where it is named
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments import backend
from experiments.bench import growth, labels, ledgers, parts, trainings
from experiments.bench.cases import GROUPS as FAMILIES
from experiments.bench.found import Found
from experiments.cell import Refused
from experiments.entry import command
from experiments.fit import write

GROUPS = {
    "training": trainings.group,
    "parts": parts.group,
    **FAMILIES,
    "labels": labels.group,
    "growth": growth.group,
    "ledgers": ledgers.group,
}
MINUTES = ("ledgers",)  # groups that are measured only if they are named
ABSENT = {"torch": "PyTorch", "hmmlearn": "hmmlearn", "genlm": "genlm-grammar"}


@dataclass
class Bench:
    """What is measured, and how large."""

    only: list[str] = field(default_factory=list)  # groups of GROUPS; none named: all but those that take minutes
    batch: int = 256  # sequences
    length: int = 256  # tokens of each
    states: int = 64  # of the finite-state world
    symbols: int = 10  # of the grammar, which has five rules for each
    rounds: int = 5
    sizes: list[str] = field(default_factory=lambda: ["tiny", "base", "big"])  # of the trained networks
    members: int = 16  # of a population
    out: str = "bench.json"


ConfigStore.instance().store(name="bench_schema", node=Bench)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="bench")
def bench(cfg: DictConfig) -> None:
    """Groups -> interleaved rounds -> ratios, as a table and a file."""
    for name, known in (("only", GROUPS), ("sizes", trainings.SIZES)):
        if unknown := sorted(set(cfg[name]) - set(known)):
            raise Refused(f"bench: {name} must name some of {', '.join(known)}; but has {unknown}")
    for name in ("batch", "length", "states", "symbols", "rounds", "members"):
        if cfg[name] < 1:
            raise Refused(f"bench: {name} must be at least 1, but is {cfg[name]}")
    found: list[Found] = []
    groups = cfg.only or [name for name in GROUPS if name not in MINUTES]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(groups))
        for group in groups:
            progress.update(task, description=group)
            for case in GROUPS[group](cfg):
                progress.update(task, description=case.name)
                found += case.measured(cfg.rounds)
                write(Path(cfg.out), (json.dumps([asdict(x) for x in found], indent=2) + "\n").encode())
            progress.advance(task)
    show(found, Console(highlight=False, width=None if sys.stdout.isatty() else 170))


def show(found: list[Found], console: Console) -> None:
    """The table."""
    made = Table(title="ours beside what one would use instead", title_justify="left")
    for heading in ("what", "ours", "beside", "theirs", "unit", "ratio", "spread", "goal", "first call, s"):
        made.add_column(heading, justify="left" if heading in ("what", "beside", "unit") else "right")
    for x in found:
        ours, theirs = ("" if v is None else f"{v:,.0f}" if v >= 1000 else f"{v:.4g}" for v in (x.ours, x.theirs))
        goal = "" if x.goal is None else f"{'at most ' * x.at_most}{x.goal:g} {'met' if x.met else 'missed'}"
        spread, cold = f"{x.low:.3g} to {x.high:.3g}", "" if x.cold is None else f"{x.cold:.2f}"
        made.add_row(x.name, ours, x.peer, theirs, x.unit, f"{x.ratio:.3g}", spread, goal, cold)
    console.print(made)
    absent = [name for module, name in ABSENT.items() if not find_spec(module)]
    if absent:
        console.print(f"not installed, so not measured: {', '.join(absent)}")


if __name__ == "__main__":
    backend.prepare()
    command(bench)
