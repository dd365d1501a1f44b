"""A trial: one effect of one claim in one setting, and how surely it lies where the rule confirms or refutes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import scipy.stats

from experiments.claims.arms import Arm, Said, Setting, clean, said, settings
from experiments.claims.claim import Claim, Region, Rule
from experiments.claims.reading import Missing, Reading, read
from experiments.claims.rules import FORMS, LOGARITHMIC, Effect, rank
from experiments.found import Run

MOST = 1000  # members that a plan may ask for
UNSAID = (  # unless settings differ in nothing else
    *("vocab", "seed", "concentration", "floor", "noise", "alpha", "keys", "values"),
    *("learned", "fraction", "longest", "steps"),
)


class Trial(NamedTuple):
    """An effect with its 95 % interval in the rule's unit, and two p-values, for and against the claim."""

    rule: Rule
    place: str  # the setting: world, and whatever else tells it from the claim's other settings
    setting: str  # the variation and step within it
    effect: Effect
    value: float
    low: float
    high: float
    confirm: float  # p-value of "the effect lies outside of the region that confirms"
    refute: float  # p-value of "the effect lies outside of the region that refutes"
    runs: list[Path]
    note: str

    @property
    def count(self) -> int:
        """Members behind the effect; 0 where it is no matter of training."""
        return 0 if self.effect.fixed else len(self.effect.values)


def trials(claim: Claim, runs: list[Run]) -> tuple[list[Trial], list[str]]:
    """Every trial of a claim that the runs allow, and why others could not be made."""
    table = [(said(run), run) for run in runs]
    found: list[tuple[Setting, Rule, dict[str, Any], list[Trial]]] = []
    gaps: list[str] = []
    for rule in claim.rules:
        before = len(found)
        for variation in rule.each:
            for setting in settings(rule, variation, table):
                try:
                    found.append((setting, rule, variation, list(_trials(rule, variation, setting))))
                except Missing as reason:
                    gaps.append(f"{rule.name}: {reason}")
        if len(found) == before and not any(gap.startswith(f"{rule.name}:") for gap in gaps):
            gaps.append(f"{rule.name}: not run")
    names = labels([setting for setting, *_ in found])
    told = [
        made._replace(place=name, setting=", ".join(x for x in (_variation(variation), made.setting) if x))
        for (_, _, variation, group), name in zip(found, names, strict=True)
        for made in group
    ]
    return told, list(dict.fromkeys(gaps))


def _trials(rule: Rule, variation: dict[str, Any], setting: Setting) -> Iterator[Trial]:
    readings = {name: reading | variation for name, reading in rule.readings.items()}
    if rule.along:
        effects, arms = [_rank(readings, setting)], [arm for group in setting.arms.values() for arm in group]
        chosen: dict[str, Reading] = {}
    else:
        chosen = {name: read(setting.arms[name], reading) for name, reading in readings.items()}
        effects, arms = FORMS[rule.form](chosen), [arm for group in setting.arms.values() for arm in group]
    places = sorted({run.place for arm in arms for run in arm.runs.values()})
    best = [f"{name}: {reading.label}" for name, reading in chosen.items() if reading.label]
    for effect in effects:
        yield trial(rule, effect, places, "; ".join([*best, *_lost(effect, arms)]))


def _rank(readings: dict[str, dict[str, Any]], setting: Setting) -> Effect:
    groups = [[read([arm], readings[name]) for arm in setting.arms[name]] for name in ("measured", "predicted")]
    return rank(*groups)


def _lost(effect: Effect, arms: list[Arm]) -> list[str]:
    """What is said of members that are not averaged."""
    if not effect.lost:
        return []
    steps = [
        f"seed {seed} at step {step}"
        for arm in arms
        for run in arm.runs.values()
        for seed, step in (run.ledger.get("diverged") or {}).items()
    ]
    diverged = f" (diverged: {', '.join(dict.fromkeys(steps))})" if steps else ""
    return [f"{effect.lost} of {effect.lost + len(effect.values)} members are infinite{diverged} and not averaged"]


def trial(rule: Rule, effect: Effect, runs: list[Path], note: str = "", setting: str = "") -> Trial:
    """Where the mean lies, in the rule's unit, and its p-values."""
    log = rule.form in LOGARITHMIC
    out = math.exp if log else float
    half, top = effect.half(), 1.0 if rule.form == "rank" else math.inf  # a correlation is at most 1
    low, high = effect.mean - half, min(effect.mean + half, top)
    confirm, refute = (outside(effect, _scaled(region, log)) for region in (rule.confirm, rule.refute))
    ends = (out(low) if math.isfinite(low) else (0.0 if log else low)), (out(high) if math.isfinite(high) else high)
    label = ", ".join(x for x in (setting, effect.label) if x)
    return Trial(rule, "", label, effect, out(effect.mean), *ends, confirm, refute, runs, note)


def _scaled(region: Region, log: bool) -> Region:
    return Region(region.kind, tuple(math.log(x) for x in region.bounds)) if log else region


def outside(effect: Effect, region: Region, count: int | None = None) -> float:
    """p-value of "the mean lies outside of the region", one-sided at each bound (two one-sided tests for `within`).

    Args:
      effect: the members' values.
      region: on the effect's scale.
      count: members; those there are if None, else as if there were so many with the same mean and spread.
    """
    count = len(effect.values) if count is None else count
    if not effect.fixed and count < 2:
        return 1.0
    error, mean = effect.error(count), effect.mean
    low, high = region.bounds[0], region.bounds[-1]

    def above(bound: float) -> float:
        if error == 0:
            return 0.0 if mean > bound else 1.0
        t = (mean - bound) / error
        return float(scipy.stats.norm.sf(t) if effect.fixed else scipy.stats.t.sf(t, count - 1))

    below = lambda bound: 1 - above(bound) if error > 0 else float(not mean < bound)  # noqa: E731
    if region.kind == "above":
        return above(low)
    if region.kind == "below":
        return below(low)
    if region.kind == "within":
        return max(above(low), below(high))
    return min(1.0, 2 * min(below(low), above(high)))


def more(trial: Trial, level: float) -> int | None:
    """Further members that would decide it at a level, if mean and spread stay; None if no number up to MOST would."""
    log, effect = trial.rule.form in LOGARITHMIC, trial.effect
    regions = [_scaled(region, log) for region in (trial.rule.confirm, trial.rule.refute)]
    if effect.fixed or len(effect.values) < 2:
        return None
    have, tried = len(effect.values), [*range(len(effect.values), 64), *range(64, MOST + 1, 8)]
    for count in tried:
        if any(outside(effect, region, count) <= level for region in regions):
            return count - have
    return None


def labels(found: list[Setting]) -> list[str]:
    """What tells the settings apart: the world in words, and every other key in which they differ."""
    flat = [setting.said | _own(setting) for setting in found]
    keys = sorted({k for f in flat for k in f if "_target_" not in k})
    told = [k for k in keys if not k.startswith("world.") and len({str(f.get(k)) for f in flat}) > 1]
    told = [k for k in told if _short(k) not in UNSAID]
    words = [dict.fromkeys([world(f), *(f"{_short(k)} {f[k]}" for k in told if k in f)]) for f in flat]
    names = [clean(" ".join(one).strip()) for one in words]
    for name in {n for n in names if names.count(n) > 1}:  # worlds that differ in what is not usually said
        same = [n for n, x in enumerate(names) if x == name]
        more = [k for k in keys if len({str(flat[n].get(k)) for n in same}) > 1]
        for n in same:
            names[n] = clean(" ".join([name, *(f"{_short(k)} {flat[n].get(k)}" for k in more)]))
    return names


def _own(setting: Setting) -> Said:
    """What each lone arm says of its own accord, under the reading's name."""
    arms = {name: group[0].said for name, group in setting.arms.items() if len(group) == 1}
    return {
        f"{name}.{key}": value
        for name, flat in arms.items()
        for key, value in flat.items()
        if key.startswith("perception.scheme.") and not key.endswith(".name")
    }


def world(flat: Said) -> str:
    """A world in words: its name, its kernel's, and the numbers that make its law what it is."""
    name, kernel = flat.get("world.name"), str(flat.get("world.kernel._target_", "")).rpartition(".")[2]
    if name is None:
        return ""
    numbers = {
        key: value
        for key, value in flat.items()
        if key.startswith("world.") and isinstance(value, int | float) and not isinstance(value, bool)
    }
    kept = [f"{_short(k)} {v:.3g}" for k, v in numbers.items() if _short(k) not in UNSAID]
    return clean(" ".join([str(name).replace("_", " "), *([kernel] if kernel else []), *kept]))


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _variation(variation: dict[str, Any]) -> str:
    return ", ".join(f"{v}" if k == "score" else f"{_short(k)} {v}" for k, v in variation.items())
