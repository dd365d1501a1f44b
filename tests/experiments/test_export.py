"""Tokens for others: the law beside them is the world's, in every format, and the README's readers read it."""

import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, export, streams
from worlds import base, hmm

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none"]  # handlers would outlive the captured streams
README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"```py\n(.*?)```", README, re.DOTALL)
WORLD = hmm.golden_mean(0.3)  # some of its conditionals are impossible


@pytest.fixture
def type_in(monkeypatch, capsys, tmp_path):
    """Runs the command in this process and in a folder of its own, as typed; returns what it printed."""

    def type_in(*words):
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["experiments.export", *QUIET, *words])
        entry.command(export.export)
        return capsys.readouterr()

    return type_in


def read(path):
    """(tokens, log conditionals, what the file says of itself), each format by another library than wrote it."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        tokens = np.stack(list(frame["tokens"]))
        return tokens, np.stack(list(frame["log_conditionals"])).reshape(*tokens.shape, -1), frame.attrs
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return file["tokens"], file["log_conditionals"], json.loads(file["noumena"].item())
    said, names, *rows = path.read_text().splitlines()
    numbers = np.array([[float(x) for x in row.split(",")] for row in rows])
    shape = numbers[:, :2].max(0).astype(int) + 1
    assert names.startswith("sequence,time,token,log_0")
    assert np.array_equal(numbers[:, :2], np.indices(shape).reshape(2, -1).T)
    return numbers[:, 2].reshape(shape), numbers[:, 3:].reshape(*shape, -1), json.loads(said.removeprefix("# "))


@pytest.mark.parametrize("ending", export.WRITERS)
def test_every_format_holds_the_tokens_and_their_exact_law(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 40)  # three sequences at a time: 3, 3 and 1
    about = {"sequences": 7, "length": 6, "vocab_size": 2, "law": "a"}
    out, seen = tmp_path / "new" / f"x{ending}", []
    export.write(WORLD, 1, about, out, lambda done, note: seen.append(done))
    tokens, logs, said = read(out)
    assert said == about and seen == [3, 6, 7] and [x.name for x in out.parent.iterdir()] == [out.name]
    assert tokens.shape == (7, 6) and logs.dtype == np.float64 and np.isneginf(logs).any()
    expected = jax.vmap(base.log_conditionals, (None, 0))(WORLD, tokens.astype(np.int32))
    np.testing.assert_allclose(logs, expected, atol=1e-13)
    assert np.isfinite(np.take_along_axis(logs, tokens.astype(int)[..., None], -1)).all()


def test_a_sequence_is_the_same_however_many_are_asked_for_and_no_run_was_trained_on_it(monkeypatch):
    few = np.concatenate([x for x, _ in export.draws(WORLD, 0, 3, 50)])
    monkeypatch.setattr(export, "CHUNK", 200)  # two sequences at a time
    many = np.concatenate([x for x, _ in export.draws(WORLD, 0, 5, 50)])
    assert np.array_equal(few, many[:3])
    for name in streams._STREAMS:
        others = jax.vmap(base.sample, (None, 0, None))(WORLD, streams.members(streams.stream(0, name), 0, 5), 50)
        assert np.array_equal(others, many) == (name == "export")


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def broken(*_):
        yield np.zeros((1, 2), np.int32), np.zeros((1, 2, 2))
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "draws", broken)
    (tmp_path / "x.csv").write_text("old")
    for ending in export.WRITERS:
        with pytest.raises(KeyboardInterrupt):
            export.write(
                WORLD, 0, {"sequences": 2, "length": 2, "vocab_size": 2}, tmp_path / f"x{ending}", lambda *_: None
            )
    assert [x.name for x in tmp_path.iterdir()] == ["x.csv"] and (tmp_path / "x.csv").read_text() == "old"


def test_the_readers_of_the_readme_read_what_its_command_wrote(type_in, tmp_path):
    line = next(x for x in README.splitlines() if x.startswith("EXTRA=parquet") and "experiments.export " in x)
    smaller = re.sub(r"sequences=\d+ length=\d+", "sequences=6 length=5", line)
    said = type_in(*smaller.split("experiments.export ")[1].split())
    names = {}
    exec(EXAMPLES[0], names)
    tokens, law = names["tokens"], names["law"]
    assert tokens.shape == (6, 5) and law.shape == (6, 5, 3) and "6 x 5 tokens" in said.out
    expected = jax.vmap(base.log_conditionals, (None, 0))(hmm.mess3(0.15, 0.6), tokens)
    np.testing.assert_allclose(law, expected, atol=1e-13)
    assert names["frame"].attrs["world"] == {"name": "mess3", "_target_": "worlds.hmm.mess3", "x": 0.15, "a": 0.6}
    assert names["frame"].attrs["unit"] == "nats" and names["frame"].attrs["law"] in said.out


LIBRARIES = ["torch", "polars", "datasets"]  # beside pandas, whose block the others go on from


def test_every_reader_of_the_readme_is_tried_here():
    assert [re.findall(r"^import (\w+)", x, re.MULTILINE)[-1] for x in EXAMPLES] == ["pandas", *LIBRARIES]


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_libraries_read_it_as_the_readme_says(type_in, tmp_path, library):
    pytest.importorskip(library)
    type_in("world=golden_mean", "sequences=6", "length=5", "out=mess3.parquet")
    names = {}
    exec(EXAMPLES[0], names)
    exec(next(x for x in EXAMPLES[1:] if f"import {library}" in x), names)
    if library == "torch":  # the excess of the uniform law: log 2 minus the mean entropy
        expected = np.log(2) - base.entropy(jnp.asarray(names["law"])).mean()
        assert float(names["excess"]) == pytest.approx(float(expected), abs=1e-12)
    else:
        assert np.array_equal(names[f"from_{library}"].reshape(6, 5, 2), names["law"])


@pytest.mark.parametrize(
    "words, rule",
    [
        (["length=0", "out=x.csv"], "export: length must be at least 1, but is 0"),
        (["sequences=0", "out=x.csv"], "export: sequences must be at least 1, but is 0"),
        (["out=x.txt"], "export: out must name a file that ends in .parquet, .npz, .csv, but is 'x.txt'"),
        ([], "ends in .parquet, .npz, .csv, but is ''"),
        (["world=coin", "world.p=2", "out=x.csv"], "p must lie strictly between 0 and 1, but is 2"),
        (["out=x.parquet"], "EXTRA=parquet"),
    ],
)
def test_bad_input_ends_in_one_message(type_in, capsys, tmp_path, monkeypatch, words, rule):
    monkeypatch.setattr(export, "find_spec", lambda name: None)  # as where pyarrow is not installed
    with pytest.raises(SystemExit) as stopped:
        type_in(*words)
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and not list(tmp_path.iterdir())
    assert rule in error and "Traceback" not in error and len(error.splitlines()) <= 4
