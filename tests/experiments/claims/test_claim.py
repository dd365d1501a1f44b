"""Claims as they are written down: every file is whole, and a rule that could not decide is refused."""

import pytest

from experiments.claims.claim import Region, claims, load, region
from experiments.claims.rules import FORMS

ASKED = {f"C{n}" for n in range(1, 22)}
RULE = """
statement: one.
source: nobody
figures: none
worlds: any
schemes: any
lengths: any
protocols: any
rules:
  - name: a rule
    form: difference
    readings: {a: {scheme: alibi}, b: {scheme: rope}}
    confirm: {above: 0.01}
    refute: {below: 0.01}
    smallest: 0.01
    unit: nats/token
"""


def test_all_claims_of_the_brief_are_there_in_order():
    assert [claim.id for claim in claims()] == sorted(ASKED, key=lambda name: int(name[1:]))


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_every_claim_has_a_source_with_figures_and_rules_of_known_forms(claim):
    assert all((claim.source, claim.figures, claim.worlds, claim.schemes, claim.lengths, claim.protocols))
    for rule in claim.rules:
        assert rule.form in FORMS or rule.form == "rank"
        assert set(rule.readings) >= ({"measured", "predicted"} if rule.form == "rank" else set())


def test_one_claim_can_be_asked_for_and_an_unknown_one_is_refused():
    assert [claim.id for claim in claims(["C5"])] == ["C5"]
    with pytest.raises(ValueError, match="ids must be among C1, C2.* but got C99"):
        claims(["C99"])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("refute: {below: 0.01}", "refute: {below: 0.02}", "must not overlap"),
        ("refute: {below: 0.01}", "refute: {under: 0.01}", "one of above, below, within, beyond"),
        ("confirm: {above: 0.01}", "confirm: {within: [0.02, 0.01]}", "with its bounds"),
        ("smallest: 0.01", "smallest: 0", "smallest must be above 0"),
        ("    unit: nats/token\n", "", "keys must be among"),
        ("source: nobody\n", "", "its keys must be"),
    ],
)
def test_rules_that_cannot_decide_are_refused(tmp_path, old, new, message):
    assert old in RULE
    (tmp_path / "C1.yaml").write_text(RULE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "C1.yaml")


def test_regions_may_share_a_boundary():
    assert region("here", {"beyond": [-1, 1]}) == Region("beyond", (-1.0, 1.0))
    assert str(region("here", {"within": [0.9, 1.1]})) == "within [0.9, 1.1]"
