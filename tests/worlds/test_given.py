"""A user's own operators: what is accepted, and one message for each thing that is not."""

import jax.numpy as jnp
import numpy as np
import pytest

from worlds import base, given, hmm

GOLDEN = np.array([[[0.5, 0], [1, 0]], [[0, 0.5], [0, 0]]])
SIGNED = np.array([[[0.25, 0, 0.25], [0, 0, 0], [0.25, 0, 0.25]], [[0.25, 0, -0.25], [0, 0, 0], [-0.25, 0, 0.25]]])
QUBIT = np.concatenate([SIGNED, SIGNED[:, [0, 2, 1]][:, :, [0, 2, 1]]])


def saved(tmp_path, **arrays):
    path = tmp_path / "world.npz"
    np.savez(path, **arrays)
    return str(path)


def one(tmp_path, array, **options):
    path = tmp_path / "world.npy"
    np.save(path, array, **options)
    return str(path)


def test_an_array_is_the_world_it_describes(tmp_path):
    for path in (one(tmp_path, GOLDEN), saved(tmp_path, operators=GOLDEN)):
        world = given.operators(path)
        np.testing.assert_array_equal(world.transition, hmm.golden_mean(0.5).transition)
        np.testing.assert_allclose(world.initial, [2 / 3, 1 / 3], rtol=0, atol=1e-15)
        assert world.entropy_rate().value == pytest.approx(2 / 3 * np.log(2), abs=1e-12)


def test_the_start_may_be_given(tmp_path):
    world = given.operators(saved(tmp_path, operators=GOLDEN, initial=np.array([0, 1.0])))
    assert base.log_prob(world, jnp.array([0])) == 0
    assert base.log_prob(world, jnp.array([1])) == -jnp.inf
    split = given.operators(saved(tmp_path, operators=np.eye(2)[None], initial=np.array([1, 0])))
    assert base.log_prob(split, jnp.array([0, 0])) == 0


def test_signed_operators_are_worlds_once_declared(tmp_path):
    path = one(tmp_path, QUBIT)
    world = given.operators(path, signed=True)
    assert world.entropy_rate().value == pytest.approx(1.5 * np.log(2), abs=1e-12)
    with pytest.raises(ValueError, match=r"at least 0 \(or the world declared signed\), but T\[1, 0, 2\] is -0.25"):
        given.operators(path)
    start = given.operators(saved(tmp_path, operators=QUBIT, initial=np.array([1.0, 0, 0.5])), signed=True)
    np.testing.assert_allclose(np.exp(start.log_next(start.start())), [0.375, 0.125, 0.25, 0.25], atol=1e-12)


OFF = GOLDEN + np.array([[[1e-6, 0], [0, 0]], [[0, 0], [0, 0]]])


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (OFF, {}, "out of state 0 must sum to 1 .* but sums to 1.000001"),
        (GOLDEN.astype(np.float32) * np.float32(0.9999999), {}, "out of state 0 must sum to 1 .* in float64"),
        (-GOLDEN, {}, "probabilities must be at least 0"),
        (GOLDEN[0], {}, r"must be real numbers \[vocab, state, state\].*float64 \(2, 2\)"),
        (GOLDEN[:, :1], {}, r"must be \[vocab, state, state\], none of them 0, but is \(2, 1, 2\)"),
        (np.zeros((0, 2, 2)), {}, r"none of them 0, but is \(0, 2, 2\)"),
        (GOLDEN + 0j, {}, "must be real numbers .* complex128"),
        (GOLDEN * np.nan, {}, "must be finite"),
        (np.eye(2)[None], {}, "one set of states that it visits for ever"),
        (GOLDEN / 2, {"signed": True}, "must have the eigenvalue 1 exactly once"),
        (np.array([[[1.5]], [[-0.5]]]), {"signed": True}, r"word \(1,\) has -0.5"),
        (np.array([[[0, 1.2], [0.5, 0]], [[0, -0.2], [0.5, 0]]]), {"signed": True}, r"word \(1, 1\) has -0.1"),
    ],
)
def test_bad_arrays_are_refused_with_the_rule(tmp_path, array, options, message):
    with pytest.raises(ValueError, match=message):
        given.operators(one(tmp_path, array), **options)


def test_bad_starts_are_refused_with_the_rule(tmp_path):
    for initial, message in {
        (0.5, 0.25): "initial must sum to 1",
        (1.5, -0.5): "initial must be at least 0 everywhere",
        (1.0,): r"one entry per state, \(2,\), not \(1,\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            given.operators(saved(tmp_path, operators=GOLDEN, initial=np.array(initial)))


def test_bad_files_are_refused_with_the_rule(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        given.operators(str(tmp_path / "nothing.npy"))
    with pytest.raises(ValueError, match=r"must be .npy or .npz, but is '.*world.txt'"):
        given.operators(str(tmp_path / "world.txt"))
    with pytest.raises(ValueError, match=r"a .npz must hold `operators` .* but holds \['T'\]"):
        given.operators(saved(tmp_path, T=GOLDEN))
    (tmp_path / "torn.npy").write_bytes(b"not an array")
    with pytest.raises(ValueError, match="plain numbers, never pickled objects"):
        given.operators(str(tmp_path / "torn.npy"))


class Trap:
    """Unpickling it would raise."""

    def __reduce__(self):
        return (pytest.fail, ("a pickled object was loaded",))


def test_pickled_objects_are_never_loaded(tmp_path):
    objects = np.array([Trap()], dtype=object)
    for path in (one(tmp_path, objects, allow_pickle=True), saved(tmp_path, operators=objects)):
        with pytest.raises(ValueError, match="plain numbers, never pickled objects"):
            given.operators(path)
