"""Tables: what reading a token says about the next one, a row of probabilities or of logits for each token.

A table is a function (vocab, readout) -> [vocab, vocab], so that one choice serves both read-outs of worlds/decay.py.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from worlds.kernel import real

READOUTS = ("mixture", "loglinear")
Table = Callable[[int, str], Array]
Row = ArrayLike | Sequence[float]
Rows = ArrayLike | Sequence[Sequence[float]]


def dirichlet(
    vocab: int, readout: str, concentration: float = 0.3, floor: float = 0.02, seed: int = 0, rows: int | None = None
) -> Float[Array, "row vocab"]:
    """Random rows: floor / V + (1 - floor) Dirichlet(concentration, ..., concentration); their logs if loglinear.

    Args:
      vocab: number of tokens V.
      readout: "mixture" for probabilities, "loglinear" for W = log K.
      concentration: above 0; small makes rows sharp.
      floor: share of the uniform law in every row, in [0, 1); above 0 if loglinear, whose logits must be finite.
      seed: of numpy's PCG64 generator, so the same for every version of jax.
      rows: how many; vocab if None.
    """
    if not concentration > 0:
        raise ValueError(f"dirichlet: concentration must be above 0, but is {concentration}")
    if not 0 <= floor < 1:
        raise ValueError(f"dirichlet: floor must be in [0, 1), but is {floor}")
    draws = np.random.Generator(np.random.PCG64(seed)).dirichlet(np.full(vocab, concentration), rows or vocab)
    law = real(floor / vocab + (1 - floor) * draws)
    return law if readout == "mixture" else jnp.log(law)


def identity(vocab: int, readout: str) -> Float[Array, "vocab vocab"]:
    """Reading a token says that token: the leaky cache (a discrete self-exciting process; noise keeps it alive)."""
    del readout
    return real(jnp.eye(vocab))


def given(vocab: int, readout: str, rows: Rows) -> Float[Array, "vocab vocab"]:
    """The rows themselves: [vocab, vocab] probabilities, or logits W if loglinear."""
    del vocab, readout
    return real(rows)


def checked_rows(name: str, table: Table | Rows, vocab: int, readout: str) -> Float[Array, "vocab vocab"]:
    """The rows of a head's table, or an error that names the head."""
    rows = table(vocab, readout) if callable(table) else real(table)
    if rows.shape != (vocab, vocab):
        raise ValueError(
            f"decay: the table of head {name} must be [vocab, vocab] with vocab {vocab}, but is {rows.shape}"
        )
    return jnp.stack([checked_row(row, vocab, readout) for row in rows])


def checked_row(row: Row, vocab: int, readout: str) -> Float[Array, "vocab"]:
    """One row of a table: probabilities that sum to one within 1e-9 (mixture), or finite logits (loglinear)."""
    row = real(row)
    if row.shape != (vocab,):
        raise ValueError(f"decay: a row must hold vocab = {vocab} numbers, but its shape is {row.shape}")
    if isinstance(row, Tracer):
        return row
    numbers = np.asarray(row)
    if readout == "loglinear" and not np.all(np.isfinite(numbers)):
        raise ValueError(f"decay: logits must be finite, but a row is {numbers}; a floor above 0 makes them so")
    if readout == "mixture" and not (np.all(numbers >= 0) and abs(numbers.sum() - 1) <= _slack(row)):
        raise ValueError(
            f"decay: rows must be >= 0 and sum to 1 within {_slack(row)}, but {numbers} sums to {numbers.sum()}"
        )
    return row


def _slack(row: Array) -> float:
    return 1e-9 if row.dtype == jnp.float64 else 1e-6
