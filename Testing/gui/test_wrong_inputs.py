"""What does not fit is refused with one sentence, stays readable in the panel, and starts nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import GOES_ON, addSegments, chosen, waitFor

pytestmark = pytest.mark.render


def refused(panel, shown) -> str:
    """Press Segment; return the one sentence that is shown, in a box and in the panel."""
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    (sentence,) = shown
    assert panel.ui.statusLabel.text == f"Failed: {sentence}"
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentButton.enabled
    assert not panel.ui.resultBox.enabled
    return sentence


def test_an_mr_is_no_ct(panel, bundle, shown, worker, scene):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    slicer.util.updateVolumeFromArray(node, np.arange(1000).reshape(10, 10, 10).astype(np.int16))
    chosen(panel, node, bundle)
    worker(GOES_ON)
    assert "'T1' does not look like a CT" in refused(panel, shown)


def test_no_bundle(panel, ct, tmp_path, shown):
    chosen(panel, ct, tmp_path / "nothing")
    assert "not a model bundle" in panel.ui.bundleLabel.text
    assert "not a model bundle" in refused(panel, shown)


@pytest.mark.parametrize("text", ["{", '{"schema": 7}', "[]"])
def test_a_bundle_with_a_damaged_document(panel, ct, bundle, shown, text):
    (bundle / "bundle.json").write_text(text, encoding="utf-8")
    chosen(panel, ct, bundle)
    assert str(bundle) in panel.ui.bundleLabel.text
    assert refused(panel, shown) == panel.ui.bundleLabel.text


def test_a_zip_file_without_a_bundle(panel, ct, tmp_path, shown):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("nothing")
    archive = shutil.make_archive(str(tmp_path / "empty"), "zip", tmp_path / "empty")
    chosen(panel, ct, archive)
    assert "has no bundle.json" in refused(panel, shown)


def test_vessels_of_another_patient(panel, ct, bundle, shown, worker, scene):
    import slicer
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    far = np.diag([-1.0, -1.0, 2.0, 1.0])
    far[:3, 3] = 5000
    other = makeExampleCt(far, "Other CT")
    vessels = addSegments(other, ["SMA"])
    chosen(panel, ct, bundle)
    panel.ui.vesselSelector.setCurrentNode(vessels)
    worker(GOES_ON)
    assert "choose the vessel segmentation of this CT" in refused(panel, shown)
    assert slicer.util.getNode("Other CT") is not None


def test_vessels_that_are_assigned_twice(panel, ct, bundle, shown, worker):
    vessels = addSegments(ct, ["SMA", "Aorta"])
    chosen(panel, ct, bundle)
    panel.ui.vesselSelector.setCurrentNode(vessels)
    combo = panel.ui.vesselSmvComboBox
    combo.setCurrentIndex(combo.findText("SMA"))
    combo.activated.emit(combo.currentIndex)
    worker(GOES_ON)
    assert "give each vessel its own" in refused(panel, shown)


def test_a_region_beside_the_ct(panel, ct, bundle, shown, worker, scene):
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    region.SetSize(10, 10, 10)
    region.SetCenter(9000, 0, 0)
    chosen(panel, ct, bundle)
    panel.ui.roiSelector.setCurrentNode(region)
    worker(GOES_ON)
    assert "the region 'Region' does not reach into volume" in refused(panel, shown)


def test_a_result_of_another_ct_is_dropped_with_a_sentence(panel, ct, bundle, shown, worker, readyResult, tmp_path):
    folder = shutil.copytree(readyResult, tmp_path / "damaged")
    (folder / "result.json").write_text(json.dumps({"schema": 2}), encoding="utf-8")
    chosen(panel, ct, bundle)
    worker(f"shutil.copytree({str(folder)!r}, request['out'])\nsay(event='done', out=request['out'])\n")
    assert "another version of TwinTrackSeg" in refused(panel, shown)


def test_a_sentence_goes_when_the_next_run_begins(panel, ct, bundle, shown, worker, scene):
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    slicer.util.updateVolumeFromArray(node, np.arange(1000).reshape(10, 10, 10).astype(np.int16))
    chosen(panel, node, bundle)
    refused(panel, shown)
    assert panel.ui.statusLabel.autoFillBackground
    panel.ui.inputSelector.setCurrentNode(ct)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    assert panel.ui.statusLabel.text == "Starting the model..."
    assert not panel.ui.statusLabel.autoFillBackground
