"""A run from the user's side: press, watch, cancel, close, fail.

A few lines of Python stand for the model: they say what the worker would say and hand over a result that was made
before. The model itself is run in test_whole_way.py and in Testing/mrml.
"""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import GOES_ON, TIMEOUT_SEC, cells, chosen, finishes, segmented, waitFor

pytestmark = pytest.mark.render


def test_segment_shows_progress_and_can_be_cancelled(panel, ct, bundle, worker, shown):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    assert panel.ui.progressBar.value == 300
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentButton.enabled
    assert not panel.ui.resultBox.enabled
    assert shown == []


def test_the_time_left_is_shown_when_the_model_can_tell_it(panel, ct, bundle, worker):
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


def test_the_models_error_is_shown_as_its_sentence(panel, ct, bundle, worker, shown):
    chosen(panel, ct, bundle)
    worker("say(event='error', kind='RoiError', message='no pancreas was found; give a region')\nsys.exit(2)\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert shown == ["no pancreas was found; give a region"]
    assert panel.ui.statusLabel.text == "Failed: no pancreas was found; give a region"
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


def test_missing_packages_are_asked_for_only_when_segment_is_pressed(panel, ct, bundle, worker, shown, monkeypatch):
    from TwinTrackSegLib.gui import Dependencies
    from TwinTrackSegLib.present.Installing import DependencyError

    asked = []

    def refuse(path):
        asked.append(path)
        raise DependencyError("nnunetv2 is missing", code="packages-missing")

    monkeypatch.setattr(Dependencies, "ensureDependencies", refuse)
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


def test_a_run_goes_on_while_another_module_is_open(panel, ct, bundle, worker, tmp_path):
    chosen(panel, ct, bundle)
    worker("time.sleep(0.3)\n" + finishes(tmp_path, ct))
    panel.ui.segmentButton.click()
    panel.parent.exit()
    waitFor(lambda: not panel.logic.running)
    panel.parent.enter()
    assert cells(panel)[0][4] == "◐ 120°"
    assert panel.ui.resultBox.enabled


def test_cleanup_ends_a_run(panel, ct, bundle, worker):
    chosen(panel, ct, bundle)
    worker(GOES_ON)
    panel.ui.segmentButton.click()
    folder = panel.logic._run.folder
    panel.cleanup()
    assert not panel.logic.running
    assert not folder.exists()


def test_a_finished_run_shows_table_volume_and_slider(panel, ct, bundle, worker, tmp_path):
    segmented(panel, ct, bundle, worker, tmp_path)
    assert cells(panel)[0] == ["SMA", "80", "35", "◐ 120° (0–240)", "◐ 120°"]
    assert cells(panel)[1][4] == "not seen"
    assert panel.ui.volumeLabel.text == "1.8 mL, voxels that at least 50 % mark"
    assert panel.ui.resultBox.enabled


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
    waitFor(lambda: panel.ui.progressBar.format.startswith("30 % after 0:0"))


def test_the_log_is_shown_on_demand(panel, ct, bundle, worker):
    chosen(panel, ct, bundle)
    worker("print('loading weights', file=sys.stderr, flush=True)\n" + GOES_ON)
    panel.ui.segmentButton.click()
    waitFor(lambda: panel.ui.statusLabel.text == "member 1 of 3")
    assert not panel.ui.logText.isVisibleTo(panel.parent)
    panel.ui.setupCollapsibleButton.collapsed = False
    panel.ui.logButton.click()
    assert panel.ui.logText.isVisibleTo(panel.parent)
    waitFor(lambda: "loading weights" in panel.ui.logText.plainText)
