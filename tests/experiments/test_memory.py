"""What a population is estimated to need, against a count by hand and against what the compiler allots."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

import experiments.entry
import experiments.schema  # noqa: F401  the config's types
from experiments import memory
from experiments.cell import build
from experiments.reach import initial, numbers, train
from worlds.base import cast


def test_values_live_from_their_making_to_their_last_reading():
    def step(x):  # floats: x is given
        a = jnp.sin(x + 1)  # 100
        b = jnp.cos(jnp.outer(a, a))  # 10,000 of the cosine alone: products are cheap to have again; with a, 10,100
        c = b.sum()  # 1 more, then b is dead
        return c + a.sum()

    made = jax.make_jaxpr(step)(jnp.zeros(100, jnp.float32))
    assert 4 * 10_100 <= memory.peak(made.jaxpr) <= 4 * 10_400
    looped = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 9, lambda i, total: total + step(x), 0.0))(jnp.zeros(100))
    assert 8 * 10_100 <= memory.peak(looped.jaxpr) <= 8 * 10_400  # float64: once, however often it is run


def cell(*words):
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        return build(compose("config", overrides=list(words)))


def test_as_many_members_as_fit_and_never_none(monkeypatch):
    """On a CPU the members of a device run one after another: states add up, what a step makes does not."""
    monkeypatch.setattr(memory, "needs", lambda cell: (10, 300))
    devices = len(jax.local_devices())
    asked = cell("world.vocab=2", "reach.length=4", "instantiation=positional", "instantiation.heads=1")
    assert memory.members(asked, (300 * devices + 40 * 7 + 1) * 1e-9) == 7
    assert memory.members(asked, 1e-9) == 1
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "3")  # MB
    assert memory.available() == memory.SHARE * 3 * 2**20


@pytest.mark.slow  # compiles three trainings
@pytest.mark.parametrize(
    "words",
    [
        ["reach.length=16", "reach.batch=16", "reach.micro=0"],
        ["reach.length=16", "reach.batch=16", "reach.micro=4", "reach.sequences=100", "reach.optimiser=muon"],
        ["reach.length=16", "reach.batch=16", "instantiation=gru"],
    ],
)
def test_the_estimate_is_near_what_the_compiler_allots(words):
    """XLA may fuse more, order work better, and need workspaces: 0.9 to 2 times what it allots; arguments exactly."""
    asked = cell(*words)
    held, worked = memory.needs(asked)
    key, n, world = jax.random.key(0), numbers(asked.reals), cast(asked.world, jnp.float32)
    member = jax.eval_shape(partial(initial, asked.spec, asked.shape), world, n, key, key)
    program = jax.jit(lambda member: train(asked.spec, asked.shape, world, n, member, jnp.int32(1)))
    allotted = program.lower(member).compile().memory_analysis()
    assert held == pytest.approx(allotted.argument_size_in_bytes, abs=64)
    assert 0.9 < worked / allotted.temp_size_in_bytes < 2
