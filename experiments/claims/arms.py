"""Which runs a rule compares: for each reading one arm, in settings where everything else agrees.

A reading selects runs by what their ledgers say: `scheme: alibi`, `world.hazard: 0.03`, `reach.length: {at_least: 32}`.
Two arms stand in one setting if their worlds, trainings and architectures agree in every key that no reading names;
runs that differ in their seeds alone are one arm. Names of experiments mean nothing: what a run is, its ledger says.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from experiments.claims.claim import Rule
from experiments.found import Run

READ = {"length", "tokens", "score", "span", "of", "floor", "best"}  # how a run is read; the other keys select runs
SHORT = {"scheme": "perception.scheme.name", "concept": "perception.name", "world": "world.name"}
GROUPS = ("world", "perception", "instantiation", "reach")
FREE = ("reach.seeds", "reach.chunk", "reach.micro", "world.solved", "world.target_entropy", "world.solve_for")
DEEPEST = 12  # keys in keys; a config has four
Said = dict[str, Any]  # what a ledger says, by dotted key


class Arm(NamedTuple):
    """Runs that differ in their seeds only."""

    said: Said
    runs: dict[int, Run]  # by the run's seed


class Setting(NamedTuple):
    """What one test compares: the arms of each reading (several only where a reading takes the best of them)."""

    said: Said  # what all arms have in common
    arms: dict[str, list[Arm]]


def said(run: Run) -> Said:
    """The ledger's parts by dotted keys, lists as tuples; what tells worlds, schemes and trainings apart."""
    seed = run.ledger.get("seed")
    flat: Said = {"study": run.ledger.get("study"), "seed": seed if isinstance(seed, int) else 0}
    for group in GROUPS:
        flat |= dict(_flat(run.ledger.get(group, {}), group))
    return {k: v for k, v in flat.items() if not k.startswith(FREE)}


def clean(text: str) -> str:
    """A name from a ledger for tables and figures: letters, digits and what stands in names; nothing is a command."""
    return "".join(c if c.isalnum() or c in " .,:;+-_=()[]" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and path.count(".") < DEEPEST:
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}")
    elif isinstance(node, list):
        yield path, tuple(str(x) if isinstance(x, (dict, list)) else x for x in node)
    else:
        yield path, node


def selector(reading: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a reading that select runs, spelled out."""
    return {SHORT.get(k, k): v for k, v in reading.items() if k not in READ}


def matches(found: Said, wanted: Mapping[str, Any]) -> bool:
    """Whether a ledger says what is wanted: a value, one of a list (null: nothing), or from `at_least` to `at_most`."""
    return all(_is(found.get(key), value) for key, value in wanted.items())


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and wanted.get("at_least", -math.inf) <= value <= wanted.get("at_most", math.inf)
    if isinstance(wanted, list):
        return any(_is(value, x) for x in wanted)
    if isinstance(wanted, float) and isinstance(value, int | float):
        return math.isclose(value, wanted, rel_tol=1e-6)
    return bool(value == wanted)


def settings(rule: Rule, variation: Mapping[str, Any], runs: list[tuple[Said, Run]]) -> list[Setting]:
    """Every setting in which there are runs for all readings of a rule."""
    wanted = {name: selector(reading | dict(variation)) for name, reading in rule.readings.items()}
    shared = selector(rule.where)
    named = {key for keys in wanted.values() for key in keys} | set(rule.along)
    distinct = {_frozen(keys): keys for keys in wanted.values()}
    pools = {
        frozen: _grouped([(flat, run) for flat, run in runs if matches(flat, shared | keys)], named)
        for frozen, keys in distinct.items()
    }
    common = [c for c in next(iter(pools.values()), {}) if all(c in pool for pool in pools.values())]
    found = []
    for context in common:
        choices = [_choices(rule, wanted, frozen, pool[context]) for frozen, pool in pools.items()]
        for chosen in itertools.product(*choices):
            arms = dict(zip(pools, chosen, strict=True))
            found.append(Setting(dict(context), {name: arms[_frozen(keys)] for name, keys in wanted.items()}))
    return found


def _choices(rule: Rule, wanted: dict[str, dict], frozen: Any, variants: list[Arm]) -> list[list[Arm]]:
    """Each variant by itself, or all together where the reading takes the best or runs along them."""
    names = [name for name, keys in wanted.items() if _frozen(keys) == frozen]
    together = bool(rule.along) or any("best" in rule.readings[name] for name in names)
    return [variants] if together else [[arm] for arm in variants]


def _grouped(found: list[tuple[Said, Run]], named: set[str]) -> dict[Any, list[Arm]]:
    """{context: arms}: the context is what must agree, an arm what else tells runs apart, seeds aside."""
    groups: dict[Any, dict[Any, Arm]] = {}
    for flat, run in found:
        context = {k: v for k, v in flat.items() if k.startswith(GROUPS) and not _left_out(k, named)}
        own = {k: v for k, v in flat.items() if k not in context and k not in ("seed", "study")}
        arm = groups.setdefault(_frozen(context), {}).setdefault(_frozen(own), Arm(flat, {}))
        seed = int(flat["seed"])
        before = arm.runs.get(seed)
        if before is None or len(run.ledger["members"]) > len(before.ledger["members"]):
            arm.runs[seed] = run
    return {context: list(arms.values()) for context, arms in groups.items()}


def _left_out(key: str, named: set[str]) -> bool:
    """Perceptions tell arms apart; so do the keys that a reading names, and all of a world whose name it says."""
    return key.startswith("perception") or key in named or ("world.name" in named and key.startswith("world"))


def _frozen(mapping: Mapping[str, Any]) -> Any:
    return tuple(sorted((k, str(v) if isinstance(v, (dict, list)) else v) for k, v in mapping.items()))
