"""The commands' edge: runs a Hydra application, and turns bad input into one message and exit status 1."""

import os
import sys
from collections.abc import Callable

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.cell import Refused, digest, identity


def command(application: Callable[[], object]) -> None:
    """Runs an application decorated with @hydra.main. NOUMENA_TRACEBACK=1 shows where a message comes from."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # the error itself, which is then shown in one screen
    try:
        application()
    except (Refused, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("NOUMENA_TRACEBACK"):
            raise
        print(f"noumena: {message(error)}", file=sys.stderr)
        sys.exit(1)


def message(error: BaseException) -> str:
    """What an error says, and what its causes add: Hydra names the override, OmegaConf the rule."""
    said, cause = str(error).strip(), None if isinstance(error, Refused) else error.__cause__
    while cause is not None:
        said += "" if str(cause).strip() in said else f"\n{str(cause).strip()}"
        cause = cause.__cause__
    return said.replace("\n\t", "  ")  # Hydra's list of choices, in one screen


def _identity(*, _root_) -> str:
    """${identity:} names a run's folder after what its config asks, so that the same command finds it again."""
    config = OmegaConf.to_container(OmegaConf.masked_copy(_root_, [k for k in _root_ if k != "hydra"]), resolve=True)
    return identity(config)  # type: ignore[arg-type]


def sweep_name(overrides: list[str]) -> str:
    """A name for a multirun: a hash of its overrides, without those that change no result."""
    return digest(sorted(o for o in overrides if not o.startswith(("force=", "track=", "track."))))


def _sweep(*, _root_) -> str:
    """${sweep:} names a multirun's folder; a job, whose overrides are its own, is told by experiments.study.AtEnd."""
    return os.environ.get("NOUMENA_SWEEP") or sweep_name(list(_root_.hydra.overrides.task))


OmegaConf.register_new_resolver("identity", _identity)
OmegaConf.register_new_resolver("sweep", _sweep)
