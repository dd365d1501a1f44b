"""How well protocols rank networks: Kendall's tau-b with the exact losses, over the runs of one law.

Networks are the seeds of all runs; a run is resampled with all its seeds. Losses are those of one functional that all
runs were measured under; a protocol counts if it was applied to all of them in one way.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.contrasts import Side, functionals, measured, same
from experiments.found import Run, printable
from experiments.ledger import number
from experiments.observe.fidelity import fidelity, tau_b
from worlds.quantity import Quantity, undefined

LEAST = 3  # runs that have a ranking worth the name


class Group(NamedTuple):
    """Runs of one law, and the functional whose exact losses rank them."""

    world: str
    functional: str
    length: int  # tokens
    runs: list[int]  # their places in the study


class Ranking(NamedTuple):
    """How well one protocol ranks the networks of a group."""

    label: str
    unit: str
    better: str
    networks: int
    tau: Quantity  # of the scores that were reported; 95 % over runs
    ideal: Quantity  # of the protocol's exact expectations: what no sample size mends; 95 % over runs
    fresh: Quantity  # of these networks' scores on fresh samples of the same size: median, and 95 % of the samples


def groups(runs: list[Run]) -> list[Group]:
    """The runs of each law, where they are enough and share a functional."""
    laws: dict[str, list[int]] = {}
    for n, run in enumerate(runs):
        laws.setdefault(min(functionals(run), default="").split(" ")[0], []).append(n)
    found = []
    for law, members in laws.items():
        shared = referee([runs[n] for n in members])
        if law and len(members) >= LEAST and shared is not None:
            world = ", ".join(sorted({runs[n].ledger["world"]["name"] for n in members}))
            found.append(Group(world, printable(shared[0]), shared[1], members))
    return found


def referee(runs: list[Run]) -> tuple[str, int] | None:
    """The functional whose exact losses compare runs, and its tokens: the trained length, else the longest shared."""
    every = [functionals(run) for run in runs]
    shared = set.intersection(*(set(x) for x in every))
    trained = {str(run.ledger.get("functional")) for run in runs}
    if not shared:
        return None
    name = trained.pop() if len(trained) == 1 else max(shared, key=lambda x: every[0][x])
    return name, every[0][name]


def rankings(sides: dict[int, Side], group: Group) -> list[Ranking]:
    """One for each protocol that all runs of the group were observed with in one way, on what scores members."""
    ledgers = [sides[n].run.ledger for n in group.runs]
    found = []
    for label, first in ledgers[0]["protocols"].items():
        seen = [ledger["protocols"].get(label, {}) for ledger in ledgers]
        if first.get("scores") and all(same(first, x, "unit", "better", "name") for x in seen):
            rows = [row for n in group.runs for row in _networks(sides[n], n, label, group.length)]
            found.append(_ranking(label, first, [row for row in rows if not row.undefined]))
    return found


class Network(NamedTuple):
    """One seed of one run, and what a protocol said of it."""

    run: int
    loss: float  # exact, over D; nats per token
    score: float
    target: float
    marks: Float[np.ndarray, "document"]  # none where the folder lacks them
    documents: str  # which

    @property
    def undefined(self) -> bool:
        """Whether it cannot be ranked."""
        return any(map(math.isnan, (self.loss, self.score, self.target)))


def _networks(side: Side, run: int, label: str, length: int) -> list[Network]:
    seen, members = side.run.ledger["protocols"][label], measured(side.run, length)["members"]
    marks = side.arrays.get(f"marks/{label}", np.zeros((len(members), 0)))
    if len(marks) != len(members) or marks.ndim != 2:
        marks = np.zeros((len(members), 0))
    rows = zip(members, seen["scores"], seen["targets"], marks, strict=False)
    return [Network(run, number(m["excess"]), number(s), number(t), x, seen["documents"]) for m, s, t, x in rows]


def _ranking(label: str, seen: dict[str, Any], rows: list[Network]) -> Ranking:
    if len({row.run for row in rows}) < LEAST:
        return Ranking(label, seen["unit"], seen["better"], len(rows), undefined(), undefined(), undefined())
    smaller = seen["better"] == "smaller"
    run, loss, score, target = np.array([(row.run, row.loss, row.score, row.target) for row in rows]).T
    return Ranking(
        label,
        seen["unit"],
        seen["better"],
        len(rows),
        fidelity(score, loss, smaller, run.astype(int)),
        fidelity(target, loss, smaller, run.astype(int)),
        fresh(rows, smaller),
    )


def fresh(rows: list[Network], smaller: bool, samples: int = 500, seed: int = 0) -> Quantity:
    """Tau-b of the same networks on other samples of as many documents: targets, plus resampled documents' luck.

    Networks that were scored on the same documents share their luck. The interval holds 95 % of the samples.
    """
    if any(row.marks.size == 0 or not np.isfinite(row.marks).all() for row in rows):
        return undefined()
    generator, scores = np.random.Generator(np.random.PCG64(seed)), np.zeros((samples, len(rows)))
    drawn: dict[tuple[str, int], np.ndarray] = {}
    for n, row in enumerate(rows):
        count = len(row.marks)
        key = (row.documents, count)
        if key not in drawn:
            drawn[key] = generator.multinomial(count, np.full(count, 1 / count), samples) / count
        scores[:, n] = row.target + drawn[key] @ (row.marks - row.marks.mean())
    loss = np.array([row.loss for row in rows])
    taus = np.array([tau_b(x if smaller else -x, loss) for x in scores])
    if np.isnan(taus).all():
        return undefined()
    low, middle, high = np.nanquantile(taus, [0.025, 0.5, 0.975])
    return Quantity(float(middle), float(low), float(high), "estimated", len(rows[0].marks))
