"""The backward reading on made-up gaps, whose culprit is known, and what it must never do on any gaps at all."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from experiments import diagnose
from experiments.ledger import entry
from experiments.verdicts import BLAME, CLEAR, OPEN, SUSPECTED, Gap, blamed, held, verdicts
from worlds.quantity import Quantity, certified, exact

LEARNABLE = 0.4
FLOOR = 1.6094
REACH = {"steps": 600, "sequences": 0, "pool": 0, "corruption": 0.0, "decay": 0.0, "dropout": 0.0, "softness": 0.0}


def ledger(ledgers, perceived=0.0, best=0.001, reached=0.002, contained="", restarts=2, **seen):
    """A run whose gaps are as asked; `seen` is what the judged protocol says, in nats."""
    concept = certified(perceived, perceived, perceived + 1e-9)
    one = {"seeds": 1, "reached": (reached / 0.9,)}  # one seed, which the fixture puts at 0.9 of what is asked
    found = ledgers[0](perceived=concept, best=best, contained=contained, **one)
    found |= {"judged": "nonoverlapping", "diagnose": {"material": 0.02}, "oracle": {"restarts": restarts}}
    found |= {"reach": {**REACH, "curriculum": 0.0}, "planted": None}
    found["zeros"]["order_0"] = entry(exact(FLOOR + LEARNABLE), "value")
    found["instantiation"] |= {"width": 16, "layers": 1}
    protocol(found, **seen)
    return found


def protocol(found, world=0.0, model=0.0, luck=0.0, leak=0.0, width=0.004, count=512):
    """A judged protocol in nats: parts, luck that the truth shares, luck that it does not, half an interval."""
    due = FLOOR + world + model + 0.002

    def around(value):
        return entry(Quantity(value, value - width, value + width, "estimated", count), "value")

    parts = {"world": exact(world), "model": exact(model), "sampling": exact(luck + leak)}
    found["protocols"]["nonoverlapping"] |= {
        "unit": "nats/token",
        "better": "smaller",
        "score": around(due + luck + leak),
        "expected": entry(exact(due), "value"),
        "ceiling": entry(exact(FLOOR + world), "value"),
        "world": around(FLOOR + world + luck),
        "parts": {k: entry(q, "value") for k, q in parts.items()},
    }


def metric(found, blind, truth, best, better="larger", width=0.005):
    """A judged protocol of another unit."""
    score = entry(Quantity(truth, truth - width, truth + width, "estimated", 512), "value")
    told = {"blind": blind, "world": truth, "ceiling": best, "expected": truth}
    values = {k: entry(exact(x), "value") for k, x in told.items()}
    found["protocols"]["accuracy"] |= {"unit": "fraction", "better": better, "score": score, **values}
    found["judged"] = "accuracy"


FAULTS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "truncated": ("O", {"world": 0.1}),
    "ranks otherwise": ("O", {"model": -0.05}),
    "tiny sample": ("O", {"width": 0.1}),
    "leaky": ("O", {"leak": -0.1}),
    "another draw": ("O", {"luck": 0.08}),
    "too short": ("R", {"reached": 0.1}),
    "too narrow": ("I", {"best": 0.1, "reached": 0.101}),
    "wrong concept": ("P", {"perceived": 0.1, "best": 0.1005, "reached": 0.101}),
    "wrong concept, contained": ("P", {"perceived": 0.1, "best": 0.1005, "reached": 0.11, "contained": "proof"}),
    "partly escaped": ("P", {"perceived": 0.2, "best": 0.1, "reached": 0.101}),
    "clean": (None, {}),
    "escaped": (None, {"perceived": 0.2, "best": 0.001}),
    "not reached, and narrow": ("R", {"best": 0.1, "reached": 0.2}),
    "narrow, and a less wrong concept": ("I", {"perceived": 0.1, "best": 0.25, "reached": 0.251}),
    "a wrong concept, and less narrow": ("P", {"perceived": 0.1, "best": 0.15, "reached": 0.151}),
    "a wrong concept, and less trained": (
        "P",
        {"perceived": 0.1, "best": 0.101, "reached": 0.15, "contained": "proof"},
    ),
    "too short, and a less wrong concept": (
        "R",
        {"perceived": 0.1, "best": 0.101, "reached": 0.3, "contained": "proof"},
    ),
    "nothing sought": (None, {"best": 0.1, "reached": 0.101, "restarts": 0}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_layer_of_a_single_fault_is_named(ledgers, name):
    layer, gaps = FAULTS[name]
    assert blamed(verdicts(ledger(ledgers, **gaps))) == layer


@pytest.mark.parametrize("name", [k for k, (layer, _) in FAULTS.items() if layer not in ("O", None)])
def test_a_wrong_observation_comes_first_and_hides_nothing(ledgers, name):
    found = verdicts(ledger(ledgers, **FAULTS[name][1], world=0.1))
    assert blamed(found) == "O"
    assert {k: v.verdict for k, v in found.items()} == {
        k: v.verdict for k, v in verdicts(ledger(ledgers, **FAULTS[name][1])).items()
    } | {"O": BLAME}


def test_what_was_not_reached_is_not_blamed_but_asked_for(ledgers):
    found = verdicts(ledger(ledgers, perceived=0.05, best=0.1, reached=0.2))
    assert (found["R"].verdict, found["I"].verdict, found["P"].verdict) == (BLAME, OPEN, OPEN)
    assert "settle R first" in found["I"].missing
    nothing = verdicts(ledger(ledgers, best=0.1, reached=0.101, restarts=0))
    assert (nothing["R"].verdict, nothing["I"].verdict) == (OPEN, OPEN)
    assert nothing["R"].next == ("oracle.restarts=4",)
    narrow = verdicts(ledger(ledgers, perceived=0.05, best=0.2, reached=0.201))
    assert (narrow["I"].verdict, narrow["P"].verdict) == (BLAME, OPEN)
    assert "whether I is at fault" in narrow["P"].missing


def test_a_concept_is_not_blamed_while_the_instantiation_is_open(ledgers):
    """What is not contained may do better than its concept: before it was reached nobody knows."""
    gaps: dict[str, Any] = {"perceived": 0.1, "best": 0.1005, "reached": 0.3}
    assert verdicts(ledger(ledgers, **gaps))["P"].verdict == OPEN
    assert verdicts(ledger(ledgers, **gaps, contained="proof"))["P"].verdict == BLAME  # and yet R comes first
    assert blamed(verdicts(ledger(ledgers, **gaps, contained="proof"))) == "R"


def test_nothing_is_ever_blamed_out_of_order(ledgers):
    """On any gaps: I only where R is clear; P only where I is clear, and R too unless containment is proved."""
    random, template = np.random.default_rng(0), ledger(ledgers)
    culprits = set()
    for _ in range(400):
        found, (p, best, over) = copy.deepcopy(template), random.choice([0, 0.001, 0.03, 0.2, 0.4], 3)
        reached, kind = best + over, "certified"
        found["contained"] = bool(random.integers(2)) and best >= p
        found["oracle"]["restarts"] = int(random.integers(3))
        found["gaps"] |= {
            "P-D": {"nats": p, "low": p, "high": p, "class": kind},
            "I-P": {"nats": best - p, "low": -p, "high": best - p, "class": kind},
            "R-I": {"nats": over, "low": over * random.choice([0, 1]), "high": reached, "class": kind},
            "R-D": {"nats": reached, "low": reached, "high": reached, "class": kind},
        }
        found["layers"]["I"] |= {"loss": FLOOR + best, "low": FLOOR, "high": FLOOR + best}
        found["layers"]["D"] |= {"loss": FLOOR, "low": FLOOR, "high": FLOOR}
        got = verdicts(found)
        culprits.add(blamed(got))
        if got["I"].verdict == BLAME:
            assert got["R"].verdict == CLEAR and over <= 0.02 and best - p > 0.02
        if got["P"].verdict == BLAME:
            assert got["I"].verdict == CLEAR and (got["R"].verdict == CLEAR or found["contained"]) and p > 0.02
        if reached <= 0.02:
            assert blamed(got) is None
    assert culprits == {None, "R", "I", "P"}


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        (Gap(0.1, 0.03, 0.2), BLAME),
        (Gap(-0.1, -0.2, -0.03), BLAME),
        (Gap(0.1, 0.01, 0.2), SUSPECTED),
        (Gap(0.01, -0.01, 0.2), OPEN),
        (Gap(0.01, -0.02, 0.02), CLEAR),
        (Gap(0.0, 0.0, 0.0), CLEAR),
    ],
)
def test_a_gap_is_held_by_its_interval(gap, verdict):
    assert held(gap, 0.02) == verdict


@pytest.mark.parametrize(
    ("scores", "layer"),
    [
        ({"blind": 0.4, "truth": 0.6, "best": 0.6}, None),
        ({"blind": 0.7, "truth": 0.7, "best": 0.7}, "O"),  # saturated: the constant reader has all there is
        ({"blind": 0.9, "truth": 0.8, "best": 1.0}, "O"),  # the constant reader beats the truth
        ({"blind": 0.4, "truth": 0.6, "best": 0.9}, "O"),  # something else than the truth is paid for
        ({"blind": 0.3, "truth": 0.1, "best": 0.1, "better": "smaller"}, None),
        ({"blind": 0.0, "truth": 0.0, "best": 0.0, "better": "smaller"}, "O"),  # calibration
    ],
)
def test_a_metric_is_judged_by_what_it_gives_to_knowledge(ledgers, scores, layer):
    found = ledger(ledgers)
    metric(found, **scores)
    assert blamed(verdicts(found)) == layer


def test_a_metric_resolves_in_proportion(ledgers):
    """0.4 nats over 0.2 of accuracy, known to 0.02: 0.04 nats hide behind the error."""
    found = ledger(ledgers)
    metric(found, 0.4, 0.6, 0.6, width=0.02)
    verdict = verdicts(found)["O"]
    assert verdict.verdict == BLAME and verdict.gap.value == pytest.approx(0.04)


def test_a_world_of_coins_is_its_own_excuse(ledgers):
    found = ledger(ledgers)
    found["zeros"]["order_0"] = entry(exact(FLOOR + 0.001), "value")
    assert blamed(verdicts(found)) == "D"


def test_a_member_that_diverged_is_a_matter_of_training(ledgers):
    found = ledger(ledgers)
    for gap in ("R-I", "R-D"):
        found["gaps"][gap] |= {"nats": "inf", "low": "inf", "high": "inf"}
    assert blamed(verdicts(found)) == "R"


def test_the_next_command_starts_from_the_runs_own(ledgers):
    found = ledger(ledgers, reached=0.2)
    asked = ["world=mess3", "reach.steps=600", "hydra.run.dir=x y"]
    text = diagnose.diagnose(found, asked)["verdicts"]["R"]["next"]
    assert text == "python -m experiments.run world=mess3 reach.steps=2400"
    found["reach"]["corruption"] = 0.3
    assert diagnose.diagnose(found, asked)["verdicts"]["R"]["next"].endswith("reach.steps=600 reach.corruption=0")
    small = ledger(ledgers, width=0.04, count=100)
    assert diagnose.diagnose(small)["verdicts"]["O"]["next"].endswith("observe.nonoverlapping.sequences=1600")
    assert diagnose.command(["experiment=planted_faults"], ["reach.steps=9"]).endswith("reach.steps=9 hydra.mode=RUN")


def test_the_command_reads_folders_and_lists_what_it_cannot(ledgers, tmp_path, capsys):
    for name, content in {"good": ledger(ledgers, reached=0.2), "old": ledgers[0](), "bad": {}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ledger.json").write_text(json.dumps(content))
    assert diagnose.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "to blame: R, reachable. next:\npython -m experiments.run reach.steps=2400" in printed
    assert "cannot be diagnosed: KeyError" in printed and "bad: ledger.json" in printed
    assert diagnose.main([str(tmp_path / "good"), "--material", "0.3"]) == 0
    assert "no layer is to blame" in capsys.readouterr().out
    assert diagnose.main([str(tmp_path / "bad")]) == 1
