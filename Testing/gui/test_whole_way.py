"""A user's whole way through the panel with the real worker and the demo bundle: from a CT to report and calibrator."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import cells, savingTo, waitFor
from phantom_case import boxAround, phantomCase

import twintrack

DEMO_BUNDLE = Path(twintrack.__file__).parent / "data" / "demo_bundle"
RUN_SEC = 900

pytestmark = [
    pytest.mark.render,
    pytest.mark.skipif(not (DEMO_BUNDLE / "bundle.json").exists(), reason="the demo bundle is not there"),
    pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed"),
]


def tickReaders(panel, names) -> None:
    import qt

    panel.raters.presenter.update()
    for row in range(panel.ui.readersList.count):
        item = panel.ui.readersList.item(row)
        item.setCheckState(qt.Qt.Checked if item.text().endswith(tuple(names)) else qt.Qt.Unchecked)


def addRaters(ct, phantom):
    """Put the phantom's readers into the scene."""
    from segment_drawing import drawSegment

    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Site")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for number, reader in enumerate(phantom.annotations, start=1):
        identifier = node.GetSegmentation().AddEmptySegment(f"r{number}", f"Reader {number}")
        drawSegment(node, identifier, reader.array > 0, ct)
    return node


def regionAround(ct, scene, phantom):
    """Return a region around the phantom's tumour."""
    import slicer
    from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas

    box = np.array(boxAround(phantom)).reshape(3, 2)
    corners = np.stack([box[:, 0] - 0.5, box[:, 1] - 0.5])
    matrix = slicer.util.arrayFromVTKMatrix(ijkToRas(ct))
    ras = corners @ matrix[:3, :3].T + matrix[:3, 3]
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Around the tumour")
    region.SetCenter(*ras.mean(axis=0))
    region.SetSize(*np.abs(np.diff(ras, axis=0))[0])
    return region


def segment(panel, ct, scene, phantom):
    """Choose CT, demo bundle and region, press Segment, wait."""
    region = regionAround(ct, scene, phantom)
    panel.ui.inputSelector.setCurrentNode(ct)
    panel.ui.demoBundleButton.click()
    panel.ui.roiSelector.setCurrentNode(region)
    panel.ui.keepScoreCheckBox.checked = True
    panel.ui.deviceComboBox.setCurrentIndex(1)
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running, RUN_SEC)
    assert panel.results.result is not None, panel.ui.statusLabel.text
    return panel.results.result


def test_from_a_ct_to_report_and_calibrator(panel, scene, tmp_path, monkeypatch, shown):
    import slicer
    from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, segmentMask

    phantom = phantomCase()
    ct = nodeFromVolume(phantom.ct, "Phantom")
    result = segment(panel, ct, scene, phantom)
    assert "DEMO MODEL" in panel.ui.resultBadge.text
    assert "voxels that at least 50 % mark" in panel.ui.volumeLabel.text
    shown_vessels = {row[0] for row in cells(panel)} - {"PV and SMV"}  # where the two labels touch
    assert shown_vessels == {"Portal vein", "SMV", "Aorta", "Celiac trunk", "SMA"}

    panel.ui.readerTicks.layout().itemAt(0).widget().click()
    atOne = result.outline.volumeMl
    panel.ui.readerTicks.layout().itemAt(3).widget().click()
    assert result.outline.volumeMl < atOne
    panel.ui.vesselTable.selectRow(0)
    chart = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")[0]
    assert chart.GetTitle().startswith(result.outline.readouts[0].title)
    panel.ui.jumpButton.click()

    panel.raters.presenter.cases = SiteCases(tmp_path / "cases.npz")
    addRaters(ct, phantom)
    tickReaders(panel, ["1", "2", "3"])
    panel.ui.evaluateButton.click()
    assert panel.ui.metricsTable.rowCount > 10
    for readers in (["1", "2"], ["2", "3"]):
        tickReaders(panel, readers)
        panel.ui.addCaseButton.click()
    own = tmp_path / "site.json"
    savingTo(panel, monkeypatch, str(own))
    panel.ui.fitButton.click()
    assert own.is_file()

    panel.results.settle()
    assert segmentMask(result.nodes.segmentation, "tumor", ct).sum() > 0
    folder = tmp_path / "saved"
    folder.mkdir()
    savingTo(panel, monkeypatch, folder / "map.nrrd")
    panel.ui.saveButton.click()
    assert shown == []
    assert list(folder.glob("*MHR*.nrrd"))
    panel.ui.calibratorPathEdit.currentPath = ""
    panel.ui.deviceComboBox.setCurrentIndex(0)
