"""Jobs trained as one population end as jobs that were run alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from experiments import data, population
from experiments.population import Job, Shared, populations
from experiments.reach import Curve, Member, Reals, Shape, numbers
from experiments.screen import Screen
from tests.experiments.multirun import ledgers, run
from tests.experiments.smallest import WORLD


class Stand:
    """What `populations` asks a cell for."""

    def __init__(self, spec, steps=6, seeds=2, world=()):
        self.spec, self.shape, self.seeds, self.world = spec, Shape(), seeds, world
        self.reals = type("Reals", (), {"steps": steps, "dropout": 0.0, "channel": None})()


def job(place, cell, done=0):
    return Job(place, OmegaConf.create({}), cell, done)  # type: ignore[arg-type]


def test_populations_share_a_program_and_stay_within_their_size(tmp_path):
    jobs = [job(tmp_path / str(n), Stand("ab"[n % 2])) for n in range(7)]
    found = populations(jobs, lambda cell: 4)
    assert [[job.place.name for job in group] for group in found] == [["0", "2"], ["4", "6"], ["1", "3"]]  # 5 is alone
    assert populations(jobs, lambda cell: 1) == []  # no room for two
    by_shape = populations(jobs, lambda cell: 8 if cell.spec == "a" else 4)  # a large cell has less company
    assert [len(group) for group in by_shape] == [4, 2]
    other = [job(tmp_path, Stand("a", steps=n), done) for n, done in ((6, 0), (7, 0), (6, 3))]
    assert populations(other, lambda cell: 4) == []


def test_a_cell_that_is_asked_for_twice_is_one(tmp_path, monkeypatch):
    """A process that waited for its own lock on a folder would wait for ever."""
    monkeypatch.setattr(population, "_job", lambda place, config: job(place, config))
    asked = [(tmp_path, OmegaConf.create({})), (tmp_path / "a", OmegaConf.create({})), (tmp_path, OmegaConf.create({}))]
    assert [found.place for found in population.untrained(asked)] == [tmp_path, tmp_path / "a"]


def test_a_population_that_fails_leaves_its_cells_to_their_own_runs_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    jobs = {tmp_path / str(n): job(tmp_path / str(n), Stand("ab"[n % 2])) for n in range(4)}
    trained = []

    def together(group, screen, title):
        if group[0].cell.spec == "a":
            raise ValueError("a cell like no other")
        trained.append([job.place.name for job in group])

    monkeypatch.setattr(population, "_job", lambda place, config: jobs[place])
    monkeypatch.setattr(population, "together", together)
    monkeypatch.setattr(population.Room, "of", lambda room, cell: room.members)
    population.train([(place, OmegaConf.create({})) for place in jobs], population.Room(100), Screen())
    assert trained == [["1", "3"]]
    assert "a population of 2 cells failed (a cell like no other)" in capsys.readouterr().err


def test_whoever_another_process_finished_while_it_was_waited_for_is_not_trained_again(tmp_path, monkeypatch):
    jobs, trained = {tmp_path / str(n): job(tmp_path / str(n), Stand("a")) for n in range(4)}, []

    class Held:
        """The other process leaves the last folder when all its work is done, and the first one half-way."""

        def __init__(self, place, say):
            if place.name == "3":
                jobs[place], jobs[tmp_path / "0"] = None, jobs[tmp_path / "0"]._replace(done=3)

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(population, "_job", lambda place, config: jobs[place])
    monkeypatch.setattr(population.folder, "held", Held)
    monkeypatch.setattr(population.Room, "of", lambda room, cell: room.members)
    monkeypatch.setattr(population, "together", lambda group, *_: trained.append([job.place.name for job in group]))
    population.train([(place, OmegaConf.create({})) for place in jobs], population.Room(100), Screen())
    assert trained == [["1", "2"]]  # 0 goes on alone, from its third step; 3 is finished


def member(weights, sequences):
    """Members as a checkpoint holds them."""
    nothing = np.zeros(len(weights), np.int32)
    return Member(
        {"w": weights}, (), None, jax.random.split(jax.random.key(0), len(weights)), sequences, nothing, nothing
    )


def test_a_checkpoint_is_divided_between_jobs_and_joined_again(tmp_path):
    """The second job has one sequence less."""
    shared = Shared([tmp_path / "a" / "c.npz", tmp_path / "b" / "c.npz"], [slice(0, 2), slice(2, 3)], [2, 1])
    rows = np.arange(6.0).reshape(3, 2)
    curve = Curve(rows, -rows, np.array([0, 2]), rows[:, :, None])
    sequences = np.arange(12).reshape(3, 2, 2)
    tree = (member(rows, sequences), curve)
    assert shared.read(tree) is None
    shared.write(tree)
    with np.load(shared.paths[1]) as file:
        assert [[10, 11]] not in [file[name].tolist() for name in file.files]
        assert [[[8, 9]]] in [file[name].tolist() for name in file.files]
    members, found = shared.read(tree)
    assert np.array_equal(members.params["w"], rows)
    assert np.array_equal(members.dataset, np.where(sequences < 10, sequences, 0))
    assert all(np.array_equal(a, b) for a, b in zip(found, curve, strict=True))


def test_a_member_of_a_larger_sets_shape_draws_from_its_own_sequences_alone():
    """Bit for bit those that it has alone, in the same order: only the first keys and the first rows count."""
    key, n, none = jax.random.key(3), numbers(Reals()), jnp.zeros(0, jnp.int32)
    small, large = (Shape(batch=64, length=2, sequences=count, pool=1) for count in (3, 50))
    drawn = jax.jit(data.dataset, static_argnums=1)
    assert np.array_equal(drawn(WORLD, small, key), drawn(WORLD, large, key)[:4])
    rows = jax.jit(data._rows, static_argnums=0)
    alone = rows(small, n, key, jnp.int32(1), none)
    assert np.array_equal(rows(large, n.replace(sequences=jnp.int32(3)), key, jnp.int32(1), none), alone)
    assert set(alone.tolist()) == {0, 1, 2} and rows(large, n, key, jnp.int32(1), none).max() > 2


def test_sizes_of_sets_that_are_drawn_from_share_a_program_and_sizes_of_epochs_do_not(tmp_path):
    def cell(**shape):
        made = Stand("a")
        made.shape = Shape(batch=4, **shape)
        return made

    drawn = [job(tmp_path / str(n), cell(sequences=n)) for n in (4, 8)]
    assert [len(group) for group in populations(drawn, lambda cell: 9)] == [2]
    for others in ([cell(sequences=4), cell()], [cell(sequences=n, order="epochs") for n in (4, 8)]):
        assert populations([job(tmp_path / str(n), c) for n, c in enumerate(others)], lambda cell: 9) == []


@pytest.mark.slow  # three multiruns in processes of their own: two minutes
def test_jobs_of_a_population_end_with_the_ledgers_of_jobs_alone_whoever_diverges_and_on_any_devices(tmp_path):
    cells = "world.kernel.rate=0.5 reach.sequences=5", "world.kernel.rate=0.6 reach.sequences=9"
    asked, found = [f"hydra.sweeper.cells={list(cells)}", "reach.rate=1e-3,1e-2,1e30"], {}
    for name, words, devices in (
        ("basic", [], {}),
        ("population", ["hydra/launcher=population"], {}),
        ("devices", ["hydra/launcher=population"], {"JAX_NUM_CPU_DEVICES": "5"}),  # 12 members: 3 places stay empty
    ):
        done = run(tmp_path / name, *asked, *words, **devices)
        assert done.returncode == 0, done.stderr[-3000:]
        assert ("12 members (6 cells of 2 seeds) as one program" in " ".join(done.stderr.split())) == (name != "basic")
        assert all((tmp_path / name / cell / ".hydra" / "config.yaml").exists() for cell in ledgers(tmp_path / name))
        found[name] = ledgers(tmp_path / name)
    assert len(found["basic"]) == 6
    assert sum(bool(ledger["diverged"]) for ledger in found["basic"].values()) == 2
    for other in (found["population"], found["devices"]):
        assert other.keys() == found["basic"].keys()
        for name, alone in found["basic"].items():
            assert other[name]["diverged"] == alone["diverged"]
            for layer in "DPIRO":
                loss = alone["layers"][layer]["loss"]
                # float32 rounding of 6 steps
                assert other[name]["layers"][layer]["loss"] == (
                    pytest.approx(loss, abs=1e-5) if isinstance(loss, float) else loss
                )
