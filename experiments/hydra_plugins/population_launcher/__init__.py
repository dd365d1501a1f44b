"""Hydra launchers: jobs of one compiled shape are trained as one program, then each runs as if alone.

`hydra/launcher=population` trains the jobs of a multirun in populations and leaves each job its own checkpoint; then
Hydra's own launcher runs the jobs one after another, each with its folder, config, log and ledger, and finds the
training done. The same numbers come out, to float rounding. `hydra/launcher=population_slurm` does the same on a
cluster, where each population is a job of a SLURM array: docs/cluster.md.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

# experiments is imported where it is used: jax is woken by a multirun only, not by every scan for plugins


class PopulationLauncher(BasicLauncher):
    """Populations first, then the jobs."""

    def __init__(self, max_members: int = 256, memory_gb: float | None = None):
        super().__init__()
        self.max_members, self.memory_gb = max_members, memory_gb

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """As Hydra's own, after the training of whatever can be trained together."""
        return self.launched(dict(enumerate(map(list, job_overrides), initial_job_idx)))

    def launched(self, jobs: dict[int, list[str]]) -> list[JobReturn]:
        """Trains and runs the jobs of these numbers, in their order."""
        from experiments import population
        from experiments.screen import Screen

        composed = [self.composed(overrides, number) for number, overrides in jobs.items()]
        population.train(composed, population.Room(self.max_members, self.memory_gb), Screen())
        return [BasicLauncher.launch(self, [overrides], number)[0] for number, overrides in jobs.items()]

    def composed(self, overrides: list[str], number: int) -> tuple[Path, DictConfig]:
        """A job's folder, and its config as the job will see it."""
        assert self.config is not None and self.hydra_context is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
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


class PopulationSlurmLauncher(PopulationLauncher):
    """Each population is a job of an array, and so is whoever is alone; waits for them, whatever happens to them."""

    def __init__(self, max_members: int, memory_gb: float | None, tries: int, max_num_timeout: int, job: Any):
        super().__init__(max_members, memory_gb)
        self.tries, self.max_num_timeout = tries, max_num_timeout
        self.job = OmegaConf.to_container(job, resolve=True) if OmegaConf.is_config(job) else job

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs here what is finished or refused, and the rest on the cluster."""
        from experiments import cluster
        from experiments.screen import Screen

        jobs = dict(enumerate(map(list, job_overrides), initial_job_idx))
        found = cluster.launched(self, jobs, Screen())
        return [found[number] for number in jobs]


@dataclass
class PopulationLauncherConf:
    """Its configuration."""

    _target_: str = "hydra_plugins.population_launcher.PopulationLauncher"
    max_members: int = 256  # seeds of all cells of one population, at most
    memory_gb: float | None = None  # for one population; null asks the device, or takes half of the machine's


@dataclass
class PopulationSlurmLauncherConf(PopulationLauncherConf):
    """Its configuration, with what submitit's defaults would lose: a job that runs out of time is to go on."""

    _target_: str = "hydra_plugins.population_launcher.PopulationSlurmLauncher"
    tries: int = 3  # how often a population is submitted whose job ends without a word: killed, or its node lost
    max_num_timeout: int = 100  # how often a job that ran out of time goes back into the queue, and on
    job: dict[str, Any] = field(
        default_factory=lambda: {"timeout_min": 240, "slurm_signal_delay_s": 120}  # submitit.AutoExecutor's parameters
    )


for name, node in (("population", PopulationLauncherConf), ("population_slurm", PopulationSlurmLauncherConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="noumena")
