"""Prints the exact law of a world: python -m experiments.law world=mess3 tokens=[0,1] [length=8] [json=true].

After the prefix `tokens`: the law of the next token and log p(tokens). From the start: h_1 ... h_length and the zeros
by name. All in nats per token; "-inf" stands for what is impossible. `world.target_entropy=H world.solve_for=NAME`
first finds the number of that name at which the world's entropy rate is H; or its floor at `length`, where the rate is
not known to a millionth of a nat.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import hydra
import jax
import jax.numpy as jnp
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from jaxtyping import Array, Float
from omegaconf import MISSING, DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from experiments import backend
from experiments.cell import Refused, law_digest
from experiments.entry import command
from experiments.ledger import entry, plain
from experiments.solve import solved
from experiments.streams import stream
from worlds import base, latent
from worlds.base import World
from worlds.quantity import Quantity, certified, undefined
from worlds.recall import Answers


@dataclass
class Law:
    """What is asked of a world."""

    world: Any = MISSING
    tokens: list[int] = field(default_factory=list)  # the prefix
    length: int = 8  # T of h_1 ... h_T, tokens
    sequences: int = 1024  # drawn for h_1 ... h_T where the prefixes cannot be enumerated
    seed: int = 0  # of those draws
    json: bool = False  # JSON on standard output instead of text


ConfigStore.instance().store(name="law_schema", node=Law)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="law")
def law(cfg: DictConfig) -> None:
    """Config -> world -> its law, as text or JSON."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    try:
        node, found = solved(config["world"], config["length"])
        world = instantiate(node, _convert_="all")
        _check(config, world)
    except InstantiationException as error:
        raise Refused(str(error.__cause__ or error)) from error
    except (ValueError, TypeError, OSError) as error:
        raise Refused(str(error)) from error
    name = HydraConfig.get().runtime.choices["world"]
    answer = {"schema": 1, "unit": "nats/token", "world": {"name": name, **node}, "solved": found} | laws(world, config)
    print(json.dumps(answer, indent=2)) if config["json"] else show(answer, Console(highlight=False))


def _check(config: dict[str, Any], world: World) -> None:
    for name, least in (("length", 1), ("sequences", 2)):
        if config[name] < least:
            raise ValueError(f"law: {name} must be at least {least}, but is {config[name]}")
    for token in config["tokens"]:
        if not 0 <= token < world.vocab_size:
            raise ValueError(f"law: tokens must lie in 0 ... {world.vocab_size - 1}, but one is {token}")


def laws(world: World, config: dict[str, Any]) -> dict[str, Any]:
    """Everything that is known of a world, as plain numbers."""
    tokens = jnp.asarray([*config["tokens"], 0], jnp.int32)  # a last token, never read: its law is what is asked
    logs = np.asarray(jax.jit(base.log_conditionals)(world, tokens), np.float64)
    steps = logs[np.arange(len(tokens) - 1), config["tokens"]]
    key = stream(config["seed"], "measure")
    measured = base.functional(world, config["length"], key, config["sequences"])
    h = jax.lax.map(lambda x: base.entropy(base.log_conditionals(world, x)), measured.tokens, batch_size=256)
    floors = [base.estimate(h[:, t], measured) for t in range(config["length"])]
    zeros = {"floor": base.estimate(h @ measured.position, measured), "bayes_floor": floors[-1]}
    if isinstance(world, latent.HasLatent):
        zeros["latent_aware_floor"] = latent.latent_floors(world, config["length"], key, config["sequences"])[-1]
    most = float(np.log(world.vocab_size))
    known = isinstance(world, base.HasEntropyRate)
    zeros["entropy_rate"] = world.entropy_rate() if known else certified(most / 2, 0.0, most)
    if isinstance(world, Answers):
        zeros["answers_floor"] = at_answers(world, h, measured)
    return {
        "digest": law_digest(world),
        "vocab_size": world.vocab_size,
        "names": list(getattr(world, "names", ())),
        "tokens": list(config["tokens"]),
        "log_probability": plain(steps.sum()),
        "steps": [plain(x) for x in steps],
        "next": {"log": [plain(x) for x in logs[-1]], "probability": np.exp(logs[-1]).tolist()},
        "floors": [entry(x, "value") for x in floors],
        "zeros": {k: entry(q, "value") for k, q in zeros.items()},
    }


def at_answers(world: Answers, h: Float[Array, "sequence time"], measured: base.Functional) -> Quantity:
    """The floor of the answers alone: the mean H(x_t | x_<t) over answer tokens, a ratio of sums (delta method)."""
    asked = jax.vmap(world.answers)(measured.tokens).astype(h.dtype)
    share = base.estimate(asked.sum(1), measured).value
    if share == 0:
        return undefined()
    floor = base.estimate((h * asked).sum(1), measured).value / share
    return base.estimate(floor + ((h - floor) * asked).sum(1) / share, measured)


def show(answer: dict[str, Any], console: Console) -> None:
    """The answer as text."""
    console.print(f"[bold]{answer['world']['name']}[/bold]  law {answer['digest']}  {answer['vocab_size']} tokens")
    for key, value in answer["solved"].items():
        console.print(f"  {key} = {value:.12g}")
    table = Table(
        title=f"next token after {answer['tokens']}, log p = {answer['log_probability']}", title_justify="left"
    )
    for heading in ("token", "probability", "log"):
        table.add_column(heading, justify="right")
    for v, (log, p) in enumerate(zip(answer["next"]["log"], answer["next"]["probability"], strict=True)):
        label = answer["names"][v] if v < len(answer["names"]) else ""
        table.add_row(f"{v} {label}".strip(), f"{p:.12g}", f"{float(log):.12g}")
    console.print(table)
    zeros = Table(title="zeros, nats per token: no two stand for each other", title_justify="left")
    for heading in ("name", "value", "interval", "class"):
        zeros.add_column(heading, justify="left")
    rows = {f"h_{t}": q for t, q in enumerate(answer["floors"], 1)} | answer["zeros"]
    for name, q in rows.items():
        same = q["low"] == q["high"]
        zeros.add_row(name, str(q["value"]), "" if same else f"[{q['low']}, {q['high']}]", q["class"], style=None)
    console.print(zeros)


if __name__ == "__main__":
    backend.prepare()
    command(law)
