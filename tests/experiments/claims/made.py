"""Run folders without runs: members whose excesses are given, in a world and a scheme that are given."""

import json
from pathlib import Path

import numpy as np

from experiments.found import Run

KERNEL = {"_target_": "worlds.kernel.geometric", "rate": 0.6}
DECAY = {"name": "decay", "vocab": 4, "kernel": KERNEL}


def entry(excess, half=0.0):
    """A member's excess with the interval of its prefixes; a number that is infinite as the ledger writes it."""
    if not np.isfinite(excess):
        return {"excess": "inf", "low": "inf", "high": "inf", "class": "estimated"}
    return {"excess": excess, "low": excess - half, "high": excess + half, "class": "estimated"}


def part(excesses, perceived=0.0, half=0.0, floor=1.5):
    """The ledger at one length: P - D is certified, R - D the mean of the members."""
    mean = float(np.mean(excesses)) if len(excesses) else None
    numbers = {"P-D": perceived, "R-D": mean, "I-P": 0.0, "R-I": 0.0, "O-R": 0.0}
    gaps = {name: interval(x, "nats", "certified" if name == "P-D" else "estimated") for name, x in numbers.items()}
    layers = {name: interval(floor, "loss", "exact") for name in "DPIRO"}
    return {"members": [entry(x, half) for x in excesses], "gaps": gaps, "layers": layers}


def interval(value, key, kind):
    """An entry of the ledger without a width; infinite numbers as the ledger writes them."""
    plain = value if value is None or np.isfinite(value) else "inf"
    return {key: plain, "low": plain, "high": plain, "class": kind}


def run(
    folder, name, scheme, lengths, world=DECAY, *, trained=32, seed=0, perceived=0.0, half=0.0, curves=None, **more
):
    """A finished run: `lengths` maps multiples of the trained length to the members' excesses, in order of members."""
    parts = {str(trained * m): part(excesses, perceived, half) for m, excesses in lengths.items()}
    ledger = {
        "world": world,
        "perception": {"name": "decay", "scheme": {"name": scheme} | more.pop("numbers", {})} | more.pop("concept", {}),
        "instantiation": {"name": "transformer", "layers": more.pop("layers", 2)},
        "reach": {"length": trained, "seeds": len(lengths[1]), "steps": 600} | more.pop("reach", {}),
        "seed": seed,
        "length": trained,
        "train_length": trained,
        "study": None,
        "lengths": parts,
        "protocols": more.pop("protocols", {}),
    }
    ledger |= parts[str(trained)] | more
    place = Path(folder) / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "ledger.json").write_text(json.dumps(ledger))
    if curves:
        np.savez(place / "curves.npz", **curves)
    return Run(place, ledger, [], {}, 0)
