"""Planted faults: what is drawn, how its size is measured, and how the answers are counted."""

import json
from collections import Counter

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from rich.console import Console

import experiments.schema  # noqa: F401  the types of the config
from experiments.cell import build
from experiments.confusion import chosen, cost, known, matrix, planted_faults, summary
from experiments.diagnose import diagnose
from experiments.faults import KINDS, LAYERS, cells
from experiments.found import Run
from experiments.homes import HOMES
from experiments.verdicts import BLAME
from tests.experiments.test_diagnose import ledger

WHOLE = {"faults": 120, "controls": 30, "spares": 16}


def planted(cell):
    """What the generator says of a cell."""
    said = cell.split()[-1].removeprefix("planted={").removesuffix("}")
    return dict(part.split(":") for part in said.split(","))


def overrides(cell):
    return {x.partition("=")[0]: x.partition("=")[2] for x in cell.split()[:-1]}


def test_a_draw_is_the_same_again_and_another_is_another():
    assert cells(3, **WHOLE) == cells(3, **WHOLE)
    assert len(set(cells(3, **WHOLE)) & set(cells(4, **WHOLE))) == 0


def test_every_layer_has_at_least_six_kinds_and_its_share_of_the_faults():
    assert min(Counter(kind.layer for kind in KINDS).values()) >= 6
    told = [planted(cell) for cell in cells(0, **WHOLE)]
    faults = [x for x in told if x["layer"] != "null" and x["spare"] == "false"]
    assert Counter(x["layer"] for x in faults) == dict.fromkeys(LAYERS, 30)
    assert {x["kind"] for x in faults} == {kind.name.replace(" ", "_") for kind in KINDS}
    clean = [x for x in told if x["layer"] == "null"]
    assert sum(x["spare"] == "false" for x in clean) == 30
    assert sum(x["spare"] == "true" for x in told if x not in clean) == 16
    assert {x["twin"] for x in clean if x["spare"] == "true"} < {x["twin"] for x in told if x not in clean}
    assert len({tuple(overrides(cell).items()) for cell in cells(0, **WHOLE)}) == len(told)  # no run is there twice


@pytest.mark.parametrize("draw", [0, 1])
def test_a_fault_differs_from_its_twin_by_what_was_planted_alone(draw):
    """And not in its world, its seed, nor, for O, R and I, in its concept: what differs belongs to the layer."""
    drawn = cells(draw, **WHOLE)
    own = {"O": "observe ledger judged reach.pool reach.repeats", "R": "reach", "I": "instantiation perception/scheme"}
    for cell in (cell for cell in drawn if planted(cell)["layer"] != "null"):
        told, mine, twin = planted(cell), overrides(cell), overrides(drawn[int(planted(cell)["twin"])])
        changed = {k for k in mine.keys() | twin.keys() if mine.get(k) != twin.get(k)}
        assert changed and not any(k.startswith("world") or k == "seed" for k in changed)
        allowed = tuple(own.get(told["layer"], "perception instantiation reach.rate reach.steps reach.scale").split())
        scheme = {"perception.scheme.slopes"} if told["kind"] == "wrong_slopes" else set()
        assert all(k.startswith(allowed) for k in changed - scheme), (told, changed)


def test_every_kind_composes():
    """With the types that the config has; what its objects make of it, the slow test asks."""
    seen = {}
    for cell in cells(0, **WHOLE):
        seen.setdefault(planted(cell)["kind"], cell)
    assert len(seen) == len(KINDS) + len(HOMES)
    with initialize_config_module("conf", version_base="1.3"):
        for cell in seen.values():
            compose("config", overrides=["experiment=planted_faults", *cell.split()])


@pytest.mark.slow
def test_every_kind_can_be_built():
    with initialize_config_module("conf", version_base="1.3"):
        for cell in cells(2, 4 * max(Counter(kind.layer for kind in KINDS).values()), len(HOMES), 0):
            found = build(compose("config", overrides=["experiment=planted_faults", *cell.split()]))
            assert all(hasattr(protocol, "observe") for protocol in found.protocols.values())


def test_too_few_controls_are_refused():
    with pytest.raises(ValueError, match="one for each home"):
        cells(0, 120, 3, 0)


def case(ledgers, tmp_path, number, layer, twin, spare=False, **gaps):
    """A run folder's content with known gaps, diagnosed."""
    found = ledger(ledgers, **gaps)
    found["planted"] = {"layer": layer, "kind": f"kind_{layer}", "twin": twin, "spare": spare}
    found["diagnosis"] = diagnose(found)
    return Run(tmp_path / f"run{number}", found, [], {}, number)


@pytest.fixture
def runs(ledgers, tmp_path):
    """Two controls, a fault of each layer, an immaterial one with a spare, and one that the diagnosis gets wrong."""
    return [
        case(ledgers, tmp_path, 0, None, 0),
        case(ledgers, tmp_path, 1, None, 1, best=0.1, reached=0.102),  # a control that is none: I is to blame
        case(ledgers, tmp_path, 2, "O", 0, world=0.3),
        case(ledgers, tmp_path, 3, "R", 0, reached=0.2),
        case(ledgers, tmp_path, 4, "R", 0, reached=0.011),  # immaterial
        case(ledgers, tmp_path, 5, "I", 0, best=0.2, reached=0.201),
        case(ledgers, tmp_path, 6, "P", 0, perceived=0.2, best=0.2005, reached=0.2015),
        case(ledgers, tmp_path, 7, "P", 0, perceived=0.2, best=0.5, reached=0.501),  # the network is more at fault
        case(ledgers, tmp_path, 8, "R", 0, spare=True, reached=0.1),
        case(ledgers, tmp_path, 9, "R", 0, spare=True, reached=0.3),
    ]


def test_a_size_is_what_the_fault_costs_against_its_twin(runs):
    sizes = [c.size for c in known(runs) if c.planted is not None]
    expected = [0.3 - 0.004, 0.2 - 0.002, 0.009, 0.2 - 0.001, 0.2 - 0.001, 0.2, 0.1 - 0.002, 0.3 - 0.002]
    np.testing.assert_allclose(sizes, expected, atol=2e-3)
    assert cost(runs[2].ledger, runs[0].ledger, "R") == pytest.approx(0, abs=1e-9)


def test_immaterial_faults_are_redrawn_from_the_spares_of_their_layer(runs):
    counted, aside = chosen(known(runs))
    assert [c.run.number for c in counted] == [0, 1, 2, 3, 8, 5, 6, 7]
    assert [c.run.number for c in aside] == [4, 9]


def test_the_answers_are_counted_and_the_wrong_ones_listed(runs, tmp_path):
    console = Console(width=150, record=True, force_terminal=False)
    written = planted_faults(runs, tmp_path, console)
    printed = console.export_text()
    assert "faults whose layer is named: 5 of 6, 83.3%" in printed and "no layer is blamed: 1 of 2, 50.0%" in printed
    assert "wrong: run7 P (kind P, 0.2 nats), blamed I" in printed and "wrong: run1 none (kind None, 0" in printed
    assert "redrawn, as immaterial: run4 R" in printed
    assert all((tmp_path / name).stat().st_size > 0 for name in written)
    rows = json.loads((tmp_path / "faults.json").read_text())
    assert len(rows) == 8 and {x["layer_planted"] for x in rows} == {"O", "R", "I", "P", None}
    for row in rows:
        assert row["size"] >= 0 and set(row["verdicts"]) == set("ORIPD") and row["run"].startswith("run")
        assert row["layer_blamed"] is None or row["verdicts"][row["layer_blamed"]] == BLAME
    found = matrix(chosen(known(runs))[0])
    assert found.sum() == 8 and np.trace(found[:4, :4]) == 5 and found[4, 5] == 1 and found[3, 2] == 1


def test_what_was_not_planted_is_no_part_of_the_study(runs, tmp_path):
    stray = runs[0]._replace(ledger=runs[0].ledger | {"planted": None})
    orphan = runs[2]._replace(ledger=runs[2].ledger | {"planted": runs[2].ledger["planted"] | {"twin": 77}})
    assert known([stray, orphan]) == []
    assert summary([]) == [] and planted_faults([stray], tmp_path, Console()) == ["faults.json", "redrawn.json"]
