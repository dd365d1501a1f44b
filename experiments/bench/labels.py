"""Evaluation tokens that it takes to know a loss to a standard error: exact conditionals beside hard labels.

A network in training is measured when its excess passes 0.01 and 0.001 nats. Per sequence, three estimates of the same
excess: ours (`experiments.measure`: the mean KL at each prefix, with its control variate), the log ratio log p/q of the
drawn tokens, and the plain negative log-likelihood less the known floor. Tokens grow as the variance over the squared
error, so the ratio of tokens is that of variances, whatever the standard error; it is stated at one of 1 % of the
excess. The interval is a bootstrap's, 95 %, over sequences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments import fit
from experiments import measure as measuring
from experiments.alchemy import Reals, Shape, numbers
from experiments.bench.found import Found
from models.position.decay import ALiBi
from models.transformer import Transformer
from worlds import hmm
from worlds.base import functional

GOALS = {0.01: 100.0, 0.001: 1000.0}  # excess, nats: times as many tokens
LENGTH, SEQUENCES, STEPS = 32, 2048, 2000
RESAMPLED = 400


@dataclass(frozen=True)
class Labels:
    """Mess3 and a transformer of one layer."""

    name: str = "tokens that a loss takes"

    def measured(self, rounds: int) -> list[Found]:
        """Both excesses, beside both kinds of hard labels; rounds do not matter."""
        del rounds
        world, found = hmm.mess3(0.15, 0.6), []
        sampled = functional(world, LENGTH, jax.random.key(1), SEQUENCES)
        truth = measuring.law(world, sampled.tokens)
        drawn = -np.take_along_axis(truth, np.asarray(sampled.tokens)[..., None], -1)[..., 0]
        members = list(_measured(world, sampled, truth))
        for excess, goal in GOALS.items():
            one = min(members, key=lambda m: abs(np.log(m.mean().value / excess)))
            ratio = (one.excess + one.control).mean(1)
            hard = {"log p/q of drawn tokens": ratio, "-log q of drawn tokens": ratio + drawn.mean(1)}
            found += [_tokens(one, label, per_sequence, goal) for label, per_sequence in hard.items()]
        return found


def group(cfg: Any) -> Iterator[Labels]:
    """One comparison."""
    del cfg
    yield Labels()


def _measured(world: hmm.HMM, sampled: Any, truth: np.ndarray) -> Iterator[measuring.Measured]:
    """The network at moments of its training."""
    spec = Transformer(vocab=3, length=LENGTH, scheme=ALiBi(), layers=1, width=32)
    seen, moments = [], np.unique(np.geomspace(20, STEPS, 24).round().astype(int))

    def watch(params):
        seen.append(params)
        return np.zeros((1, LENGTH))

    fit.fit(
        spec,
        Shape(batch=64, length=LENGTH, chunk=STEPS),
        world,
        numbers(Reals(steps=STEPS)),
        STEPS,
        *jax.random.split(jax.random.key(0), (2, 1)),
        watch=fit.Watch(moments.tolist(), watch),
    )
    for params in seen:
        yield measuring.measure(measuring.network(spec, params), sampled, truth)[0]


def _tokens(one: measuring.Measured, label: str, hard: Float[np.ndarray, "sequence"], goal: float) -> Found:
    soft, control = one.excess.mean(1), one.control.mean(1)
    rows = np.random.default_rng(0).integers(len(hard), size=(RESAMPLED, len(hard)))
    low, high = np.quantile(hard[rows].var(1) / _left(soft[rows], control[rows]), (0.025, 0.975))
    variances = float(_left(soft[None], control[None])[0]), float(hard.var())
    excess = one.mean().value
    ours, theirs = (v * LENGTH / (0.01 * excess) ** 2 for v in variances)
    return Found(
        f"tokens for an excess of {excess:.2g} nats, to 1 %",
        label,
        theirs / ours,
        float(low),
        float(high),
        goal,
        unit="tokens",
        ours=ours,
        theirs=theirs,
        spread="95 % interval of a bootstrap over sequences",
    )


def _left(values: Float[np.ndarray, "set sequence"], control: Float[np.ndarray, "set sequence"]) -> np.ndarray:
    """The variance that the control variate leaves, of each set."""
    a, b = (x - x.mean(1, keepdims=True) for x in (values, control))
    return (a**2).mean(1) - (a * b).mean(1) ** 2 / (b**2).mean(1)
