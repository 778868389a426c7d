"""A scene that is saved right after the slider moved holds what was seen."""

from __future__ import annotations

import gc

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask, volumeFromNode


@pytest.fixture
def logic(scene, tmp_path):
    node = makeExampleCt()
    logic = TwinTrackSegLogic(["unused"])
    logic.loadResult(writeExampleResult(tmp_path / "result", node), node)
    return logic


def holdsThreshold(result, threshold: float) -> bool:
    drawn = segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct)
    return bool(np.array_equal(drawn, volumeFromNode(result.nodes.mhr).array >= np.float32(threshold)))


def test_a_bundle_that_is_written_in_a_drag_holds_the_final_outline(logic, scene, tmp_path):
    for number, threshold in enumerate((0.3, 0.7)):  # a second save in another place too
        logic.result.outline.setThreshold(threshold, settled=False)
        assert not holdsThreshold(logic.result, threshold)
        path = str(tmp_path / f"saved {number}.mrb")
        assert scene.WriteToMRB(path, None)
        assert holdsThreshold(logic.result, threshold)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    assert again.outline.threshold == 0.7
    assert again.outline.settled
    assert holdsThreshold(again, 0.7)
    assert again.nodes.lesionTable.GetTable().GetNumberOfRows() == 1


@pytest.mark.slow
def test_a_script_that_keeps_nothing_saves_the_final_outline_too(logic, scene, tmp_path):
    resultsOf(slicer.util.getNode("Example CT"))[0].outline.setThreshold(0.3, settled=False)
    logic.result = None
    gc.collect()
    assert scene.WriteToMRB(str(tmp_path / "saved.mrb"), None)
    (result,) = resultsOf(slicer.util.getNode("Example CT"))
    assert holdsThreshold(result, 0.3)


def test_other_changes_of_the_scene_do_not_hold_up_a_drag(logic, scene):
    for threshold in (0.3, 0.4, 0.45):
        logic.result.outline.setThreshold(threshold, settled=False)
        scene.AddNewNodeByClass("vtkMRMLTextNode", "something else")
        logic.result.nodes.mhr.Modified()
        assert not logic.result.outline.settled


def test_a_scene_file_that_was_written_without_its_data_is_brought_along_when_it_is_used(logic, scene, tmp_path):
    """A scene file alone holds the threshold, not the voxels: these are those of the last save of the data."""
    assert scene.WriteToMRB(str(tmp_path / "saved.mrb"), None)
    logic.result.outline.setThreshold(0.3, settled=False)
    node = logic.result.nodes.mhr
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "saved.mrb"), True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    for name, value in attributes.items():
        again.nodes.mhr.SetAttribute(name, value)
    assert not again.outline.settled
    assert not again.outline.changed()
    again.outline.settle()
    assert holdsThreshold(again, 0.3)


def test_an_edit_in_the_middle_of_a_drag_is_saved_as_it_is(logic, scene, tmp_path):
    from segment_drawing import drawSegment

    result = logic.result
    result.outline.setThreshold(0.3, settled=False)
    mask = segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct)
    mask[:12] = False
    drawSegment(result.nodes.segmentation, "tumor", mask, result.nodes.ct)
    assert scene.WriteToMRB(str(tmp_path / "saved.mrb"), None)
    np.testing.assert_array_equal(segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct), mask)
