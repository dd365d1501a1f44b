"""Laws of the training program: it depends on its key and numbers alone, and stopping it changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import fit, streams
from experiments.alchemy import Reals, Shape, numbers
from experiments.data import Batch, corrupt
from experiments.optimisers import factor
from experiments.reach import gradient, initial, kl, together
from models.base import pure
from tests.experiments.smallest import SHAPE, SPEC, WORLD, keys
from worlds.base import cast, sample_with_law

REALS = Reals(steps=6, warmup=0.2)


def train(seed=0, shape=SHAPE, reals=REALS, count=2, **more):
    return fit.fit(SPEC, shape, WORLD, numbers(reals), int(reals.steps), *keys(seed, count), **more)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_same_seed_gives_the_same_numbers_bit_for_bit_and_another_seed_others():
    first, again, other = train(0), train(0), train(1)
    assert equal(first, again)
    assert not np.array_equal(first[1].loss, other[1].loss)


def test_members_do_not_depend_on_how_many_there_are():
    _, three = train(count=3)
    _, two = train(count=2)
    assert np.array_equal(three.loss[:2], two.loss)


def test_a_run_stopped_after_any_chunk_and_started_again_ends_with_the_same_numbers(tmp_path):
    class Killed(Exception):
        pass

    def kill(steps, loss, excess):
        if steps == 3:
            raise Killed

    whole = train()
    with pytest.raises(Killed):
        train(checkpoint=tmp_path / "c.npz", report=kill)
    assert equal(train(checkpoint=tmp_path / "c.npz"), whole)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    fit.save(tmp_path / "c.npz", {"a": jnp.zeros(3)})
    with pytest.raises(ValueError, match="checkpoint: .* must hold"):
        train(checkpoint=tmp_path / "c.npz")


def test_seeds_see_different_data_and_no_stream_meets_another():
    drawn = {}
    for seed in range(3):
        for name in streams._STREAMS:
            for key in streams.members(streams.stream(seed, name), 0, 4):
                drawn[tuple(np.asarray(jax.random.key_data(key)).tolist())] = (seed, name)
    assert len(drawn) == 3 * len(streams._STREAMS) * 4


def test_the_second_call_does_not_recompile():
    train(0)
    compiled = fit._chunk._cache_size()
    train(1, reals=Reals(steps=6, rate=0.01, corruption=0.1, softness=0.5))
    assert fit._chunk._cache_size() == compiled


def test_curves_show_the_exact_distance_to_the_truth():
    """The recorded excess of the first step is the mean KL of the untrained network on the first batch."""
    _, curve = train()
    world, key = cast(WORLD, jnp.float32), jax.random.split(next(iter([*keys(0)][1:]))[0])[1]
    tokens, law = jax.vmap(lambda k: sample_with_law(world, k, 6))(
        jax.random.split(jax.random.fold_in(key, 0), SHAPE.batch)
    )
    params = pure(SPEC).init(next(iter(keys(0)))[0])
    said = jax.vmap(pure(SPEC).apply, (None, 0))(params, tokens)
    law, said = np.asarray(law), np.asarray(said)
    terms = np.where(law > -np.inf, np.exp(law) * (np.maximum(law, -99) - said), 0)
    by_hand = terms.sum(-1).mean()
    assert np.isclose(curve.excess[0, 0], by_hand, atol=1e-6)


def test_training_runs_in_float32_and_learns():
    params, curve = train(reals=Reals(steps=120, rate=0.1))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
    assert curve.loss.dtype == jnp.float32
    assert (curve.excess[:, -20:].mean(1) < 0.3 * curve.excess[:, :3].mean(1)).all()


def step_gradient(shape, reals, tokens, seen, law):
    world, n = cast(WORLD, jnp.float32), numbers(reals)
    member = initial(SPEC, shape, world, n, jax.random.key(0), jax.random.key(1))
    return gradient(pure(SPEC), shape, n, member.params, Batch(tokens, law, None), jax.random.key(5), jnp.int32(0))


@pytest.fixture
def batch():
    world = cast(WORLD, jnp.float32)
    return jax.vmap(lambda k: sample_with_law(world, k, 6))(jax.random.split(jax.random.key(3), 8))


def test_micro_batches_change_nothing_but_rounding(batch):
    tokens, law = batch
    whole, curve = step_gradient(Shape(batch=8, length=6), REALS, tokens, tokens, law)
    parts, sums = step_gradient(Shape(batch=8, length=6, micro=2), REALS, tokens, tokens, law)
    for a, b in zip(jax.tree.leaves((whole, curve)), jax.tree.leaves((parts, sums)), strict=True):
        assert np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "length", "count"), [(64, 32, 16), (64, 64, 8), (32, 256, 2), (61, 32, 61), (4, 4, 4)]
)
def test_a_core_takes_as_many_sequences_at_once_as_divide_the_batch_and_fit_its_cache(size, length, count, monkeypatch):
    assert together(Shape(batch=size, length=length), size) == count
    assert together(Shape(batch=size, length=length, micro=0), size) == size
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert together(Shape(batch=size, length=length), size) == size
    assert together(Shape(batch=size, length=length, micro=1), size) == 1


def test_soft_labels_are_the_mean_of_hard_ones(batch):
    """The gradient with soft labels is the expectation of the gradient over the last token's law."""
    tokens, law = batch
    soft, _ = step_gradient(Shape(batch=8, length=6), Reals(softness=1.0), tokens, tokens, law)
    mixed, _ = step_gradient(Shape(batch=8, length=6), Reals(softness=0.5), tokens, tokens, law)
    hard, _ = step_gradient(Shape(batch=8, length=6), Reals(softness=0.0), tokens, tokens, law)
    for a, b, c in zip(*(jax.tree.leaves(x) for x in (soft, mixed, hard)), strict=True):
        assert np.allclose(b, (a + c) / 2, atol=1e-6)


def test_with_corruption_the_excess_is_still_measured_on_the_clean_past(batch):
    tokens, law = batch
    _, clean = step_gradient(Shape(batch=8, length=6), REALS, tokens, tokens, law)
    _, noisy = step_gradient(Shape(batch=8, length=6), Reals(corruption=0.5), tokens, 1 - tokens, law)
    assert np.allclose(clean.excess, noisy.excess, atol=1e-6)
    assert not np.allclose(clean.loss, noisy.loss, atol=1e-3)


def test_corruption_replaces_the_stated_share_by_uniform_tokens():
    tokens = jnp.zeros((200, 500), jnp.int32)
    changed = (corrupt(jax.random.key(0), tokens, numbers(Reals(corruption=0.2)), 4) != 0).mean()
    assert abs(changed - 0.2 * 3 / 4) < 4 * np.sqrt(0.15 * 0.85 / 1e5)


def test_finite_data_are_the_seeds_own_and_reused():
    shape = Shape(batch=4, length=6, sequences=3)
    n, world = numbers(REALS), cast(WORLD, jnp.float32)
    one, two = (initial(SPEC, shape, world, n, jax.random.key(0), jax.random.key(k)) for k in (1, 2))
    assert one.dataset.shape == (3, 6)
    assert not np.array_equal(one.dataset, two.dataset)
    params, curve = train(shape=Shape(batch=4, length=6, chunk=6, sequences=3))
    assert np.isfinite(curve.loss).all()


def test_schedules_follow_their_formulas():
    """Ten steps, two of them warm-up; wsd falls over the last four; a tenth of the rate is left at the end."""

    def rates(name, final):
        n = numbers(Reals(steps=10, warmup=0.2, cooldown=0.4, rate=0.5, schedule=name, final=final))
        return [0.5 * float(factor(n, jnp.int32(step))) for step in range(10)]

    falls = {
        "constant": [1.0] * 8,
        "cosine": [0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(8)],
        "linear": [1 - k / 8 for k in range(8)],
        "wsd": [1.0] * 4 + [1 - k / 4 for k in range(4)],
    }
    for name, fall in falls.items():
        for final in (0.0, 0.1):
            expected = [0.25, 0.5] + [0.5 * (final + (1 - final) * x) for x in fall]
            assert np.allclose(rates(name, final), expected, atol=1e-6), name


def test_kl_follows_its_conventions():
    law = jnp.log(jnp.array([0.5, 0.5, 0.0]))
    assert np.isclose(kl(law, jnp.log(jnp.array([0.25, 0.25, 0.5]))), np.log(2))
    assert kl(law, jnp.log(jnp.array([1.0, 0.0, 0.0]))) == np.inf
    assert kl(law, law) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shape(batch=0), "batch must be at least 1, but is 0"),
        (lambda: Shape(optimiser="adm"), "optimiser must be one of .*adamw.*, but is 'adm'"),
        (lambda: Shape(sequences=-1), "sequences must be 0 .endless. or more, but is -1"),
        (lambda: Shape(batch=64, micro=7), "micro must divide batch 64 .*, but is 7"),
        (lambda: Reals(rate=0.0), "rate must be positive, but is 0"),
        (lambda: Reals(corruption=1.1), "corruption must lie in .0, 1., but is 1.1"),
        (lambda: Reals(warmup=2.0), "warmup must lie in .0, 1., but is 2"),
        (lambda: Reals(steps=0), "steps must be at least 1, but is 0"),
        (lambda: Reals(decay=-1.0), "decay must be at least 0, but is -1"),
    ],
)
def test_impossible_numbers_are_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()
