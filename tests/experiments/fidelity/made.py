"""Run folders with what a comparison reads: networks of known quality, and what three protocols said of documents."""

import json

import numpy as np

from experiments.contrasts import GROUPS, Side
from experiments.found import curves, read
from experiments.ledger import entry
from worlds.quantity import Quantity, exact

DOCUMENTS, TOKENS, SEQUENCES = 400, 32, 200
SPREAD = 0.05  # of a document's own score around what it is for this network, nats per token


def written(place, made, number, quality, documents="same", exactly=False):
    """A run of two seeds whose excess is about `quality`; `upside_down` prefers the worse, `hits` is a fraction."""
    levels = np.array([quality, 1.01 * quality])
    luck = np.random.default_rng(0).normal(1.6, 0.3, DOCUMENTS)  # the documents, the same for all runs
    own = np.random.default_rng(1 + number).normal(0, SPREAD, (2, DOCUMENTS))
    means = {"heldout": 1.6 + levels, "upside_down": 1.6 - levels, "hits": 0.5 - levels}
    marks = {name: mean[:, None] + luck - 1.6 + own for name, mean in means.items()}
    ledger = made()
    parts = [ledger, ledger["lengths"]["32"]]
    for part in parts:
        part["members"] = [entry(Quantity(x, x, x, "exact") if exactly else near(x, 0.01), "excess") for x in levels]
    ledger["protocols"] = {name: protocol(name, marks[name], means[name], documents, exactly) for name in means}
    ledger["protocols"]["nonoverlapping"] = ledger["protocols"]["heldout"]  # the ledger's O
    arrays = {f"marks/{name}": x for name, x in marks.items()} | {"floor/32": np.linspace(1.7, 1.6, 32)}
    if not exactly:
        noise = np.random.default_rng(2).gamma(4, 0.25, SEQUENCES)
        arrays["sequences/excess/32"] = levels[:, None] * noise
        arrays["sequences/control/32"] = np.random.default_rng(3).normal(0, 0.1, (2, SEQUENCES))
        arrays |= {f"fair/{name}": mean[:, None] * np.ones(DOCUMENTS) for name, mean in means.items()}
    place.mkdir(parents=True)
    (place / ".hydra").mkdir()
    (place / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  job:\n    num: {number}\n")
    (place / ".hydra" / "overrides.yaml").write_text(f"- seed={number}\n")
    (place / "ledger.json").write_text(json.dumps(ledger))
    np.savez(place / "curves.npz", **arrays)
    return place


def near(x, half):
    return Quantity(x, x - half, x + half, "estimated", SEQUENCES)


def protocol(name, marks, targets, documents, exactly):
    """What a ledger keeps of an observation."""
    mean = exact(targets.mean()) if exactly else near(float(targets.mean()), 0.01)
    return {
        "name": name,
        "unit": "fraction" if name == "hits" else "nats/token",
        "better": "larger" if name == "hits" else "smaller",
        "shows": "sequences",
        "window": TOKENS,
        "tokens": TOKENS,
        "fair_tokens": TOKENS,
        "documents": documents,
        "score": entry(near(float(marks.mean()), 0.03), "value"),
        "expected": entry(mean, "value"),
        "ceiling": entry(exact(1.6), "value"),
        "parts": None,
        "scores": marks.mean(1).tolist(),
        "targets": targets.tolist(),
    }


def sides(runs):
    """Every run in the mean over its seeds, by its place."""
    return {n: Side(run, curves(run, *GROUPS)) for n, run in enumerate(runs)}


def side(place, member=None):
    run = read(place)
    return Side(run, curves(run, *GROUPS), member)
