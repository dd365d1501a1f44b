"""Planted faults: cells with exactly one fault of known layer, and clean controls, drawn afresh for every seed.

A control is a home (experiments/homes.py). A fault is a control's twin with what plants it, so that its size is the
exact difference between the two (experiments/confusion.py). What all cells share is in
conf/experiment/planted_faults.yaml. The rules that are tested know nothing of this file.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from experiments.homes import HOMES, OFFSET, POSITIONAL, SEEN, number, scale

LAYERS = "ORIP"


class Kind(NamedTuple):
    """A fault: the homes it shows in, and the override that plants it, with a drawn severity."""

    layer: str
    name: str
    homes: str
    plant: Callable[[Generator], str]


def cells(draw: int, faults: int, controls: int, spares: int) -> list[str]:
    """The overrides of each run: controls first, then faults, equally many a layer, then spares for the immaterial.

    Twins that no control provides are further clean runs, which are not counted as controls.

    Args:
      draw: seed of everything that is drawn here: worlds, kinds, severities, and the seeds of the runs.
      faults: at least 1; the layers take turns, and within a layer the kinds.
      controls: at least as many as there are homes, so that each has one.
      spares: faults that take the place of those whose measured size is immaterial; 0 or more.
    """
    if faults < 1 or spares < 0 or controls < len(HOMES):
        raise ValueError(
            f"faults: at least 1 fault, 0 spares and {len(HOMES)} controls (one for each home) are needed, but got "
            f"{faults}, {spares} and {controls}"
        )
    random = np.random.default_rng(draw)
    names = [list(HOMES)[n % len(HOMES)] for n in range(controls)]
    clean = [_clean(random, name) for name in names]
    orders = {layer: _turns(random, [kind for kind in KINDS if kind.layer == layer]) for layer in LAYERS}
    used, planted = set(), []
    for n in range(faults + spares):
        layer = LAYERS[n % len(LAYERS)]
        kind = next(orders[layer])
        homes = kind.homes.split()
        unused = [k for k, name in enumerate(names) if name in homes and (kind.name, k) not in used]
        if not unused:  # every fault has a world of its own among those of its kind
            names.append(str(random.choice(homes)))
            clean.append(_clean(random, names[-1]))
            unused = [len(names) - 1]
        twin = int(random.choice(unused))
        used.add((kind.name, twin))
        cell = f"{clean[twin]} {kind.plant(random)}"
        planted.append(_planted(cell, layer=layer, kind=kind.name, twin=twin, spare=str(n >= faults).lower()))
    told = zip(clean, names, strict=True)
    twins = [
        _planted(cell, layer="null", kind=name, twin=n, spare=str(n >= controls).lower())
        for n, (cell, name) in enumerate(told)
    ]
    return twins + planted


def _clean(random: Generator, name: str) -> str:
    """A home with its world and seed."""
    return f"{HOMES[name].world(random)} {SEEN} {HOMES[name].rest} seed={random.integers(2**31)}"


def _turns(random: Generator, kinds: list[Kind]) -> Iterator[Kind]:
    """The kinds again and again, each time in another order."""
    while True:
        yield from (kinds[n] for n in random.permutation(len(kinds)))


def _planted(cell: str, **known: object) -> str:
    """The cell's overrides, of which the last of each key stays, and what is known of it, which no rule reads.

    Another choice of a group drops what was said about the one before.
    """
    kept: dict[str, str] = {}
    for override in cell.split():
        key = override.split("=")[0]
        kept = {k: v for k, v in kept.items() if k != key and not k.startswith(f"{key}.")} | {key: override}
    said = ",".join(f"{key}:{str(value).replace(' ', '_')}" for key, value in known.items())
    return " ".join([*kept.values(), f"planted={{{said}}}"])


NETS = "lag_net urn_net template_net turns_net hidden_net recall_net"
HEADS = "lag_heads geometric_heads two_heads urn_heads"

KINDS = (
    Kind("O", "truncated context", "lag_net lag_heads urn_net hidden_net", lambda r: "observe.heldout.window=2"),
    Kind("O", "tiny sample", f"{NETS} {HEADS}", lambda r: f"observe.heldout.sequences={r.integers(4, 40)}"),
    Kind(
        "O",
        "wrong length law",
        "lag_net lag_heads urn_net urn_heads",
        lambda r: "observe=[last_token] ledger=last_token observe.last_token.sequences=16384",
    ),
    Kind(
        "O",
        "leaky set",
        "lag_net hidden_net urn_net",
        lambda r: (
            "observe=[leaky] ledger=leaky observe.leaky.sequences=8192 reach.pool=8 "
            f"reach.repeats={number(r, 0.1, 0.2)}"
        ),
    ),
    Kind(
        "O",
        "saturated metric",
        "binary_net",
        lambda r: (
            "observe=[heldout,accuracy] judged=accuracy observe.accuracy.sequences=8192 observe.accuracy.windows=1"
        ),
    ),
    Kind(
        "O",
        "blind metric",
        f"{NETS} {HEADS}",
        lambda r: "observe=[heldout,calibration] judged=calibration observe.calibration.sequences=4096",
    ),
    Kind(
        "O",
        "biased pairs",
        "lag_net lag_heads geometric_heads hidden_net",
        lambda r: (
            "observe=[heldout,minimal_pairs] judged=minimal_pairs observe.minimal_pairs.sequences=4096 "
            "observe.minimal_pairs.corruption=stamp"
        ),
    ),
    Kind(
        "O",
        "noisy set",
        "hidden_net binary_net",
        lambda r: (
            f"observe=[noisy] ledger=noisy observe.noisy.rate={number(r, 0.1, 0.4)} "
            "observe.noisy.protocol.sequences=8192"
        ),
    ),
    Kind("R", "too short", f"{NETS} {HEADS}", lambda r: f"reach.steps={r.integers(2, 12)}"),
    Kind("R", "rate too low", f"{NETS} {HEADS}", lambda r: f"reach.rate={scale(r, 1e-6, 5e-5)}"),
    Kind("R", "rate too high", NETS, lambda r: f"reach.rate={scale(r, 0.5, 5)}"),
    Kind("R", "little data", NETS, lambda r: f"reach.sequences={r.choice([8, 16, 32])}"),
    Kind("R", "noisy data", f"{NETS} {HEADS}", lambda r: f"reach.corruption={number(r, 0.2, 0.6)}"),
    Kind("R", "bad schedule", NETS, lambda r: "reach.curriculum=1 reach.shortest=1"),
    Kind("R", "unlucky scale", NETS, lambda r: f"reach.scale={r.choice(['0', scale(r, 20, 60)])}"),
    Kind("R", "too much decay", NETS, lambda r: f"reach.decay={scale(r, 3, 30)}"),
    Kind(
        "R", "tempered labels", f"{NETS} {HEADS}", lambda r: f"reach.softness=1 reach.temperature={number(r, 1.6, 4)}"
    ),
    Kind("I", "too few heads", "two_heads", lambda r: "instantiation.heads=1"),
    Kind("I", "no start symbol", "urn_heads", lambda r: "instantiation.start=none"),
    Kind(
        "I",
        "wrong slopes",
        "geometric_heads",
        lambda r: f"perception/scheme=alibi perception.scheme.slopes=[{number(r, 0, 0.03)},{number(r, 0.03, 0.1)}]",
    ),
    Kind(
        "I",
        "short memory",
        "lag_net hidden_net",
        lambda r: f"instantiation.mixer={r.choice(['mlp', 'convolution'])} instantiation.taps=1",
    ),
    Kind("I", "no mixer", "lag_net urn_net", lambda r: "instantiation.mixer=none"),
    Kind("I", "wrong norm place", "urn_net hidden_net", lambda r: "instantiation.readout=normed"),
    Kind("I", "coarse precision", "urn_net hidden_net template_net", lambda r: "instantiation.readout=rounded"),
    Kind("I", "too narrow", "ranks_net", lambda r: f"instantiation.heads=1 instantiation.width={r.choice([2, 3])}"),
    Kind(
        "P",
        "order-free in an offset world",
        "lag_heads",
        lambda r: f"perception=order_free perception/scheme=nope {POSITIONAL}12",
    ),
    Kind(
        "P",
        "order-free in a decaying world",
        "geometric_heads",
        lambda r: f"perception=order_free perception/scheme=nope {POSITIONAL}12",
    ),
    Kind(
        "P",
        "order-free in an absolute world",
        "template_net",
        lambda r: f"perception=order_free perception/scheme=nope {POSITIONAL}12",
    ),
    Kind(
        "P",
        "decay in an offset world",
        "lag_heads two_heads",
        lambda r: (
            f"perception=decay perception.concept.slopes=[0.1,0.3,1,3] perception/scheme=alibi_learned {POSITIONAL}12"
        ),
    ),
    Kind(
        "P",
        "fixed decay in a recall world",
        "recall_net",
        lambda r: (
            "perception=decay perception.concept.slopes=[0.1,0.3,1,3] perception/scheme=alibi "
            f"perception.scheme.slopes=[{','.join(5 * ['0.1,0.3,1,3'])}] {POSITIONAL}20"
        ),
    ),
    Kind(
        "P",
        "short window",
        "lag_net hidden_net",
        lambda r: (
            "perception=window perception.concept.last=1 perception.concept.aware=false "
            "perception/scheme=window perception.scheme.width=1"
        ),
    ),
    Kind("P", "bag in an ordered world", "lag_net", lambda r: "perception=bag_and_last perception/scheme=nope"),
    Kind("P", "relative in an absolute world", "turns_net", lambda r: f"{OFFSET} {POSITIONAL}12 reach.steps=2000"),
)
