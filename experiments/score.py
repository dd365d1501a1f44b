"""Scores what others trained: python -m experiments.score world=mess3 predictor._target_=mine.model [json=true].

`predictor` is a `_target_` that makes a predictor: `experiments.observe.adapter` turns any callable of tokens, and any
PyTorch or Hugging Face causal model, into one. D is the world's own loss over `length` tokens, R the predictor's exact
loss over the same prefixes, and each protocol of `observe` says what it would report of it. Nats per token unless said.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import hydra
import jax
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import MISSING, DictConfig, OmegaConf
from rich.table import Table

from experiments import backend, measure
from experiments.cell import Refused, cause, law_digest, made
from experiments.entry import command
from experiments.ledger import entry, over_seeds, reached
from experiments.observe.base import Predict, ask
from experiments.record import protocol
from experiments.screen import console
from experiments.show import interval
from experiments.solve import solved
from experiments.streams import stream
from experiments.style import said
from worlds.base import World, functional
from worlds.quantity import Quantity


@dataclass
class Score:
    """What is asked of a predictor."""

    world: Any = MISSING
    predictor: Any = MISSING
    observe: Any = MISSING
    length: int = 32  # tokens of the exact loss, and of protocols that take the trained length
    tokens: int = 16384  # behind the exact loss, where prefixes cannot be enumerated
    seed: int = 0
    json: bool = False  # JSON on standard output instead of text


ConfigStore.instance().store(name="score_schema", node=Score)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="score")
def score(cfg: DictConfig) -> None:
    """Config -> world, predictor, protocols -> D, R and every O, as text or JSON."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        node, _ = solved(config["world"], config["length"])
        world, predict, protocols = made(node), made(cfg.predictor), made(cfg.observe)
        answer = scored(world, predict, protocols, config)
    except InstantiationException as error:
        raise Refused(cause(error)) from error
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise Refused(str(error)) from error
    name = HydraConfig.get().runtime.choices["world"]
    answer = {"schema": 1, "unit": "nats/token", "world": {"name": name, **node}} | answer
    print(json.dumps(answer, indent=2)) if config["json"] else show(answer)


def scored(world: World, predict: Predict, protocols: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """D, R and what each protocol says, as plain numbers."""
    length = config["length"]
    if length < 1 or config["tokens"] < 2 * length:
        raise ValueError(
            f"score: length must be at least 1 and tokens at least twice that, but are {length} and {config['tokens']}"
        )
    key = stream(config["seed"], "measure")
    over = functional(world, length, key, config["tokens"] // length)
    heard = ask(predict, np.asarray(over.tokens[:1])).shape[-1]
    if heard != world.vocab_size:
        raise ValueError(
            f"score: the predictor must speak of the world's {world.vocab_size} tokens, but does of {heard}"
        )
    truth = measure.law(world, over.tokens)
    members = measure.measure(predict, over, truth)
    floor, _ = measure.floor(over, truth)
    excess = reached(members)
    total = Quantity(
        floor.value + excess.value, floor.low + excess.low, floor.high + excess.high, excess.kind, excess.count
    )
    observe = stream(config["seed"], "observe")
    seen = {
        label: p.observe(predict, world, length, total, replace(floor, of=""), jax.random.fold_in(observe, n))
        for n, (label, p) in enumerate(protocols.items(), 1)
    }
    return {
        "functional": f"{law_digest(world)} T={length} from the world's start, uniform over positions",
        "layers": {"D": entry(floor, "loss"), "R": entry(total, "loss")},
        "gaps": {"R-D": entry(over_seeds(members), "nats")},
        "members": [entry(m.mean(), "excess") for m in members],
        "protocols": {label: protocol(x) for label, x in seen.items()},
    }


def show(answer: dict[str, Any]) -> None:
    """The answer as text."""
    screen = console()
    gap, floor = answer["gaps"]["R-D"], answer["layers"]["D"]
    screen.print(
        f"{answer['world']['name']}  D {said(floor['loss'], False)}  R - D {said(gap['nats'])} {interval(gap)}"
    )
    table = Table(title="what each protocol reports of it", title_justify="left")
    for heading in ("protocol", "score", "95 %", "expected", "ceiling", "unit"):
        table.add_column(heading, justify="left" if heading in ("protocol", "unit") else "right")
    for label, x in answer["protocols"].items():
        numbers = [said(x[k]["value"], False) for k in ("score", "expected", "ceiling")]
        table.add_row(label, numbers[0], interval(x["score"], 4), *numbers[1:], x["unit"])
    screen.print(table)


if __name__ == "__main__":
    backend.prepare()
    command(score)
