"""The machine's rate of float32 matrix products as NumPy's library has it, in a process of its own, one thread."""

from typing import Any

import numpy as np

from experiments.bench.rivals import Arrays, Loop, serve

SIDE = 1024  # rows and columns: 4 MiB a matrix, so that the product and not its start is timed


def loop(setting: dict[str, Any], arrays: Arrays) -> Loop:
    """Says nothing; a step is a product of 2 SIDE^3 operations."""
    del setting, arrays
    matrix = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32) / SIDE**0.5
    now = matrix

    def train(steps):
        nonlocal now
        for _ in range(steps):
            now = now @ matrix
        return float(now[0, 0])

    return lambda probe: np.zeros((*probe.shape, 1)), train


if __name__ == "__main__":
    serve(loop)
