"""From trials to verdicts: joint over a claim's settings, corrected for all the claims that are decided together.

A setting (world, architecture, training) confirms a claim if all of its trials do (an intersection-union test, whose
p-value is the largest; Berger 1982), and refutes it if any does (Bonferroni). Then a claim has three p-values:
confirmed, all settings confirm; refuted, all refute; depends on the world, some confirm and some refute. The procedure
of Benjamini and Hochberg (1995) over all of them keeps the expected share of wrong verdicts at or below LEVEL, which
suits a screen of many claims; Holm's (1979), if asked for, the probability of any. A verdict that holds by Holm's too
is strict. What is not rejected is undecided.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from experiments.claims.claim import Claim
from experiments.claims.trial import Trial, more, trials
from experiments.found import Run

LEVEL = 0.05
VERDICTS = ("confirmed", "refuted", "depends on the world")
UNDECIDED = "undecided"
CORRECTIONS = ("fdr", "holm")


class Verdict(NamedTuple):
    """What the runs say of a claim."""

    claim: Claim
    verdict: str  # of VERDICTS, or UNDECIDED
    p: float  # corrected p-value of the verdict; of the nearest one where undecided
    trials: list[Trial]
    weakest: Trial | None  # the trial on which it rests; None where there are none
    why: str
    gaps: list[str]  # what could not be tried
    strict: bool = False  # whether the verdict holds by Holm's procedure too

    @property
    def runs(self) -> list[Path]:
        """The run folders that it rests on."""
        return sorted({place for trial in self.trials for place in trial.runs})


def decide(claims: list[Claim], runs: list[Run], correction: str = "fdr") -> list[Verdict]:
    """The verdict on each claim; claims without a trial are named, and do not count among those decided together."""
    tried = [(claim, *trials(claim, runs)) for claim in claims]
    raw = np.array([_joint(found) for _, found, _ in tried if found]).reshape(-1)
    corrected, strict = (iter(adjusted(raw, x).reshape(-1, len(VERDICTS))) for x in (correction, "holm"))
    family = max(1, len(raw))
    return [
        _verdict(claim, found, gaps, next(corrected), next(strict), family)
        if found
        else Verdict(claim, UNDECIDED, 1.0, [], None, f"not run: {'; '.join(gaps)}", gaps)
        for claim, found, gaps in tried
    ]


def adjusted(p: np.ndarray, correction: str) -> np.ndarray:
    """Corrected p-values, in the order of the given ones."""
    if correction not in CORRECTIONS:
        raise ValueError(f"claims: correction must be one of {', '.join(CORRECTIONS)}, but is {correction!r}")
    if correction == "fdr" or not len(p):
        return scipy.stats.false_discovery_control(p) if len(p) else p
    ranked = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[ranked] * (len(p) - np.arange(len(p))))
    found = np.empty_like(p)
    found[ranked] = np.minimum(steps, 1.0)
    return found


def by_place(found: list[Trial]) -> dict[str, list[Trial]]:
    """Trials by setting, in the order in which they came."""
    places: dict[str, list[Trial]] = {}
    for trial in found:
        places.setdefault(trial.place, []).append(trial)
    return places


def _of_place(found: list[Trial]) -> tuple[float, float]:
    """p-values of "not all of these trials confirm" and "none refutes"."""
    return max(t.confirm for t in found), min(1.0, len(found) * min(t.refute for t in found))


def _joint(found: list[Trial]) -> tuple[float, float, float]:
    """p-values against the three verdicts, in the order of VERDICTS."""
    places = [_of_place(group) for group in by_place(found).values()]
    confirm, refute = zip(*places, strict=True)
    split = max(len(places) * min(confirm), len(places) * min(refute))
    return max(confirm), max(refute), min(1.0, split) if len(places) > 1 else 1.0


def _verdict(
    claim: Claim, found: list[Trial], gaps: list[str], p: np.ndarray, strict: np.ndarray, family: int
) -> Verdict:
    best = int(np.argmin(p))
    held = bool(strict[best] <= LEVEL)
    if p[best] > LEVEL:
        weak, why = _open(found, LEVEL / family)
        return Verdict(claim, UNDECIDED, float(p[best]), found, weak, _with(why, gaps), gaps)
    verdict, places = VERDICTS[best], by_place(found)
    untried = [rule.name for rule in claim.rules if all(t.rule is not rule for t in found)]
    if verdict == "confirmed" and untried:  # a claim says all that its rules say
        weak = max(found, key=lambda t: t.confirm)
        why = f"what was tried confirms it, but not all was: {'; '.join(untried)}"
        return Verdict(claim, UNDECIDED, float(p[best]), found, weak, why, gaps)
    if verdict == "depends on the world":
        weak = min(found, key=lambda t: t.confirm)
        why = _with(_split(places, LEVEL / family), gaps)
        return Verdict(claim, verdict, float(p[best]), found, weak, why, gaps, held)
    if verdict == "confirmed":
        weak = max(found, key=lambda t: t.confirm)
    else:
        weak = max((min(group, key=lambda t: t.refute) for group in places.values()), key=lambda t: t.refute)
    count = f" in {len(places)} settings" if len(places) > 1 else f" ({next(iter(places))})"
    region = weak.rule.confirm if verdict == "confirmed" else weak.rule.refute
    why = f"{verdict}{count}; the weakest, {named(weak)}, lies {region} {weak.rule.unit}"
    return Verdict(claim, verdict, float(p[best]), found, weak, _with(why, gaps), gaps, held)


def _with(why: str, gaps: Iterable[str]) -> str:
    """The reason, and what could not be tried."""
    missing = list(gaps)
    return why + (f"; could not be tried: {'; '.join(missing)}" if missing else "")


def named(trial: Trial) -> str:
    """Rule, setting and step of a trial."""
    return ", ".join(x for x in (trial.rule.name, trial.place, trial.setting) if x)


def leaning(found: list[Trial], level: float) -> str:
    """What the trials of one setting say by themselves at a level: confirms, refutes, or open."""
    confirm, refute = _of_place(found)
    return "confirms" if confirm <= level else "refutes" if refute <= level else "open"


def _split(places: dict[str, list[Trial]], level: float) -> str:
    said = {word: [name for name, group in places.items() if leaning(group, level) == word] for word in _WORDS}
    if not (said["confirms"] and said["refutes"]):  # Holm's later steps are milder than its first
        said = {word: [name for name, group in places.items() if leaning(group, LEVEL) == word] for word in _WORDS}
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names)


_WORDS = ("confirms", "refutes", "open")


def _open(found: list[Trial], level: float) -> tuple[Trial, str]:
    """The trial that keeps a claim open, and how many more members would close it."""
    waiting = [t for t in found if min(t.confirm, t.refute) > level] or found
    needed = {n: more(t, level) for n, t in enumerate(waiting)}
    never = [n for n, count in needed.items() if count is None]
    if never:
        weak = waiting[never[0]]
        return weak, f"{named(weak)}: {_never(weak)}"
    worst = max(needed, key=lambda n: needed[n] or 0)
    return waiting[worst], (
        f"{named(waiting[worst])}: about {needed[worst]} more seeds would decide at the measured spread "
        f"({waiting[worst].count} so far)"
    )


def _never(trial: Trial) -> str:
    if trial.count == 1:
        return "one seed says nothing of the spread: at least two are needed"
    between = f"between the regions that confirm ({trial.rule.confirm}) and refute ({trial.rule.refute})"
    return f"the effect lies {between} or too near to one's edge for more seeds to decide"
