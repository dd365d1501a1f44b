"""Ledgers without a run: the real ladder, made from invented measurements."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ledger import Rungs, entry, ledger
from experiments.measure import Measured
from worlds.base import Functional
from worlds.quantity import Quantity, certified, exact, undefined

SEQUENCES = 200
PARTS = {"world": 0.006, "model": -0.001, "sampling": 0.003}


def measured(level, functional, seed, spread=0.2):
    """Weights whose excess is about `level`, nats per token."""
    length = functional.tokens.shape[1]
    noise = np.random.default_rng(seed).gamma(1 / spread, spread, (SEQUENCES, length))
    return Measured(level * noise, 0.01 * noise - 0.01, functional)


def part(length, perceived, reached, best, contained, seeds, observed=None):
    """The ledger of one length."""
    functional = Functional(
        jnp.zeros((SEQUENCES, length), jnp.int32),
        jnp.full(SEQUENCES, 1 / SEQUENCES),
        jnp.full(length, 1 / length),
        False,
    )
    level = np.linspace(0.9, 1.1, seeds) * reached
    members = [measured(x, functional, n) for n, x in enumerate(level)]
    floor = Quantity(1.6094, 1.6061, 1.6127, "estimated", SEQUENCES)
    witnesses = {"oracle 0": measured(best, functional, 0)}
    return ledger(Rungs(f"made T={length}", floor, perceived, contained, members, witnesses, observed))


def made(
    concept="decay",
    scheme="alibi",
    perceived=None,
    best=0.004,
    reached=(0.010, 0.012, 0.020),
    contained="by construction",
    seeds=4,
    observed=0.013,
):
    """A whole ledger: trained at 32 tokens, measured at 1, 2 and 4 times that."""
    perceived = certified(0.0021, 0.00209, 0.0021) if perceived is None else perceived
    lengths = [32 * 2**n for n in range(len(reached))]
    score = Quantity(1.6094 + observed, 1.6 + observed, 1.62 + observed, "estimated", 256)
    further = [undefined() if concept == "absolute" else perceived] * len(lengths)
    parts = {
        str(n): part(n, p, r, best if k == 0 else min(r, 2 * best), contained if p.kind != "undefined" else "", seeds)
        for k, (n, r, p) in enumerate(zip(lengths, reached, [perceived, *further[1:]], strict=True))
    }
    whole = part(32, perceived, reached[0], best, contained, seeds, observed=score)
    seen = {
        "unit": "nats/token",
        "score": entry(score, "value"),
        "expected": entry(score, "value"),
        "ceiling": entry(exact(1.615), "value"),
        "parts": {k: entry(Quantity(x, x - 0.01, x + 0.01, "estimated", 9), "value") for k, x in PARTS.items()},
    }
    hits = {"unit": "fraction", "parts": None} | {
        k: entry(exact(0.4), "value") for k in ("score", "expected", "ceiling")
    }
    return whole | {
        "schema": 1,
        "unit": "nats/token",
        "world": {"name": "decay", "vocab": 8},
        "perception": {"name": concept, "scheme": {"name": scheme}},
        "instantiation": {"name": "transformer"},
        "seeds": list(range(seeds)),
        "length": 32,
        "train_length": 32,
        "lengths": parts,
        "protocols": {"nonoverlapping": seen, "accuracy": hits},
        "observation": "nonoverlapping",
        "zeros": {"floor": entry(exact(1.6094), "value"), "entropy_rate": entry(exact(1.58), "value")},
        "sentences": {gap: "a sentence." for gap in ("P-D", "I-P", "R-I", "O-R")},
    }


def four():
    """What a first look finds: a home concept, a surplus, and extrapolation that fails by two orders of magnitude."""
    return [
        made(
            "order_free",
            "nope",
            certified(0.0412, 0.04119, 0.0412),
            best=0.0052,
            reached=(0.0071, 0.011, 0.046),
            contained="",
        ),
        made("decay", "alibi", certified(0.0, 0.0, 1e-9), best=0.0006, reached=(0.0021, 0.0022, 0.0024)),
        made("offset", "rope", certified(0.0, 0.0, 0.0), best=0.0011, reached=(0.0034, 0.09, 0.47)),
        made(
            "absolute",
            "sinusoidal",
            certified(0.0388, 0.0388, 0.0389),
            best=0.0061,
            reached=(0.0102, 1.3, 2.9),
            contained="",
            observed=0.004,
        ),
    ]


@pytest.fixture(scope="session")
def ledgers():
    """(made, four): build one ledger to taste, or the four of a first look."""
    return made, four
