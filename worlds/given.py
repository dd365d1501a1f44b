"""A user's own finite-state world, from a file of operators."""

import itertools
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from worlds.chain import stationary
from worlds.generalised import fixed, in_coordinates, reflection
from worlds.hmm import HMM

SUM = 1e-9  # how far a sum of probabilities may lie from one: rounding in float64, and nothing more
WORDS = 4096  # a signed world's short words are tried for negative probabilities up to this many


def operators(path: str, signed: bool = False) -> HMM:
    """The finite-state world of an array T[v, s, t] = p(token v, next state t | state s) in a file.

    A .npy file holds the array. A .npz file holds it under the name `operators`, and may hold the law before the first
    token under `initial` ([state]); without it the world starts in its stationary law. Pickled objects are not loaded.

    Args:
      path: the file.
      signed: entries may be negative (a generalised world, `worlds.generalised`): then the rows need not sum to one,
        but the sum over tokens must have the eigenvalue 1 once, and no word may have a negative probability (as many
        short words as make 4,096 are tried).
    """
    table, initial = _read(Path(path))
    _is_array(path, table, 3, "operators", "[vocab, state, state] with equal last two sizes")
    if table.shape[1] != table.shape[2] or 0 in table.shape:
        raise ValueError(f"operators: the array must be [vocab, state, state], none of them 0, but is {table.shape}")
    if initial is not None:
        _is_array(path, initial, 1, "initial", "[state]")
        if initial.shape != table.shape[1:2]:
            raise ValueError(
                f"operators: initial must have one entry per state, {table.shape[1:2]}, not {initial.shape}"
            )
    table = np.asarray(table, np.float64)
    return _signed(table, initial) if signed else _ordinary(table, initial)


def _read(path: Path):
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"operators: the file must be .npy or .npz, but is {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"operators: expected an array in {str(path)!r}, but there is no such file")
    try:
        loaded = np.load(path, allow_pickle=False)
        if path.suffix == ".npy":
            return loaded, None
        with loaded:
            found = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy's own error names neither the rule nor the file
        raise ValueError(f"operators: {str(path)!r} must hold plain numbers, never pickled objects: {error}") from error
    if "operators" not in found or not set(found) <= {"operators", "initial"}:
        raise ValueError(f"operators: a .npz must hold `operators` and perhaps `initial`, but holds {sorted(found)}")
    return found["operators"], found.get("initial")


def _is_array(path, array, axes, name, expected):
    if array.ndim != axes or array.dtype.kind not in "fiu":
        raise ValueError(
            f"operators: {name} must be real numbers {expected}, but in {path!r} is {array.dtype} {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"operators: {name} must be finite, but {path!r} holds nan or inf")


def _ordinary(table, initial) -> HMM:
    if (table < 0).any():
        v, s, t = (int(i) for i in np.argwhere(table < 0)[0])
        raise ValueError(
            "operators: probabilities must be at least 0 (or the world declared signed), "
            f"but T[{v}, {s}, {t}] is {table[v, s, t]}"
        )
    for state, total in enumerate(table.sum((0, 2))):
        _is_one(f"the probabilities out of state {state}", total)
    if initial is None:
        return HMM(jnp.asarray(table, float), jnp.asarray(stationary(table), float))
    if (initial < 0).any():
        raise ValueError(f"operators: initial must be at least 0 everywhere, but its smallest entry is {initial.min()}")
    _is_one("initial", initial.sum())
    return HMM(jnp.asarray(table, float), jnp.asarray(initial, float))


def _is_one(what, total):
    if abs(total - 1) > SUM:
        raise ValueError(f"operators: {what} must sum to 1 (to {SUM}, in float64), but sums to {total:.12g}")


def _signed(table, initial) -> HMM:
    start, w = fixed(table, "operators")
    world = in_coordinates(table, start if initial is None else initial, reflection(w))
    laws, word, letters = np.asarray(world.initial)[None], 1, np.asarray(world.transition)
    while (word := word * len(letters)) <= WORDS:
        laws = np.einsum("ns,vst->nvt", laws, letters).reshape(-1, letters.shape[-1])
        if (laws.sum(1) < -SUM).any():
            length = round(np.log(len(laws)) / np.log(len(letters))) if len(letters) > 1 else 1
            tokens = list(itertools.product(range(len(letters)), repeat=length))[int(laws.sum(1).argmin())]
            raise ValueError(
                f"operators: every word must have a probability, but the word {tokens} has {laws.sum(1).min():.6g}"
            )
        if len(letters) == 1:
            break
    return world
