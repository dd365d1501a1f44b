"""Training tokens per second: one cell and a population, beside PyTorch and plain JAX; and the share of the peak.

Next-token training of one pre-norm transformer with AdamW on a 16-state hidden Markov world of 16 tokens, float32, at
three sizes (SIZES). All sides start from the same weights and must say the same with them, and must lose the same in
their first steps, or nothing is timed. Ours also measures the exact excess on every batch; others do not. The sides:
  population     `experiments.fit.fit` on 16 members, members one after another on each core: what the launcher runs
  one cell       the same with one member, which one core alone can work on
  eager          nanoGPT's loop, two threads (pytorch.py); also a process per core, and compiled, a process per core
  plain JAX      one jitted step in a Python loop, devices and flags as JAX comes (plain.py)
Operations of a step are counted as is usual: 6 for each weight of a product, 12 layers x width x length for attention,
though causal blocks need fewer (Chowdhery et al. 2022, arXiv:2204.02311, appendix B). The peak is what products of 256
to 1024 rows reach here on all cores, through XLA, and through NumPy's library (products.py).
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import backend, fit
from experiments.alchemy import Reals, Shape, numbers
from experiments.bench.found import Found, beside, seconds
from experiments.bench.products import SIDE
from experiments.bench.rivals import Arrays, Rival, hidden
from models.base import pure
from models.position.absolute import Learned
from models.transformer import Transformer
from worlds import hmm

TURN = 0.5  # seconds of a turn, about; at least a step
FIRST = 8  # steps that all sides take from the same weights
CLOSE = 1e-4  # log probabilities in float32 of networks of some ten layers of products
REALS = Reals(steps=1000, rate=1e-3, schedule="constant", warmup=0.0, momentum=0.9, beta2=0.98, clip=1.0)


@dataclass(frozen=True)
class Size:
    """A network, its batch, how many sequences' gradients a core computes at once, and what is hoped for.

    goals: of a population's speed beside the eager loop, beside PyTorch's best, and of its share of the peak.
    """

    layers: int
    width: int
    length: int
    batch: int
    micro: int
    goals: tuple[float, float, float | None]
    heads: int = 4
    vocab: int = 16

    @property
    def spec(self) -> Transformer:
        """The network."""
        scheme: Any = Learned()
        size = self.layers, self.heads, self.width
        return Transformer(self.vocab, self.length, scheme, *size, norm="layer")

    @property
    def alike(self) -> float:
        """Nats that mean first losses of two sides may differ by: four standard errors of the difference.

        Of tokens whose losses spread by a nat, and of which every fourth counts as a draw of its own.
        """
        return 4 * (2 / (FIRST * self.batch * self.length / 4)) ** 0.5

    @property
    def operations(self) -> float:
        """Floating-point operations of a training token."""
        weights = 12 * self.layers * self.width**2 + self.width * self.vocab
        return 6 * weights + 12 * self.layers * self.width * self.length


SIZES = {
    "tiny": Size(1, 32, 32, 32, 16, (5.0, 2.3, None)),
    "base": Size(2, 64, 64, 64, 8, (2.0, 1.4, 0.60)),
    "big": Size(4, 128, 256, 32, 4, (1.5, 1.3, 0.75)),
}


@dataclass(frozen=True)
class Training:
    """All sides of one size."""

    name: str
    size: Size
    members: int

    def measured(self, rounds: int) -> list[Found]:
        """Same weights, same words, same first losses; then tokens per second of each side, in turns."""
        world = hmm.random_hmm(16, self.size.vocab, 0.3, 0)
        start = jax.jit(pure(self.size.spec).init)(jax.random.key(0))
        with ExitStack() as stack:
            rivals = {k: stack.enter_context(r) for k, r in _rivals(self.size, world, start).items()}
            cold, own = _own(self.size, world, start, self.members, rivals)
            turns = own | {k: (_of(rival), self._tokens(rival)) for k, rival in rivals.items()}
            counts = {k: _count(turn) for k, (turn, _) in turns.items()}
            rows = [{k: each * counts[k] / turn(counts[k]) for k, (turn, each) in turns.items()} for _ in range(rounds)]
        return self._compared({k: np.array([row[k] for row in rows]) for k in turns}, cold)

    def _tokens(self, rival: Rival) -> float:
        """Of a step of a rival; operations where its steps are products."""
        one = 2 * SIDE**3 if rival.module.endswith("products") else self.size.batch * self.size.length
        return one * len(rival.cores or [None])

    def _compared(self, speed: dict[str, np.ndarray], cold: float) -> list[Found]:
        eager, best, share = self.size.goals
        many, found = f"training {self.name}, population of {self.members}", []
        torch = [k for k in speed if k.startswith("PyTorch")]
        fastest = max((k for k in torch), key=lambda k: np.median(speed[k]), default=None)
        for peer in [*torch, "plain JAX step"]:
            goal = eager if peer == EAGER else best if peer == fastest else None
            found.append(beside(many, peer, speed["population"], speed[peer], goal=goal, unit="tokens/s", cold=cold))
        for peer in [*(k for k in (EAGER,) if k in speed), "plain JAX step"]:
            found.append(
                beside(f"training {self.name}, one cell", peer, speed["one cell"], speed[peer], unit="tokens/s")
            )
        name, work = f"training {self.name}, share of the peak", speed["population"] * self.size.operations / 1e9
        for peer in ("XLA's products", "NumPy's products"):
            found.append(beside(name, peer, work, speed[peer] / 1e9, goal=share, unit="GFLOP/s"))
        return found


def group(cfg: Any) -> Iterator[Training]:
    """A comparison for each size."""
    for name in cfg.sizes:
        yield Training(name, SIZES[name], cfg.members)


EAGER = "PyTorch eager"
Turn = Callable[[int], float]  # steps -> seconds


def _rivals(size: Size, world: hmm.HMM, start: Any) -> dict[str, Rival]:
    operators, initial = np.asarray(world.transition), np.asarray(world.initial)
    probe = hidden(operators, initial, np.random.default_rng(0), 2, size.length)
    arrays = weights(start) | {"operators": operators, "initial": initial, "probe": probe}
    setting = {k: getattr(size, k) for k in ("layers", "heads", "width", "length", "batch")}
    setting |= {"rate": REALS.rate, "betas": [REALS.momentum, REALS.beta2], "compiled": False, "threads": 1}
    cores = sorted(os.sched_getaffinity(0))
    made = {"plain JAX step": ("plain", {"threads": len(cores)}, None), "NumPy's products": ("products", {}, cores)}
    if find_spec("torch"):
        made[EAGER] = "pytorch", {"threads": len(cores)}, None
        made[f"{EAGER}, a process per core"] = "pytorch", {}, cores
        made["PyTorch compiled, a process per core"] = "pytorch", {"compiled": True}, cores
    return {k: Rival(f"experiments.bench.{m}", setting | own, arrays, at) for k, (m, own, at) in made.items()}


def _own(
    size: Size, world: hmm.HMM, start: Any, members: int, rivals: dict[str, Rival]
) -> tuple[float, dict[str, tuple[Turn, float]]]:
    """(seconds of the population's first call, our sides: a turn and the tokens of its step), once all sides agree."""
    probe = next(iter(rivals.values())).arrays["probe"]
    said = jax.jit(jax.vmap(pure(size.spec).apply, (None, 0)))(start, jnp.asarray(probe, jnp.int32))
    single, many = (functools.partial(_fit, size, world, start, count) for count in (1, members))
    _, (_, curve) = seconds(lambda: single(FIRST))
    for name, rival in rivals.items():
        theirs = rival.said()
        if name != "NumPy's products":
            np.testing.assert_allclose(theirs, said, atol=CLOSE, rtol=0, err_msg=name)
            _, loss = rival.turn(FIRST)
            np.testing.assert_allclose(
                loss, curve.loss.mean(), atol=size.alike, rtol=0, err_msg=f"{name}: first losses"
            )
    cold, _ = seconds(lambda: many(1))
    each = size.batch * size.length
    return cold, {
        "population": (lambda steps: seconds(lambda: many(steps))[0], each * members),
        "one cell": (lambda steps: seconds(lambda: single(steps))[0], each),
        "XLA's products": (
            lambda steps: seconds(lambda: products(256, "float32", steps))[0],
            2 * 256**3 * jax.device_count(),
        ),
    }


def _fit(size: Size, world: hmm.HMM, start: Any, members: int, steps: int) -> Any:
    """So many steps of so many members, from the same weights."""
    shape = Shape(batch=size.batch, length=size.length, chunk=REALS.steps, micro=size.micro)
    stack = jax.tree.map(lambda x: jnp.broadcast_to(x, (members, *x.shape)), start)
    keys = jax.random.split(jax.random.key(1), (2, members))
    return fit.fit(size.spec, shape, world, numbers(REALS), steps, *keys, start=stack)


@functools.partial(jax.jit, static_argnums=(0, 1))
def products(side: int, dtype: str, steps: Any) -> jax.Array:
    """`steps` products of [side, side] matrices on each device: 2 side^3 operations each."""
    matrix = jax.random.normal(jax.random.key(0), (jax.device_count(), side, side), dtype) / side**0.5
    return backend.spread(lambda steps, x: jax.lax.fori_loop(0, steps, lambda _, y: y @ x, x))(steps, matrix)


def _of(rival: Rival) -> Turn:
    return lambda steps: rival.turn(steps)[0]


def _count(turn: Turn) -> int:
    """Steps that take about TURN seconds."""
    steps, took = 1, turn(1)
    while took < TURN / 10 and steps < REALS.steps:  # too short to tell
        steps = min(4 * steps, REALS.steps)
        took = turn(steps)
    return max(1, round(steps * TURN / took)) if steps * TURN / took < REALS.steps else REALS.steps


RENAMED = (
    (".value", ""),
    ("blocks.", ""),
    ("0.parts.0.component.position.embedding.rows", "positions"),
    ("parts.0.component.inward", "qkv"),
    ("parts.0.component.outward", "out"),
    ("parts.1.component.", ""),
    ("parts.0.norm", "norm0"),
    ("parts.1.norm", "norm1"),
    ("readout.logits", "readout"),
)


def weights(params: Any) -> Arrays:
    """The transformer's parameters by the names that the rivals know."""
    found = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        for old, new in RENAMED:
            name = name.replace(old, new)
        found[name] = np.asarray(x)
    return found
