"""The page is whole, says what the ledgers say, lets no foreign text act, and works in a real browser by keyboard."""

import base64
import hashlib
import html
import html.parser
import json
import pickle
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra.types import RunMode

import experiments.schema  # noqa: F401  the types of a config
from experiments.cell import identity
from experiments.found import find
from experiments.labels import labels
from experiments.page import contents
from experiments.page.build import command, page
from tests.experiments.browser import PROGRAM, Browser
from tests.experiments.folders import Trap, folder

EVIL = "</script><img src=x onerror=alert(1)>{{7*7}}<script>alert(2)</script>"
chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is at hand (apt-get install chromium)")


@pytest.fixture
def study(ledgers, tmp_path):
    """Four finished runs with curves and configs, one of which lost a seed, and two folders that hold none."""
    _, four = ledgers
    out = tmp_path / "study"
    for n, ledger in enumerate(four()):
        name = ledger["perception"]["name"]
        place = folder(out / name, ledger, n, ["experiment=first_look", f"perception={name}", "reach.seeds=4"])
        (place / ".hydra" / "config.yaml").write_text(f"world: decay\nperception: {name}\n")
        time = np.linspace(0.1, 0.2, 60)
        np.savez(
            place / "curves.npz", **{"excess/32": np.ones((4, 32)), "train/excess": np.outer(np.arange(4) + 1, time)}
        )
    path = out / "offset" / "ledger.json"
    ledger = json.loads(path.read_text())
    for part in (ledger, *ledger["lengths"].values()):
        part["members"][2] |= {"excess": "inf", "low": "inf", "high": "inf"}
        part["gaps"] |= {k: part["gaps"][k] | {"nats": "inf", "low": "inf", "high": "inf"} for k in ("R-I", "R-D")}
    path.write_text(json.dumps(ledger | {"diverged": {"2": 17}}))
    (out / "broken").mkdir()
    (out / "broken" / "ledger.json").write_bytes(b"{")
    return out


def built(out):
    runs, refused = find([out])
    return page(out, runs, refused, labels(runs)).decode()


class Tags(html.parser.HTMLParser):
    """All tags and attributes of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        self.scripts += [""] * (tag == "script")

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        self.inside = None


def data(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_is_whole_and_the_same_each_time(study):
    text = built(study)
    tags = Tags(text)
    assert text == built(study)
    assert not [x for tag, more in tags.tags for k, x in more.items() if k in ("src", "href") and not x.startswith("#")]
    assert not [tag for tag, _ in tags.tags if tag in ("link", "iframe", "object", "base")] and "@import" not in text
    (policy,) = [more["content"] for tag, more in tags.tags if more.get("http-equiv") == "Content-Security-Policy"]
    hashes = [base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in tags.scripts[1:]]
    assert len(hashes) == 2 and all(f"'sha256-{x}'" in policy for x in hashes)
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0] and policy.startswith("default-src 'none'")


def test_the_page_says_what_the_ledgers_say(study):
    text = built(study)
    runs, _ = find([study])
    table = contents.lengths(runs)
    for n, run in enumerate(runs):
        for length, part in run.ledger["lengths"].items():
            at = table[(table.run == n) & (table.multiple == int(length) / 32) & (table.what == "R-D")]
            drawn = contents.packed(at)
            said = [
                contents.finite(part["gaps"]["R-D"]["nats"]),
                *(contents.finite(x["excess"]) for x in part["members"]),
            ]
            assert drawn["mean"] == [None if x is None else pytest.approx(x, rel=1e-5) for x in said]  # to six digits
            assert None in said or run.ledger["perception"]["name"] != "offset"
    assert "seed 2 diverged at step 17" in text and "broken" in text and "ledger.json cannot be read" in text
    assert "git commit" in text and "perception=decay" in text and "experiments.run" in text
    assert [x["label"] for x in data(text)["runs"]] == labels(runs)


def test_curves_are_thinned_by_means_that_leave_the_total_as_it_is():
    rng = np.random.default_rng(0)
    for time in (1, 7, 48, 500):
        array = rng.gamma(1.0, 1.0, (3, time))
        for spaced in (False, True):
            rows = contents._thinned(array, spaced)
            # at = the middle of (start + 1 .. end), so that starts and ends follow from one another
            start, total = 0, 0.0
            for row in rows:
                end = round(2 * row["at"]) - start - 1
                total += row["mean"] * (end - start)
                assert row["low"] <= row["mean"] <= row["high"]
                start = end
            assert start == time and len(rows) <= contents.POINTS
            assert total == pytest.approx(array.mean(0).sum(), rel=1e-12)  # float64 sums of at most 1500 terms


def test_a_hundred_runs_stay_below_eight_megabytes(ledgers, tmp_path):
    _, four = ledgers
    sizes, ledgers = [], four()
    for count in (2, 10):
        for n in range(count):
            place = folder(tmp_path / f"{count}" / f"{n}", ledgers[n % 4], n, [f"reach.rate={n}", "world=decay"])
            (place / ".hydra" / "config.yaml").write_text("key: value\n" * 400)  # twice what a config has
            noise = np.random.default_rng(n).random((4, 1024))
            arrays = {f"excess/{32 * 2**k}": noise[:, : 32 * 2**k] for k in range(5)}
            np.savez(place / "curves.npz", **arrays, **{"train/excess": noise})
        sizes.append(len(built(tmp_path / f"{count}").encode()))
    assert sizes[1] + 90 * (sizes[1] - sizes[0]) / 8 < 8_000_000


def poisoned(study):
    """The same study, with hostile text wherever a run folder can hold text."""
    path = study / "decay" / "ledger.json"
    ledger = json.loads(path.read_text())
    ledger["world"]["name"] = ledger["observation"] = ledger["instantiation"]["name"] = ledger["witness"] = EVIL
    ledger["sentences"] = {EVIL: EVIL}
    ledger["protocols"] = {EVIL: ledger["protocols"]["nonoverlapping"] | {"shows": EVIL, "unit": EVIL}}
    ledger["zeros"] = {EVIL: ledger["zeros"]["floor"] | {"of": EVIL}}
    path.write_text(json.dumps(ledger | {"diagnosis": {EVIL: EVIL}, "identity": EVIL}))
    (study / "decay" / "provenance.json").write_text(json.dumps({"git": {EVIL: EVIL}, "versions": EVIL}))
    (study / "decay" / ".hydra" / "config.yaml").write_text(f"a: '{EVIL}'\n")
    (study / "decay" / ".hydra" / "overrides.yaml").write_text(f"- 'x={EVIL}'\n- perception=decay\n")
    (study / "multirun.yaml").write_text(f"hydra: {{overrides: {{task: ['{EVIL}']}}}}\n")
    (study / "broken" / "ledger.json").write_text(json.dumps({"schema": EVIL}))
    claim = {
        "verdict": EVIL,
        "effect": 1.0,
        "low": 0.5,
        "high": 2.0,
        "unit": EVIL,
        "why": EVIL,
        "runs": ["decay", EVIL],
    }
    (study / "claims.json").write_text(json.dumps({EVIL: claim}))
    (study / "fidelity.csv").write_text(f'{EVIL},value,low,high\n"{EVIL}",1,0,2\n')
    world = {"share": 0.5, "rate": 0.9, "needed": EVIL, "preferred": EVIL, "agree": EVIL}
    pd.DataFrame([world]).to_csv(study / "phase.csv", index=False)
    (study / "picture.png").write_bytes(b"<svg onload=alert(3)>")
    return study


def test_no_text_of_a_run_folder_becomes_a_tag_or_a_script(study):
    clean = {(tag, *sorted(more)) for tag, more in Tags(built(study)).tags}
    text = built(poisoned(study))
    tags = Tags(text)
    allowed = {"img", "a", "details", "summary", "span", "abbr", "td", "br", "p", "div", "b", "li", "tr", "strong"}
    assert {tag for tag, *_ in ((tag, *sorted(more)) for tag, more in tags.tags)} - {
        tag for tag, *_ in clean
    } <= allowed
    assert not [more for _, more in tags.tags if any(k.startswith("on") for k in more)]
    assert not [more for tag, more in tags.tags if tag == "img"]  # the picture was none, and the other is text
    assert len(tags.scripts) == 3 and "49" not in re.findall(r"x=&lt;/script&gt;.*?(\d+)", text)
    assert "it is no PNG" in text and data(text)["runs"][1]["keys"]["world"] == EVIL


def test_curves_that_hold_objects_are_not_unpickled(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(study / "decay" / "curves.npz", **{"excess/32": np.array([Trap()], dtype=object)}, allow_pickle=True)
    (study / "decay" / "claims.json").write_bytes(pickle.dumps(Trap()))
    assert "No curves to read in: decay / ALiBi." in built(study)
    assert not (tmp_path / "sprung").exists()


def test_the_command_of_a_run_makes_that_run_alone(ledgers, tmp_path):
    overrides = ["perception=order_free", "experiment=first_look", "reach.rate=0.01", "measure.multiples=[1,2]"]
    place = folder(tmp_path / "run", ledgers[0](), 0, overrides)
    sources = [{"path": "/home/me/mine", "provider": "command-line"}, {"path": "conf", "provider": "main"}]
    (place / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"config_sources": sources}}}))
    words = shlex.split(command(find([place])[0][0]))
    assert words[:6] == ["./run", "python", "-m", "experiments.run", "--config-dir", "/home/me/mine"]
    with initialize_config_module("conf", version_base="1.3"):
        asked = compose("config", overrides=words[6:], return_hydra_config=True)
    assert asked.hydra.mode == RunMode.RUN  # although the experiment sweeps
    assert asked.reach.rate == 0.01 and asked.perception.scheme._target_ == "models.position.NoPE"


def test_the_hash_of_a_config_is_checked_against_the_ledger(study):
    config = {"world": {"rate": 0.1}, "study": "claims"}
    (study / "decay" / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    path = study / "decay" / "ledger.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"identity": identity(config)}))
    text = html.unescape(built(study))
    assert text.count("agrees with the ledger's") == 1 and text.count("differs from the ledger's") == 3


def test_claims_are_traced_to_their_runs_and_the_phase_diagram_is_drawn(study, ledgers):
    trial = {"effect": 0.5, "low": 0.1, "high": 0.9, "runs": ["decay", "nowhere"]}
    claim = {"effect": 12.0, "low": 9.0, "high": "inf", "unit": "ratio", "verdict": "confirmed", "trials": [trial]}
    (study / "claims.json").write_text(json.dumps({"C1": claim | {"runs": ["decay"]}, "C2": {"verdict": "undecided"}}))
    world = {"share": 0.5, "rate": 0.9, "needed": "offset", "needed_margin": 0.07, "preferred": "decay"}
    rows = [world | {"preferred_margin": 0.02, "agree": False, "concept": x} for x in ("decay", "offset")]
    pd.DataFrame(rows).to_csv(study / "phase.csv", index=False)
    text = built(study)
    assert text.count('href="#run-1"') == 2  # of the claim, and of its trial
    assert "nowhere" in text and text.index("claims.json") < text.index("phase.csv")
    found = data(text)
    assert found["intervals"][0]["ratio"] == [
        {"line": "C1 \N{MIDDLE DOT} confirmed", "note": "", "value": 12.0, "low": 9.0, "high": None}
    ]
    tiles = [(x["judge"].split(" (")[0], x["group"], x["margin"], x["agree"]) for x in found["phases"][1]]
    assert tiles == [
        ("what the world needs", "offset", "+0.070", False),
        ("what training prefers", "decay", "+0.020", False),
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@chromium
def test_the_page_opens_in_a_browser_without_error_and_without_the_network(study, browser):
    (study / "report.html").write_text(built(study))
    paper = {}
    for scheme in ("light", "dark"):
        browser.errors.clear()
        browser.requests.clear()
        browser.open(study / "report.html", scheme)
        drawn = browser.run(
            "[...document.querySelectorAll('.chart[data-chart]')].map((x) => x.querySelectorAll('svg.marks').length)"
        )
        assert drawn == [1] * 5
        paper[scheme] = browser.run("getComputedStyle(document.body).backgroundColor")
        ink = browser.run("document.querySelector('#ladders svg text').getAttribute('fill')")
        assert paper[scheme] != ink
        assert browser.errors == [] and browser.requests == [(study / "report.html").as_uri()]
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}
    browser.scheme("light")  # the page follows when the reader's scheme changes
    browser.drawn()
    assert browser.run("document.querySelector('.chart svg') !== null") and browser.errors == []


@chromium
def test_the_page_is_used_by_keyboard(study, browser):
    (study / "report.html").write_text(built(study))
    browser.open(study / "report.html")
    status, shown = (
        "document.getElementById('status').textContent",
        "document.querySelectorAll('#ladders tbody tr:not([hidden])').length",
    )
    drawn = "document.querySelector('#lengths .chart').textContent"
    assert browser.run(status) == "4 of 4 runs shown" and browser.run(shown) == 4
    assert "∞" in browser.run(drawn)  # RoPE's mean, one seed of which diverged
    for _ in range(60):  # tab to the box of one scheme, and press it
        browser.press("Tab")
        if browser.run("document.activeElement.matches('input[type=checkbox][value=rope]')"):
            break
    browser.press(" ")
    wait(browser, f"{status} === '3 of 4 runs shown'")
    assert browser.run(shown) == 3
    assert "∞" not in browser.run(drawn)
    browser.run("document.querySelector('#ladders [data-pick=\"1\"]').focus()")
    browser.press("Enter")
    assert browser.run("document.querySelector('#ladders [data-pick=\"1\"]').getAttribute('aria-pressed')") == "true"
    faint = "document.querySelectorAll('#training svg path[opacity=\"0.12\"]').length"
    assert browser.run(faint) == 2
    browser.press("Escape")
    assert browser.run(faint) == 0
    browser.run("document.querySelector('#ladders thead th:nth-child(3) button').focus()")
    browser.press("Enter")
    order = browser.run(
        "[...document.querySelectorAll('#ladders tbody tr:not([hidden])')].map((x) => Number(x.cells[2].dataset.value))"
    )
    assert order == sorted(order) and order[0] != order[-1]
    assert browser.errors == []


@chromium
def test_what_is_under_the_mouse_is_said(study, browser):
    (study / "report.html").write_text(built(study))
    browser.open(study / "report.html")
    browser.run("document.querySelector('#lengths .chart').scrollIntoView({block: 'center'})")
    x, y = browser.run(
        "(() => { const b = document.querySelector('#lengths .mark-symbol path').getBoundingClientRect();"
        " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    browser.move(x - 40, y)
    browser.move(x, y)
    wait(browser, "(document.getElementById('vg-tooltip-element') || {textContent: ''}).textContent.includes('label')")
    assert "NoPE" in browser.run("document.getElementById('vg-tooltip-element').textContent")


@chromium
def test_hostile_text_does_nothing_in_a_browser(study, browser):
    (poisoned(study) / "report.html").write_text(built(study))
    browser.errors.clear()
    browser.open(study / "report.html")
    assert browser.errors == []
    assert browser.run("document.scripts.length") == 3 and browser.run("document.images.length") == 0


def wait(browser, condition):
    browser.drawn()
    for _ in range(100):
        if browser.run(condition):
            break
        browser.run("new Promise((done) => setTimeout(done, 50))")
    assert browser.run(condition), condition
    browser.drawn()
