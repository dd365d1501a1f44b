"""A study reads run folders without trusting them, and says every number with its unit, interval and class."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from experiments import report as command
from experiments import schema
from experiments.found import Refused, Run, find, read
from experiments.study import AtEnd, labels, report
from experiments.tidy import COLUMNS, frame


def folder(place, ledger, number=0, overrides=()):
    """A run folder, as far as a study reads it."""
    (place / ".hydra").mkdir(parents=True)
    (place / "ledger.json").write_text(json.dumps(ledger))
    (place / "provenance.json").write_text(json.dumps({"git": {"commit": "abc", "dirty": False}}))
    (place / ".hydra" / "hydra.yaml").write_text(f"hydra:\n  job:\n    num: {number}\n    name: ${{oc.env:HOME}}\n")
    (place / ".hydra" / "overrides.yaml").write_text("".join(f"- {x}\n" for x in overrides))
    return place


@pytest.fixture
def runs(ledgers, tmp_path):
    """Four finished runs, whose folders sort in the reverse of their multirun's order."""
    _, four = ledgers
    for n, ledger in enumerate(four()):
        asked = ["experiment=first_look", f"perception={ledger['perception']['name']}"]
        folder(tmp_path / "study" / f"{9 - n}", ledger, n, asked)
    return tmp_path / "study"


@pytest.fixture
def console():
    with open(os.devnull, "w") as nowhere:
        yield Console(width=100, record=True, file=nowhere, highlight=False)


def test_runs_come_in_the_order_of_their_multirun(runs):
    found, refused = find([runs])
    assert [run.place.name for run in found] == ["9", "8", "7", "6"]
    assert refused == []
    assert labels(found) == ["order free / NoPE", "decay / ALiBi", "offset / RoPE", "absolute / sinusoidal"]


def test_a_run_is_counted_once_however_often_it_is_named(runs):
    assert len(find([runs, runs / "9", runs / ".." / "study"])[0]) == 4


def test_labels_tell_runs_apart_by_what_was_asked(ledgers, tmp_path):
    made, _ = ledgers
    for n, rate in enumerate((0.001, 0.003, 0.003)):
        folder(tmp_path / f"run{n}", made(), n, ["reach.steps=9", f"reach.rate={rate}"])
    names = labels(find([tmp_path])[0])
    assert names == ["decay / ALiBi reach.rate=0.001"] + [f"decay / ALiBi reach.rate=0.003 (run{n})" for n in (1, 2)]


def test_the_tidy_table_holds_every_number_of_the_ledger(runs):
    found, _ = find([runs])
    table = frame(found, runs)
    assert list(table.columns) == list(COLUMNS)
    ledger, first = found[0].ledger, table[table.run == "9"]
    at = first[(first.length == 64) & (first.layer == "R-D")].iloc[0]
    gap = ledger["lengths"]["64"]["gaps"]["R-D"]
    assert (at.value, at.low, at.high, at["class"], at["count"]) == (
        gap["nats"],
        gap["low"],
        gap["high"],
        "estimated",
        gap["count"],
    )
    # trained length: 5 layers, 6 gaps, 4 seeds, residual; two more lengths: 4, 4, 4, 1; 6 + 3 of protocols, 2 zeros
    assert len(first) == 16 + 2 * 13 + 9 + 2
    protocol = first[(first.protocol == "accuracy") & (first.quantity == "score")].iloc[0]
    assert (protocol.unit, protocol.value, protocol.layer) == ("fraction", 0.4, "O")
    assert set(first.unit) == {"nats/token", "fraction"}
    assert set(first.commit) == {"abc"}
    assert not first.duplicated(["run", "layer", "length", "protocol", "quantity", "seed"]).any()


def test_infinite_and_undefined_numbers_survive_the_csv(ledgers, tmp_path, console):
    made, _ = ledgers
    ledger = made("absolute", "learned")
    ledger["gaps"]["R-D"] |= {"nats": "inf", "low": "inf", "high": "inf"}
    assert report([folder(tmp_path / "run", ledger)], tmp_path, console)
    table = pd.read_csv(tmp_path / "ledger.csv")
    assert table[(table.layer == "R-D") & (table.length == 32)].value.tolist() == [np.inf]
    beyond = table[(table.layer == "P-D") & (table.length == 64)].iloc[0]
    assert np.isnan(beyond.value) and beyond["class"] == "undefined"


def test_a_study_writes_its_files_and_prints_its_table(runs, console):
    assert report([runs], runs, console)
    names = {"ledger.csv", "table.tex", "figure.pdf", "figure.png"}
    assert names <= {path.name for path in runs.iterdir()}
    said = console.export_text()
    for text in ("order free / NoPE", "I - P", "−0.0360", "[0.0061, 0.0081]", "4 runs, 0 left out"):
        assert text in said
    text = (runs / "table.tex").read_text()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"$+0.0412^{\mathrm{c}}$" in text and r"$-0.0360^{\mathrm{w}}$" in text
    assert r"$4\times$" in text and "$P - D$" in text and "∞" not in text
    assert "/home" not in (runs / "ledger.csv").read_text()  # paths are relative, interpolations stay text


def test_the_table_says_infinite_and_undefined(ledgers, tmp_path, console):
    made, _ = ledgers
    ledger = made("absolute", "learned_100%")
    for gap in ("R-I", "R-D"):
        ledger["gaps"][gap] |= {"nats": "inf", "low": "inf", "high": "inf"}
    ledger["lengths"]["128"]["gaps"]["R-D"] = {"nats": None, "low": None, "high": None, "class": "undefined"}
    report([folder(tmp_path / "run", ledger)], tmp_path, console)
    text = (tmp_path / "table.tex").read_text()
    assert r"$\infty ^{\mathrm{e}}$" in text and "& undefined" in text and r"learned 100\%" in text
    assert "nan" not in text and "None" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not at hand")
def test_the_table_compiles_in_text_width(runs, console):
    report([runs], runs, console)
    paper = r"\documentclass{article}\usepackage{booktabs,graphicx}\usepackage[textwidth=5.5in]{geometry}"
    paper += r"\begin{document}\input{table}\begin{figure}\includegraphics{figure}\end{figure}\end{document}"
    (runs / "paper.tex").write_text(paper)
    asked = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(asked, cwd=runs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


class Trap:
    """What an unpickler would run."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


BROKEN = {
    "not JSON": b"{",
    "not text": pickle.dumps(Trap()),
    "no ledger": b"[]",
    "another schema": b'{"schema": 99}',
    "half a ledger": b'{"schema": 1, "gaps": {}, "layers": 3}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_ledger_is_refused_with_a_reason(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledger.json").write_bytes(content)
    found = read(tmp_path)
    assert isinstance(found, Refused) and "ledger.json" in found.reason
    assert not (tmp_path / "sprung").exists()


def test_broken_and_unfinished_folders_are_listed_and_not_fatal(runs, console):
    (runs / "broken").mkdir()
    (runs / "broken" / "ledger.json").write_bytes(b"{")
    (runs / "5" / ".hydra").mkdir(parents=True)
    assert report([runs], runs, console)
    said = console.export_text()
    assert "broken: ledger.json cannot be read" in said and "5: it is not finished: there is no ledger.json" in said
    assert "4 runs, 2 left out" in said


def test_the_config_of_a_foreign_folder_makes_no_objects(ledgers, tmp_path, monkeypatch):
    made, _ = ledgers
    monkeypatch.chdir(tmp_path)
    place = folder(tmp_path / "run", made())
    (place / ".hydra" / "overrides.yaml").write_text("!!python/object/apply:os.mkdir [sprung]\n")
    np.savez(place / "curves.npz", trap=np.array([Trap()], dtype=object))
    run = read(place)
    assert isinstance(run, Run) and run.overrides == []
    assert not (tmp_path / "sprung").exists()


def test_the_command_fails_with_one_message_when_there_is_no_run(tmp_path, capsys):
    assert command.main([str(tmp_path / "nowhere")]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "it is not a folder" in said and "needs at least one finished run" in said and "Traceback" not in said


def test_the_command_writes_where_it_is_told(runs, tmp_path, capsys):
    assert command.main([str(runs), str(runs / "9"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "table.tex").exists() and not (runs / "table.tex").exists()
    assert pd.read_csv(tmp_path / "out" / "ledger.csv").run.str.startswith("../study/").all()
    with pytest.raises(SystemExit):
        command.main([str(runs), str(runs / "9")])
    assert "--out must say where the files go" in capsys.readouterr().err


def test_jobs_of_a_multirun_share_its_folder_and_its_end_makes_the_study(runs, capsys, monkeypatch):
    monkeypatch.delenv("NOUMENA_SWEEP", raising=False)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "${sweep:}"}, "overrides": {"task": ["world=decay,mess3"]}}})
    job = OmegaConf.create({"hydra": {"sweep": {"dir": "${sweep:}"}, "overrides": {"task": ["world=mess3"]}}})
    asked = config.hydra.sweep.dir
    assert job.hydra.sweep.dir != asked
    AtEnd().on_multirun_start(config)
    assert job.hydra.sweep.dir == asked
    config.hydra.sweep.dir = str(runs)
    AtEnd().on_multirun_end(config)
    assert (runs / "figure.png").exists() and "order free / NoPE" in capsys.readouterr().out
    assert job.hydra.sweep.dir != asked


@pytest.mark.slow  # two runs of two steps, in a process of their own: a minute
def test_a_real_multirun_ends_with_its_study(request, tmp_path):
    asked = (
        "-m world=golden_mean perception=window,order_free instantiation.layers=1 instantiation.heads=1 "
        "instantiation.width=8 reach.length=4 reach.batch=4 reach.steps=2 reach.seeds=2 oracle.steps=2 "
        "oracle.restarts=1 measure.tokens=64 measure.multiples=[1,2] observe=[heldout] ledger=heldout"
    ).split()
    command = [sys.executable, "-m", "experiments.run", *asked, f"hydra.sweep.dir={tmp_path}/sweep-${{sweep:}}"]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (out,) = tmp_path.iterdir()
    table = pd.read_csv(out / "ledger.csv")
    assert set(table.run.map(lambda x: (out / x / "ledger.json").exists())) == {True}
    assert sorted(set(table.perception)) == ["order_free", "window"]
    first = json.loads((out / table.run[0] / "ledger.json").read_text())
    kept = table[(table.run == table.run[0]) & (table.length == 8) & (table.layer == "R-D")]
    assert kept.value.tolist() == [first["lengths"]["8"]["gaps"]["R-D"]["nats"]]
    assert (out / "figure.pdf").read_bytes().startswith(b"%PDF") and r"\toprule" in (out / "table.tex").read_text()
    assert "2 runs, 0 left out" in done.stdout


def test_the_config_names_the_callback(request):
    assert schema.Config  # registered with Hydra
    with initialize_config_dir(str(request.config.rootpath / "conf"), version_base="1.3"):
        config = compose("config", return_hydra_config=True, overrides=["~world", "~perception"])
    assert config.hydra.callbacks.study["_target_"] == f"{AtEnd.__module__}.{AtEnd.__qualname__}"
