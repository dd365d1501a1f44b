"""One cell: train, measure the five layers, print the ledger, write the run folder.

python -m experiments.run [overrides]; with -m, or with an experiment that sweeps, a multirun.
"""

import time
from pathlib import Path
from typing import Any

import hydra
import jax.numpy as jnp
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import experiments.schema  # noqa: F401  the types of the config
from experiments import backend, folder, layers, tracking
from experiments.cell import Cell, build, made
from experiments.entry import command
from experiments.factors import cells
from experiments.record import curves, record
from experiments.screen import Screen


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def run(cfg: DictConfig) -> None:
    """A finished run is found again; else it is measured, by one process at a time."""
    if jnp.result_type(float) != jnp.float64:  # a launcher's process, which did not come in through __main__
        backend.prepare()
    place, screen = Path(HydraConfig.get().runtime.output_dir), Screen()
    if cfg.task is not None:
        made(cfg.task)(place, screen)
        return
    cell, tracker = build(cfg), tracking.asked(cfg.track)
    with folder.mine(place, screen.line) as place:
        ledger = None if cfg.force else folder.finished(place, cell)
        if ledger is None:
            ledger = measured(cell, place, screen)
        else:
            screen.line(f"{place} holds this run, finished; force=true runs it again")
    screen.ledger(ledger)
    tracking.tell(tracker, place, screen)


def measured(cell: Cell, place: Path, screen: Screen) -> dict[str, Any]:
    """The main flow: cell -> D, P, R, I, O -> ledger -> files."""
    began, store = time.monotonic(), place.parent / "witnesses"
    with folder.claimed(place, cell) as work:
        floors = layers.floors(cell)
        perceived = layers.perceive(cell, screen)
        trained = layers.train(cell, work, screen, floors[cell.shape.length])
        oracles = layers.oracle(cell, trained, work, screen)
        ladder = cells(cell, floors[cell.shape.length], trained.params, work, screen)
        witnesses = layers.witnesses(cell, trained, oracles, store, ladder)
        rungs = layers.measure(cell, floors, perceived, trained, witnesses, screen)
        observed = layers.observe(cell, floors, trained, rungs, screen)
        ledger = record(cell, floors, perceived, rungs, observed, layers.diverged(cell, trained), ladder)
        layers.remember(cell, trained, witnesses, rungs, store)
        seen = curves(trained, oracles, floors, rungs, observed)
        folder.write_all(place, ledger, trained.params, seen, time.monotonic() - began)
    screen.line(f"{place}: {time.monotonic() - began:.0f} s")
    backend.make_room()  # a multirun has as many programs as it has shapes
    return ledger


if __name__ == "__main__":
    backend.prepare()
    command(run)
