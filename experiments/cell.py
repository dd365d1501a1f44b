"""One cell of an experiment, built and checked from its config before anything is traced."""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments.alchemy import Reals, Shape
from experiments.factors import asked
from experiments.observe.base import Checked
from experiments.observe.leaky import Informed
from experiments.observe.probe import Probe
from experiments.reach import check
from experiments.solve import solved
from worlds.base import World

SCHEMA = 1  # of the run folder; a part of every identity
OPERATIONAL = ("force", "study", "task", "track")  # keys that do not change what a run finds


class Refused(Exception):
    """Bad input: the message says the rule, what was expected and what it got."""


@dataclass(frozen=True)
class Cell:
    """Everything a run needs, checked."""

    world: World
    concept: Any
    spec: Any
    shape: Shape
    reals: Reals
    seeds: int
    protocols: dict[str, Any]
    config: dict[str, Any]
    solved: dict[str, Any]  # what the difficulty solver found; empty where nothing was asked

    @property
    def lengths(self) -> list[int]:
        """The lengths of the ledger's functionals: multiples of the trained length, which comes first."""
        return [m * self.shape.length for m in self.config["measure"]["multiples"]]


def build(cfg: DictConfig) -> Cell:
    """Instantiates the objects of a config and checks that they fit together."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        law, found = solved(config["world"])
        world = made(law)
        concept, scheme = made(cfg.perception.concept), made(cfg.perception.scheme)
        shape, reals = _part(Shape, config["reach"]), _part(Reals, config["reach"])
        spec = made(cfg.instantiation)(vocab=world.vocab_size, length=shape.length, scheme=scheme)
        protocols = made(cfg.observe)
        check(spec, reals, world.vocab_size)
        asked(config["reach"]["ladder"], shape, reals, config["ladder"])
        _check(config, protocols)
        for protocol in protocols.values():
            if isinstance(protocol, Checked):
                protocol.check(world, spec, shape.length)
    except InstantiationException as error:
        raise Refused(cause(error)) from error
    except (ValueError, TypeError, OSError) as error:
        raise Refused(str(error)) from error
    return Cell(world, concept, spec, shape, reals, config["reach"]["seeds"], protocols, config, found)


def made(node: Any) -> Any:
    """The object that a config's `_target_` makes: the only place where objects come from."""
    return instantiate(node, _convert_="all")


def _part(kind: type, values: dict[str, Any]) -> Any:
    return kind(**{f.name: values[f.name] for f in fields(kind)})


def _check(config: dict[str, Any], protocols: dict[str, Any]) -> None:
    for path, least in (("reach.seeds", 1), ("oracle.restarts", 0), ("oracle.steps", 1), ("measure.tokens", 2)):
        group, name = path.split(".")
        if config[group][name] < least:
            raise ValueError(f"{group}: {name} must be at least {least}, but is {config[group][name]}")
    if not config["oracle"]["rate"] > 0:
        raise ValueError(f"oracle: rate must be positive, but is {config['oracle']['rate']}")
    multiples = config["measure"]["multiples"]
    if not multiples or multiples[0] != 1 or any(m < 1 for m in multiples) or len(set(multiples)) < len(multiples):
        raise ValueError(
            "measure: multiples must be different whole numbers that begin with 1, because the ledger's first "
            f"functional is the trained length, but are {multiples}"
        )
    if config["ledger"] not in protocols:
        raise ValueError(
            f"ledger: it must name one of the protocols in observe, {', '.join(protocols) or 'none'}, "
            f"but is {config['ledger']!r}"
        )
    if config["judged"] not in (None, *(k for k, p in protocols.items() if not isinstance(p, Probe))):
        raise ValueError(
            f"judged: it must name one of the protocols in observe, {', '.join(protocols) or 'none'}, that scores "
            f"predictions (a probe does not), but is {config['judged']!r}"
        )
    leaking = [k for k, p in protocols.items() if isinstance(p, Informed)]
    if leaking and not (config["reach"]["pool"] or config["reach"]["sequences"]):
        raise ValueError(
            f"{leaking[0]}: training must have sequences of its own, reach.pool or reach.sequences, but none"
        )
    if not config["diagnose"]["material"] > 0:
        raise ValueError(f"diagnose: material must be above 0 nats, but is {config['diagnose']['material']}")
    unit = protocols[config["ledger"]].unit
    if unit != "nats/token":
        raise ValueError(f"ledger: its protocol must report nats/token, but {config['ledger']} reports {unit}")


def cause(error: BaseException) -> str:
    """The message of the constructor that refused, and the key it was called for."""
    text = str(error).splitlines()
    key = next((line.strip() for line in text if line.strip().startswith("full_key:")), "")
    reason = error.__cause__
    return f"{reason if reason is not None else text[0]}" + (f"  ({key})" if key else "")


def identity(config: dict[str, Any]) -> str:
    """A name for what the config asks: a hash of everything that changes the result."""
    asked = {k: v for k, v in config.items() if k not in OPERATIONAL and k != "hydra"}
    return digest({"schema": SCHEMA, "config": asked})


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that name a JSON-like content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def law_digest(world: World) -> str:
    """A name for a world's law: its type and numbers, whatever config they came from."""
    leaves, structure = jax.tree.flatten(world)
    hashed = hashlib.sha256(f"{type(world).__name__} {structure}".encode())
    for leaf in leaves:
        hashed.update(np.asarray(leaf).tobytes())
    return hashed.hexdigest()[:12]
