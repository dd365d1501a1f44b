"""Decaying attention against its defining sums, written out token by token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from worlds import base, kernel, table
from worlds.decay import decay, decay_heads, head
from worlds.steady import entropy_rate, steady

ROWS = [[0.1, 0.8, 0.1], [0.15, 0.05, 0.8], [0.75, 0.15, 0.1]]
OTHER = [[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.1, 0.0, 0.9]]
KERNELS = {
    "geometric": kernel.geometric(0.6),
    "power": kernel.power(1.5),
    "uniform": kernel.uniform(),
    "offset": kernel.offset(3),
    "hump": kernel.hump(2.5, 0.7),
    "near_far": kernel.near_far(0.5, 4, 0.3),
    "table": kernel.table([1, 0, 2]),
}


def two_heads(early, readout, horizon=None):
    heads = {
        "a": head(kernel.geometric(0.7), ROWS, 0.2),
        "b": head(kernel.offset(2), OTHER, 0.5),
        "c": head(kernel.power(1.5), ROWS, 0.3),
        "d": head(kernel.geometric(0.3), OTHER, 1.0),
    }
    return decay_heads(3, heads, 0.05, readout, horizon, early, start=[0.2, 0.3, 0.5])


TOKENS = jnp.array([2, 0, 1, 1, 2, 0, 0, 2, 1, 0, 0, 0])
START = [0.2, 0.3, 0.5]
MEMBERS = {
    "geometric, renormalise": decay(3, KERNELS["geometric"], ROWS, 0.1, start=START),
    "geometric, sink, loglinear": decay(3, KERNELS["geometric"], ROWS, 0.1, "loglinear", None, "sink", START),
    "geometric, sink, horizon": decay(3, KERNELS["geometric"], ROWS, 0.1, "mixture", 4, "sink", START),
    "power, renormalise, loglinear": decay(3, KERNELS["power"], ROWS, 0.1, "loglinear", None, "renormalise", START),
    "power, sink": decay(3, KERNELS["power"], ROWS, 0.1, early="sink", start=START),
    "uniform": decay(3, KERNELS["uniform"], ROWS, start=START),
    "uniform, sink, horizon": decay(3, KERNELS["uniform"], ROWS, 0.1, horizon=4, early="sink", start=START),
    "offset": decay(3, KERNELS["offset"], ROWS, 0.1, start=START),
    "hump, sink": decay(3, KERNELS["hump"], ROWS, 0.1, early="sink", start=START),
    "near_far, renormalise": decay(3, KERNELS["near_far"], ROWS, 0.1, start=START),
    "near_far, sink, horizon": decay(3, KERNELS["near_far"], ROWS, 0.1, horizon=3, early="sink", start=START),
    "table, loglinear": decay(3, KERNELS["table"], ROWS, 0.1, "loglinear", start=START),
    "heads": two_heads("renormalise", "mixture"),
    "heads, sink": two_heads("sink", "mixture", 4),
    "heads, loglinear": two_heads("renormalise", "loglinear"),
    "zeros": decay(3, kernel.geometric(0.6), OTHER),
    "zeros, sink": decay(3, kernel.power(1.5), OTHER, early="sink"),
}
every_member = pytest.mark.parametrize("world", MEMBERS.values(), ids=MEMBERS.keys())


def by_definition(world, tokens):
    """log p_t by the sums of the module's docstring, lag by lag."""
    tables, noise = np.asarray(world.tables), float(world.noise)
    profiles = [np.asarray(profile(k, len(tokens), world.early, world.horizon)) for k in world.kernels]
    out = []
    for t in range(len(tokens)):
        total = np.zeros(world.vocab_size)
        for attention, rows, w in zip(profiles, tables, np.asarray(world.weights), strict=True):
            alpha = attention[t]
            total += w * (alpha[0] * rows[0] + sum(alpha[s] * rows[1 + tokens[s - 1]] for s in range(1, t + 1)))
        if world.readout == "loglinear":
            total = np.exp(total) / np.exp(total).sum()
        out.append(noise / world.vocab_size + (1 - noise) * total)
    with np.errstate(divide="ignore"):
        return np.log(out)


profile = jax.jit(kernel.profile, static_argnums=(1, 2, 3))
reads = jax.jit(lambda world: world.reads(6))


@jax.jit
def both_ways(world, tokens):
    return base.filtered(world, tokens), base.log_conditionals(world, tokens)


@every_member
def test_filter_and_parallel_form_equal_the_definition(world):
    expected = by_definition(world, np.asarray(TOKENS))
    for logs in both_ways(world, TOKENS):
        np.testing.assert_allclose(logs, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "early"),
    [("geometric", "sink"), ("geometric", "renormalise"), ("power", "sink"), ("table", "renormalise")],
)
def test_blocks_equal_the_filter_on_long_sequences(name, early):
    world = decay(3, KERNELS[name], ROWS, early=early)
    tokens = jax.random.randint(jax.random.key(1), (300,), 0, 3)  # more than two blocks, and not a whole number of them
    filtered, parallel = both_ways(world, tokens)
    np.testing.assert_allclose(parallel, filtered, rtol=1e-11)


@pytest.mark.parametrize("name", ["geometric, renormalise", "power, sink", "table, loglinear", "heads", "zeros"])
def test_float32_stays_float32_and_agrees(name):
    world = MEMBERS[name]
    low = base.cast(world, jnp.float32)
    for single, double in zip(both_ways(low, TOKENS), both_ways(world, TOKENS), strict=True):
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, double, atol=1e-5)
    assert all(leaf.dtype != jnp.float64 for leaf in jax.tree.leaves(low.advance(low.start(), TOKENS[0])))


@pytest.mark.parametrize("world", [w for w in MEMBERS.values() if w.readout == "mixture"])
def test_reads_times_maps_are_the_law(world):
    tokens = [2, 0, 1, 1, 2, 0]
    profiles, maps = map(np.asarray, reads(world))
    law = np.einsum("hts,hsy->ty", profiles, maps[:, [0, *(1 + t for t in tokens)]])
    np.testing.assert_allclose(law, np.exp(by_definition(world, tokens)), atol=1e-14)


def test_six_tokens_from_a_fresh_start_have_the_reference_floor():
    world = decay(3, kernel.geometric(0.6), ROWS, early="sink")
    floors = [h.value for h in base.floors(world, 6)]
    assert np.mean(floors) == pytest.approx(1.0280141883, abs=1e-10)
    expected = np.log(np.exp(by_definition(world, [1, 2]))[0])
    np.testing.assert_allclose(expected, -np.log(3))


@pytest.mark.parametrize(
    ("lags", "floor"), [(kernel.geometric(0.6), 0.97977982), (kernel.table([0.15, 0, 0.85, 0]), 0.76112461)]
)
@pytest.mark.parametrize("early", ["renormalise", "sink"])
def test_steady_state_has_the_reference_floors(lags, floor, early):
    world = decay(3, lags, ROWS, horizon=4, early=early)
    assert world.entropy_rate().value == pytest.approx(floor, abs=5e-9)
    assert entropy_rate([world], 4).value == pytest.approx(floor, abs=5e-9)


@pytest.mark.parametrize(
    ("vocab", "lags", "rate"),
    [(2, [1], 0.198515243346), (4, [1], 0.348780384918), (2, [1, 1], 0.243481783093), (2, [2, 1], 0.230581771609)],
)
def test_leaky_caches_have_the_reference_rates(vocab, lags, rate):
    world = decay(vocab, kernel.table(lags), table.identity, noise=0.1)
    assert world.entropy_rate().value == pytest.approx(rate, abs=1e-12)


def test_the_stationary_past_is_stationary():
    world = decay(3, kernel.table([0.2, 0.3, 0.5]), ROWS)
    measured = steady(world, 3)
    law = np.zeros(27)
    logs = np.exp(np.asarray(jax.vmap(base.log_conditionals, (None, 0))(world, measured.tokens))[:, -1])
    for word, weight, following in zip(np.asarray(measured.tokens), np.asarray(measured.weight), logs, strict=True):
        for y in range(3):
            law[word[1] * 9 + word[2] * 3 + y] += weight * following[y]
    np.testing.assert_allclose(law, measured.weight, atol=1e-15)
    assert measured.position.tolist() == [0, 0, 0, 1] and measured.exact


def test_iterated_and_solved_stationary_laws_agree(monkeypatch):
    world = decay(3, kernel.offset(3), ROWS)  # three interleaved chains
    solved = steady(world, 3).weight
    monkeypatch.setattr("worlds.steady.DENSE", 0)
    np.testing.assert_allclose(steady(world, 3).weight, solved, atol=1e-13)


def test_entropy_rates_that_cannot_be_enumerated_are_bracketed():
    finite = decay(3, kernel.geometric(0.6), ROWS, horizon=8)
    endless = decay(3, kernel.geometric(0.6), ROWS)
    rate = endless.entropy_rate()
    assert rate.kind == "certified" and rate.low < finite.entropy_rate().value < rate.high
    assert decay(3, kernel.offset(1), table.identity).entropy_rate().kind == "undefined"
    assert decay(3, kernel.geometric(0.6), table.identity).entropy_rate().kind == "undefined"
    with pytest.raises(ValueError, match="one stationary law"):
        steady(decay(3, kernel.offset(1), table.identity), 1)
    with pytest.raises(ValueError, match=r"at most 100000 contexts can be enumerated, but there are 3\^20"):
        steady(finite, 20)


def test_no_probability_underflows_in_ten_thousand_tokens():
    """A leaky cache that never leaks: after n zeros, p(1) = rate^n / 2 by the start symbol alone, far below 1e-308."""
    world = decay(2, kernel.geometric(0.6), table.identity, early="sink")
    logs = base.log_conditionals(world, jnp.zeros(10_000, int))
    np.testing.assert_allclose(logs[:, 1], np.arange(10_000) * np.log(0.6) - np.log(2), rtol=1e-12)


@pytest.mark.parametrize("name", ["geometric", "power", "table"])
def test_ten_thousand_tokens_score_finitely(name):
    world = decay(3, KERNELS[name], ROWS, early="sink")
    tokens = jax.random.randint(jax.random.key(0), (10_000,), 0, 3)
    assert jnp.all(jnp.isfinite(jax.jit(base.log_conditionals)(world, tokens)))


def test_impossible_tokens_are_exactly_impossible():
    logs = base.log_conditionals(decay(3, kernel.offset(1), OTHER), jnp.array([1, 2, 1]))
    assert logs[1, 0] == -jnp.inf and logs[2, 1] == -jnp.inf and not jnp.any(jnp.isnan(logs))


def test_worlds_stack_and_map():
    build = lambda rate, noise: decay(3, kernel.geometric(rate), ROWS, noise)  # noqa: E731
    rates, noises, tokens = jnp.array([0.3, 0.6]), jnp.array([0.1, 0.2]), jnp.array([0, 1, 2, 2])
    worlds = jax.vmap(build)(rates, noises)
    mapped = jax.vmap(base.log_prob, (0, None))(worlds, tokens)
    single = [base.log_prob(build(r, n), tokens) for r, n in zip(rates, noises, strict=True)]
    np.testing.assert_allclose(mapped, single, rtol=1e-12)


def test_an_endless_world_refuses_to_forget():
    world = decay(3, kernel.power(1.5), ROWS).sized(2)
    state = world.start()
    for token in (0, 1):
        state = world.advance(state, jnp.asarray(token))
    with pytest.raises(ValueError, match="room for its past, but 2 tokens fill it; make room with world.sized"):
        world.advance(state, jnp.asarray(0))


def test_random_tables_are_what_they_say():
    rows = table.dirichlet(5, "mixture", 0.3, 0.1, seed=3)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-14)
    assert rows.min() >= 0.1 / 5 and not jnp.allclose(rows, table.dirichlet(5, "mixture", 0.3, 0.1, seed=4))
    np.testing.assert_allclose(jnp.exp(table.dirichlet(5, "loglinear", 0.3, 0.1, seed=3)), rows, rtol=1e-14)


def configured(*overrides):
    with initialize_config_module("conf", version_base="1.3"):
        return instantiate(compose("world/decay", overrides=list(overrides)).world)


def test_kernels_and_tables_are_chosen_on_the_command_line():
    world = configured("world/kernel=power", "world.kernel.exponent=1.25", "world.horizon=5")
    assert isinstance(world.kernels[0], kernel.Power) and world.kernels[0].exponent == 1.25 and world.reach == 5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: decay(0, kernel.offset(1), table.identity), "vocab must be at least 1 token, but is 0"),
        (lambda: decay(2, kernel.offset(1), ROWS), r"table of head only must be \[vocab, vocab\] with vocab 2"),
        (lambda: decay(2, kernel.offset(1), [[0.5, 0.5 + 1e-6], [1, 0]]), "rows must be >= 0 and sum to 1 within"),
        (lambda: decay(2, kernel.offset(1), [[1.5, -0.5], [1, 0]]), "rows must be >= 0"),
        (lambda: decay(2, kernel.offset(1), table.identity, noise=1.0), r"noise must be in \[0, 1\), but is 1.0"),
        (lambda: decay(2, kernel.offset(1), table.identity, noise=-0.1), r"noise must be in \[0, 1\)"),
        (lambda: decay(2, kernel.offset(1), table.identity, readout="sum"), "readout must be mixture or loglinear"),
        (lambda: decay(2, kernel.offset(1), table.identity, horizon=0), "horizon must be at least 1 token"),
        (lambda: decay(2, kernel.uniform(), table.identity, early="sink"), "weights of all lags must have a finite"),
        (lambda: decay(2, kernel.offset(1), table.identity, start=[0.5, 0.6]), "rows must be >= 0 and sum to 1"),
        (lambda: decay(2, kernel.offset(1), table.identity, start=[1.0]), "a row must hold vocab = 2 numbers"),
        (lambda: decay(2, kernel.offset(1), [[0.0, -np.inf], [0, 0]], readout="loglinear"), "logits must be finite"),
        (lambda: decay_heads(2, {}), "at least one head"),
        (lambda: head(kernel.offset(1), table.identity, 0.0), "weight must be a finite number above 0, but is 0.0"),
        (lambda: table.dirichlet(2, "mixture", 0.0), "concentration must be above 0, but is 0.0"),
        (lambda: table.dirichlet(2, "mixture", floor=1.0), r"floor must be in \[0, 1\), but is 1.0"),
        (lambda: MEMBERS["heads, loglinear"].reads(3), "must be a mixture .* but is loglinear"),
    ],
)
def test_bad_worlds_are_refused_with_the_rule(build, message):
    with pytest.raises(ValueError, match=message):
        build()
