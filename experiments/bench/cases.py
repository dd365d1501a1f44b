"""Scoring and sampling: for each family of worlds its laws and its samples, ours and somebody else's.

One case or more for each family. Beside a plain NumPy loop over batches (loops.py), beside filters as one writes them
in JAX and, where they can be imported, hmmlearn and genlm-grammar (peers.py), and the parallel form of lag worlds
beside its own scan. Ours, and filters in JAX, share the sequences between all devices (a CPU core each), NumPy has one.
The laws of both sides are compared before.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import backend
from experiments.bench import loops, peers
from experiments.bench.found import Found, beside, seconds
from experiments.bench.trainings import products
from worlds import (
    base,
    combinators,
    decay,
    dyck,
    grammar,
    hmm,
    in_context,
    kernel,
    positional,
    recall,
    table,
    urn,
)

CLOSE = 1e-9  # laws of both sides, in logs
CALLS = 3  # in one round, of which the fastest counts: what else the machine does only adds


@dataclass(frozen=True)
class Case:
    """Two ways of doing one thing, a `Measurable`."""

    name: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    tokens: int
    peer_tokens: int
    goal: float | None = None
    unit: str = "tokens/s"
    same: bool = True  # both return the same numbers (samples, and other people's totals, are not compared)

    def measured(self, rounds: int) -> list[Found]:
        """Both sides once, compared; then in turns."""
        cold, ours = seconds(self.ours)
        _, theirs = seconds(self.peer)
        if self.same:
            np.testing.assert_allclose(ours, theirs, atol=CLOSE, rtol=0, err_msg=self.name)
        sides = (self.ours, self.tokens), (self.peer, self.peer_tokens)
        own, other = np.array([[count / seconds(side, CALLS)[0] for side, count in sides] for _ in range(rounds)]).T
        return [beside(self.name, self.peer_name, own, other, goal=self.goal, unit=self.unit, cold=cold)]


def finite(cfg: Any) -> Iterator[Case]:
    """Hidden Markov worlds, 16 tokens: with an operator for each, and with one matrix for all."""
    world = hmm.random_hmm(cfg.states, 16, 1.0, 0)
    name = f"finite state, {cfg.states} states"
    operators, initial = np.asarray(world.transition), np.asarray(world.initial)
    tokens = drawn(world, cfg.batch, cfg.length)
    one, grouped = (loops.Finite(operators, initial, x) for x in (False, True))
    yield _scoring(name, world, tokens, one, "numpy, an operator per sequence", 20.0)
    yield _scoring(name, world, tokens, grouped, "numpy, grouped by token")
    yield _against(name, world, tokens, "jax, mapped filter", peers.forward, world, 1.0)
    yield _share_of_peak(name, world, tokens)
    yield _sampling(name, world, cfg, grouped)
    world, numbers = peers.emitting(cfg.states, 16)
    tokens, name = drawn(world, cfg.batch, cfg.length), f"{name}, one matrix"
    yield _against(name, world, tokens, "jax, mapped filter", peers.forward_emitting, numbers, 1.0)
    if find_spec("hmmlearn"):
        peer = functools.partial(peers.hmmlearn(numbers), tokens)
        ours = functools.partial(scores(base.log_conditionals), world, tokens)
        yield Case(f"{name}: laws", "hmmlearn, totals only", ours, peer, tokens.size, tokens.size, same=False)


def decaying(cfg: Any) -> Iterator[Case]:
    """Decaying attention over 8 tokens: parallel beside its own scan, and beside a loop."""
    rows = np.asarray(table.dirichlet(8, "mixture"))
    power = np.arange(1.0, cfg.length + 1) ** -1.5
    made = {
        "lags, geometric, endless": (kernel.geometric(0.9), None, loops.Geometric(0.9, rows)),
        "lags, power law, endless": (kernel.power(1.5), None, loops.Window(power, rows)),
        "lags, power law to 32": (kernel.power(1.5), 32, loops.Window(power[:32], rows)),
    }
    for name, (weights, horizon, loop) in made.items():
        world = decay.decay(8, weights, rows.tolist(), horizon=horizon)
        tokens = drawn(world, cfg.batch, cfg.length)
        yield _against(name, world, tokens, "its own scan", base.filtered, world, 10.0)
        yield _logarithms(name, world, tokens)
        yield _scoring(name, world, tokens, loop)
        yield _sampling(name, world, cfg, loop)


def placed(cfg: Any) -> Iterator[Case]:
    """A table that turns with the clock."""
    rows = np.asarray(table.dirichlet(8, "mixture"))
    world = positional.periodic(8, 3, kernel.geometric(0.9), rows.tolist(), "table")
    loop = loops.Turns(tuple(loops.Geometric(0.9, np.roll(rows, -j, axis=0)) for j in range(3)))
    yield from _both("periodic, three tables", world, cfg, loop)


def learnt(cfg: Any) -> Iterator[Case]:
    """The urn, and a Markov chain of order two."""
    yield from _both("urn", urn.dirichlet(8, 0.5), cfg, loops.Urn(8, 0.5))
    yield from _both("markov in context", in_context.markov_in_context(4, 2, 0.5), cfg, loops.Contexts(4, 2, 0.5))


def grammars(cfg: Any) -> Iterator[Case]:
    """Dyck words of any depth; and a random grammar, an open document of at most 32 tokens in each of 64 sequences."""
    yield from _both("dyck", dyck.dyck(2, 0.4), cfg, loops.Brackets(2, 0.4, cfg.length))
    if not find_spec("genlm"):
        return
    text = peers.random_rules(cfg.symbols)
    world = grammar.pcfg(text)
    tokens = peers.open_documents(world, min(cfg.length, 32), min(cfg.batch, 64))
    few, name = tokens[:2], f"grammar, {5 * cfg.symbols} rules, {tokens.shape[1]} tokens: laws"
    score, peer = scores(base.log_conditionals), peers.genlm(text, world)
    apart = float(np.abs(np.exp(np.asarray(score(world, tokens))[:2]) - np.exp(peer(few))).max())
    label = f"genlm-grammar (laws {apart:.0e} apart)"  # its closures are iterated, so this is said, not refused
    ours, theirs = functools.partial(score, world, tokens), functools.partial(peer, few)
    yield Case(name, label, ours, theirs, tokens.size, few.size, 50.0, same=False)


def recalling(cfg: Any) -> Iterator[Case]:
    """Copying ten letters."""
    yield from _both("copy", recall.copy(10, 8), cfg, loops.Copies(10, 8))


def combined(cfg: Any) -> Iterator[Case]:
    """A noisy world, which is a hidden Markov world again, and a mixture of two."""
    clean, other = (hmm.random_hmm(8, 4, 0.5, seed) for seed in (0, 1))
    operators = np.asarray(clean.transition)
    seen = loops.Finite(0.9 * operators + 0.1 * operators.mean(0), np.asarray(clean.initial), False)
    yield from _both("noisy", combinators.noisy(clean, 0.1), cfg, seen)
    parts = tuple(loops.Finite(np.asarray(x.transition), np.asarray(x.initial), False) for x in (clean, other))
    mixed = loops.Mixed(parts, np.array([0.3, 0.7]))
    yield from _both("mixture", combinators.mixture([clean, other], [0.3, 0.7]), cfg, mixed)


GROUPS: dict[str, Callable[[Any], Iterator[Case]]] = {
    "finite": finite,
    "decaying": decaying,
    "positional": placed,
    "learnt": learnt,
    "grammar": grammars,
    "recall": recalling,
    "combinators": combined,
}


def _both(name: str, world: Any, cfg: Any, loop: loops.Loop) -> Iterator[Case]:
    """Laws and samples beside a loop."""
    yield _scoring(name, world, drawn(world, cfg.batch, cfg.length), loop)
    yield _sampling(name, world, cfg, loop)


def _scoring(
    name: str, world: Any, tokens: np.ndarray, loop: loops.Loop, label: str = "numpy", goal: float | None = None
) -> Case:
    """All conditionals of given tokens, beside a loop."""
    ours = functools.partial(scores(base.log_conditionals), world, tokens)
    peer = functools.partial(loops.score, loop, tokens)
    return Case(f"{name}: laws", label, ours, peer, tokens.size, tokens.size, goal)


def _against(
    name: str, world: Any, tokens: np.ndarray, label: str, form: Callable[..., Any], numbers: Any, goal: float
) -> Case:
    """All conditionals of given tokens, beside a form for one sequence that is mapped and shared in the same way."""
    ours = functools.partial(scores(base.log_conditionals), world, tokens)
    peer = functools.partial(scores(form), numbers, tokens)
    return Case(f"{name}: laws", label, ours, peer, tokens.size, tokens.size, goal)


def _share_of_peak(name: str, world: hmm.HMM, tokens: np.ndarray) -> Case:
    """What no form can pass: products of beliefs with an operator and with its row sums, at the rate of large ones."""
    vocab, states, _ = world.transition.shape
    work, steps = tokens.size * 2 * states * (states + vocab), 100
    ours = functools.partial(scores(base.log_conditionals), world, tokens)
    peak = functools.partial(products, 256, "float64", steps)
    each = 2 * 256**3 * steps * jax.device_count()
    return Case(
        f"{name}: operations", "XLA's float64 products", ours, peak, work, each, unit="operations/s", same=False
    )


def _logarithms(name: str, world: Any, tokens: np.ndarray) -> Case:
    """What no form can pass: as many logarithms as there are conditionals, of numbers that are there."""
    ours = functools.partial(scores(base.log_conditionals), world, tokens)
    given = np.random.default_rng(0).random((*tokens.shape, world.vocab_size))
    peer = functools.partial(scores(_logs), None, given)
    return Case(f"{name}: laws", "its logarithms alone", ours, peer, tokens.size, tokens.size, same=False)


def _logs(numbers: None, given: jax.Array) -> jax.Array:
    del numbers
    return jnp.log(given)


def _sampling(name: str, world: Any, cfg: Any, loop: loops.Loop) -> Case:
    """Draws, with no scoring beside them."""
    count, random = cfg.batch * cfg.length, np.random.default_rng(0)
    ours = functools.partial(drawn, world, cfg.batch, cfg.length)
    peer = functools.partial(loops.sample, loop, random, cfg.batch, cfg.length)
    return Case(f"{name}: samples", "numpy", ours, peer, count, count, same=False)


@functools.cache
def scores(form: Callable[..., Any]) -> Callable[[Any, np.ndarray], np.ndarray]:
    """Scoring as the package does it: sequences shared between the devices, at once within each."""
    each = jax.jit(backend.spread(lambda numbers, part: jax.vmap(form, (None, 0))(numbers, part)))

    def score(numbers, tokens):
        parts, count = _parts(tokens)
        said = each(numbers, parts)
        return said.reshape(-1, *said.shape[2:])[:count]

    return score


@functools.lru_cache
def _draws(length: int) -> Callable[..., jax.Array]:
    def part(world, keys):
        return jax.vmap(lambda key: base.sample(world, key, length))(keys)

    return jax.jit(backend.spread(part))


def drawn(world: Any, batch: int, length: int) -> np.ndarray:
    """Samples, shared between the devices in the same way."""
    parts, count = _parts(jax.random.split(jax.random.key(0), batch))
    return np.asarray(_draws(length)(world, parts)).reshape(-1, length)[:count]


def _parts(items: Any) -> tuple[Any, int]:
    """One part for each device, [device, sequence, ...], and the true number of sequences."""
    padded, count = backend.padded(items)
    return jnp.reshape(padded, (jax.device_count(), -1, *padded.shape[1:])), count
