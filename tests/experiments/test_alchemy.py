"""Every knob does what its docstring says, alone and in any population."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import experiments.schema  # noqa: F401  the types of the config
from experiments import fit, reach
from experiments.alchemy import OPTIMISERS, SCHEDULES, Reals, Shape, numbers
from experiments.data import batch, corrupt, dataset, epoch, labels, positions
from experiments.optimisers import averaged
from models.base import pure
from models.position.absolute import Sinusoidal
from models.transformer import Transformer
from tests.experiments.smallest import SPEC, WORLD, keys
from worlds import hmm
from worlds.base import cast, log_conditionals, log_prob

NONE = jnp.zeros((0, 8), jnp.int32), jnp.zeros(0, jnp.int32)  # sequences of a member's own, and their order
CONF = pathlib.Path(__file__).parents[2] / "conf" / "reach"
RATES = {"sgd": 1.0, "momentum": 0.2, "adafactor": 0.3}  # others move each weight by about the rate: 0.1


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_trains_under_every_schedule_in_one_program_and_resumes_to_the_bit(name, tmp_path, caplog):
    """The members of one population are the schedules."""

    class Killed(Exception):
        pass

    def kill(steps, loss, excess):
        if steps == 20:
            raise Killed

    def train(steps=60, **more):
        reals = [Reals(steps=steps, rate=RATES.get(name, 0.1), schedule=schedule) for schedule in SCHEDULES]
        shape = Shape(batch=8, length=6, chunk=20, optimiser=name, average="ema")
        return fit.fit(SPEC, shape, WORLD, numbers(reals), steps, *keys(0, len(SCHEDULES)), **more)

    with jax.log_compiles():
        whole = train()
        with pytest.raises(Killed):
            train(checkpoint=tmp_path / "c.npz", report=kill)
        again = train(checkpoint=tmp_path / "c.npz")
    assert caplog.text.count("Compiling jit(_chunk)") == 1
    assert (whole[1].excess[:, -10:].mean(1) < 0.35 * whole[1].excess[:, 0]).all(), whole[1].excess[:, ::10]
    assert not np.allclose(*whole[1].loss[1:3, -1])  # cosine and linear part
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert np.array_equal(a, b)


def test_epochs_see_every_sequence_once_each_time_in_another_order():
    shape = Shape(batch=2, length=4, sequences=6, order="epochs", pool=3)
    key, own = jax.random.key(0), jnp.arange(9 * 4, dtype=jnp.int32).reshape(9, 4) % 2
    order, seen = jnp.arange(6, dtype=jnp.int32), []
    for step in range(9):
        order = epoch(shape, key, jnp.int32(step), order)
        seen.append(np.asarray(order[step % 3 * 2 : step % 3 * 2 + 2]))
        found = batch(shape, cast(WORLD, jnp.float32), numbers(Reals()), key, jnp.int32(step), own, order)
        assert np.array_equal(found.tokens, own[3 + seen[-1]])
    epochs = np.array(seen).reshape(3, 6)
    assert (np.sort(epochs) == np.arange(6)).all()
    assert len({tuple(x) for x in epochs}) == 3


@pytest.mark.parametrize("sequences", [0, 50])
def test_the_pool_comes_again_with_its_probability(sequences):
    shape = Shape(batch=2000, length=12, sequences=sequences, pool=1)
    world, n = cast(WORLD, jnp.float32), numbers(Reals(repeats=0.3))
    own = dataset(world, shape, jax.random.key(1))
    assert len(own) == 1 + sequences
    found = batch(shape, world, n, jax.random.key(2), jnp.int32(0), own, NONE[1])
    first, rest = np.asarray(own[0]), np.asarray(own[1:])
    again = (np.asarray(found.tokens) == first).all(1).mean()
    by_chance = (rest == first).all(1).mean() if sequences else float(jnp.exp(log_prob(world, own[0])))
    expected = 0.3 + 0.7 * by_chance
    assert abs(again - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)
    assert np.allclose(found.law, jax.vmap(lambda x: log_conditionals(world, x))(found.tokens))


def test_crops_are_windows_at_every_place_and_know_their_own_beginning():
    shape = Shape(batch=300, length=5, crop=3)
    world = cast(hmm.mess3(0.1, 0.8), jnp.float32)
    found = batch(shape, world, numbers(Reals()), jax.random.key(0), jnp.int32(0), *NONE)
    whole = batch(Shape(batch=300, length=8), world, numbers(Reals()), jax.random.key(0), jnp.int32(0), *NONE)
    places = np.array(
        [window_place(*row) for row in zip(whole.tokens, whole.law, found.tokens, found.law, strict=True)]
    )
    assert np.array_equal(found.start[0], whole.tokens[:, :5]) and np.array_equal(found.start[1], whole.law[:, :5])
    counts = np.bincount(places, minlength=4)
    assert (abs(counts - 75) < 4 * np.sqrt(300 * 0.25 * 0.75)).all()


def window_place(tokens, law, window, window_law):
    places = [k for k in range(4) if np.array_equal(law[k : k + 5], window_law)]
    assert len(places) == 1 and np.array_equal(tokens[places[0] : places[0] + 5], window)
    return places[0]


def test_a_channel_corrupts_by_its_rows_and_a_uniform_one_is_symmetric():
    rows = np.array([[0.0, 0.7, 0.3], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    tokens = jnp.tile(jnp.arange(3, dtype=jnp.int32), (200, 100))
    for channel, law in ((rows, rows), (None, np.full((3, 3), 1 / 3))):
        seen = corrupt(jax.random.key(0), tokens, numbers(Reals(corruption=0.4, channel=channel)), 3)
        for token in range(3):
            expected = 0.6 * np.eye(3)[token] + 0.4 * law[token]
            found = np.bincount(seen[tokens == token], minlength=3) / 20_000
            assert (abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / 20_000)).all()


def test_labels_are_tokens_laws_or_tempered_laws():
    law = jnp.log(jnp.array([[0.7, 0.3, 0.0], [0.2, 0.3, 0.5]], jnp.float32))
    seen = jnp.array([1, 2])
    assert np.allclose(labels(numbers(Reals()), seen, law), np.eye(3)[[1, 2]])
    assert np.allclose(labels(numbers(Reals(softness=1.0)), seen, law), np.exp(law), atol=1e-6)
    warm = np.exp(law) ** 0.5
    tempered = labels(numbers(Reals(softness=0.25, temperature=2.0)), seen, law)
    assert np.allclose(tempered, 0.75 * np.eye(3)[[1, 2]] + 0.25 * warm / warm.sum(1, keepdims=True), atol=1e-6)


def test_a_curriculum_trains_on_the_beginning_of_sequences_and_grows():
    shape, n = Shape(length=8), numbers(Reals(steps=100, curriculum=0.5, shortest=2))
    grown = [int((positions(shape, n, jnp.int32(step)) > 0).sum()) for step in (0, 25, 49, 50, 99)]
    assert grown == [2, 5, 8, 8, 8]
    short, whole = Shape(batch=4, length=2), Shape(batch=4, length=8)
    world, key = cast(WORLD, jnp.float32), jax.random.key(0)
    drawn = batch(whole, world, n, key, jnp.int32(0), *NONE)
    cut = reach.Batch(drawn.tokens[:, :2], drawn.law[:, :2], None)
    params, network = pure(SPEC).init(key), pure(SPEC)
    first, _ = reach.gradient(network, whole, n, params, drawn, key, jnp.int32(0))
    alone, _ = reach.gradient(network, short, numbers(Reals()), params, cut, key, jnp.int32(0))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(alone), strict=True):
        assert np.allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_dropout_drops_features_of_what_enters_the_stream_and_is_not_in_the_measured_excess():
    spec = Transformer(2, 6, Sinusoidal(), layers=1, heads=1, width=8)
    network, key = pure(spec), jax.random.key(0)
    params, tokens = network.init(key), jnp.array([0, 1, 0, 0, 1, 0])
    assert np.array_equal(network.apply(params, tokens), network.apply(params, tokens, lambda i, x: x))
    (drop,) = reach._dropping(numbers(Reals(dropout=0.25)), key)
    dropped = np.stack([drop(i, jnp.ones((50, 40), jnp.float32)) for i in range(3)])
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (abs((dropped == 0).mean((1, 2)) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)).all()
    assert not np.array_equal(dropped[0], dropped[1])
    drawn = reach.Batch(tokens[None], log_conditionals(cast(WORLD, jnp.float32), tokens)[None], None)
    curves = [
        reach.gradient(network, Shape(batch=1, length=6), numbers(Reals(dropout=p)), params, drawn, key, jnp.int32(0))[
            1
        ]
        for p in (0.0, 0.5)
    ]
    assert np.isclose(curves[0].excess, curves[1].excess, atol=1e-6)
    assert not np.isclose(curves[0].loss, curves[1].loss, atol=1e-3)


def test_rounded_weights_are_numbers_of_their_type():
    shape = Shape(batch=4, length=6, chunk=4, precision="bfloat16")
    params, _ = fit.fit(SPEC, shape, WORLD, numbers(Reals(steps=4)), 4, *keys(0))
    for x in jax.tree.leaves(params):
        assert np.array_equal(x, x.astype(jnp.bfloat16).astype(np.float32)) and x.dtype == np.float32


def test_the_initial_scale_multiplies_matrices_alone():
    shape, world = Shape(batch=4, length=6), cast(WORLD, jnp.float32)
    spec = Transformer(2, 6, Sinusoidal(), layers=1, heads=1, width=8)
    one, three = (
        reach.initial(spec, shape, world, numbers(Reals(scale=x)), jax.random.key(0), jax.random.key(1)).params
        for x in (1.0, 3.0)
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(three), strict=True):
        assert np.allclose(b, (3 if a.ndim > 1 else 1) * a)


def test_averages_of_weights_are_what_they_say():
    """Exponential without the start's bias, and the plain mean of the last quarter, by hand."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    n = numbers(Reals(steps=12, ema=0.8, tail=0.25))
    ema = tail = jnp.full(3, 99.0, jnp.float32)  # forgotten at once
    for step, row in enumerate(x, 1):
        ema = averaged(Shape(average="ema"), n, jnp.int32(step), ema, row)
        tail = averaged(Shape(average="tail"), n, jnp.int32(step), tail, row)
    weight = 0.8 ** np.arange(11, -1, -1)
    assert np.allclose(ema, weight @ x / weight.sum(), atol=1e-5)
    assert np.allclose(tail, x[-3:].mean(0), atol=1e-5)


def test_what_the_network_or_the_world_has_no_room_for_is_refused():
    with pytest.raises(ValueError, match="dropout needs a network whose call takes `drop`, but .* has none"):
        reach.check(SPEC, Reals(dropout=0.1), 2)
    with pytest.raises(ValueError, match="channel must have a row for each of 2 tokens, but has 3"):
        reach.check(SPEC, Reals(channel=np.eye(3)), 2)
    reach.check(SPEC, Reals(channel=np.eye(2)), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shape(pool=-1), "pool must be 0 or more, but is -1"),
        (lambda: Shape(order="epochs"), "epochs need a number of sequences that batch 64 divides, but got 0"),
        (lambda: Shape(order="epochs", sequences=65), "that batch 64 divides, but got 65"),
        (lambda: Shape(average="mean"), "average must be one of none, ema, tail, but is 'mean'"),
        (lambda: Reals(schedule="cosin"), "schedule must be one of .*cosine.*, but is 'cosin'"),
        (lambda: Reals(ema=1.0), "ema must lie in .0, 1., but is 1"),
        (lambda: Reals(temperature=0.0), "temperature must be positive, but is 0"),
        (lambda: Reals(scale=float("nan")), "scale must be at least 0, but is nan"),
        (lambda: Reals(channel=[[1.0, 0.0]]), "channel must be a square matrix, .* but has shape .1, 2."),
        (lambda: Reals(channel=[[0.5, 0.6], [0, 1]]), "rows must be probabilities that sum to 1, but sum to .1.1, 1"),
    ],
)
def test_impossible_knobs_are_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_named_training_is_one(name):
    with initialize_config_module("conf", version_base="1.3"):
        chosen = OmegaConf.to_container(compose("config", [f"reach={name}"]).reach)
    for part in (Shape, Reals):
        part(**{f.name: chosen[f.name] for f in dataclasses.fields(part)})
    assert chosen["seeds"] > 1 and chosen["ladder"] == "off"


def test_a_stack_has_the_parts_that_any_of_its_members_has():
    none = numbers([Reals(), Reals(rate=0.1)])
    assert none.dropout is None and none.channel is None and np.allclose(none.rate, [0.003, 0.1])
    some = numbers([Reals(dropout=0.2), Reals(channel=np.eye(3)), Reals(schedule="wsd")])
    assert np.allclose(some.dropout, [0.2, 0, 0]) and np.allclose(some.channel[1], np.eye(3))
    assert np.allclose(some.channel[0], 1 / 3) and [SCHEDULES[n] for n in some.schedule] == ["cosine", "cosine", "wsd"]
    with pytest.raises(ValueError, match="channels of a population must have one shape, but have"):
        numbers([Reals(channel=np.eye(2)), Reals(channel=np.eye(3))])
