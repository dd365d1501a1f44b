"""Tokens with their exact law, for training elsewhere: python -m experiments.export world=mess3 out=mess3.parquet.

`sequences`, `length` and `seed` as for a run; the draws are their own stream, so that no run was trained on them, and
sequence n is the same however many are asked for. Beside each token x_t stands log p(x_t = v | x_<t) for all v, in
float64 and nats, "-inf" where impossible: the very numbers it was drawn from. By the ending of `out`:

  .parquet  a row for each sequence: tokens [time] and log_conditionals [time * vocab], time by time; lists of
            one fixed size, from which readers make one array to reshape (of nested lists some make objects)
  .npz      arrays tokens [sequence, time] and log_conditionals [sequence, time, vocab]
  .csv      a row for each token: sequence, time, token, log_0, log_1, ...; the first line is a comment

The file also says what it holds, as JSON: in parquet in the schema's metadata under "noumena" (pandas has it in
`frame.attrs`), in npz as the array "noumena", in CSV in the comment. Memory is needed for one chunk, whatever the size
(npz: and for the tokens); the file appears whole or not at all.
"""

import importlib.metadata
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import hydra
import jax
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from jaxtyping import Float, Int
from omegaconf import MISSING, DictConfig, OmegaConf

from experiments import backend
from experiments.cell import Refused, law_digest
from experiments.entry import command
from experiments.screen import Screen
from experiments.solve import solved
from experiments.streams import members, stream
from worlds import base
from worlds.base import World

CHUNK = 2**22  # float64 numbers drawn and written at once: 32 MiB
BATCH = 64  # sequences drawn side by side

Tokens: TypeAlias = Int[np.ndarray, "sequence time"]
Logs: TypeAlias = Float[np.ndarray, "sequence time vocab"]
Append: TypeAlias = Callable[[Tokens, Logs], None]


@dataclass
class Export:
    """What is drawn, and where it goes."""

    world: Any = MISSING
    sequences: int = 1000
    length: int = 256  # tokens of each
    seed: int = 0
    out: str = ""  # the file, which is written over; its ending says how


ConfigStore.instance().store(name="export_schema", node=Export)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="export")
def export(cfg: DictConfig) -> None:
    """Config -> world -> draws -> one file."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    screen = Screen()
    try:
        check(config)
        node, _ = solved(config["world"])
        world = instantiate(node, _convert_="all")
        about = description(world, {"name": HydraConfig.get().runtime.choices["world"], **node}, config)
        out = Path(config["out"])
        with screen.task("export", config["sequences"]) as report:
            write(world, config["seed"], about, out, report)
    except InstantiationException as error:
        raise Refused(str(error.__cause__ or error)) from error
    except (ValueError, TypeError, OSError) as error:
        raise Refused(str(error)) from error
    size = out.stat().st_size / 2**20
    screen.result.print(f"{out}: {about['sequences']} x {about['length']} tokens, law {about['law']}, {size:.1f} MiB")


def check(config: dict[str, Any]) -> None:
    """Refuses what no file can hold, before anything is built."""
    for name in ("sequences", "length"):
        if config[name] < 1:
            raise ValueError(f"export: {name} must be at least 1, but is {config[name]}")
    ending = Path(config["out"]).suffix
    if ending not in WRITERS:
        raise ValueError(f"export: out must name a file that ends in {', '.join(WRITERS)}, but is {config['out']!r}")
    if ending == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(
            "export: a .parquet file must be written by pyarrow, but that is not installed here\n"
            "  EXTRA=parquet ./run python -m experiments.export ...   installs it once; out=....npz does without"
        )


def description(world: World, node: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """What the file says of itself."""
    return {
        "schema": 1,
        "unit": "nats",
        "world": node,
        "law": law_digest(world),
        "vocab_size": world.vocab_size,
        "names": [str(x) for x in getattr(world, "names", ())],
        "sequences": config["sequences"],
        "length": config["length"],
        "seed": config["seed"],
        "stream": "export",
        "version": importlib.metadata.version("noumena"),
    }


def write(world: World, seed: int, about: dict[str, Any], out: Path, report: Callable[[int, str], None]) -> None:
    """Draws all sequences chunk by chunk into a file that appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    done = 0
    try:
        with WRITERS[out.suffix](part, about) as append:
            for tokens, logs in draws(world, seed, about["sequences"], about["length"]):
                append(tokens, logs)
                done += len(tokens)
                report(done, f"sequences of {about['length']} tokens")
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def draws(world: World, seed: int, sequences: int, length: int) -> Iterator[tuple[Tokens, Logs]]:
    """Yields tokens and log p(x_t = v | x_<t), at most CHUNK numbers (but at least one sequence) at a time."""
    key, count = stream(seed, "export"), min(sequences, max(1, CHUNK // (length * world.vocab_size)))
    draw = jax.jit(
        lambda keys: jax.lax.map(partial(base.sample_with_law, world, length=length), keys, batch_size=BATCH)
    )
    for first in range(0, sequences, count):  # the last chunk is drawn whole too: one program for all
        tokens, logs = (np.asarray(x) for x in draw(members(key, first, count)))
        yield tokens[: sequences - first], logs[: sequences - first].astype(np.float64)


@contextmanager
def parquet(path: Path, about: dict[str, Any]) -> Iterator[Append]:
    """A row group for each chunk."""
    import pyarrow as pa  # an extra: needed here only
    import pyarrow.parquet as pq

    said = json.dumps(about)
    time, vocab = about["length"], about["vocab_size"]
    fields = [("tokens", pa.list_(pa.int32(), time)), ("log_conditionals", pa.list_(pa.float64(), time * vocab))]
    schema = pa.schema(fields, metadata={"noumena": said, "PANDAS_ATTRS": said})

    def append(tokens: Tokens, logs: Logs) -> None:
        columns = [_lists(pa, tokens), _lists(pa, logs.reshape(len(logs), -1))]
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield append


def _lists(pa: Any, rows: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


@contextmanager
def npz(path: Path, about: dict[str, Any]) -> Iterator[Append]:
    """As numpy.savez would, but the large array goes to the disk chunk by chunk."""
    shape, kept = (about["sequences"], about["length"], about["vocab_size"]), []

    def append(tokens: Tokens, logs: Logs) -> None:
        kept.append(tokens)
        entry.write(logs.tobytes())

    with zipfile.ZipFile(path, "w") as file:
        with file.open("log_conditionals.npy", "w", force_zip64=True) as entry:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(float)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(entry, header)
            yield append
        for name, array in (("tokens", np.concatenate(kept)), ("noumena", np.array(json.dumps(about)))):
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


@contextmanager
def csv(path: Path, about: dict[str, Any]) -> Iterator[Append]:
    """A row for each token; 17 digits, from which a careful reader makes the same float64 again."""
    first, form = 0, ["%d", "%d", "%d"] + ["%.17g"] * about["vocab_size"]

    def append(tokens: Tokens, logs: Logs) -> None:
        nonlocal first
        places = np.indices(tokens.shape).reshape(2, -1) + np.array([[first], [0]])
        text = io.StringIO()
        np.savetxt(text, np.c_[places.T, tokens.ravel(), logs.reshape(tokens.size, -1)], fmt=form, delimiter=",")
        file.write(text.getvalue())
        first += len(tokens)

    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {json.dumps(about)}\n")
        file.write(",".join(["sequence", "time", "token", *(f"log_{v}" for v in range(about["vocab_size"]))]) + "\n")
        yield append


WRITERS: dict[str, Callable[[Path, dict[str, Any]], AbstractContextManager[Append]]] = {
    ".parquet": parquet,
    ".npz": npz,
    ".csv": csv,
}

if __name__ == "__main__":
    backend.prepare()
    command(export)
