"""One cell: train, measure the five layers, print the ledger, write the run folder.

python -m experiments.run [overrides]; with -m, or with an experiment that sweeps, a multirun.
"""

import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import experiments.schema  # noqa: F401  the types of the config
from experiments import backend, folder, layers
from experiments.cell import build, made
from experiments.entry import command
from experiments.record import curves, record
from experiments.screen import Screen


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def run(cfg: DictConfig) -> None:
    """The main flow: config -> cell -> D, P, R, I, O -> ledger -> files."""
    place, screen, began = Path(HydraConfig.get().runtime.output_dir), Screen(), time.monotonic()
    if cfg.task is not None:
        made(cfg.task)(place, screen)
        return
    cell = build(cfg)
    if not cfg.force and (done := folder.finished(place, cell)):
        screen.line(f"{place} holds this run, finished; force=true runs it again")
        screen.ledger(done)
        return
    with folder.claimed(place, cell, cfg.force) as work:
        floors = layers.floors(cell)
        perceived = layers.perceive(cell, screen)
        trained = layers.train(cell, work, screen)
        oracles = layers.oracle(cell, trained, work, screen)
        witnesses = layers.witnesses(cell, trained, oracles, place.parent / "witnesses")
        rungs = layers.measure(cell, floors, perceived, trained, witnesses, screen)
        observed = layers.observe(cell, floors, trained, rungs, screen)
        ledger = record(cell, floors, perceived, rungs, observed)
        seen = curves(trained, oracles, floors, rungs, observed)
        folder.write_all(place, ledger, trained.params, seen, time.monotonic() - began)
        layers.remember(cell, trained, witnesses, rungs, place.parent / "witnesses")
    screen.ledger(ledger)
    screen.line(f"{place}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    backend.prepare()
    command(run)
