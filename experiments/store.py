"""The witness store: the best weights ever measured for a world, an architecture and a length, beside the runs.

A witness only ever lowers the upper end of the instantiation's interval. Entries are content-addressed and written
whole, so that any number of runs may read and write at once; nothing is ever overwritten.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.cell import digest
from experiments.fit import load, write


class Store:
    """Weights in a folder: FOLDER/<world, architecture and length>/<weights>.npz."""

    def __init__(self, folder: Path, law: str, spec: Any, length: int):
        self.place = folder / digest([law, repr(spec), length])

    def known(self, like: Any) -> list[tuple[str, Any]]:
        """All witnesses (name, parameters) of this world, architecture and length, in the order of their names."""
        return [(path.stem, load(path, like)) for path in sorted(self.place.glob("*.npz"))]

    def add(self, params: Any) -> str:
        """Keeps weights; returns the name of the entry. Known weights are not written again."""
        path = self.place / f"{weights_digest(params)}.npz"
        if not path.exists():
            self.place.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            np.savez(buffer, *(np.asarray(x) for x in jax.tree.leaves(params)))
            write(path, buffer.getvalue())
        return path.stem


def weights_digest(params: Any) -> str:
    """A name for weights: a hash of their numbers."""
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(params))).hexdigest()[:12]
