"""The panel with the real worker and a real server: the whole way, cancel, and a server that goes away."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import waitFor
from phantom_case import phantomCase
from test_run_on import choose
from test_whole_way import DEMO_BUNDLE, RUN_SEC, regionAround

pytestmark = [
    pytest.mark.render,
    pytest.mark.skipif(not (DEMO_BUNDLE / "bundle.json").exists(), reason="the demo bundle is not there"),
    pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("tornado") is None, reason="tornado is not installed"),
]


@pytest.fixture
def server(tmp_path):
    """A server on this computer: its process, its address, and where it has CTs."""
    temporary = tmp_path / "server"
    temporary.mkdir()
    command = [sys.executable, "-m", "twintrack", "serve", "--bundle", str(DEMO_BUNDLE), "--port", "0"]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        ready = next((line for line in process.stdout if line.startswith("ready at ")), "")
        assert ready
        yield process, ready.split()[-1], temporary
        process.terminate()
    assert not list(temporary.iterdir())


def runFolders(temporary: Path) -> list[Path]:
    return list(temporary.glob(".twintrack-scratch-*/[!.]*"))


def test_a_run_on_a_server_is_a_run_on_this_computer(panel, scene, server, shown):
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume

    process, address, temporary = server
    phantom = phantomCase()
    ct = nodeFromVolume(phantom.ct, "Phantom")
    choose(panel, 1)
    try:
        panel.ui.serverLineEdit.text = address
        panel.ui.serverLineEdit.editingFinished.emit()
        panel.ui.inputSelector.setCurrentNode(ct)
        panel.ui.roiSelector.setCurrentNode(regionAround(ct, scene, phantom))
        panel.ui.segmentButton.click()
        waitFor(lambda: not panel.logic.running, RUN_SEC)
        assert panel.results.result is not None, panel.ui.statusLabel.text
        assert panel.results.result.outline.volumeMl > 0
        assert "DEMO MODEL" in panel.ui.resultBadge.text
        assert not runFolders(temporary)

        panel.ui.roiSelector.setCurrentNode(None)
        panel.ui.segmentButton.click()
        waitFor(lambda: panel.ui.progressBar.value > 150, RUN_SEC)  # the server computes
        assert runFolders(temporary)
        panel.logic.cancel()
        waitFor(lambda: not panel.logic.running, RUN_SEC)
        waitFor(lambda: not runFolders(temporary))
        assert shown == []

        process.terminate()
        process.wait()
        panel.ui.segmentButton.click()
        waitFor(lambda: not panel.logic.running, RUN_SEC)
        assert len(shown) == 1
        assert shown[0].startswith(f"{address}: no server can be reached there (Connection refused)")
    finally:
        choose(panel, 0)
        panel.ui.serverLineEdit.text = ""
