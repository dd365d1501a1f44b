"""What a finished run tells a tracker, if one is asked for: `track=mlflow`, `track=wandb`, `track=tensorboard`.

It is told from the run folder alone, when the run is finished, so that a tracker that fails costs nothing: the same
command finds the run again and tells it again. Names and units are those of the tidy table (`experiments.tidy`):
`R-I/gap` in nats per token, its interval `R-I/gap/low` and `/high`, `O/score/accuracy`, and `/length 64` where a length
is not the trained one. Curves by step are those of curves.npz, `train/excess/seed 0`. What is no finite number is text.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from hydra.errors import InstantiationException

from experiments import cell
from experiments.found import Refused, Run, curves, read
from experiments.screen import Screen
from experiments.tidy import rows

MOMENTS = 200  # of a curve, at most; they crowd towards the start
BATCH = 1000  # metrics that MLflow takes at once


class Told(NamedTuple):
    """A run in a tracker's terms."""

    identity: str
    name: str
    texts: dict[str, str]  # what was asked for, units, and whatever number is not finite
    metrics: dict[str, float]
    steps: dict[int, dict[str, float]]  # by step: the curves


@runtime_checkable
class Tracker(Protocol):
    """Somebody who keeps runs."""

    def write(self, told: Told) -> str:
        """Keeps a run, once however often it is told; says where."""
        ...


@dataclass(frozen=True)
class MLflow:
    """MLflow through its client alone; usage reports stay off.

    Attributes:
      uri: of the store; `sqlite:///FILE` is a local one.
      experiment: its name there.
    """

    uri: str
    experiment: str

    def __post_init__(self):
        _needs("mlflow", "mlflow", "sqlalchemy", "alembic")

    def write(self, told: Told) -> str:
        """A run named after its cell, tagged with its identity; nothing if it is there already."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        from mlflow.entities import Metric, Param, RunTag  # pyright: ignore[reportMissingImports]
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else client.create_experiment(self.experiment)
        same = f"tags.identity = '{told.identity}' and attributes.status = 'FINISHED'"
        if client.search_runs([place], same, max_results=1):
            return f"{self.uri}, where it was already"
        run = client.create_run(place, run_name=told.name, tags={"identity": told.identity}).info.run_id
        entries = [Metric(k, v, 0, 0) for k, v in told.metrics.items()]
        entries += [Metric(k, v, 0, step) for step, row in told.steps.items() for k, v in row.items()]
        for n in range(0, len(entries), BATCH):
            client.log_batch(run, metrics=entries[n : n + BATCH])
        texts = list(told.texts.items())
        for n in range(0, len(texts), 100):  # as many as it takes
            part = texts[n : n + 100]
            client.log_batch(run, params=[Param(k, v) for k, v in part if not k.startswith("unit of")])
            client.log_batch(run, tags=[RunTag(k, v) for k, v in part if k.startswith("unit of")])
        client.set_terminated(run)
        return self.uri


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases.

    Attributes:
      project: its name there.
      folder: where it keeps its own files, in `wandb`.
      mode: "offline" or "online".
    """

    project: str
    folder: str
    mode: str

    def __post_init__(self):
        _needs("wandb", "wandb")
        if self.mode not in ("offline", "online"):
            raise ValueError(f"track: mode must be offline or online, but is {self.mode!r}")

    def write(self, told: Told) -> str:
        """A run whose id is its identity, so that telling it twice makes one run there."""
        import wandb  # pyright: ignore[reportMissingImports]

        Path(self.folder).mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        run = wandb.init(
            project=self.project,
            id=told.identity,
            name=told.name,
            config=told.texts,
            dir=self.folder,
            mode=self.mode,
            settings=quiet,
        )
        for step, row in told.steps.items():
            run.log(row, step=step)
        run.summary.update(told.metrics)
        place = Path(run.dir).parent
        run.finish()
        return os.path.relpath(place) if self.mode == "offline" else str(run.url)


@dataclass(frozen=True)
class TensorBoard:
    """Event files, through tensorboardX.

    Attributes:
      folder: holds a folder for each run.
    """

    folder: str

    def __post_init__(self):
        _needs("tensorboard", "tensorboardX")

    def write(self, told: Told) -> str:
        """Scalars by step; what has no step is at step 0."""
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

        place = Path(self.folder) / told.identity
        for old in place.glob("events.out.tfevents.*"):  # told again: not twice
            old.unlink()
        with SummaryWriter(str(place)) as writer:
            writer.add_text("run", "\n".join(f"{k}: {v}  " for k, v in told.texts.items()))
            for name, value in told.metrics.items():
                writer.add_scalar(name, value, 0)
            for step, row in told.steps.items():
                for name, value in row.items():
                    writer.add_scalar(name, value, step)
        return str(place)


def asked(config: Any) -> Tracker | None:
    """The tracker of a config, checked before anything is trained; None where none is asked for."""
    try:
        return None if config is None else cell.made(config)
    except InstantiationException as error:
        raise cell.Refused(cell.cause(error)) from error


def tell(tracker: Tracker | None, place: Path, screen: Screen) -> None:
    """Tells the tracker of a finished run; whatever goes wrong there is said, and the run stays finished."""
    if tracker is None:
        return
    try:
        run = read(place)
        if isinstance(run, Refused):
            raise ValueError(run.reason)
        screen.line(f"{place}: told to {tracker.write(told(run))}")
    except Exception as error:  # noqa: BLE001  somebody else's service must not cost a result
        failed = f"its tracker failed ({type(error).__name__}: {error})"
        screen.line(f"{place} is finished, but {failed}; the same command tells it again")


def told(run: Run) -> Told:
    """A run folder in a tracker's terms."""
    ledger = run.ledger
    texts = {k: str(ledger[k]["name"]) for k in ("world", "perception", "instantiation")}
    name = ", ".join(texts.values())
    texts |= {"overrides": " ".join(run.overrides), "folder": run.place.name, "unit of losses and gaps": ledger["unit"]}
    texts |= {f"reach.{k}": str(v) for k, v in ledger["reach"].items()} | {"seed": str(ledger["seed"])}
    texts |= {f"unit of {k}": seen["unit"] for k, seen in ledger["protocols"].items()}
    metrics = {}
    for label, value in _numbers(run):
        if np.isfinite(value):
            metrics[label] = value
        else:
            texts[label] = str(value)
    return Told(ledger["identity"], name, texts, metrics, _steps(run))


def _numbers(run: Run) -> Any:
    """(name, value) of every number of the ledger, with both ends of its interval where it has one."""
    for row in rows(run):
        parts = [row["layer"], row["quantity"], row.get("protocol")]
        parts += [f"length {row['length']}"] if row["length"] != row["train_length"] else []
        parts += [f"seed {row['seed']}"] if row.get("seed") is not None else []
        label = "/".join(x for x in parts if x)
        yield label, row["value"]
        if "low" in row:
            yield f"{label}/low", row["low"]
            yield f"{label}/high", row["high"]


def _steps(run: Run) -> dict[int, dict[str, float]]:
    """The curves by step: before each step, the loss on its labels and the excess over the world, of every seed."""
    found: dict[int, dict[str, float]] = {}
    for name, curve in curves(run, "train/loss", "train/excess", "oracle/").items():
        count = curve.shape[1]
        moments = np.unique(np.geomspace(1, count, MOMENTS).round().astype(int) - 1) if count else ()
        for step in moments:
            values = {f"{name}/seed {n}": float(x) for n, x in enumerate(curve[:, step]) if np.isfinite(x)}
            found.setdefault(int(step), {}).update(values)
    return dict(sorted(found.items()))


def _needs(tracker: str, *modules: str) -> None:
    """Refuses a tracker whose packages are not here, before anything is trained."""
    if missing := [m for m in modules if importlib.util.find_spec(m) is None]:
        raise ValueError(f"track: {tracker} needs {', '.join(missing)}; EXTRA=track ./run ... installs it")
