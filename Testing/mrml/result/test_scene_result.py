"""A result folder in the scene: nodes, looks, and what is refused. A sphere gives the answers."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume
from TwinTrackSegLib.mrml.display.Views import OVERLAY_OPACITY
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, resultsOf
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, nodeFromVolume, volumeFromNode


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def test_the_map_keeps_the_engines_values_and_the_cts_exact_grid(loaded, tmp_path):
    stored = read_volume(tmp_path / "result" / "probability.nii.gz")
    mhr = volumeFromNode(loaded.nodes.mhr)
    np.testing.assert_array_equal(mhr.array, stored.array)
    assert mhr.array.dtype == np.float32
    assert mhr.geometry == geometryFromNode(loaded.nodes.ct)


def test_no_node_points_into_the_result_folder(loaded):
    for node in loaded.nodes.all:
        if node.IsA("vtkMRMLStorableNode"):
            assert node.GetStorageNode() is None


def test_the_overlay_has_a_fixed_scale_and_hides_what_is_below_the_threshold(loaded):
    display = loaded.nodes.mhr.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert display.GetAutoWindowLevel() == 0
    assert display.GetApplyThreshold() == 1
    assert display.GetLowerThreshold() == 0.5
    assert display.GetUpperThreshold() >= 1.0
    assert display.GetColorNode().GetNumberOfColors() == 256


def test_the_map_becomes_the_foreground_of_all_slice_views(scene, tmp_path):
    for name in ("Red", "Yellow"):
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name)
        composite.SetLayoutName(name)
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert len(composites) == 2
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == node.GetID()
        assert composite.GetForegroundVolumeID() == result.nodes.mhr.GetID()
        assert composite.GetForegroundOpacity() == OVERLAY_OPACITY


def test_the_legend_counts_readers(loaded):
    (first, *others) = loaded.nodes.contours
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(first)
    assert legend.GetTitleText() == "Readers"
    assert legend.GetLabelFormat() % 3.0 == "3 of 5"
    assert legend.GetNumberOfLabels() == 6
    assert first.GetDisplayNode().GetScalarRange() == (0.0, 5.0)
    assert first.GetDisplayNode().GetColorNodeID() == loaded.nodes.mhr.GetDisplayNode().GetColorNodeID()
    assert not any(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node) for node in others)


def test_all_nodes_lie_in_one_folder_beside_the_ct(scene, tmp_path):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P"), "S")
    node = makeExampleCt()
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(study, node)
    hierarchy.SetItemParent(item, study)
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in result.nodes.all}
    assert len(folders) == 1
    assert hierarchy.GetItemParent(folders.pop()) == study


def test_an_empty_map_loads_without_contours(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    empty = read_volume(folder / "probability.nii.gz")
    write_volume(empty.with_array(np.zeros_like(empty.array)), folder / "probability.nii.gz")
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert result.nodes.contours == []
    assert result.center() is None
    assert result.outline.volumeMl == 0


@pytest.mark.parametrize("file", ["probability.nii.gz", "vessels.nii.gz"])
def test_a_damaged_volume_is_refused_and_leaves_the_scene_as_it_was(scene, tmp_path, file):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / file).write_bytes((folder / file).read_bytes()[:-9])
    before = ownContent(scene)
    with raises_error(InputError, "voxels-cut-off", file):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert ownContent(scene) == before


def test_a_map_of_other_numbers_is_refused(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    stored = read_volume(folder / "probability.nii.gz")
    write_volume(stored.with_array((stored.array > 0.5).astype(np.int16)), folder / "probability.nii.gz")
    with raises_error(InputError, "result-malformed", "probability.nii.gz"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)


def test_a_second_result_of_the_same_ct_hides_the_first(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    logic = TwinTrackSegLogic(["unused"])
    first, second = logic.loadResult(folder, node), logic.loadResult(folder, node)
    assert len(resultsOf(node)) == 2
    assert not first.nodes.segmentation.GetDisplayVisibility()
    assert second.nodes.segmentation.GetDisplayVisibility()
    assert all(contour.GetDisplayVisibility() == 0 for contour in first.nodes.contours)


def test_results_follow_the_cts_parent_transform(scene, tmp_path):
    node = makeExampleCt()
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    for item in (result.nodes.mhr, result.nodes.segmentation, *result.nodes.contours):
        assert item.GetParentTransformNode() is transform


def sceneContent(scene) -> list[str]:
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


def ownContent(scene) -> list[str]:
    """Return what is in the scene, without what is in every scene as soon as there is a volume."""
    return [
        name for name in sceneContent(scene) if not any(kind in name for kind in ("ColorTable", "SubjectHierarchy"))
    ]


@pytest.mark.parametrize("missing", ["result.json", "probability.nii.gz", "segmentation.nii.gz"])
def test_a_missing_file_is_named_and_leaves_the_scene_as_it_was(scene, tmp_path, missing):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / missing).unlink()
    before = sceneContent(scene)
    with raises_error(InputError, "result-incomplete", missing):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert sceneContent(scene) == before


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 3}', '{"schema": "2"}'])
def test_a_damaged_record_is_refused_and_leaves_the_scene_as_it_was(scene, tmp_path, content):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / "invasion.json").write_text(content)
    before = sceneContent(scene)
    with pytest.raises(InputError, match=r"invasion\.json"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert sceneContent(scene) == before


@pytest.mark.parametrize("schema", [1, 2])
def test_readings_of_this_and_of_earlier_versions_open(scene, tmp_path, schema):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    content = json.loads((folder / "invasion.json").read_text())
    (folder / "invasion.json").write_text(json.dumps(content | {"schema": schema}))
    assert TwinTrackSegLogic(["unused"]).loadResult(folder, node).record.invasion["schema"] == schema


def test_a_failure_in_the_middle_removes_what_was_made(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "threshold": 7}))
    before = ownContent(scene)
    with pytest.raises(ValueError, match="threshold"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert ownContent(scene) == before


def test_the_result_of_another_ct_is_refused(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    other = makeExampleCt(np.diag([-1.0, -1.0, 2.5, 1.0]), "Other")
    with raises_error(InputError, "grid-differs", "'Other'"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, other)


def test_the_map_refers_back_to_its_ct(loaded):
    again = SceneResult(loaded.nodes.mhr)
    assert again.nodes.ct is loaded.nodes.ct
    assert again.record.expectedVolumeMl == pytest.approx(math.pi * RADIUS_MM**3 / 3 / 1000, rel=0.02)


def test_volume_type_is_the_engines(loaded):
    assert isinstance(volumeFromNode(loaded.nodes.mhr), Volume)


def test_curves_and_what_they_plot_lie_in_the_results_folder_too(loaded):
    from TwinTrackSegLib.mrml.vessels.VesselPlot import plotVessel

    chart = plotVessel(loaded.nodes.mhr, loaded.record.invasion, "SMA", 0.5)
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert len(series) == 3
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(loaded.nodes.mhr))
    for node in (chart, *series, *(line.GetTableNode() for line in series)):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder, node.GetName()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the highest memory")
def test_a_large_map_is_in_memory_once_also_while_it_is_loaded(scene, tmp_path):
    shape = (160, 256, 256)
    warm = makeExampleCt()
    TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "small", warm), warm)
    geometry = Geometry((256, 256, 160), (0.7, 0.7, 1.0))
    ct = nodeFromVolume(Volume(np.zeros(shape, np.int16), geometry), "CT")
    mhr = np.zeros(shape, np.float32)
    mhr[70:90, 100:130, 100:130] = 0.8
    folder = tmp_path / "large"
    folder.mkdir()
    for name, array in (("probability", mhr), ("segmentation", (mhr > 0.5).astype(np.uint8))):
        write_volume(Volume(array, geometry), folder / f"{name}.nii.gz")
    content = {"schema": 1, "threshold": 0.5, "labels": {"tumor": 1}}
    (folder / "result.json").write_text(json.dumps(content))
    bytes_ = mhr.nbytes
    del mhr, array
    Path("/proc/self/clear_refs").write_text("5")  # from here on the highest
    before = memory("VmRSS")
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, ct)
    assert volumeFromNode(result.nodes.mhr).array.max() == np.float32(0.8)
    assert memory("VmHWM") - before < 1.7 * bytes_


def memory(what: str) -> int:
    """Return what Linux says of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))
