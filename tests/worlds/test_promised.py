"""The names that are promised: every world has its configuration, and every parameter its name there."""

import pathlib

import pytest
from omegaconf import OmegaConf

CONF = pathlib.Path(__file__).parents[2] / "conf" / "world"
PROMISED = {
    "coin": "p",
    "golden_mean": "p",
    "even": "p",
    "z1r": "p",
    "rrxor": "p1 p2",
    "sns": "p q",
    "mess3": "x a",
    "flip_flop": "p_ignore",
    "dyck_bounded": "kinds depth p_open p_end",
    "random_hmm": "states vocab concentration seed",
    "tom_quantum": "alpha beta",
    "fanizza": "alpha lamb",
    "post_quantum": "alpha beta",
    "operators": "path",
    "decay": "vocab noise readout horizon early",
    "decay_heads": "vocab heads noise readout",
    "kernel/geometric": "rate",
    "kernel/power": "exponent",
    "kernel/uniform": "",
    "kernel/offset": "lag",
    "kernel/hump": "centre width",
    "kernel/near_far": "rate far",
    "kernel/table": "weights",
    "table/dirichlet": "concentration floor seed",
    "table/identity": "",
    "table/given": "rows",
    "match": "n",
    "reset": "hazard visible",
    "periodic": "period",
    "template": "vocab length",
    "clock": "fill",
    "dirichlet": "vocab alpha",
    "markov_in_context": "vocab order alpha",
    "switching": "vocab alpha hazard",
    "unknown_lag": "vocab lags",
    "pcfg": "rules",
    "dyck": "kinds p_open",
    "palindrome": "",
    "cfg3": "",
    "copy": "length vocab",
    "induction": "",
    "recall": "pairs queries gap",
    "noisy": "rate",
    "mixture": "weights",
    "product": "",
}


@pytest.mark.parametrize("name", PROMISED)
def test_parameters_have_their_promised_names(name):
    assert set(PROMISED[name].split()) <= set(OmegaConf.load(CONF / f"{name}.yaml"))


def test_every_configuration_of_a_world_is_promised():
    assert {path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml")} == set(PROMISED)
