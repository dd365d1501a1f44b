"""Hydra launcher: jobs of one compiled shape are trained as one program, then each runs as if alone.

`hydra/launcher=population` trains the jobs of a multirun in populations and leaves each job its own checkpoint; then
Hydra's own launcher runs the jobs one after another, each with its folder, config, log and ledger, and finds the
training done. The same numbers come out, to float rounding.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from omegaconf import DictConfig, open_dict, read_write


class PopulationLauncher(BasicLauncher):
    """Populations first, then the jobs."""

    def __init__(self, max_members: int = 256):
        super().__init__()
        self.max_members = max_members

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """As Hydra's own, after the training of whatever can be trained together."""
        from experiments import population  # jax is woken by a multirun only, not by every scan for plugins
        from experiments.screen import Screen

        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [self._composed(list(job), initial_job_idx + n) for n, job in enumerate(job_overrides)]
        population.train(jobs, self.max_members, Screen())
        return super().launch(job_overrides, initial_job_idx)

    def _composed(self, overrides: list[str], number: int) -> tuple[Path, DictConfig]:
        """A job's folder, and its config as the job will see it."""
        assert self.config is not None and self.hydra_context is not None
        whole = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(whole):
            whole.hydra.job.num, whole.hydra.job.id = number, str(number)
        before = Singleton.get_state()
        HydraConfig.instance().set_config(whole)  # the folder's name is resolved as the job resolves it
        place = Path(str(whole.hydra.sweep.dir)) / str(whole.hydra.sweep.subdir)
        Singleton.set_state(before)
        own = copy(whole)
        with read_write(own), open_dict(own):
            del own["hydra"]
        return place, own


@dataclass
class PopulationLauncherConf:
    """Its configuration."""

    _target_: str = "hydra_plugins.population_launcher.PopulationLauncher"
    max_members: int = 256  # seeds of all cells of one population: what fits into the device's memory at once


ConfigStore.instance().store(group="hydra/launcher", name="population", node=PopulationLauncherConf, provider="noumena")
