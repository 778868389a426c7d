"""The module's panel from the user's side: press, drag, read, cancel, close.

Where a run is needed, a few lines of Python stand for the model: they say what the worker would say and hand over a
result that was made before. The model itself is run in Testing/mrml.
"""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

from panel_steps import GOES_ON, TIMEOUT_SEC, cells, chosen, finishes, save, segmented, waitFor


def test_module_says_what_it_is(module):
    assert module.title == "TwinTrackSeg"
    assert module.categories == ["Segmentation"]
    assert "research use only" in module.helpText.lower()
    assert module.acknowledgementText
    assert not module.icon.isNull()


def test_every_control_of_the_panel_has_a_tooltip(panel):
    for name, widget in vars(panel.ui).items():
        if name.endswith(("Button", "Selector", "Edit", "Slider", "Table", "Bar")) and "Collapsible" not in name:
            assert widget.toolTip, name


def test_an_empty_scene_leaves_nothing_to_press(panel, pictures):
    assert not panel.ui.segmentButton.enabled
    assert not panel.ui.resultsCollapsibleButton.enabled
    assert "input volume" in panel.ui.segmentButton.toolTip
    save(panel, pictures / "panel_empty.png")


def test_choosing_a_ct_enables_segment(panel, ct):
    panel.ui.inputSelector.setCurrentNode(ct)
    assert panel.ui.segmentButton.enabled


def test_a_demo_bundle_gets_its_badge_and_a_missing_one_a_sentence(panel, bundle, tmp_path):
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    assert panel.ui.demoBadge.isVisibleTo(panel.parent)
    assert panel.ui.demoBadge.text == "DEMO MODEL: phantoms only"
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    panel.ui.bundlePathEdit.currentPath = str(tmp_path / "nothing")
    assert not panel.ui.demoBadge.isVisibleTo(panel.parent)
    assert "not a model bundle" in panel.ui.bundleLabel.text


def test_a_bundle_that_is_no_demo_gets_no_badge(panel, bundle):
    document = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**document, "demo": False}), encoding="utf-8")
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    assert not panel.ui.demoBadge.isVisibleTo(panel.parent)


def test_a_zipped_bundle_is_described_without_unpacking(panel, bundle, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle.parent, bundle.name)
    panel.ui.bundlePathEdit.currentPath = archive
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    assert panel.ui.demoBadge.isVisibleTo(panel.parent)


def test_segment_shows_progress_and_can_be_cancelled(panel, ct, bundle, worker, shown, pictures):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    assert panel.ui.progressBar.value == 300
    save(panel, pictures / "panel_running.png")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentButton.enabled
    assert not panel.ui.resultsCollapsibleButton.enabled
    assert shown == []


def test_the_time_left_is_shown_when_the_model_can_tell_it(panel, ct, bundle, worker, pictures):
    chosen(panel, ct, bundle)
    worker(
        "say(event='progress', fraction=0.1, message='looking', remaining_s=None)\n"
        "assert sys.stdin.readline() == 'cancel\\n'\n"
        "say(event='progress', fraction=0.4, message='scoring', remaining_s=41.3)\n"
        "time.sleep(600)\n"
    )
    panel.logic.graceSec = TIMEOUT_SEC
    panel.ui.segmentButton.click()
    waitFor(lambda: panel.ui.statusLabel.text == "looking")
    panel.logic.cancel()  # lets it go on
    waitFor(lambda: panel.ui.statusLabel.text == "scoring, about 45 s left")
    save(panel, pictures / "panel_time_left.png")


def test_the_models_process_starts_ahead_once_a_ct_is_chosen_and_ends_with_the_scene(
    panel, ct, bundle, worker, scene, monkeypatch
):
    from TwinTrackSegLib.gui import HeadStart as headStart

    worker(GOES_ON)
    monkeypatch.setattr(headStart, "missingRequirements", lambda _path: [])
    chosen(panel, ct, bundle)
    assert panel.logic._keeper.worker is None  # not while the user is still choosing
    panel._headStart.schedule(0)
    waitFor(lambda: panel.logic._keeper.worker is not None)
    assert not panel.logic.running
    scene.Clear(False)
    assert panel.logic._keeper.worker is None


def test_nothing_starts_ahead_while_packages_are_missing(panel, ct, bundle, worker, monkeypatch):
    import slicer
    from TwinTrackSegLib.gui import HeadStart as headStart

    asked = []
    monkeypatch.setattr(headStart, "missingRequirements", lambda path: asked.append(path) or ["torch"])
    worker(GOES_ON)
    chosen(panel, ct, bundle)
    panel._headStart.schedule(0)
    waitFor(lambda: asked)
    slicer.app.processEvents()
    assert panel.logic._keeper.worker is None


def test_a_finished_run_shows_table_volume_and_slider(panel, ct, bundle, worker, tmp_path, pictures):
    segmented(panel, ct, bundle, worker, tmp_path)
    assert cells(panel)[0][:5] == ["SMA", "◐ abutment", "120", "0 – 240", "10.0"]
    assert cells(panel)[1][1] == "not seen"
    assert panel.ui.volumeLabel.text.startswith("1.8 mL at the threshold")
    assert panel.ui.resultsCollapsibleButton.enabled
    save(panel, pictures / "panel_result.png")


def test_the_threshold_of_the_panel_is_asked_of_the_model(panel, ct, bundle, worker, tmp_path):
    chosen(panel, ct, bundle)
    panel.ui.thresholdSlider.value = 0.3
    note = tmp_path / "asked.json"
    worker(f"json.dump(request, open({str(note)!r}, 'w'))\nsay(event='cancelled')\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    request = json.loads(note.read_text(encoding="utf-8"))
    assert request["threshold"] == 0.3
    assert request["bundle"] == str(bundle)


def test_dragging_the_slider_moves_everything(panel, ct, bundle, worker, tmp_path):
    result = segmented(panel, ct, bundle, worker, tmp_path)
    volumes = []
    for threshold in (0.5, 0.4, 0.3, 0.2):
        panel.ui.thresholdSlider.value = threshold
        assert result.mhrNode.GetDisplayNode().GetLowerThreshold() == pytest.approx(threshold)
        volumes.append(float(panel.ui.volumeLabel.text.split()[0]))
    assert volumes == sorted(volumes)
    assert volumes[-1] > 2 * volumes[0]
    assert cells(panel)[0][1:3] == ["● encasement", "220"]


def test_the_models_error_is_shown_as_its_sentence(panel, ct, bundle, worker, shown):
    chosen(panel, ct, bundle)
    worker("say(event='error', kind='RoiError', message='no pancreas was found; give a region')\nsys.exit(2)\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert shown == ["no pancreas was found; give a region"]
    assert panel.ui.statusLabel.text == "Failed."
    assert panel.ui.segmentButton.text == "Segment"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_a_crash_of_the_model_leaves_the_panel_alive(panel, ct, bundle, worker, shown, tmp_path):
    chosen(panel, ct, bundle)
    worker("import signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert len(shown) == 1
    assert "memory" in shown[0]
    segmented(panel, ct, bundle, worker, tmp_path)


def test_an_mr_is_refused_with_a_sentence_and_nothing_starts(panel, bundle, shown, worker):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    slicer.util.updateVolumeFromArray(node, np.arange(1000).reshape(10, 10, 10).astype(np.int16))
    chosen(panel, node, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    assert not panel.logic.running
    assert len(shown) == 1
    assert "'T1' does not look like a CT" in shown[0]
    assert panel.ui.segmentButton.text == "Segment"


def test_missing_packages_are_asked_for_only_when_segment_is_pressed(panel, ct, bundle, worker, shown, monkeypatch):
    from TwinTrackSegLib.gui import TwinTrackSegWidget as widgetModule
    from TwinTrackSegLib.gui.Dependencies import DependencyError

    asked = []

    def refuse(path):
        asked.append(path)
        raise DependencyError("nnunetv2 is missing")

    monkeypatch.setattr(widgetModule, "ensureDependencies", refuse)
    chosen(panel, ct, bundle)
    assert asked == []
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    assert len(asked) == 1
    assert asked[0].endswith("requirements.txt")
    assert shown == ["nnunetv2 is missing"]
    assert not panel.logic.running


def test_closing_the_scene_during_a_run_ends_it(panel, ct, bundle, worker, scene):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    folder = panel.logic._run.folder
    scene.Clear(False)
    assert not panel.logic.running
    assert not folder.exists()
    assert panel.ui.segmentButton.text == "Segment"
    assert not panel.ui.segmentButton.enabled


def test_closing_the_scene_with_a_result_empties_the_panel(panel, ct, bundle, worker, tmp_path, scene):
    segmented(panel, ct, bundle, worker, tmp_path)
    scene.Clear(False)
    assert panel.ui.vesselTable.rowCount == 0
    assert not panel.ui.resultsCollapsibleButton.enabled
    assert panel.ui.volumeLabel.text == ""
    panel.ui.thresholdSlider.value = 0.7  # nothing to move, nothing to break


def test_a_run_goes_on_while_another_module_is_open(panel, ct, bundle, worker, tmp_path):
    chosen(panel, ct, bundle)
    worker("time.sleep(0.3)\n" + finishes(tmp_path, ct))
    panel.ui.segmentButton.click()
    panel.parent.exit()
    waitFor(lambda: not panel.logic.running)
    panel.parent.enter()
    assert cells(panel)[0][2] == "120"
    assert panel.ui.resultsCollapsibleButton.enabled


def test_removing_the_result_empties_the_panel(panel, ct, bundle, worker, tmp_path, scene):
    result = segmented(panel, ct, bundle, worker, tmp_path)
    for node in result.nodes:
        scene.RemoveNode(node)
    panel.ui.thresholdSlider.value = 0.6
    panel.parent.exit()
    panel.parent.enter()
    assert not panel.ui.resultsCollapsibleButton.enabled


def test_a_saved_scene_opens_with_its_result_and_a_live_slider(panel, ct, bundle, worker, tmp_path, scene):
    segmented(panel, ct, bundle, worker, tmp_path)
    panel.ui.thresholdSlider.value = 0.4
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    assert panel.ui.thresholdSlider.value == 0.4
    assert panel.ui.inputSelector.currentNode().GetName() == "Example CT"
    assert cells(panel)[0][2] == "160"
    panel.ui.thresholdSlider.value = 0.2
    assert cells(panel)[0][2] == "220"


def test_export_of_a_volume_that_is_no_dicom_is_refused_with_the_remedy(
    panel, ct, bundle, worker, tmp_path, shown, monkeypatch
):
    segmented(panel, ct, bundle, worker, tmp_path)
    target = tmp_path / "out.dcm"
    monkeypatch.setattr(panel.export, "askDicomPath", lambda: str(target))
    panel.ui.exportButton.click()
    assert len(shown) == 1
    assert "was not loaded from DICOM" in shown[0]
    assert not target.exists()


def test_an_export_that_the_user_cancels_does_nothing(panel, ct, bundle, worker, tmp_path, shown, monkeypatch):
    segmented(panel, ct, bundle, worker, tmp_path)
    monkeypatch.setattr(panel.export, "askDicomPath", lambda: "")
    panel.ui.exportButton.click()
    assert shown == []


def test_cleanup_ends_a_run(panel, ct, bundle, worker):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    folder = panel.logic._run.folder
    panel.cleanup()
    assert not panel.logic.running
    assert not folder.exists()


def test_the_modules_own_self_test_passes(module, scene):
    import unittest

    names = [n for n in dir(module.pythonModule.TwinTrackSegTest) if n.startswith("test_")]
    outcome = unittest.TestResult()
    unittest.TestSuite(module.pythonModule.TwinTrackSegTest(name) for name in names).run(outcome)
    assert outcome.testsRun == len(names) > 0
    assert not outcome.failures + outcome.errors
