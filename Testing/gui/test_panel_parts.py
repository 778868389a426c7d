"""The parts of the panel beyond a plain run: options, vessels, corrections, exports, own readers, installation."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import GOES_ON, cells, chosen, save, segmented, waitFor


@pytest.fixture
def done(panel, ct, bundle, worker, tmp_path):
    """The example result, made by a run of the panel."""
    return segmented(panel, ct, bundle, worker, tmp_path)


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


def test_the_escape_key_cancels_a_run_and_only_a_run(panel, ct, bundle, worker):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    assert not panel.run._escape.enabled
    panel.ui.segmentButton.click()
    assert panel.run._escape.enabled
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    panel.run._escape.activated.emit()
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.statusLabel.text == "Cancelled."
    assert not panel.run._escape.enabled


def test_percentage_and_elapsed_time_stand_in_the_bar(panel, ct, bundle, worker):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    waitFor(lambda: "after 0:0" in panel.ui.progressBar.format)
    assert panel.ui.progressBar.format.startswith("%p %")


def test_the_log_is_shown_on_demand(panel, ct, bundle, worker, pictures):
    chosen(panel, ct, bundle)
    worker("print('loading weights', file=sys.stderr, flush=True)\n" + GOES_ON)
    panel.ui.segmentButton.click()
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    assert not panel.ui.logText.isVisibleTo(panel.parent)
    panel.ui.logButton.click()
    assert panel.ui.logText.isVisibleTo(panel.parent)
    waitFor(lambda: "loading weights" in panel.ui.logText.plainText)
    save(panel, pictures / "panel_log.png")


def test_the_vessels_of_the_scene_are_matched_shown_editable_and_remembered(panel, ct, pictures):
    node = addSegments(ct, ["SMA", "Pancreas", "Aorta"])
    panel.ui.optionsCollapsibleButton.collapsed = False
    panel.ui.inputSelector.setCurrentNode(ct)
    assert not panel.ui.vesselSmaComboBox.isVisibleTo(panel.parent)
    panel.ui.vesselSelector.setCurrentNode(node)
    assert panel.ui.vesselSmaComboBox.isVisibleTo(panel.parent)
    assert panel.ui.vesselSmaComboBox.currentText == "SMA"
    assert panel.ui.vesselAortaComboBox.currentText == "Aorta"
    assert panel.ui.vesselSmvComboBox.currentText == "none"
    combo = panel.ui.vesselSmvComboBox
    combo.setCurrentIndex(combo.findText("Pancreas"))
    combo.activated.emit(combo.currentIndex)
    save(panel, pictures / "panel_options.png")
    panel.parent.exit()
    panel.parent.enter()
    assert panel.ui.vesselSmvComboBox.currentText == "Pancreas"
    assert panel.inputs.vessels().segments == {"PORTA": "", "SMV": "s1", "AORTA": "s2", "CELIAC": "", "SMA": "s0"}


def test_region_processor_calibrator_and_score_are_asked_of_the_model(panel, ct, bundle, worker, tmp_path, scene):
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    roi.SetSize(10, 6, 8)
    roi.SetCenter(-20, -15, 20)
    chosen(panel, ct, bundle)
    panel.ui.roiSelector.setCurrentNode(roi)
    panel.ui.deviceComboBox.setCurrentIndex(1)
    own = tmp_path / "calibrator.json"
    own.write_text("{}")
    panel.ui.calibratorPathEdit.currentPath = str(own)
    panel.ui.keepScoreCheckBox.checked = True
    note = tmp_path / "asked.json"
    worker(f"json.dump(request, open({str(note)!r}, 'w'))\nsay(event='cancelled')\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    request = json.loads(note.read_text(encoding="utf-8"))
    assert request["roi"] == [15, 26, 12, 19, 8, 13]
    assert request["device"] == "cpu"
    assert request["calibrator"] == str(own)
    assert request["keep_score"] is True
    panel.ui.calibratorPathEdit.currentPath = ""


def test_the_last_bundle_is_chosen_again_in_a_new_scene(panel, bundle, scene):
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    scene.Clear(False)
    assert panel.ui.bundlePathEdit.currentPath == str(bundle)


def test_reader_ticks_set_the_threshold(panel, done, pictures):
    layout = panel.ui.readerTicks.layout()
    buttons = [layout.itemAt(n).widget() for n in range(layout.count())]
    assert [button.text for button in buttons] == ["1 of 5", "2 of 5", "3 of 5", "4 of 5"]
    buttons[0].click()
    assert panel.ui.thresholdSlider.value == 0.2
    assert "at least 1 of 5 readers" in panel.ui.volumeLabel.text
    assert cells(panel)[0][1] == "● encasement"
    save(panel, pictures / "panel_dragging.png")


def test_voxels_follow_when_the_drag_is_over_or_the_module_is_left(panel, done):
    from TwinTrackSegLib.mrml.ResultSegmentation import segmentMask

    def voxels() -> int:
        return int(segmentMask(done.segmentationNode, "tumor", done.volumeNode).sum())

    before = voxels()
    panel.ui.thresholdSlider.value = 0.3
    assert voxels() == before
    waitFor(lambda: voxels() > before)
    after = voxels()
    panel.ui.thresholdSlider.value = 0.2
    panel.parent.exit()
    assert voxels() > after


def test_choosing_a_row_shows_the_vessel_and_the_jump_button_leaves_it(panel, done, scene, pictures):
    import slicer

    view = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    panel.ui.vesselTable.selectRow(0)
    assert view.GetPlotChartNode().GetTitle() == "SMA: contact angle"
    panel.ui.thresholdSlider.value = 0.3
    table = view.GetPlotChartNode().GetNthPlotSeriesNode(1).GetTableNode()
    assert slicer.util.arrayFromTableColumn(table, "Threshold")[0] == pytest.approx(0.3)
    assert panel.ui.vesselTable.selectionModel().selectedRows()[0].row() == 0
    save(panel, pictures / "panel_vessel.png")
    panel.ui.jumpButton.click()
    assert not panel.ui.vesselTable.selectionModel().selectedRows()


def test_an_edited_outline_is_measured_marked_and_given_up(panel, done, pictures):
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.ResultSegmentation import segmentMask

    vessel = segmentMask(done.segmentationNode, "SMA", done.volumeNode)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    drawSegment(done.segmentationNode, "tumor", ring, done.volumeNode)
    panel.ui.recomputeButton.click()
    assert cells(panel)[0][1] == "● encasement"
    assert "edited by hand" in panel.ui.volumeLabel.text
    assert panel.ui.editedLabel.text.startswith("EDITED BY HAND")
    assert not panel.ui.thresholdSlider.enabled
    save(panel, pictures / "panel_edited.png")
    panel.ui.restoreButton.click()
    assert cells(panel)[0][1] == "◐ abutment"
    assert panel.ui.thresholdSlider.enabled
    assert not panel.ui.editedLabel.isVisibleTo(panel.parent)


def test_volumes_and_report_are_saved_where_the_user_says(panel, done, tmp_path, monkeypatch, shown):
    monkeypatch.setattr(panel.export, "askVolumes", lambda: (str(tmp_path), ".nrrd"))
    monkeypatch.setattr(panel.export, "askReportPath", lambda: str(tmp_path / "report.pdf"))
    panel.ui.saveButton.click()
    panel.ui.reportButton.click()
    assert shown == []
    assert (tmp_path / "Example CT MHR.nrrd").is_file()
    assert (tmp_path / "report.pdf").is_file()
    assert panel.ui.statusLabel.text == "Exported report.pdf."


def test_own_readers_are_ticked_mapped_evaluated_and_become_a_calibrator(
    panel, done, ct, tmp_path, monkeypatch, shown, pictures
):
    import qt

    import slicer
    from TwinTrackSegLib.mrml.SiteCalibrator import SiteCases

    panel.readers.cases = SiteCases(tmp_path / "cases.npz")
    panel.ui.readersCollapsibleButton.collapsed = True
    addSegments(ct, ["Reader A", "Reader B"])
    panel.ui.readersCollapsibleButton.collapsed = False
    assert not panel.ui.makeMhrButton.enabled
    for row in range(2):
        panel.ui.readersList.item(row).setCheckState(qt.Qt.Checked)
    panel.ui.makeMhrButton.click()
    assert slicer.util.getNode("Example CT MHR of 2 readers") is not None
    panel.ui.evaluateButton.click()
    assert shown == []
    titles = [panel.ui.metricsTable.item(r, 0).text() for r in range(panel.ui.metricsTable.rowCount)]
    assert titles[:4] == [
        "Dice over thresholds (TDSC)",
        "Dice (DSC)",
        "Calibration error (ECE)",
        "Volume score (CRPS, mm³)",
    ]
    assert slicer.util.getNode("MHR difference") is not None
    save(panel, pictures / "panel_readers.png")
    panel.ui.addCaseButton.click()
    assert "Keep the score" in shown[-1]


def test_an_interpreter_of_ones_own_runs_the_model_and_nothing_is_installed(
    panel, ct, bundle, tmp_path, monkeypatch, shown
):
    from TwinTrackSegLib.gui import TwinTrackSegWidget as widgetModule

    monkeypatch.setattr(widgetModule, "ensureDependencies", lambda _path: pytest.fail("asked to install"))
    panel.ui.pythonPathEdit.currentPath = sys.executable
    assert panel.logic.workerCommand == [sys.executable, "-m", "twintrack.worker", "--serve"]
    assert panel.install.external
    chosen(panel, ct, bundle)
    panel.logic.graceSec = 0.1
    panel.ui.segmentButton.click()
    assert panel.logic.running
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    panel.ui.pythonPathEdit.currentPath = ""
    assert not panel.install.external


def test_half_installed_packages_are_found_by_a_child_and_installed_again(panel, tmp_path, monkeypatch, shown):
    import slicer

    (tmp_path / "site" / "halfinstalled").mkdir(parents=True)  # an empty folder: Python imports it without a word
    list_ = tmp_path / "requirements.txt"
    list_.write_text("packaging>=20\nhalfinstalled>=5.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    panel.install._requirements = str(list_)
    panel.logic.workerCommand = [sys.executable]
    installed = []

    def repair(arguments):
        installed.append(arguments)
        (tmp_path / "site" / "halfinstalled" / "__init__.py").write_text("")

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_a, **_k: True)
    monkeypatch.setattr(slicer.util, "pip_install", repair, raising=False)
    panel.ui.repairButton.click()
    assert installed == [["--force-reinstall", "--no-deps", "halfinstalled>=5.0"]]
    assert panel.ui.statusLabel.text == "Repaired."
    panel.ui.repairButton.click()
    assert panel.ui.statusLabel.text == "All packages of the model can be imported."
    assert shown == []
