"""Laws that every world obeys. A new world is one new row of WORLDS in tests/members.py.

Each world is scored once on all its sequences of a small length (`table`), and most laws read that table. Programs are
jitted here, with the world as an argument, so that worlds of one shape share them.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.members import CUBIC, NUMERIC, WORLDS
from worlds import base

EXACT, SINGLE = 1e-12, 1e-5  # float64 and float32 rounding over a dozen tokens, in nats
DRAWS = 4096
SIGMAS = scipy.stats.norm.sf(4.5)

quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is the cost here
filtered = quick(jax.vmap(base.filtered, (None, 0)))
scored = quick(jax.vmap(base.log_conditionals, (None, 0)))
drawn = quick(jax.vmap(base.sample, (None, 0, None)), static_argnums=2)
slope = quick(jax.grad(base.log_prob, allow_int=True))


@quick
def walked(world, uniform, given):
    """Log conditionals along a walk that takes a given token, or the one that a uniform number picks where it is -1."""
    world = base.sized(world, len(given))

    def step(state, now):
        logs = world.log_next(state)
        law = jnp.exp(logs)
        picked = jnp.argmax(jnp.where(law > 0, jnp.cumsum(law) > now[0], False)).astype(jnp.int32)
        token = jnp.where(now[1] < 0, picked, now[1])
        return world.advance(state, token), (logs, logs[token])

    return jax.lax.scan(step, world.start(), (uniform, given))[1]


@pytest.fixture(scope="module", params=WORLDS)
def name(request):
    """Of the module, so that all laws of one world follow each other, and a worker compiles for few worlds."""
    return request.param


@pytest.fixture(autouse=True)
def strict_types():
    with jax.numpy_dtype_promotion("strict"):
        yield


def length(world, most):
    """The largest length with at most so many sequences, and at most eight tokens."""
    return max(n for n in range(1, 9) if world.vocab_size**n <= most or n == 1)


def sequences(world, most):
    return np.array(list(itertools.product(range(world.vocab_size), repeat=length(world, most))), np.int32)


def gathered(logs, tokens):
    return np.take_along_axis(np.asarray(logs), tokens[:, :, None], axis=2)[:, :, 0]


@functools.cache
def table(name):
    """All short sequences, their conditionals, and log p of each prefix: [n, t], [n, t, v], [n, t + 1]."""
    tokens = sequences(WORLDS[name], 1024)
    logs = np.asarray(filtered(WORLDS[name], tokens))
    steps = np.cumsum(gathered(logs, tokens), axis=1)
    return tokens, logs, np.concatenate([np.zeros_like(steps[:, :1]), steps], axis=1)


def test_conditionals_are_normalised_after_every_possible_history(name):
    _, logs, reached = table(name)
    totals = np.exp(logs).sum(-1)
    assert not np.isnan(logs).any()
    np.testing.assert_allclose(totals[reached[:, :-1] > -np.inf], 1, rtol=0, atol=EXACT)


def test_after_an_impossible_history_everything_is_impossible(name):
    _, logs, reached = table(name)
    assert np.all(logs[reached[:, :-1] == -np.inf] == -np.inf)


def test_probabilities_of_all_sequences_sum_to_one(name):
    assert np.exp(table(name)[2][:, -1]).sum() == pytest.approx(1, abs=EXACT)


def test_samples_follow_the_stated_law(name):
    world = WORLDS[name]
    tokens = sequences(world, 64)
    law = np.exp(gathered(filtered(world, tokens), tokens).sum(1))
    draws = np.asarray(drawn(world, jax.random.split(jax.random.key(1), DRAWS), tokens.shape[1]))
    seen = np.bincount(draws @ world.vocab_size ** np.arange(tokens.shape[1])[::-1], minlength=len(tokens))
    assert draws.dtype == np.int32
    assert seen[law == 0].sum() == 0
    law = np.clip(law, 0, 1)
    assert scipy.stats.binom.cdf(seen, DRAWS, law).min() > SIGMAS  # the exact form of 4.5 standard errors
    assert scipy.stats.binom.sf(seen - 1, DRAWS, law).min() > SIGMAS


@pytest.mark.parametrize(
    "name", [name for name, world in WORLDS.items() if isinstance(world, base.Parallel)], scope="module"
)
def test_the_parallel_form_equals_the_filter(name):
    tokens, logs, _ = table(name)
    np.testing.assert_allclose(scored(WORLDS[name], tokens), logs, rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    "name", {type(world): name for name, world in reversed(WORLDS.items())}.values(), scope="module"
)
def test_compiled_equals_step_by_step(name):
    """One member of each class: what they differ in is numbers, and every operation is compiled for itself here."""
    tokens, logs, reached = table(name)
    n = int(reached[:, -1].argmax())
    world = base.sized(WORLDS[name], tokens.shape[1])
    state = world.start()
    for t, token in enumerate(tokens[n][:2]):
        np.testing.assert_allclose(world.log_next(state), logs[n, t], rtol=0, atol=EXACT)
        state = world.advance(state, jnp.asarray(token)) if t == 0 else state


def test_single_precision_agrees_and_stays_single(name):
    tokens, logs, _ = table(name)
    single = base.cast(WORLDS[name], jnp.float32)
    found = filtered(single, tokens)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(np.exp(found), np.exp(logs), rtol=0, atol=SINGLE)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(logs))
    draws, law = jax.eval_shape(lambda world: base.sample_with_law(world, jax.random.key(0), 4), single)
    assert (draws.dtype, law.dtype) == (jnp.int32, jnp.float32)


def test_floors_never_rise_from_a_stationary_start(name):
    tokens, logs, reached = table(name)
    law, shape = np.exp(reached[:, -1]), [WORLDS[name].vocab_size] * tokens.shape[1]
    first, later = law.reshape(shape).sum(-1), law.reshape(shape).sum(0)
    if np.allclose(first, later, rtol=0, atol=EXACT):  # words have the same law one step on
        weight = np.exp(reached[:, :-1])
        entropies = np.where(weight > 0, base.entropy(jnp.asarray(logs)), 0)
        floors = (weight * entropies).sum(0) / weight.sum(0)
        assert np.all(np.diff(floors) <= EXACT)


def test_ten_thousand_tokens_score_without_nan(name):
    scores_without_nan(WORLDS[name], 64 if name in CUBIC else 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CUBIC), scope="module")
def test_ten_thousand_tokens_of_costly_worlds_score_without_nan(name):
    scores_without_nan(WORLDS[name], 10_000)


def scores_without_nan(world, steps):
    rng = np.random.default_rng(0)
    any_tokens = rng.integers(0, world.vocab_size, steps, np.int32)
    for given in (np.full(steps, -1, np.int32), any_tokens):
        logs, taken = walked(world, rng.uniform(0, 1 - 1e-9, steps), given)
        assert not np.isnan(logs).any()
        assert given is any_tokens or np.isfinite(taken).all()  # what the world itself says is possible
    if isinstance(world, base.Parallel):
        assert not np.isnan(scored(world, any_tokens[None])).any()


def test_a_second_call_does_not_compile_again(name):
    tokens = table(name)[0]
    filtered(WORLDS[name], tokens)
    compiled = filtered._cache_size()
    filtered(jax.tree.map(lambda x: x + 0 * x, WORLDS[name]), tokens[::-1])
    assert filtered._cache_size() == compiled


def test_slopes_are_finite_on_possible_sequences(name):
    tokens, _, reached = table(name)
    for n in (reached[:, -1].argmax(), np.where(reached[:, -1] > -np.inf, reached[:, -1], 0).argmin()):
        slopes = slope(WORLDS[name], jnp.asarray(tokens[n]))
        for leaf in jax.tree.leaves(slopes):
            assert leaf.dtype == jax.dtypes.float0 or np.isfinite(leaf).all()


@pytest.mark.parametrize("name", NUMERIC)
def test_mapped_worlds_equal_single_worlds(name):
    build, *numbers = NUMERIC[name]
    mapped = quick(jax.vmap(build))(*map(np.array, zip(*numbers, strict=True)))
    for n, chosen in enumerate(numbers):
        one = build(*chosen)
        assert mapped.vocab_size == one.vocab_size
        for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[n], b, rtol=0, atol=EXACT)
