"""A result from the user's side: read, drag, choose a vessel, save, open again."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import cells, waitFor

pytestmark = pytest.mark.render


def test_dragging_the_slider_moves_everything(panel, done, tmp_path):
    volumes, said = [], (cells(panel)[0][1:4], panel.ui.sourceLabel.text, panel.ui.readersLabel.text)
    for threshold in (0.5, 0.4, 0.3, 0.2):
        panel.ui.thresholdSlider.value = threshold
        assert done.nodes.mhr.GetDisplayNode().GetLowerThreshold() == pytest.approx(threshold)
        volumes.append(float(panel.ui.volumeLabel.text.split()[0]))
    assert volumes == sorted(volumes)
    assert volumes[-1] > 2 * volumes[0]
    assert cells(panel)[0][4] == "● 220°"  # this outline
    assert (cells(panel)[0][1:4], panel.ui.sourceLabel.text, panel.ui.readersLabel.text) == said
    assert said[0] == ["80", "35", "◐ 120° (0–240)"]


def test_closing_the_scene_with_a_result_empties_the_panel(panel, done, tmp_path, scene):
    scene.Clear(False)
    assert panel.ui.vesselTable.rowCount == 0
    assert not panel.ui.resultBox.enabled
    assert panel.ui.volumeLabel.text == ""
    panel.ui.thresholdSlider.value = 0.7  # nothing to move, nothing to break


def test_removing_the_result_empties_the_panel(panel, done, tmp_path, scene):
    for node in done.nodes.all:
        scene.RemoveNode(node)
    panel.ui.thresholdSlider.value = 0.6
    panel.parent.exit()
    panel.parent.enter()
    assert not panel.ui.resultBox.enabled


def test_a_saved_scene_opens_with_its_result_and_a_live_slider(panel, done, tmp_path, scene):
    panel.ui.thresholdSlider.value = 0.4
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    assert panel.ui.thresholdSlider.value == 0.4
    assert panel.ui.inputSelector.currentNode().GetName() == "Example CT"
    assert cells(panel)[0][4] == "◐ 160°"
    panel.ui.thresholdSlider.value = 0.2
    assert cells(panel)[0][4] == "● 220°"


def test_ticks_set_the_threshold_and_say_which_voxels(panel, done):
    layout = panel.ui.readerTicks.layout()
    buttons = [layout.itemAt(n).widget() for n in range(layout.count())]
    assert [button.text for button in buttons] == ["≥ 20 %", "≥ 40 %", "≥ 60 %", "≥ 80 %"]
    assert buttons[2].toolTip == "This outline: voxels that at least 60 % mark"
    buttons[0].click()
    assert panel.ui.thresholdSlider.value == 0.2
    assert panel.ui.volumeLabel.text.endswith(" mL, voxels that at least 20 % mark")
    panel.ui.thresholdSlider.value = 0.95
    assert panel.ui.volumeLabel.text.splitlines()[1] == "Touches no vessel that was measured"
    buttons[0].click()
    assert cells(panel)[0][4] == "● 220°"


def test_voxels_follow_when_the_drag_is_over_or_the_module_is_left(panel, done):
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    def voxels() -> int:
        return int(segmentMask(done.nodes.segmentation, "tumor", done.nodes.ct).sum())

    before = voxels()
    panel.ui.thresholdSlider.value = 0.3
    assert voxels() == before
    waitFor(lambda: voxels() > before)
    after = voxels()
    panel.ui.thresholdSlider.value = 0.2
    panel.parent.exit()
    assert voxels() > after


def test_choosing_a_row_shows_the_vessel_and_the_jump_button_leaves_it(panel, done, scene):
    import slicer

    view = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    panel.ui.vesselTable.selectRow(0)
    assert view.GetPlotChartNode().GetTitle() == "SMA: contact angle"
    panel.ui.thresholdSlider.value = 0.3
    table = view.GetPlotChartNode().GetNthPlotSeriesNode(1).GetTableNode()
    assert slicer.util.arrayFromTableColumn(table, "Threshold")[0] == pytest.approx(0.3)
    assert panel.ui.vesselTable.selectionModel().selectedRows()[0].row() == 0
    panel.ui.jumpButton.click()
    assert not panel.ui.vesselTable.selectionModel().selectedRows()
