"""Vessels, region, processor and calibrator of the user's choice, and the installation."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import addSegments, chosen, waitFor

pytestmark = pytest.mark.render


def test_the_vessels_of_the_scene_are_matched_shown_editable_and_remembered(panel, ct):
    node = addSegments(ct, ["SMA", "Pancreas", "Aorta"])
    panel.ui.caseCollapsibleButton.collapsed = False
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
    panel.parent.exit()
    panel.parent.enter()
    assert panel.ui.vesselSmvComboBox.currentText == "Pancreas"
    assert panel.inputs.vessels.choice.segments == {"PORTA": "", "SMV": "s1", "AORTA": "s2", "CELIAC": "", "SMA": "s0"}


def test_segments_that_could_be_the_same_vessel_are_named_until_one_is_chosen(panel, ct):
    node = addSegments(ct, ["Portal <b>vein", "VP", "Pfortader", "SMA", "sma_1"])
    panel.ui.caseCollapsibleButton.collapsed = False
    panel.ui.inputSelector.setCurrentNode(ct)
    hint = panel.ui.vesselHintLabel
    assert not hint.isVisibleTo(panel.parent)
    panel.ui.vesselSelector.setCurrentNode(node)
    assert hint.isVisibleTo(panel.parent)
    assert hint.text.split("\n") == [
        "2 segments could be the portal vein: VP, Pfortader; choose one.",
        "2 segments could be the superior mesenteric artery: SMA, sma_1; choose one.",
    ]
    assert panel.ui.vesselPortaComboBox.currentText == panel.ui.vesselSmaComboBox.currentText == "none"
    for combo, name in ((panel.ui.vesselSmaComboBox, "sma_1"), (panel.ui.vesselPortaComboBox, "Portal <b>vein")):
        assert hint.isVisibleTo(panel.parent)
        combo.setCurrentIndex(combo.findText(name))
        combo.activated.emit(combo.currentIndex)
    assert not hint.isVisibleTo(panel.parent)
    panel.parent.exit()
    panel.parent.enter()
    assert not hint.isVisibleTo(panel.parent)
    assert panel.ui.vesselSmaComboBox.currentText == "sma_1"


def test_the_hint_goes_with_the_segmentation(panel, ct, scene):
    node = addSegments(ct, ["VP", "Pfortader"])
    panel.ui.caseCollapsibleButton.collapsed = False
    panel.ui.vesselSelector.setCurrentNode(node)
    assert panel.ui.vesselHintLabel.text.startswith("2 segments could be the portal vein")
    panel.ui.vesselSelector.setCurrentNode(None)
    assert not panel.ui.vesselHintLabel.isVisibleTo(panel.parent)


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
    panel.ui.deviceComboBox.setCurrentIndex(0)


def test_the_last_bundle_is_chosen_again_in_a_new_scene(panel, bundle, scene):
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    scene.Clear(False)
    assert panel.ui.bundlePathEdit.currentPath == str(bundle)


def test_an_interpreter_of_ones_own_runs_the_model_and_nothing_is_installed(
    panel, ct, bundle, tmp_path, monkeypatch, shown
):
    from TwinTrackSegLib.mrml.worker.Interpreter import slicerPython

    monkeypatch.setattr(panel.host, "ensureModel", lambda: pytest.fail("asked to install"))
    panel.ui.pythonPathEdit.currentPath = sys.executable
    assert panel.logic.workerCommand == [sys.executable, "-m", "twintrack.execution.worker", "--serve"]
    assert panel.inputs.setUp.ownPython
    chosen(panel, ct, bundle)
    panel.logic.graceSec = 0.1
    panel.ui.segmentButton.click()
    assert panel.logic.running
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    panel.ui.pythonPathEdit.currentPath = "/no/such/python"
    assert not panel.inputs.setUp.ownPython
    assert panel.logic.workerCommand[0] == slicerPython()
    panel.ui.pythonPathEdit.currentPath = ""
    assert not panel.inputs.setUp.ownPython
