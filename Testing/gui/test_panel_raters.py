"""The site's own raters: map, comparison, calibrator."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import addSegments, chosen, savingTo, waitFor

pytestmark = pytest.mark.render


def test_own_raters_are_ticked_mapped_evaluated_and_become_a_calibrator(panel, done, ct, tmp_path, monkeypatch, shown):
    import qt

    import slicer
    from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases

    panel.raters.presenter.cases = SiteCases(tmp_path / "cases.npz")
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
    panel.ui.addCaseButton.click()
    assert "Keep the score" in shown[-1]


def tick(panel, rows) -> None:
    import qt

    for row in range(panel.ui.readersList.count):
        panel.ui.readersList.item(row).setCheckState(qt.Qt.Checked if row in rows else qt.Qt.Unchecked)


def test_cases_with_their_score_become_a_calibrator_that_the_next_run_takes(
    panel, ct, bundle, worker, readyResult, tmp_path, monkeypatch, shown
):
    import slicer
    from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases

    folder = shutil.copytree(readyResult, tmp_path / "scored")
    shutil.copy(folder / "probability.nii.gz", folder / "score.nii.gz")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    panel.raters.presenter.cases = SiteCases(tmp_path / "cases.npz")
    addSegments(ct, ["Reader A", "Reader B", "Reader C"])
    panel.raters.presenter.update()
    tick(panel, ())
    assert not panel.ui.fitButton.enabled
    for rows in ((0, 1), (1, 2)):
        tick(panel, rows)
        panel.ui.addCaseButton.click()
    assert shown == []
    panel.ui.addCaseButton.click()
    assert "already" in shown.pop()
    warned = []
    monkeypatch.setattr(slicer.util, "warningDisplay", lambda text, *_a, **_k: warned.append(text))
    savingTo(panel, monkeypatch, "")
    panel.ui.fitButton.click()  # the user thinks better of it
    assert panel.ui.calibratorPathEdit.currentPath == ""
    own = tmp_path / "site.json"
    savingTo(panel, monkeypatch, str(own))
    panel.ui.fitButton.click()
    assert shown == []
    assert "2 cases only" in warned[0]
    assert panel.ui.calibratorPathEdit.currentPath == str(own)

    note = tmp_path / "asked.json"
    worker(f"json.dump(request, open({str(note)!r}, 'w'))\nsay(event='cancelled')\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert json.loads(note.read_text(encoding="utf-8"))["calibrator"] == str(own)
    panel.ui.calibratorPathEdit.currentPath = ""


def test_a_result_names_the_calibrator_of_the_sites_own(panel, ct, bundle, readyResult, tmp_path):
    folder = shutil.copytree(readyResult, tmp_path / "own")
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    record["calibrator"] |= {"file": "site.json", "cases": 12, "raters": 3}
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    assert "Calibrator of your own: site.json (12 cases)" in panel.ui.notesLabel.text


def test_after_a_comparison_the_map_comes_back_with_its_own_legend(panel, done, ct, scene):
    import slicer

    def legendOf(node):
        return slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)

    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Red")
    addSegments(ct, ["Reader A", "Reader B"])
    panel.raters.presenter.update()
    tick(panel, (0, 1))
    panel.ui.evaluateButton.click()
    difference = slicer.util.getNode("MHR difference")
    assert composite.GetForegroundVolumeID() == difference.GetID()
    assert legendOf(difference).GetVisibility()
    assert not legendOf(done.nodes.contours[0]).GetVisibility()
    panel.ui.jumpButton.click()
    assert composite.GetForegroundVolumeID() == done.nodes.mhr.GetID()
    assert legendOf(done.nodes.contours[0]).GetVisibility()
    scene.RemoveNode(composite)


def test_a_segmentation_of_all_organs_does_not_fill_the_list(panel, done, ct):
    import qt

    addSegments(ct, [f"organ_{number}" for number in range(11)] + [f"rib_left_{number}" for number in range(6)])
    addSegments(ct, ["Reader A", "Reader B"])
    panel.raters.presenter.update()
    names = panel.ui.readersList
    assert [names.item(row).text() for row in range(names.count)] == ["Drawn: Reader A", "Drawn: Reader B"]
    assert all(names.item(row).checkState() == qt.Qt.Unchecked for row in range(names.count))
    assert panel.ui.readersHintLabel.isVisibleTo(panel.parent)
    assert panel.ui.readersHintLabel.text.startswith("17 more")
    names.item(1).setCheckState(qt.Qt.Checked)
    panel.ui.readersFilter.text = "RIB"
    assert [names.item(row).text() for row in range(names.count)] == [
        *(f"Drawn: rib_left_{number}" for number in range(6)),
        "Drawn: Reader B",
    ]
    assert [rater.partName for rater in panel.raters.presenter.ticked()] == ["Reader B"]
    panel.ui.readersFilter.text = ""
    assert names.count == 2
