"""Periodic, template and clock worlds against their definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from worlds import base, hmm, kernel, lagged, table
from worlds.decay import decay
from worlds.positional import clock, periodic, template

ROWS = np.array([[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]])
TOKENS = jnp.array([2, 0, 1, 1, 2, 0, 0])


def test_lags_take_turns_with_the_phase():
    world = periodic(3, 2, kernel.offset(1), ROWS, stride=2)  # lags 1 and 3
    expected = [np.full(3, 1 / 3), np.full(3, 1 / 3)] + [ROWS[TOKENS[t - 1 - 2 * (t % 2)]] for t in range(2, 7)]
    np.testing.assert_allclose(np.exp(base.filtered(world, TOKENS)), expected, atol=1e-14)
    np.testing.assert_allclose(np.exp(base.log_conditionals(world, TOKENS)), expected, atol=1e-14)


def test_tables_turn_with_the_phase():
    world = periodic(3, 3, kernel.geometric(0.6), ROWS, "table", 2, early="sink")
    each = [decay(3, kernel.geometric(0.6), np.roll(ROWS, -2 * j, 0), early="sink") for j in range(3)]
    logs = [base.log_conditionals(w, TOKENS) for w in each]
    expected = [logs[t % 3][t] for t in range(7)]
    np.testing.assert_allclose(base.filtered(world, TOKENS), expected, rtol=1e-12)
    np.testing.assert_allclose(base.log_conditionals(world, TOKENS), expected, rtol=1e-12)


def test_a_period_of_one_does_not_turn():
    world, plain = (
        periodic(3, 1, kernel.power(1.5), ROWS, early="sink"),
        decay(3, kernel.power(1.5), ROWS, early="sink"),
    )
    np.testing.assert_allclose(base.filtered(world, TOKENS), base.filtered(plain, TOKENS), rtol=1e-12)
    np.testing.assert_allclose(base.log_conditionals(world, TOKENS), base.filtered(plain, TOKENS), rtol=1e-12)


def test_the_rate_of_turns_is_what_the_average_floor_comes_to():
    """The law of the last two tokens, carried from step to step until both phases have settled."""
    world = periodic(3, 2, kernel.offset(1), ROWS, noise=0.1)  # lags 1 and 2 take turns
    law, pair, floors = 0.1 / 3 + 0.9 * ROWS, np.full((3, 3), 1 / 9), []
    for t in range(2, 400):
        one = pair.sum(axis=t % 2)  # the law of the token that is read: the last one, or the one before
        floors.append(-(one @ (law * np.log(law)).sum(1)))
        pair = np.einsum("ab,by->by", pair, law) if t % 2 == 0 else np.einsum("ab,ay->by", pair, law)
    assert world.entropy_rate().value == pytest.approx(np.mean(floors[-2:]), abs=1e-12)
    assert periodic(3, 2, kernel.geometric(0.5), ROWS).entropy_rate().kind == "certified"


def test_templates_depend_on_the_place_alone():
    world = template(3, 4, seed=1)
    logs = base.filtered(world, TOKENS)
    np.testing.assert_array_equal(logs, base.filtered(world, (TOKENS + 1) % 3))
    np.testing.assert_allclose(np.exp(logs[:4]), table.dirichlet(3, "mixture", seed=1, rows=4), rtol=1e-14)
    np.testing.assert_allclose(np.exp(logs[4:]), 1 / 3, rtol=1e-14)
    assert world.entropy_rate().value == pytest.approx(np.log(3))


def test_fillers_stop_the_clock():
    inner = hmm.golden_mean(0.4)
    tokens = [0, 2, 2, 1, 2, 0, 2]
    logs = base.filtered(clock(inner, 0.3), jnp.array(tokens))
    for t in range(7):
        past = jnp.array([x for x in tokens[:t] if x < 2] + [0])
        expected = np.append(0.7 * np.exp(base.filtered(inner, past)[-1]), 0.3)
        np.testing.assert_allclose(np.exp(logs[t]), expected, atol=1e-14)


def test_the_clock_of_a_known_rate():
    p, fill = 0.4, 0.3
    coin = lambda x: -x * np.log(x) - (1 - x) * np.log(1 - x)  # noqa: E731
    rate = clock(hmm.golden_mean(p), fill).entropy_rate()
    assert rate.value == pytest.approx(coin(fill) + (1 - fill) * coin(p) / (1 + p), abs=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: periodic(3, 0, kernel.offset(1), ROWS), "period must be a whole number, at least 1, but is 0"),
        (lambda: periodic(3, 2, kernel.offset(1), ROWS, stride=0), "stride must be a whole number"),
        (lambda: periodic(3, 2, kernel.offset(1), ROWS, "noise"), "turns must be kernel or table, but is 'noise'"),
        (lambda: template(0, 4), "vocab must be at least 1 token, but is 0"),
        (lambda: template(3, 0), "length must be at least 1 position, but is 0"),
        (lambda: clock(hmm.golden_mean(0.4), 1.0), r"fill must be in \[0, 1\), but is 1.0"),
    ],
)
def test_bad_numbers_are_refused_with_the_rule(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("periodic", ["world.period=3"]),
        ("periodic", ["world.turns=table", "world/kernel=geometric"]),
        ("template", []),
        ("clock", ["world@world.world=golden_mean"]),
        ("match", ["world/kernel@world.world.kernel=offset"]),
        ("reset", ["world.visible=true"]),
        ("markov_in_context", ["world.order=2"]),
        ("switching", []),
        ("unknown_lag", ["world.lags=[1,5]"]),
        ("dirichlet", []),
        ("decay_heads", ["world.heads.near.kernel.rate=0.5"]),
        *(("decay", [f"world/kernel={k}"]) for k in ("power", "uniform", "offset", "hump", "near_far", "table")),
        *(("decay", [f"world/table={k}", "world.noise=0.1"]) for k in ("identity", "given")),
    ],
    ids=str,
)
def test_worlds_are_chosen_on_the_command_line(name, overrides):
    with initialize_config_module("conf", version_base="1.3"):
        world = instantiate(compose(f"world/{name}", overrides=overrides).world)
    logs = base.filtered(world, jnp.zeros(3, jnp.int32))
    np.testing.assert_allclose(np.exp(lagged.log_sum(logs.T)), 1, rtol=1e-12)


def test_all_sequences_of_a_periodic_world_sum_to_one():
    every = jnp.array(list(itertools.product(range(3), repeat=5)))
    world = periodic(3, 2, kernel.power(1.5), ROWS, stride=2, early="sink")
    assert jnp.exp(jax.vmap(base.log_prob, (None, 0))(world, every)).sum() == pytest.approx(1, abs=1e-12)
