"""The witness store under many hands at once: entries are whole, none is lost, and the bound only ever falls."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.ledger import Rungs, instantiated
from experiments.measure import Measured
from experiments.store import Store, weights_digest
from worlds.base import Functional
from worlds.quantity import exact

LIKE = {"a": jax.ShapeDtypeStruct((40, 40), jnp.float32), "b": jax.ShapeDtypeStruct((), jnp.float32)}


def weights(n):
    return {"a": jnp.full((40, 40), n, jnp.float32), "b": jnp.float32(n)}


def store(folder, spec="spec", length=8):
    return Store(folder, "law", spec, length)


def test_many_writers_and_readers_at_once_see_whole_entries_and_lose_none(tmp_path):
    """Eight writers, of which always two write the same weights, and four readers that never rest."""
    done, seen = threading.Event(), []

    def write(n):
        for k in range(12):
            store(tmp_path).add(weights(12 * (n // 2) + k))

    def read():
        while not done.is_set():
            seen.append({name: weights_digest(params) for name, params in store(tmp_path).known(LIKE)})

    with ThreadPoolExecutor(12) as pool:
        readers, writers = [pool.submit(read) for _ in range(4)], [pool.submit(write, n) for n in range(8)]
        wait(writers)
        done.set()
        assert [hand.exception() for hand in writers + readers] == [None] * 12
    assert all(name == digest for found in seen for name, digest in found.items())
    assert {name for name, _ in store(tmp_path).known(LIKE)} == {weights_digest(weights(n)) for n in range(48)}
    assert not list(tmp_path.rglob("*.part"))


def test_worlds_architectures_and_lengths_do_not_mix(tmp_path):
    store(tmp_path).add(weights(1))
    assert store(tmp_path, spec="another").known(LIKE) == store(tmp_path, length=9).known(LIKE) == []
    assert len(store(tmp_path).known(LIKE)) == 1


def test_weights_of_another_shape_are_refused(tmp_path):
    """Only a broken store can hold them; a bound must not be read from it."""
    store(tmp_path).add({"a": jnp.zeros(3)})
    with pytest.raises(ValueError, match="checkpoint"):
        store(tmp_path).known(LIKE)


def test_another_witness_never_raises_the_bound():
    rng = np.random.default_rng(0)
    over = Functional(jnp.zeros((5, 3), jnp.int32), jnp.full(5, 0.2), jnp.full(3, 1 / 3), True)

    def measured():
        return Measured(rng.gamma(1.0, size=(5, 3)), np.zeros((5, 3)), over)

    members, witnesses, highs = [measured() for _ in range(2)], {}, []
    for n in range(20):
        rungs = Rungs("here", exact(1.0), exact(0.0), "", members, dict(witnesses))
        highs.append(instantiated(rungs)[2].high)
        witnesses[f"stored {n}"] = measured()
    assert highs == sorted(highs, reverse=True) and highs[-1] < highs[0]
