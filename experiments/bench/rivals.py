"""Training loops in processes of their own: each takes steps when it is told to, and is idle while others take theirs.

A rival's module calls `serve`; whoever measures starts it as a `Rival`, one process or one for each core. Nothing here
imports JAX or PyTorch, so that a process holds one of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Arrays = dict[str, np.ndarray]
Said = Float[np.ndarray, "batch time vocab"]
Loop = tuple[Callable[[Int[np.ndarray, "batch time"]], Said], Callable[[int], float]]
"""(tokens -> log probabilities with the weights given, steps -> mean loss of those steps, nats per token)."""


def serve(loop: Callable[[dict[str, Any], Arrays], Loop]) -> None:
    """The rival's side: says what its network says of the probe, then takes as many steps as each line asks."""
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with np.load(folder / "arrays.npz") as file:
        arrays = dict(file)
    setting = json.loads((folder / "setting.json").read_text())
    if setting["core"] is not None:
        os.sched_setaffinity(0, {setting["core"]})
    say, train = loop(setting, arrays)
    np.save(folder / "said.npy", say(arrays["probe"]))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(train(int(line))), file=answers, flush=True)


class Rival:
    """One process, or one for each of some cores, that train side by side; a context.

    Args:
      module: what is run with `python -m`.
      setting: plain numbers for it, with `threads` of each process.
      arrays: weights by name, the world's numbers, and `probe`, tokens [batch, time].
      cores: one process pinned to each; None is one process on all.
    """

    def __init__(self, module: str, setting: dict[str, Any], arrays: Arrays, cores: list[int] | None = None):
        self.module, self.setting, self.arrays, self.cores = module, setting, arrays, cores
        self._stack, self._processes = ExitStack(), []

    def __enter__(self) -> "Rival":
        for seed, core in enumerate(self.cores or [None]):
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="noumena-rival-")))
            (folder / "setting.json").write_text(json.dumps(self.setting | {"seed": seed, "core": core}))
            np.savez(folder / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
            self._processes.append((folder, self._stack.enter_context(self._started(folder))))
        return self

    def __exit__(self, *_: Any) -> None:
        for _, process in self._processes:
            process.stdin.close()
        self._stack.close()

    def said(self) -> Said:
        """What the first process's network says of the probe, once all are ready."""
        for at in range(len(self._processes)):
            self._answer(at)
        return np.load(self._processes[0][0] / "said.npy")

    def turn(self, steps: int) -> tuple[float, float]:
        """So many steps in each process: (seconds until the last is done, mean loss of those steps)."""
        began = time.perf_counter()
        for _, process in self._processes:
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        losses = [json.loads(self._answer(at)) for at in range(len(self._processes))]
        return time.perf_counter() - began, float(np.mean(losses))

    def _started(self, folder: Path) -> subprocess.Popen:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_", "OPENBLAS_"))}
        environment |= {"OMP_NUM_THREADS": str(self.setting["threads"]), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        errors = self._stack.enter_context(open(folder / "errors", "w"))
        return subprocess.Popen(
            [sys.executable, "-m", self.module, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )

    def _answer(self, at: int) -> str:
        folder, process = self._processes[at]
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"bench: {self.module} must answer, but ended:\n{(folder / 'errors').read_text()[-2000:]}"
            )
        return line


def hidden(
    operators: Float[np.ndarray, "vocab state state"],
    initial: Float[np.ndarray, "state"],
    random: np.random.Generator,
    batch: int,
    length: int,
) -> Int[np.ndarray, "batch time"]:
    """Sequences of a hidden Markov world, drawn through its hidden states: one binary search for each token."""
    vocab, states, _ = operators.shape
    joint = operators.transpose(1, 0, 2).reshape(states, -1).cumsum(1)  # token and next state, given the state
    rows = (joint / joint[:, -1:] + np.arange(states)[:, None]).ravel()
    state = np.minimum(np.searchsorted(initial.cumsum(), random.random(batch)), states - 1)
    tokens = np.empty((length, batch), np.int64)
    for t in range(length):
        cell = np.searchsorted(rows, state + random.random(batch), side="right") - state * vocab * states
        tokens[t], state = np.divmod(cell, states)
    return tokens.T
