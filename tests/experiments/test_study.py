"""A study reads run folders without trusting them, and says every number with its unit, interval and class."""

import io
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
from experiments import schema, study
from experiments.found import Refused, Run, find, read
from experiments.labels import labels
from experiments.study import AtEnd, report
from experiments.tables import column_width, text_width
from experiments.tidy import COLUMNS, csv, frame
from tests.experiments.folders import Trap, folder


@pytest.fixture(scope="module")
def runs(ledgers, tmp_path_factory):
    """Four finished runs, whose folders sort in the reverse of their multirun's order; to be read only."""
    out = tmp_path_factory.mktemp("runs") / "study"
    for n, ledger in enumerate(ledgers[1]()):
        asked = ["experiment=first_look", f"perception={ledger['perception']['name']}"]
        folder(out / f"{9 - n}", ledger, n, asked)
    return out


@pytest.fixture(scope="module")
def reported(runs, tmp_path_factory):
    """(folder, what was printed): the report of the four, and of a broken and an unfinished folder beside them."""
    out = tmp_path_factory.mktemp("reported") / "study"
    shutil.copytree(runs, out)
    (out / "broken").mkdir()
    (out / "broken" / "ledger.json").write_bytes(b"{")
    (out / "5" / ".hydra").mkdir(parents=True)
    with open(os.devnull, "w") as nowhere:
        console = Console(width=100, record=True, file=nowhere, highlight=False)
        assert report([out], out, console)
    return out, console.export_text()


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


def test_long_overrides_do_not_make_long_labels(ledgers, tmp_path):
    rows = ["[[0.5,0.25,0.25],[0.25,0.5,0.25]]", "[[0.5,0.25,0.25],[0.25,0.25,0.5]]"]
    for n, value in enumerate(rows):
        folder(tmp_path / f"run{n}", ledgers[0](), n, [f"world.table.rows={value}"])
    names = labels(find([tmp_path])[0])
    assert len(set(names)) == 2 and all(x.startswith("decay / ALiBi world.table.rows=#") for x in names)
    folder(tmp_path / "run2", ledgers[0](), 2, [f"world.kernel.{'x' * 60}=1", "reach.rate=0.1"])
    assert labels(find([tmp_path])[0])[2] == "decay / ALiBi on decay (run2)"


def test_a_study_that_was_cut_short_is_still_reported(ledgers, tmp_path, monkeypatch):
    def refuses(runs, out, console):
        raise ValueError(f"scaling: an exponent needs 3 cells, but got {len(runs)}")

    monkeypatch.setitem(study.STUDIES, "scaling", refuses)
    monkeypatch.setattr(study, "write_all", lambda out, runs, names: [])  # the figures are not the question
    folder(tmp_path / "run", ledgers[0]() | {"study": "scaling"})
    console = Console(file=io.StringIO(), highlight=False)
    assert report([tmp_path], tmp_path, console)
    page = (tmp_path / "report.html").read_text()
    assert "an exponent needs 3 cells, but got 1" in page and "an exponent needs 3 cells" in console.file.getvalue()


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


def test_infinite_and_undefined_numbers_survive_the_csv(ledgers, tmp_path):
    ledger = ledgers[0]("absolute", "learned")
    ledger["gaps"]["R-D"] |= {"nats": "inf", "low": "inf", "high": "inf"}
    ledger["diverged"] = {"1": 40}
    table = pd.read_csv(io.BytesIO(csv(frame([read(folder(tmp_path / "run", ledger))], tmp_path))))
    assert table[(table.layer == "R-D") & (table.length == 32)].value.tolist() == [np.inf]
    beyond = table[(table.layer == "P-D") & (table.length == 64)].iloc[0]
    assert np.isnan(beyond.value) and beyond["class"] == "undefined"
    assert table[table.diverged.notna()][["seed", "diverged"]].drop_duplicates().values.tolist() == [[1, 40]]


def test_a_study_writes_its_files_and_prints_its_table(reported):
    out, said = reported
    names = {"ledger.csv", "columns.csv", "report.html"} | {
        f"{stem}{column}.{ending}"
        for column in ("", "-column")
        for stem, ending in (("table", "tex"), ("figure", "pdf"), ("figure", "png"))
    }
    assert names <= {path.name for path in out.iterdir()}
    for text in ("order free / NoPE", "I - P", "−0.0360", "[0.0061, 0.0081]"):
        assert text in said
    text = (out / "table.tex").read_text()
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"$+0.0412^{\mathrm{c}}$" in text and r"$-0.0360^{\mathrm{w}}$" in text
    assert r"$4\times$" in text and "$P - D$" in text and "∞" not in text
    assert "/home" not in (out / "ledger.csv").read_text()  # paths are relative, interpolations stay text


def test_broken_and_unfinished_folders_are_listed_and_not_fatal(reported):
    out, said = reported
    assert "broken: ledger.json cannot be read" in said and "5: it is not finished: there is no ledger.json" in said
    assert "4 runs, 2 left out" in said
    page = (out / "report.html").read_text()
    assert "2 folders left out" in page and "it is not finished" in page


def test_the_table_says_infinite_and_undefined(ledgers, tmp_path):
    ledger = ledgers[0]("absolute", "learned_100%")
    for gap in ("R-I", "R-D"):
        ledger["gaps"][gap] |= {"nats": "inf", "low": "inf", "high": "inf"}
    ledger["lengths"]["128"]["gaps"]["R-D"] = {"nats": None, "low": None, "high": None, "class": "undefined"}
    run = read(folder(tmp_path / "run", ledger | {"diverged": {"0": 3}}))
    for text in (text_width([run], ["learned_100%"]), column_width([run], ["learned_100%"])):
        assert r"$\infty ^{\mathrm{e}}$" in text and "undefined" in text and r"learned\_\hspace{0pt}100\%" in text
        assert "nan" not in text and "None" not in text and "1 of the trainings diverged" in text


PAPERS = {
    "text": (r"\documentclass{article}\usepackage[textwidth=5.5in]{geometry}", text_width, "figure"),
    "column": (
        r"\documentclass[twocolumn]{article}\usepackage[textwidth=6.75in,columnsep=0.25in]{geometry}",
        column_width,
        "figure-column",
    ),
}


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="LaTeX is not at hand (apt-get install texlive-latex-base)"
)
@pytest.mark.parametrize("width", PAPERS)
def test_tables_and_figures_compile_in_a_papers_width(width, ledgers, reported, tmp_path):
    made, four = ledgers
    evil = made("absolute", "a_b^c~d$e%f&g#h{i}j\\input{k}<l>|m*[n]\N{SNOWMAN}")
    for n, ledger in enumerate([evil, *four(), *four()]):
        folder(tmp_path / "study" / f"[{n}]", ledger, n, [f"reach.rate=0.00{n}", f"world.kernel.rate={n}", "+x=[1,2]"])
    runs, _ = find([tmp_path / "study"])
    head, write, figure = PAPERS[width]
    (tmp_path / "table.tex").write_text(write(runs, labels(runs)))
    shutil.copy(reported[0] / f"{figure}.pdf", tmp_path)
    body = rf"\input{{table}}\begin{{figure}}\includegraphics{{{figure}}}\end{{figure}}"
    packages = r"\usepackage{booktabs,graphicx}"
    (tmp_path / "paper.tex").write_text(rf"{head}{packages}\begin{{document}}{body}\end{{document}}")
    asked = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and "Float too large" not in done.stdout, done.stdout


def test_no_text_of_a_run_is_a_formula_in_the_table(ledgers, tmp_path):
    ledger = ledgers[0]()
    ledger["world"]["name"] = "=cmd|' /C calc'!A0"
    ledger["gaps"]["P-D"] |= {"nats": -0.5, "low": -0.5, "high": -0.5}
    run = read(folder(tmp_path / "-run", ledger, 0, ["+x=1"]))
    table = pd.read_csv(io.BytesIO(csv(frame([run], tmp_path))))
    assert set(table.world) == {"'=cmd|' /C calc'!A0"} and set(table.run) == {"'-run"}
    assert set(table.overrides) == {"'+x=1"}
    assert table[(table.layer == "P-D") & (table.length == 32)].value.iloc[0] == -0.5  # a number stays one


def test_the_dictionary_says_what_every_column_holds(reported):
    found, table = (pd.read_csv(reported[0] / name) for name in ("columns.csv", "ledger.csv"))
    assert found.column.tolist() == table.columns.tolist() and found.meaning.notna().all()


def test_parquet_holds_what_the_csv_holds(reported):
    pytest.importorskip("pyarrow")
    table, parquet = pd.read_csv(reported[0] / "ledger.csv"), pd.read_parquet(reported[0] / "ledger.parquet")
    assert list(table) == list(parquet)
    for name in ("value", "low", "high"):
        np.testing.assert_array_equal(table[name], parquet[name])


BROKEN = {
    "not JSON": b"{",
    "not text": pickle.dumps(Trap()),
    "no ledger": b"[]",
    "another schema": b'{"schema": 99}',
    "half a ledger": b'{"schema": 1, "gaps": {}, "layers": 3}',
    "not a number": b'{"schema": 1, "residual": NaN}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_ledger_is_refused_with_a_reason(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledger.json").write_bytes(content)
    found = read(tmp_path)
    assert isinstance(found, Refused) and "ledger.json" in found.reason
    assert not (tmp_path / "sprung").exists()


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


def test_the_command_writes_where_it_is_told(runs, tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "report", lambda folders, out, console: asked.append((folders, out)) or True)
    assert command.main([str(runs), str(runs / "9"), "--out", str(tmp_path / "out")]) == 0
    assert command.main([str(runs)]) == 0
    assert asked == [([runs, runs / "9"], tmp_path / "out"), ([runs], runs)]
    with pytest.raises(SystemExit):
        command.main([str(runs), str(runs / "9")])
    assert "--out must say where the files go" in capsys.readouterr().err
    assert frame(find([runs])[0], tmp_path / "out")["run"].str.contains("/study/").all()  # as seen from the table


def test_jobs_of_a_multirun_share_its_folder_and_its_end_makes_the_study(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NOUMENA_SWEEP", raising=False)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "${sweep:}"}, "overrides": {"task": ["world=decay,mess3"]}}})
    job = OmegaConf.create({"hydra": {"sweep": {"dir": "${sweep:}"}, "overrides": {"task": ["world=mess3"]}}})
    asked = config.hydra.sweep.dir
    assert job.hydra.sweep.dir != asked
    AtEnd().on_multirun_start(config)
    assert job.hydra.sweep.dir == asked
    shutil.copytree(runs / "9", tmp_path / "9")
    config.hydra.sweep.dir = str(tmp_path)
    AtEnd().on_multirun_end(config)
    assert (
        (tmp_path / "report.html").exists()
        and (tmp_path / "figure.png").exists()
        and "order free / NoPE" in capsys.readouterr().out
    )
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
