"""Where the model will run, runs and ran, with its memory, is to be read in the panel."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import chosen, waitFor

from twintrack.inference import Processor

pytestmark = pytest.mark.render

GIGABYTE = 10**9
FOUND = [
    Processor("cuda:0", "Big Card", 80 * GIGABYTE, 61 * GIGABYTE).to_json(),
    Processor("cpu", "", 32 * GIGABYTE, None).to_json(),
]
WAITS = (
    "import json, os, shutil, sys, time\n"
    "def say(**event):\n    print(json.dumps(event), flush=True)\n"
    f"say(event='ready', devices=json.loads({json.dumps(FOUND)!r}))\n"
    "request = json.loads(sys.stdin.readline())\n"
)
GIVES_WAY = (
    f"say(event='progress', fraction=0.1, message='reading', device=json.loads({json.dumps(FOUND[0])!r}), notes=[])\n"
    "assert sys.stdin.readline() == 'cancel\\n'\n"
    f"say(event='progress', fraction=0.4, message='scoring', device=json.loads({json.dumps(FOUND[1])!r}),\n"
    "    notes=['the GPU ran out of memory; 2 tiles at a time', 'the CPU runs it'])\n"
    "time.sleep(600)\n"
)


@pytest.fixture
def prepared(panel, ct, bundle, tmp_path, monkeypatch):
    """Return the panel with a model's process that has said what it found; it answers a request as told."""
    monkeypatch.setattr(panel.host, "canRunModel", lambda: True)
    monkeypatch.setattr(panel.host, "ensureModel", lambda: None)

    def prepare(body: str = "") -> None:
        script = tmp_path / "panel_worker.py"
        script.write_text(WAITS + body, encoding="utf-8")
        panel.logic.workerCommand = [sys.executable, str(script)]
        panel.logic.graceSec = 600
        chosen(panel, ct, bundle)
        panel.ui.setupCollapsibleButton.collapsed = False
        assert not panel.ui.deviceLabel.isVisibleTo(panel.parent)
        panel.run.presenter.prepareSoon(0)
        waitFor(lambda: panel.ui.deviceLabel.text)

    yield prepare
    panel.ui.deviceComboBox.setCurrentIndex(0)
    panel.ui.deviceComboBox.activated.emit(0)


def choose(panel, device: str) -> None:
    panel.ui.deviceComboBox.setCurrentIndex(panel.ui.deviceComboBox.findData(device))
    panel.ui.deviceComboBox.activated.emit(panel.ui.deviceComboBox.currentIndex)


def test_the_processor_that_automatic_takes_is_shown_before_a_run_and_follows_the_choice(panel, prepared):
    prepared()
    assert panel.ui.deviceLabel.isVisibleTo(panel.parent)
    assert panel.ui.deviceLabel.text == "Will run on Big Card: 61.0 of 80 GB of memory free"
    choose(panel, "cpu")
    assert panel.ui.deviceLabel.text == "Will run on the CPU: 32 GB of memory"
    choose(panel, "mps")
    assert panel.ui.deviceLabel.text.startswith("The chosen processor was not found; there is Big Card")


def test_a_run_that_gives_way_for_lack_of_memory_says_so(panel, prepared):
    prepared(GIVES_WAY)
    panel.ui.segmentButton.click()
    waitFor(lambda: panel.ui.deviceLabel.text == "Runs on Big Card: 61.0 of 80 GB of memory free")
    panel.logic.cancel()  # lets it go on
    waitFor(lambda: panel.ui.deviceLabel.text.startswith("Runs on the CPU"))
    assert panel.ui.deviceLabel.text.splitlines()[1:] == [
        "the GPU ran out of memory; 2 tiles at a time",
        "the CPU runs it",
    ]
    panel.logic.abort()


def test_what_was_really_used_stays_with_the_result(panel, ct, bundle, worker, tmp_path):
    from panel_steps import finishes

    body = finishes(tmp_path, ct)
    path = tmp_path / "ready" / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record |= {"device": "cpu", "engine": {"notes": ["the GPU has too little memory; the CPU runs it"]}}
    path.write_text(json.dumps(record), encoding="utf-8")
    chosen(panel, ct, bundle)
    worker(body)
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.statusLabel.text == "Done; the GPU has too little memory; the CPU runs it."
    lines = panel.ui.notesLabel.text.splitlines()
    assert lines[lines.index("Computed on: cpu") + 1] == "the GPU has too little memory; the CPU runs it"
