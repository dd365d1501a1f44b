"""Tokens per second of exact scoring and sampling, beside what one would use instead: python -m experiments.bench.

Beside a plain NumPy loop over batches (`experiments.loops`), beside hmmlearn and genlm-grammar where they can be
imported, and the parallel form of lag worlds beside their own scan. Both sides take turns within one run, so that a
busy machine slows both: read the ratios, each the median over the rounds with the smallest and the largest. The first
call, which compiles, is timed apart. Both sides' laws are compared before they are timed.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import jax
import jax.numpy as jnp
import numpy as np
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments import backend, loops, peers
from experiments.cell import Refused
from experiments.entry import command
from worlds import base, decay, dyck, grammar, hmm, kernel, table, urn

CLOSE = 1e-9  # laws of both sides, in logs


@dataclass
class Bench:
    """What is measured, and how large."""

    only: list[str] = field(default_factory=list)  # groups of GROUPS; none named: all
    batch: int = 256  # sequences
    length: int = 256  # tokens of each
    states: int = 64  # of the finite-state world
    symbols: int = 10  # of the grammar, which has five rules for each
    rounds: int = 7
    out: str = "bench.json"


ConfigStore.instance().store(name="bench_schema", node=Bench)


@dataclass(frozen=True)
class Case:
    """Two ways of doing one thing."""

    name: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    tokens: int
    peer_tokens: int
    goal: float | None = None
    same: bool = True  # both return the same numbers (samples, and other people's totals, are not compared)


@dataclass(frozen=True)
class Timed:
    """tokens per second of both, medians; ratio > 1 where ours is faster; cold: seconds of our first call."""

    name: str
    peer: str
    ratio: float
    low: float
    high: float
    goal: float | None
    tokens_per_second: float
    peer_tokens_per_second: float
    cold: float


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="bench")
def bench(cfg: DictConfig) -> None:
    """Cases -> interleaved rounds -> ratios, as a table and a file."""
    if unknown := sorted(set(cfg.only) - set(GROUPS)):
        raise Refused(f"bench: only must name groups of {', '.join(GROUPS)}; but has {unknown}")
    for name in ("batch", "length", "states", "symbols", "rounds"):
        if cfg[name] < 1:
            raise Refused(f"bench: {name} must be at least 1, but is {cfg[name]}")
    found = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=None)
        for group in cfg.only or GROUPS:
            for case in GROUPS[group](cfg):
                progress.update(task, description=f"{case.name} / {case.peer_name}")
                found.append(timed(case, cfg.rounds))
    Path(cfg.out).write_text(json.dumps([asdict(x) for x in found], indent=2) + "\n", encoding="utf-8")
    show(found, Console(highlight=False, width=None if sys.stdout.isatty() else 150))


def timed(case: Case, rounds: int) -> Timed:
    """Both sides once, compared; then in turns."""
    cold, ours = _seconds(case.ours)
    _, theirs = _seconds(case.peer)
    if case.same:
        np.testing.assert_allclose(ours, theirs, atol=CLOSE, rtol=0, err_msg=case.name)
    pairs = [(_seconds(case.ours)[0] / case.tokens, _seconds(case.peer)[0] / case.peer_tokens) for _ in range(rounds)]
    own, other = np.array(pairs).T
    ratio = other / own
    middle, low, high = (float(x) for x in (np.median(ratio), ratio.min(), ratio.max()))
    fast, slow = (float(1 / np.median(x)) for x in (own, other))
    return Timed(case.name, case.peer_name, middle, low, high, case.goal, fast, slow, cold)


def _seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = np.asarray(function())
    return time.perf_counter() - began, answer


def finite(cfg: Any) -> Iterator[Case]:
    """Hidden Markov worlds, 16 tokens."""
    world = hmm.random_hmm(cfg.states, 16, 1.0, 0)
    name = f"finite state, {cfg.states} states"
    operators, initial = np.asarray(world.transition), np.asarray(world.initial)
    tokens = _drawn(world, cfg.batch, cfg.length)
    for label, grouped in (("numpy, an operator per sequence", False), ("numpy, grouped by token", True)):
        yield _scoring(name, world, tokens, loops.Finite(operators, initial, grouped), label, 20.0)
    yield _sampling(name, world, cfg, loops.Finite(operators, initial, True))
    if find_spec("hmmlearn"):
        world, peer = peers.hmmlearn(cfg.states, 16)
        tokens = _drawn(world, cfg.batch, cfg.length)
        ours = functools.partial(_scores(False), world, tokens)
        count = tokens.size
        yield Case(f"{name}: laws", "hmmlearn, totals only", ours, lambda: peer(tokens), count, count, same=False)


def lag(cfg: Any) -> Iterator[Case]:
    """Decaying attention over 8 tokens: parallel beside its own scan, and beside a loop."""
    rows = np.asarray(table.dirichlet(8, "mixture"))
    power = np.arange(1.0, 33.0) ** -1.5
    made = {
        "lags, geometric, endless": (kernel.geometric(0.9), None, loops.Geometric(0.9, rows)),
        "lags, power law to 32": (kernel.power(1.5), 32, loops.Window(power, rows)),
    }
    for name, (weights, horizon, loop) in made.items():
        world = decay.decay(8, weights, rows.tolist(), horizon=horizon)
        tokens = _drawn(world, cfg.batch, cfg.length)
        ours, scan = (functools.partial(_scores(filtered), world, tokens) for filtered in (False, True))
        yield Case(f"{name}: laws", "its own scan", ours, scan, tokens.size, tokens.size, 10.0)
        yield _scoring(name, world, tokens, loop)
        yield _sampling(name, world, cfg, loop)


def learnt(cfg: Any) -> Iterator[Case]:
    """The urn."""
    world, loop = urn.dirichlet(8, 0.5), loops.Urn(8, 0.5)
    yield _scoring("urn", world, _drawn(world, cfg.batch, cfg.length), loop)
    yield _sampling("urn", world, cfg, loop)


def brackets(cfg: Any) -> Iterator[Case]:
    """Dyck words of any depth."""
    world, loop = dyck.dyck(2, 0.4), loops.Brackets(2, 0.4, cfg.length)
    yield _scoring("dyck", world, _drawn(world, cfg.batch, cfg.length), loop)
    yield _sampling("dyck", world, cfg, loop)


def grammars(cfg: Any) -> Iterator[Case]:
    """A random grammar, one open document of at most 32 tokens in each of at most 64 sequences."""
    if not find_spec("genlm"):
        return
    text = peers.random_rules(cfg.symbols)
    world = grammar.pcfg(text)
    tokens = peers.open_documents(world, min(cfg.length, 32), min(cfg.batch, 64))
    few = tokens[:2]
    score = _scores(False)
    laws = peers.genlm(text, world, few)
    apart = float(np.abs(np.exp(np.asarray(score(world, tokens))[:2]) - np.exp(laws)).max())
    ours, peer = functools.partial(score, world, tokens), functools.partial(peers.genlm, text, world, few)
    name = f"grammar, {5 * cfg.symbols} rules, {tokens.shape[1]} tokens: laws"
    label = f"genlm-grammar (laws {apart:.0e} apart)"  # its closures are iterated, so this is said, not refused
    yield Case(name, label, ours, peer, tokens.size, few.size, 50.0, same=False)


GROUPS: dict[str, Callable[[Any], Iterator[Case]]] = {
    "finite": finite,
    "lag": lag,
    "learnt": learnt,
    "brackets": brackets,
    "grammar": grammars,
}


def _scoring(
    name: str, world: Any, tokens: np.ndarray, loop: loops.Loop, label: str = "numpy", goal: float | None = None
) -> Case:
    """All conditionals of given tokens."""
    ours = functools.partial(_scores(False), world, tokens)
    peer = functools.partial(loops.score, loop, tokens)
    return Case(f"{name}: laws", label, ours, peer, tokens.size, tokens.size, goal)


def _sampling(name: str, world: Any, cfg: Any, loop: loops.Loop) -> Case:
    """Draws, with no scoring beside them."""
    count, random = cfg.batch * cfg.length, np.random.default_rng(0)
    ours = functools.partial(_drawn, world, cfg.batch, cfg.length)
    peer = functools.partial(loops.sample, loop, random, cfg.batch, cfg.length)
    return Case(f"{name}: samples", "numpy", ours, peer, count, count, same=False)


@functools.cache
def _scores(filtered: bool) -> Callable[[Any, np.ndarray], np.ndarray]:
    """Scoring as the package does it: sequences shared between the devices, at once within each."""
    form = base.filtered if filtered else base.log_conditionals
    each = jax.jit(backend.spread(lambda world, part: jax.vmap(form, (None, 0))(world, part)))

    def score(world, tokens):
        parts, count = _parts(tokens)
        return np.asarray(each(world, parts)).reshape(-1, tokens.shape[1], world.vocab_size)[:count]

    return score


@functools.lru_cache
def _draws(length: int) -> Callable[..., jax.Array]:
    def part(world, keys):
        return jax.vmap(lambda key: base.sample(world, key, length))(keys)

    return jax.jit(backend.spread(part))


def _drawn(world: Any, batch: int, length: int) -> np.ndarray:
    """Samples, shared between the devices in the same way."""
    parts, count = _parts(jax.random.split(jax.random.key(0), batch))
    return np.asarray(_draws(length)(world, parts)).reshape(-1, length)[:count]


def _parts(items: Any) -> tuple[Any, int]:
    """One part for each device, [device, sequence, ...], and the true number of sequences."""
    padded, count = backend.padded(items)
    return jnp.reshape(padded, (jax.device_count(), -1, *padded.shape[1:])), count


def show(found: list[Timed], console: Console) -> None:
    """The table."""
    title = "thousand tokens per second, and how many times faster than the peer (smallest and largest of the rounds)"
    made = Table(title=title, title_justify="left")
    for heading in ("what", "ours", "beside", "theirs", "ratio", "spread", "goal", "first call, s"):
        made.add_column(heading, justify="left" if heading in ("what", "beside") else "right")
    for x in found:
        speeds = [f"{v / 1000:.4g}" for v in (x.tokens_per_second, x.peer_tokens_per_second)]
        goal = "" if x.goal is None else f"{x.goal:g} {'met' if x.ratio >= x.goal else 'missed'}"
        spread = f"{x.low:.3g} to {x.high:.3g}"
        made.add_row(x.name, speeds[0], x.peer, speeds[1], f"{x.ratio:.3g}", spread, goal, f"{x.cold:.2f}")
    console.print(made)
    absent = [name for name, module in (("hmmlearn", "hmmlearn"), ("genlm-grammar", "genlm")) if not find_spec(module)]
    if absent:
        console.print(f"not installed, so not measured: {', '.join(absent)}")


if __name__ == "__main__":
    backend.prepare()
    command(bench)
