"""A position scheme from outside the repository, as the README says: ten lines, a YAML file, one command."""

import json
import re
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import entry, run
from tests.experiments.test_run import QUIET, TINY

README = (Path(__file__).parents[2] / "README.md").read_text()


def told(fence):
    """The README's lines for a file, fenced under its name."""
    (text,) = re.findall(rf"```{re.escape(fence)}\n(.*?)```", README, re.DOTALL)
    return text


PROGRAM, CONFIG = told("python beat.py"), told("yaml beat.yaml")
ENDING = PROGRAM + "    def limit(self, trained): return trained  # nothing is said of longer sequences\n"


pytestmark = pytest.mark.slow  # two runs whose programs nothing else compiles: half a minute


@pytest.fixture
def ledger(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, with the reader's own folder, and reads its ledger."""

    def ledger(program):
        (tmp_path / "perception" / "scheme").mkdir(parents=True)
        (tmp_path / "beat.py").write_text(program)
        (tmp_path / "perception" / "scheme" / "beat.yaml").write_text(CONFIG)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "beat", raising=False)
        GlobalHydra.instance().clear()
        own = ["perception/scheme=beat", "perception=offset", "instantiation.heads=2"]
        words = [*QUIET, *TINY, *own, f"hydra.run.dir={tmp_path / 'run'}"]
        monkeypatch.setattr(sys, "argv", ["experiments.run", "--config-dir", str(tmp_path), *words])
        entry.command(run.run)
        capsys.readouterr()
        return json.loads((tmp_path / "run" / "ledger.json").read_text())

    return ledger


def test_ten_lines_are_a_scheme_that_trains_and_extrapolates(ledger):
    found = ledger(PROGRAM)
    assert found["perception"]["scheme"] == {"name": "beat", "_target_": "beat.Beat", "period": 2, "price": 1.5}
    assert [part["layers"]["R"]["class"] for part in found["lengths"].values()] == ["estimated"] * 2
    assert not found["contained"]  # nothing is claimed of what nobody has proved
    assert len([x for x in PROGRAM.splitlines() if x and not x.startswith(("import", "from"))]) <= 10


def test_a_scheme_that_ends_is_undefined_beyond(ledger):
    trained, longer = ledger(ENDING)["lengths"].values()
    assert trained["layers"]["R"]["class"] == "estimated"
    assert [longer["layers"][k]["class"] for k in "IR"] == ["undefined"] * 2
    assert longer["layers"]["R"]["loss"] is None
