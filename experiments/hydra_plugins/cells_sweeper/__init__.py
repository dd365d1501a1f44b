"""Hydra sweeper: a list of cells, each a set of overrides, times the Cartesian product of everything else.

`hydra.sweeper.cells` holds the cells, one string of overrides each, or a `_target_` that makes them; without cells it
is Hydra's own sweeper. When a job fails the others still run, and the callbacks of the multirun's end are called before
the failure is raised, so that a study is made of whatever finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


class CellsSweeper(BasicSweeper):
    """The sweep is (cells) x (product of the command line and `params`); a cell's own overrides come last, and win."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None, cells: Any = None):
        super().__init__(max_batch_size, params)
        self.cells = cells  # Hydra has called its `_target_` by now

    def split_arguments(self, overrides: Any, max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]
        """Batches of jobs; Hydra's own are the product alone."""
        (product,) = BasicSweeper.split_arguments(overrides, None)
        jobs = [[*common, *own] for own in self._own() for common in product]
        return [list(batch) for batch in self.split_overrides_to_chunks(jobs, max_batch_size)] if jobs else []

    def _own(self) -> list[list[str]]:
        if self.cells is None:
            return [[]]
        return [str(cell).split() for cell in self.cells]

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Runs all jobs; if one fails, ends the multirun as if none had, then raises."""
        try:
            return super().sweep(arguments)
        except Exception:
            assert self.hydra_context is not None and self.config is not None
            self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=None)
            raise


@dataclass
class CellsSweeperConf:
    """Its configuration."""

    _target_: str = "hydra_plugins.cells_sweeper.CellsSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)
    cells: Any = None


ConfigStore.instance().store(group="hydra/sweeper", name="cells", node=CellsSweeperConf, provider="noumena")
