"""A multirun on a cluster: each population is a job of a SLURM array, submitted, watched and reported from here.

A cluster job runs its cells as `hydra/launcher=population` does on one machine, with its folders, locks and
checkpoints. So a job that is put back into the queue goes on from its last chunk, and what is finished is not run
again. A job that ends without a word (killed, its node lost) is submitted anew. Jobs outlive this command: given again,
it waits for those that are still there. submitit writes and reads pickles of its own in the multirun's folder
`.submitit`; no run folder has one, and no study reads them.
"""

import getpass
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

import experiments.entry  # noqa: F401  the names of folders are resolved on the cluster too
from experiments import backend, folder, population
from experiments.cell import Refused, build, digest
from experiments.screen import Screen

Jobs = dict[int, list[str]]  # number in the multirun -> overrides
POLL = 5.0  # seconds between two looks at the queue
LATE = 30.0  # seconds that a result may come after its job has left the queue: a network's files lag


@dataclass
class Part:
    """What one cluster job does: some jobs of the multirun, as one machine would."""

    launcher: Any  # a PopulationLauncher that Hydra has set up
    jobs: Jobs
    state: Any  # Hydra's singletons
    sweep: str | None  # the name of the multirun's folder

    def __call__(self) -> list[str | None]:
        """Runs them; why each failed, or None."""
        if self.sweep is not None:
            os.environ["NOUMENA_SWEEP"] = self.sweep
        backend.prepare()
        Singleton.set_state(self.state)
        done = self.launcher.launched(self.jobs)
        return [None if r.status == JobStatus.COMPLETED else _said(r._return_value) for r in done]

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue before time is up or a preemption: the same; folders know the rest."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def launched(launcher: Any, jobs: Jobs, screen: Screen) -> dict[int, JobReturn]:
    """Runs what is finished or refused here, at once, and the rest on the cluster; waits until all have ended."""
    if not find_spec("submitit"):
        raise Refused("hydra/launcher=population_slurm: it needs submitit, which is missing; pip install -e '.[slurm]'")
    out = Path(launcher.config.hydra.sweep.dir).absolute()
    name = f"noumena-{digest(str(out))}"
    while earlier := queued(name):
        screen.line(
            f"{len(earlier)} jobs of this multirun are still in the queue ({min(earlier)} ...); waiting for them"
        )
        _wait_until_gone(name, earlier)
    composed = {number: launcher.composed(overrides, number) for number, overrides in jobs.items()}
    parts = divided(composed, population.Room(launcher.max_members, launcher.memory_gb))
    there = {number for part in parts for number in part}
    here = {number: overrides for number, overrides in jobs.items() if number not in there}
    found = dict(zip(here, launcher.launched(here), strict=True))
    if parts:
        work = [
            Part(launcher, {n: jobs[n] for n in part}, Singleton.get_state(), os.environ.get("NOUMENA_SWEEP"))
            for part in parts
        ]
        places = [composed[n][0] for n in sorted(there)]
        for part, failures in zip(parts, watched(launcher, work, out, name, places, screen), strict=True):
            found |= {n: _returned(jobs[n], composed[n][1], why) for n, why in zip(part, failures, strict=True)}
    return found


def divided(composed: dict[int, tuple[Path, DictConfig]], room: population.Room) -> list[list[int]]:
    """The numbers of the jobs of each cluster job: populations, then whoever is alone; jobs of one folder together."""
    numbers: dict[Path, list[int]] = defaultdict(list)
    for number, (place, config) in composed.items():
        if not _settled(place, config):
            numbers[place].append(number)
    jobs = population.untrained([composed[same[0]] for same in numbers.values()])
    groups = [[job.place for job in group] for group in population.populations(jobs, room.of)]
    together = {place for group in groups for place in group}
    groups += [[place] for place in numbers if place not in together]
    return [[number for place in group for number in numbers[place]] for group in groups]


def _settled(place: Path, config: DictConfig) -> bool:
    """Whether a job's own run has nothing to do but to say so: finished, or refused."""
    if config.task is not None:
        return False
    try:
        cell = build(config)
        return not config.force and folder.finished(place, cell) is not None
    except Refused:
        return True


def watched(
    launcher: Any, work: list[Part], out: Path, name: str, places: list[Path], screen: Screen
) -> list[list[str | None]]:
    """Submits the parts as an array and waits for them; the lost ones again. Why each job failed, or None, by part."""
    import submitit

    executor = submitit.AutoExecutor(out / ".submitit", "slurm", slurm_max_num_timeout=launcher.max_num_timeout)
    executor.update_parameters(**{**launcher.job, "name": name})
    found: dict[int, list[str | None]] = {}
    tries: dict[int, int] = {n: launcher.tries for n in range(len(work))}

    def submitted(numbers: list[int]) -> dict[int, Any]:
        jobs = executor.submit_array([work[n] for n in numbers])
        screen.line(_news(jobs, executor.folder))
        return dict(zip(numbers, jobs, strict=True))

    def look(left: int) -> None:
        report(sum((place / "ledger.json").exists() for place in places), f"{left} jobs have not ended")

    with screen.task(f"{len(places)} cells in {len(work)} jobs on the cluster, finished", len(places)) as report:
        jobs = submitted(list(tries))
        for n, job in _ended(jobs, name, look):
            if job.paths.result_pickle.exists():
                found[n] = _result(work[n], job, screen)
                continue
            screen.line(f"job {job.job_id} ended without a word (killed, or its node lost): {_log(job)}")
            tries[n] -= 1
            if tries[n]:
                jobs |= submitted([n])
    lost = f"its cluster job ended without a word, {launcher.tries} times; logs are in {executor.folder}"
    return [found.get(n, [lost] * len(part.jobs)) for n, part in enumerate(work)]


def _news(jobs: list[Any], logs: Path) -> str:
    array = jobs[0].job_id.split("_")[0]
    return (
        f"submitted {len(jobs)} jobs as {array}; they go on without this command, which, given again, waits for them; "
        f"scancel {array} ends them; logs are in {logs}"
    )


def _ended(jobs: dict[int, Any], name: str, look: Callable[[int], None]) -> Iterator[tuple[int, Any]]:
    """Each job as it ends: with a result, or gone from the queue for long without one. More may be added meanwhile."""
    gone: dict[str, float] = {}
    while jobs:
        time.sleep(POLL)
        present = queued(name)
        look(len(jobs))
        for n, job in list(jobs.items()):
            if present is None or job.job_id in present:
                gone.pop(job.job_id, None)
            elif job.job_id not in gone:
                gone[job.job_id] = time.monotonic()
            late = job.job_id in gone and time.monotonic() - gone[job.job_id] > LATE
            if late or job.paths.result_pickle.exists():
                yield n, jobs.pop(n)


def _result(part: Part, job: Any, screen: Screen) -> list[str | None]:
    error = job.exception()
    if error is None:
        why = job.results()[0]
        bad = sum(x is not None for x in why)
        screen.line(f"job {job.job_id}: {len(why) - bad} of {len(why)} cells finished")
        return why
    screen.line(f"job {job.job_id} failed: {_log(job)}")
    return [f"its cluster job failed: {_last(str(error))}; {_log(job)}"] * len(part.jobs)


def queued(name: str) -> set[str] | None:
    """The ids of this user's jobs of a name that wait or run; None where SLURM does not say."""
    command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--name", name, "--format", "%i"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise Refused("hydra/launcher=population_slurm: squeue must be on the PATH, but is not") from error
    except subprocess.TimeoutExpired:
        return None
    return set(asked.stdout.split()) if asked.returncode == 0 else None


def _wait_until_gone(name: str, ids: set[str]) -> None:
    while (present := queued(name)) is None or present & ids:
        time.sleep(POLL)


def _returned(overrides: list[str], config: DictConfig, why: str | None) -> JobReturn:
    done = JobReturn(overrides=overrides, cfg=config)
    done.return_value = None if why is None else Refused(why)
    done.status = JobStatus.COMPLETED if why is None else JobStatus.FAILED
    return done


def _said(error: Any) -> str:
    return str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"


def _last(trace: str) -> str:
    """The error that submitit's account of a trace ends with."""
    lines = trace.split("-" * 22)[1].strip().splitlines() if "-" * 22 in trace else trace.strip().splitlines()
    return lines[-1]


def _log(job: Any) -> str:
    return f"see {job.paths.stderr}"
