"""A ledger that passes the check breaks no reader of it; one that does not pass says which value is wrong."""

import copy
import json

import numpy as np
import pytest

from experiments import checked
from experiments.differences import differences
from experiments.found import Run, read
from experiments.labels import labels
from experiments.page import contents
from experiments.page.build import _run
from experiments.pairs import Pair
from experiments.tables import blocks, column_width, text_width
from experiments.tidy import csv, frame
from tests.experiments.folders import folder

VALUES = (
    None,
    True,
    -1,
    0,
    3,
    1e308,
    0.5,
    "",
    "x",
    "inf",
    "-inf",
    "nan",
    "1e3",
    [],
    [1],
    {},
    {"a": 1},
    [None],
    "\x1b[2J",
)


def places(content, path=()):
    """The path of every value."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(ledger, path, value):
    """The ledger with one value replaced; a missing one where the value is Ellipsis."""
    if not path:
        return value
    ledger = copy.deepcopy(ledger)
    inner = ledger
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return ledger


def test_what_passes_the_check_breaks_no_reader(ledgers, tmp_path):
    ledger = ledgers[0]() | {"identity": "abc", "diverged": {"1": 3}, "diagnosis": {"verdicts": {"R": {"why": "slow"}}}}
    place = folder(tmp_path / "run", ledger)
    every, rng, passed, refused = [*places(ledger)], np.random.default_rng(0), 0, 0
    for path in [(), *(every[n] for n in rng.permutation(len(every))[:120])]:
        value = (*VALUES, ...)[rng.integers(len(VALUES) + 1)] if path else []
        (place / "ledger.json").write_text(json.dumps(changed(ledger, path, value)))
        found = read(place)
        if isinstance(found, Run):
            passed += 1
            use(found)
        else:
            refused += 1
            assert found.reason.isprintable()
    assert passed > 10 and refused > 70


def use(run):
    """Everything that a report makes of a run's ledger."""
    names = labels([run])
    csv(frame([run], run.place.parent))
    blocks([run], names)
    text_width([run], names), column_width([run], names)
    keys = contents.keys([run])
    for table in (contents.ladders([run]), contents.lengths([run]), contents.protocols([run])):
        json.dumps(contents.packed(table), allow_nan=False)
    _run(run.place.parent, 0, run, names[0], keys[0])
    list(differences(Pair(run, run, (), "0")))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("gaps", "P-D", "nats"), "much", "gaps.P-D.nats must be a number"),
        (("gaps", "P-D", "class"), "sure", "gaps.P-D.class must be one of exact, certified"),
        (("layers", "R"), ..., "layers must be to have R"),
        (("lengths", "64", "members", 0, "low"), 9.0, "lengths.64.members.0 must be an interval that is not empty"),
        (("world", "name"), "a\nb", "world.name must be 1 to 200 printable characters"),
        (("train_length",), 0, "train_length must be a whole number of at least 1"),
        (("schema",), 2, "schema must be 1, but is 2"),
    ],
)
def test_a_refusal_names_the_value_the_rule_and_what_it_got(path, value, message, ledgers):
    with pytest.raises(ValueError, match=message):
        checked.ledger(changed(ledgers[0](), path, value))


def test_strict_json_only():
    for text in ("[NaN]", "[Infinity]", "[-Infinity]"):
        with pytest.raises(ValueError, match="JSON has no"):
            checked.parsed(text)
