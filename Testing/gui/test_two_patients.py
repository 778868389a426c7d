"""Two CTs in one scene: the panel shows, names and exports the result of the one that the user sees."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from offscreen_slice import OffscreenSliceView
from panel_steps import addSegments, cells, chosen, savingTo

pytestmark = pytest.mark.render


@pytest.fixture
def red(scene):
    view = OffscreenSliceView(scene, 100, "Red")
    yield view
    view.close()


@pytest.fixture
def layers(red):
    """The layers of the one slice view."""
    return red.logic.GetSliceCompositeNode()


@pytest.fixture
def one(ct):
    ct.SetName("One")
    return ct


@pytest.fixture
def other(ct):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt(name="Other")


@pytest.fixture
def segmented(panel, bundle, readyResult, tmp_path):
    """Return a function that chooses a CT and gives it a result, as a run does; `angle` is that of its outline."""

    def run(ct, angle: float, **about):
        folder = shutil.copytree(readyResult, tmp_path / f"{ct.GetName()}-{angle:.0f}")
        invasion = json.loads((folder / "invasion.json").read_text(encoding="utf-8"))
        invasion["vessels"]["SMA"]["angle_deg"] = [angle] * 5
        (folder / "invasion.json").write_text(json.dumps(invasion), encoding="utf-8")
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        record["input"] |= {"case": ct.GetName()} | about
        (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
        chosen(panel, ct, bundle)
        panel._takeResult(panel.logic.loadResult(folder, ct))
        return panel.results.result

    return run


def outlineAngle(panel) -> str:
    return cells(panel)[0][4]


def arrayOf(volumeNode) -> np.ndarray:
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    return volumeFromNode(volumeNode).array


def offered(panel) -> list[str]:
    combo = panel.ui.resultComboBox
    return [combo.itemText(index) for index in range(combo.count)]


def choose(panel, text: str) -> None:
    index = offered(panel).index(text)
    panel.ui.resultComboBox.setCurrentIndex(index)
    panel.ui.resultComboBox.activated.emit(index)


def test_the_panel_follows_the_ct_in_the_views(panel, layers, one, other, segmented):
    segmented(one, 90)
    segmented(other, 200)
    assert outlineAngle(panel) == "● 200°"
    layers.SetBackgroundVolumeID(one.GetID())
    assert outlineAngle(panel) == "◐ 90°"
    assert panel.results.state.title == "One"
    layers.SetBackgroundVolumeID(other.GetID())
    assert outlineAngle(panel) == "● 200°"
    assert panel.results.state.title == "Other"


def test_a_ct_without_a_result_leaves_nothing_to_read_or_export(panel, layers, one, other, segmented):
    segmented(one, 90)
    layers.SetBackgroundVolumeID(other.GetID())
    assert panel.ui.vesselTable.rowCount == 0
    assert not panel.ui.resultBox.enabled
    assert not panel.ui.resultBox.enabled
    assert offered(panel) == ["none of this CT", "One"]
    assert "slice views show 'Other'" in panel.ui.inputHintLabel.text
    assert panel.ui.inputHintLabel.isVisibleTo(panel.parent)


def test_a_chosen_input_comes_into_the_views_with_its_own_result_or_none(panel, layers, one, other, segmented):
    segmented(one, 90)
    panel.ui.inputSelector.setCurrentNode(other)
    assert layers.GetBackgroundVolumeID() == other.GetID()
    assert layers.GetForegroundVolumeID() is None
    assert not panel.ui.resultBox.enabled
    assert not panel.ui.inputHintLabel.isVisibleTo(panel.parent)
    panel.ui.inputSelector.setCurrentNode(one)
    assert layers.GetBackgroundVolumeID() == one.GetID()
    assert outlineAngle(panel) == "◐ 90°"


def test_without_views_the_input_alone_chooses_the_result(panel, one, other, segmented):
    segmented(one, 90)
    panel.ui.inputSelector.setCurrentNode(other)
    assert panel.ui.vesselTable.rowCount == 0
    panel.ui.inputSelector.setCurrentNode(one)
    assert outlineAngle(panel) == "◐ 90°"


def test_every_result_of_the_scene_can_be_brought_back(panel, layers, one, other, segmented):
    earlier = segmented(one, 90)
    segmented(one, 120, created="2026-01-02T00:00:00Z")
    segmented(other, 200)
    assert offered(panel) == ["One · made 2026-01-01 00:00:00 UTC", "One · made 2026-01-02 00:00:00 UTC", "Other"]
    assert panel.ui.resultComboBox.currentText == "Other"
    choose(panel, "One · made 2026-01-01 00:00:00 UTC")
    assert outlineAngle(panel) == "◐ 90°"
    assert layers.GetBackgroundVolumeID() == one.GetID()
    assert layers.GetForegroundVolumeID() == earlier.nodes.mhr.GetID()
    assert earlier.nodes.segmentation.GetDisplayVisibility()
    assert panel.ui.inputSelector.currentNode() is one
    assert not panel.ui.mismatchLabel.isVisibleTo(panel.parent)


def test_the_results_of_an_opened_scene_are_offered(panel, layers, one, other, segmented, scene, tmp_path):
    segmented(one, 90)
    segmented(other, 200)
    path = str(tmp_path / "both.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert not panel.ui.resultComboBox.isVisibleTo(panel.parent)
    assert scene.ReadFromMRB(path, True)
    assert offered(panel) == ["One", "Other"]
    choose(panel, "One")
    assert outlineAngle(panel) == "◐ 90°"
    choose(panel, "Other")
    assert outlineAngle(panel) == "● 200°"


def test_a_removed_result_is_no_longer_offered(panel, layers, one, other, segmented, scene):
    segmented(one, 90)
    second = segmented(other, 200)
    for node in second.nodes.all:
        scene.RemoveNode(node)
    assert offered(panel) == ["none of this CT", "One"]
    assert panel.ui.vesselTable.rowCount == 0


def test_series_and_study_date_name_a_result(panel, layers, one, other, segmented):
    about = {"series_number": 4, "series_description": "Portal venous 1.25", "study_date": "2026-03-02"}
    segmented(one, 90, **about)
    title = "4: Portal venous 1.25 · 2026-03-02"
    assert offered(panel) == [title]
    assert panel.results.state.title == title
    segmented(other, 200, **about)
    made = "made 2026-01-01 00:00:00 UTC"
    assert offered(panel) == [f"{title} · One · {made}", f"{title} · Other · {made}"]


def test_patient_and_date_come_from_the_scene_where_it_knows_them(panel, layers, one, segmented, scene):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jo (17)")
    study = hierarchy.CreateStudyItem(patient, "Abdomen")
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20260302")
    item = hierarchy.GetItemByDataNode(one) or hierarchy.CreateItem(study, one)
    hierarchy.SetItemParent(item, study)
    result = segmented(one, 90)
    assert offered(panel) == ["Doe^Jo (17) · One · 2026-03-02"]
    assert "Doe" not in json.dumps(result.record.result)


def test_an_export_of_another_ct_than_the_input_asks_first(
    panel, layers, one, other, segmented, tmp_path, monkeypatch, shown
):
    import slicer

    segmented(one, 90)
    segmented(other, 200)
    layers.SetBackgroundVolumeID(one.GetID())  # the input volume stays Other
    assert panel.ui.mismatchLabel.isVisibleTo(panel.parent)
    assert panel.ui.mismatchLabel.text == "This result belongs to 'One', not to the chosen CT 'Other'."
    asked, answers = [], [False, False, False, False, True]
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text, *_a, **_k: asked.append(text) or answers.pop(0)
    )
    savingTo(panel, monkeypatch, tmp_path / "One MHR.nrrd")
    for name in ("exportButton", "databaseButton", "reportButton", "saveButton"):
        getattr(panel.ui, name).click()
    assert len(asked) == 4
    assert "result of 'One'" in asked[0]
    assert "chosen CT is 'Other'" in asked[0]
    assert not any(path.suffix in (".nrrd", ".html", ".dcm") for path in tmp_path.iterdir())
    panel.ui.saveButton.click()
    assert shown == []
    assert (tmp_path / "One MHR.nrrd").is_file()
    panel.ui.inputSelector.setCurrentNode(one)
    panel.ui.saveButton.click()
    assert len(asked) == 5


def test_the_ct_in_the_views_is_the_first_guess_at_the_input(module, scene, layers, one, other):
    layers.SetBackgroundVolumeID(other.GetID())
    widget = module.makeWidget()
    widget.enter()
    try:
        assert widget.pythonWidget.ui.inputSelector.currentNode() is other
    finally:
        widget.exit()
        widget.pythonWidget.cleanup()
        widget.deleteLater()


def test_a_ct_that_is_loaded_into_an_open_panel_becomes_the_input_once_it_is_seen(panel, layers, one, other):
    assert panel.ui.inputSelector.currentNode() is None
    layers.SetBackgroundVolumeID(other.GetID())
    assert panel.ui.inputSelector.currentNode() is other


def test_what_lies_over_a_ct_is_not_guessed_as_the_input(panel, layers, one, segmented, scene):
    from TwinTrackSegLib.mrml.result.SceneResult import firstCandidate

    result = segmented(one, 90)
    layers.SetBackgroundVolumeID(result.nodes.mhr.GetID())
    assert firstCandidate() is one


def test_results_are_kept_apart_before_the_panel_is_opened(module, scene, layers, one, other, readyResult):
    from TwinTrackSegLib.mrml.result import ResultViews
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

    ResultViews.watchViews().stop()
    ResultViews._watching.clear()
    result = TwinTrackSegLogic(["unused"]).loadResult(readyResult, one)
    module.pythonModule.TwinTrackSeg(module).setup()
    layers.SetBackgroundVolumeID(other.GetID())
    assert layers.GetForegroundVolumeID() is None
    assert not result.nodes.segmentation.GetDisplayVisibility()


def test_vessels_and_region_of_one_ct_are_not_taken_for_another(panel, layers, one, other, scene, bundle):
    chosen(panel, one, bundle)
    vessels = addSegments(one, ["aorta"])
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    panel.ui.vesselSelector.setCurrentNode(vessels)
    panel.ui.roiSelector.setCurrentNode(region)
    panel.ui.inputSelector.setCurrentNode(other)
    assert panel.ui.vesselSelector.currentNode() is None
    assert panel.ui.roiSelector.currentNode() is None
    assert "no longer chosen" in panel.ui.statusLabel.text
    panel.ui.vesselSelector.setCurrentNode(vessels)
    panel.ui.inputSelector.setCurrentNode(one)
    assert panel.ui.vesselSelector.currentNode() is vessels


def test_numbers_and_ticks_of_a_comparison_do_not_stay_with_another_result(panel, layers, one, other, segmented):
    import qt

    segmented(other, 200)
    segmented(one, 90)
    addSegments(one, ["Reader A", "Reader B"])
    panel.raters.presenter.update()
    for row in range(panel.ui.readersList.count):
        panel.ui.readersList.item(row).setCheckState(qt.Qt.Checked)
    panel.ui.evaluateButton.click()
    assert panel.ui.metricsTable.rowCount > 0
    layers.SetBackgroundVolumeID(other.GetID())
    assert panel.ui.metricsTable.rowCount == 0
    assert not panel.ui.metricsTable.isVisibleTo(panel.parent)
    assert panel.raters.presenter.ticked() == []


def test_the_curve_of_another_ct_does_not_stay_where_nothing_was_measured(panel, one, other, segmented, scene):
    plot = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    first = segmented(one, 90)
    assert plot.GetPlotChartNode() in first.nodes.charts
    second = segmented(other, 200)
    record = dict(second.record.result)
    second.nodes.record.SetText(json.dumps({"result": record, "invasion": None}))
    from TwinTrackSegLib.mrml.result.SceneResult import SceneResult

    panel.results.show(first)
    panel.results.show(SceneResult(second.nodes.mhr))
    assert plot.GetPlotChartNode() is None
    panel.results.show(None)
    assert plot.GetPlotChartNode() is None


def test_while_another_module_is_open_the_views_are_kept_apart_too(panel, layers, one, other, segmented):
    first = segmented(one, 90)
    segmented(other, 200)
    panel.parent.exit()
    layers.SetBackgroundVolumeID(one.GetID())
    assert layers.GetForegroundVolumeID() == first.nodes.mhr.GetID()
    panel.parent.enter()
    assert outlineAngle(panel) == "◐ 90°"


def test_the_last_drag_of_a_result_is_finished_before_another_is_shown(panel, layers, one, other, segmented):
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    segmented(other, 200)
    result = segmented(one, 90)
    panel.ui.thresholdSlider.value = 0.2
    layers.SetBackgroundVolumeID(other.GetID())
    voxels = int(segmentMask(result.nodes.segmentation, "tumor", one).sum())
    assert voxels == int((arrayOf(result.nodes.mhr) >= 0.2).sum())


def test_the_volume_of_each_ct_stands_beside_its_name(panel, layers, one, other, segmented):
    segmented(one, 90).outline.setThreshold(0.2)
    segmented(other, 200)
    volumes = []
    for ct in (one, other, one):
        layers.SetBackgroundVolumeID(ct.GetID())
        volumes.append(float(panel.ui.volumeLabel.text.split()[0]))
    assert volumes[0] == volumes[2] > 2 * volumes[1]
    assert np.isclose(panel.ui.thresholdSlider.value, 0.2)


def test_a_cloned_map_is_no_second_result(panel, layers, one, segmented, scene):
    import slicer

    result = segmented(one, 90)
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(scene)
    volumes.CloneVolume(scene, result.nodes.mhr, "Copy")
    panel.ui.jumpButton.click()
    assert result.nodes.segmentation.GetDisplayVisibility()
    assert offered(panel) == ["One"]


def test_a_map_whose_ct_left_the_scene_is_neither_ct_nor_overlay(panel, layers, one, other, segmented, scene):
    from TwinTrackSegLib.mrml.result.ResultViews import ctOf
    from TwinTrackSegLib.mrml.result.SceneResult import firstCandidate

    mhr = segmented(one, 90).nodes.mhr
    scene.RemoveNode(one)
    assert ctOf(mhr) is None
    layers.SetForegroundVolumeID(mhr.GetID())
    assert layers.GetBackgroundVolumeID() == other.GetID()
    assert layers.GetForegroundVolumeID() is None
    scene.RemoveNode(other)
    assert firstCandidate() is None
    assert panel.ui.inputSelector.currentNode() is not mhr


def test_a_view_outside_the_layout_does_not_count_as_showing_the_input(panel, red, layers, one, other, scene):
    green = OffscreenSliceView(scene, 100, "Green")
    try:
        red.node.SetMappedInLayout(1)
        panel.ui.inputSelector.setCurrentNode(other)
        green.logic.GetSliceCompositeNode().SetBackgroundVolumeID(one.GetID())
        panel.ui.inputSelector.setCurrentNode(one)
        assert layers.GetBackgroundVolumeID() == one.GetID()
    finally:
        green.close()


def test_an_edit_is_taken_up_when_the_views_come_back_to_its_ct(panel, layers, one, other, segmented):
    from segment_drawing import drawSegment

    segmented(other, 200)
    result = segmented(one, 90)
    drawn = np.zeros(arrayOf(one).shape, dtype=bool)
    drawn[8:20, 10:30, 10:30] = True
    panel.parent.exit()
    drawSegment(result.nodes.segmentation, "tumor", drawn, one)
    layers.SetBackgroundVolumeID(other.GetID())
    panel.parent.enter()
    layers.SetBackgroundVolumeID(one.GetID())
    assert panel.ui.volumeLabel.text.startswith("9.6 mL, outline edited by hand")  # 4800 voxels of 2 mm³
    assert not panel.ui.thresholdSlider.enabled


def test_cts_of_one_name_are_told_apart_where_they_do_not_fit_together(
    panel, layers, one, other, segmented, scene, monkeypatch
):
    import slicer

    segmented(one, 90)
    segmented(other, 200)
    other.SetName("One")
    layers.SetBackgroundVolumeID(one.GetID())
    inputID, shownID = other.GetID(), one.GetID()
    assert (
        panel.ui.inputHintLabel.text == f"The chosen CT is 'One ({inputID})'; the slice views show 'One ({shownID})'."
    )
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for ct, patient in ((one, "Doe^Jo"), (other, "Roe^Al")):
        item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
        study = hierarchy.CreateStudyItem(item, "Abdomen")
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct) or hierarchy.CreateItem(study, ct), study)
    panel.onViewsChanged()
    assert panel.ui.mismatchLabel.text == (
        "This result belongs to 'Doe^Jo · One', not to the chosen CT 'Roe^Al · One'."
    )
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_a, **_k: asked.append(text))
    panel.ui.saveButton.click()
    assert asked == [
        "This is the result of 'Doe^Jo · One'. The chosen CT is 'Roe^Al · One'. Export the result of 'Doe^Jo · One'?"
    ]
