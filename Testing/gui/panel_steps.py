"""What a user does with the panel, for the tests: choose, wait, segment, read, take a picture."""

from __future__ import annotations

import time

import numpy as np

TIMEOUT_SEC = 180
HEAD = "import json, os, shutil, sys, time\nrequest = json.loads(sys.stdin.readline())\n" + (
    "def say(**event):\n    print(json.dumps(event), flush=True)\n"
)
GOES_ON = "say(event='progress', fraction=0.3, message='member 1 of 3')\ntime.sleep(600)\n"


def finishes(tmp_path, ct, threshold: float = 0.5) -> str:
    """Return statements of a run that ends well, with the example result for `ct`."""
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    ready = writeExampleResult(tmp_path / "ready", ct, threshold)
    return (
        "say(event='progress', fraction=0.25, message='localizing')\n"
        f"shutil.copytree({str(ready)!r}, request['out'])\n"
        "say(event='done', out=request['out'])\n"
    )


def waitFor(condition, seconds: float = TIMEOUT_SEC) -> None:
    import slicer

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        slicer.app.processEvents()
        time.sleep(0.01)


def cells(panel) -> list[list[str]]:
    table = panel.ui.vesselTable
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def chosen(panel, ct, bundle) -> None:
    panel.ui.inputSelector.setCurrentNode(ct)
    panel.ui.bundlePathEdit.currentPath = str(bundle)


def segmented(panel, ct, bundle, worker, tmp_path, threshold: float = 0.5):
    """Press Segment and wait for the result."""
    chosen(panel, ct, bundle)
    panel.ui.thresholdSlider.value = threshold
    worker(finishes(tmp_path, ct, threshold))
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.statusLabel.text == ""  # the result says it
    return panel.results.result


def savingTo(panel, monkeypatch, path) -> None:
    """Answer the dialogs that ask where to save; an empty path is a user who thinks better of it."""
    answer = str(path)
    monkeypatch.setattr(panel.host, "askSave", lambda _asked, _ct, chosen: chosen(answer) if answer else None)


def addSegments(volumeNode, names):
    """Return a segmentation node with one cubic segment for each name."""
    from segment_drawing import drawSegment

    import slicer
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for number, name in enumerate(names):
        identifier = node.GetSegmentation().AddEmptySegment(f"s{number}", name)
        mask = np.zeros(volumeFromNode(volumeNode).array.shape, dtype=bool)
        mask[8:16, 18:30, 20 + number : 32 + number] = True
        drawSegment(node, identifier, mask, volumeNode)
    return node
