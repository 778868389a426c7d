"""A result folder in the scene: nodes, looks, threshold, save and reload. Spheres of known size give the answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from twintrack.errors import InputError
from twintrack.volume import Volume, read_volume, write_volume
from TwinTrackSegLib.mrml.MhrColors import _labToSrgb, mhrColors
from TwinTrackSegLib.mrml.MhrDisplay import OVERLAY_OPACITY
from TwinTrackSegLib.mrml.ReaderScale import DEFAULT_LEVELS as LEVELS
from TwinTrackSegLib.mrml.ResultSegmentation import segmentMask
from TwinTrackSegLib.mrml.SceneResult import SceneResult, resultsOf
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, exampleCenterMm, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, volumeFromNode

OBLIQUE = np.array(
    [[0.8, -0.48, 0.72, 12.5], [0.48, 0.864, -0.304, -40.0], [-0.36, 0.3, 1.84, 300.0], [0, 0, 0, 1]], dtype=float
)


def orthogonal(matrix: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return an oblique, unequally spaced, exactly orthogonal IJK-to-RAS matrix near `matrix`."""
    q, _r = np.linalg.qr(matrix[:3, :3])
    out = matrix.copy()
    out[:3, :3] = q * [1.0, 1.0, -1.0 if mirrored else 1.0] * np.array([1.0, 1.1, 1.9])
    return out


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def sphereMl(level: float) -> float:
    return 4 / 3 * math.pi * (RADIUS_MM * (1 - level)) ** 3 / 1000


def test_the_map_keeps_the_engines_values_and_the_cts_exact_grid(loaded, tmp_path):
    stored = read_volume(tmp_path / "result" / "probability.nii.gz")
    mhr = volumeFromNode(loaded.mhrNode)
    np.testing.assert_array_equal(mhr.array, stored.array)
    assert mhr.array.dtype == np.float32
    assert mhr.geometry == geometryFromNode(loaded.volumeNode)


def test_no_node_points_into_the_result_folder(loaded):
    for node in loaded.nodes:
        if node.IsA("vtkMRMLStorableNode"):
            assert node.GetStorageNode() is None


def test_the_overlay_has_a_fixed_scale_and_hides_what_is_below_the_threshold(loaded):
    display = loaded.mhrNode.GetDisplayNode()
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
        assert composite.GetForegroundVolumeID() == result.mhrNode.GetID()
        assert composite.GetForegroundOpacity() == OVERLAY_OPACITY


def test_the_legend_counts_readers(loaded):
    (first, *others) = loaded.contourNodes
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(first)
    assert legend.GetTitleText() == "Readers"
    assert legend.GetLabelFormat() % 3.0 == "3 of 5"
    assert legend.GetNumberOfLabels() == 6
    assert first.GetDisplayNode().GetScalarRange() == (0.0, 5.0)
    assert first.GetDisplayNode().GetColorNodeID() == loaded.mhrNode.GetDisplayNode().GetColorNodeID()
    assert not any(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node) for node in others)


def test_all_nodes_lie_in_one_folder_beside_the_ct(scene, tmp_path):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P"), "S")
    node = makeExampleCt()
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(study, node)
    hierarchy.SetItemParent(item, study)
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in result.nodes}
    assert len(folders) == 1
    assert hierarchy.GetItemParent(folders.pop()) == study


def test_iso_contours_are_spheres_of_the_right_size_at_the_right_place(loaded):
    center = exampleCenterMm(volumeFromNode(loaded.volumeNode)) * [-1, -1, 1]
    assert [float(node.GetAttribute("TwinTrackSeg.level")) for node in loaded.contourNodes] == list(LEVELS)
    for node, level in zip(loaded.contourNodes, LEVELS, strict=True):
        points = slicer.util.arrayFromModelPoints(node)
        radii = np.linalg.norm(points - center, axis=1)
        # linear interpolation of a radial ramp is exact on the axes and off by a part of a voxel between them
        np.testing.assert_allclose(radii, RADIUS_MM * (1 - level), atol=0.35)
        assert abs(radii.mean() - RADIUS_MM * (1 - level)) < 0.12


@pytest.mark.parametrize("mirrored", [False, True])
def test_on_an_oblique_grid_contours_segment_and_map_agree_in_ras(scene, tmp_path, mirrored):
    node = makeExampleCt(orthogonal(OBLIQUE, mirrored))
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    points = slicer.util.arrayFromModelPoints(result.contourNodes[1])
    np.testing.assert_allclose(np.linalg.norm(points - center, axis=1), RADIUS_MM * 0.6, atol=0.4)
    np.testing.assert_allclose(result.center(), center, atol=0.05)

    bounds = np.zeros(6)
    result.segmentationNode.GetSegmentation().GetSegment("tumor").GetRepresentation("Closed surface").GetBounds(bounds)
    np.testing.assert_allclose((bounds[::2] + bounds[1::2]) / 2, center, atol=0.3)
    np.testing.assert_allclose(bounds[1::2] - bounds[::2], 2 * RADIUS_MM * 0.5, atol=0.5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_surface_normals_point_outward_also_on_a_mirrored_grid(scene, tmp_path, mirrored):
    node = makeExampleCt(orthogonal(OBLIQUE, mirrored))
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    data = result.contourNodes[0].GetPolyData()
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    outward = slicer.util.arrayFromModelPoints(result.contourNodes[0]) - center
    normals = slicer.util.arrayFromModelPointData(result.contourNodes[0], "Normals")
    assert data.GetNumberOfPoints() > 100
    assert (np.sum(outward * normals, axis=1) > 0).mean() > 0.99


def test_a_tumour_at_the_border_of_the_volume_gets_closed_contours(scene, tmp_path):
    import vtk

    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    stored = read_volume(folder / "probability.nii.gz")
    shifted = np.roll(stored.array, -stored.array.shape[0] // 2, axis=0)
    write_volume(stored.with_array(shifted), folder / "probability.nii.gz")
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(result.contourNodes[0].GetPolyData())
    edges.BoundaryEdgesOn()
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0


def test_contours_are_white_visible_in_slices_and_translucent_in_3d(loaded):
    for node in loaded.contourNodes:
        display = node.GetDisplayNode()
        assert display.GetColor() == (1.0, 1.0, 1.0)
        assert display.GetVisibility2D()
        assert 0 < display.GetOpacity() < 1


def test_the_tumour_segment_is_the_map_at_the_threshold(loaded):
    mhr = volumeFromNode(loaded.mhrNode).array
    for threshold in (0.5, 0.2, 0.9, 0.01):
        loaded.setThreshold(threshold)
        mask = segmentMask(loaded.segmentationNode, "tumor", loaded.volumeNode)
        np.testing.assert_array_equal(mask, mhr >= threshold)
        assert loaded.mhrNode.GetDisplayNode().GetLowerThreshold() == threshold
        assert loaded.volumeMl == pytest.approx(mask.sum() * 0.002)


def test_volume_at_the_threshold_is_the_spheres(loaded):
    for threshold in (0.2, 0.4):
        loaded.setThreshold(threshold)
        assert loaded.volumeMl == pytest.approx(sphereMl(threshold), rel=0.05)


def test_a_threshold_above_the_highest_value_leaves_an_empty_segment(loaded):
    loaded.setThreshold(1.0)
    assert not segmentMask(loaded.segmentationNode, "tumor", loaded.volumeNode).any()
    assert loaded.volumeMl == 0
    loaded.setThreshold(0.5)
    assert loaded.volumeMl > 1


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, math.nan])
def test_a_threshold_out_of_range_is_refused_and_changes_nothing(loaded, threshold):
    with pytest.raises(ValueError, match="threshold must be from"):
        loaded.setThreshold(threshold)
    assert loaded.threshold == 0.5


def test_vessel_segments_are_the_labels_and_keep_their_surface_when_the_threshold_moves(loaded, tmp_path):
    labels = read_volume(tmp_path / "result" / "segmentation.nii.gz")
    loaded.setThreshold(0.3)
    mask = segmentMask(loaded.segmentationNode, "SMA", loaded.volumeNode)
    np.testing.assert_array_equal(mask, labels.array == 6)
    surface = loaded.segmentationNode.GetSegmentation().GetSegment("SMA").GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 50


def test_segments_carry_snomed_codes(loaded):
    segmentation = loaded.segmentationNode.GetSegmentation()
    tumor = segmentation.GetSegment("tumor").GetTerminology().split("~")
    assert len(tumor) == 7
    assert tumor[5].startswith("SCT^15776009^")
    assert segmentation.GetSegment("SMA").GetTerminology().split("~")[2].startswith("SCT^42258001^")


def rows(result) -> dict[str, list[str]]:
    """Return the cells of the vessel table by vessel."""
    table = result.tableNode.GetTable()
    texts = [
        [table.GetValue(r, c).ToString() for c in range(table.GetNumberOfColumns())]
        for r in range(table.GetNumberOfRows())
    ]
    return {cells[0]: cells for cells in texts}


def test_the_table_follows_the_threshold(loaded):
    artery = "SMA"
    assert rows(loaded)[artery][1:7] == ["◐ abutment", "120", "0 – 240", "10.0", "80", "35"]
    loaded.setThreshold(0.2)  # half way between the measured 0.1 (240) and 0.3 (200)
    assert rows(loaded)[artery][1:3] == ["● encasement", "220"]
    assert rows(loaded)[artery][4] == "18.0"
    loaded.setThreshold(0.95)  # beyond the last measured level the last value holds
    assert rows(loaded)[artery][1:3] == ["○ no contact", "0"]
    assert rows(loaded)["Celiac trunk"][1] == "not seen"


def test_a_result_without_vessels_gives_an_empty_table(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / "invasion.json").unlink()
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert result.tableNode.GetNumberOfRows() == 0
    assert result.readouts == []


def test_an_empty_map_loads_without_contours(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    empty = read_volume(folder / "probability.nii.gz")
    write_volume(empty.with_array(np.zeros_like(empty.array)), folder / "probability.nii.gz")
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert result.contourNodes == []
    assert result.center() is None
    assert result.volumeMl == 0


def test_a_second_result_of_the_same_ct_hides_the_first(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    logic = TwinTrackSegLogic(["unused"])
    first, second = logic.loadResult(folder, node), logic.loadResult(folder, node)
    assert len(resultsOf(node)) == 2
    assert not first.segmentationNode.GetDisplayVisibility()
    assert second.segmentationNode.GetDisplayVisibility()
    assert all(contour.GetDisplayVisibility() == 0 for contour in first.contourNodes)


def test_results_follow_the_cts_parent_transform(scene, tmp_path):
    node = makeExampleCt()
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    for item in (result.mhrNode, result.segmentationNode, *result.contourNodes):
        assert item.GetParentTransformNode() is transform


def test_everything_is_live_again_after_save_and_reload(loaded, scene, tmp_path):
    path = str(tmp_path / "scene.mrb")
    loaded.setThreshold(0.4)
    before = volumeFromNode(loaded.mhrNode).array.copy()
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)

    ct = slicer.util.getNode("Example CT")
    (again,) = resultsOf(ct)
    np.testing.assert_array_equal(volumeFromNode(again.mhrNode).array, before)
    assert again.threshold == 0.4
    assert len(again.contourNodes) == 4
    again.setThreshold(0.2)
    assert again.volumeMl == pytest.approx(sphereMl(0.2), rel=0.05)
    assert again.readouts[0].angle_deg == pytest.approx(220)
    mask = segmentMask(again.segmentationNode, "tumor", ct)
    np.testing.assert_array_equal(mask, before >= np.float32(0.2))


def sceneContent(scene) -> list[str]:
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


@pytest.mark.parametrize("missing", ["result.json", "probability.nii.gz", "segmentation.nii.gz"])
def test_a_missing_file_is_named_and_leaves_the_scene_as_it_was(scene, tmp_path, missing):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / missing).unlink()
    before = sceneContent(scene)
    with pytest.raises(InputError, match=missing):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert sceneContent(scene) == before


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 2}'])
def test_a_damaged_record_is_refused_and_leaves_the_scene_as_it_was(scene, tmp_path, content):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / "invasion.json").write_text(content)
    before = sceneContent(scene)
    with pytest.raises(InputError, match=r"invasion\.json"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert sceneContent(scene) == before


def test_a_failure_in_the_middle_removes_what_was_made(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "threshold": 7}))
    made = ("ColorTable", "SubjectHierarchy")  # kept: one in every scene, not part of a result
    before = [n for n in sceneContent(scene) if not any(kind in n for kind in made)]
    with pytest.raises(ValueError, match="threshold"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert [n for n in sceneContent(scene) if not any(kind in n for kind in made)] == before


def test_the_result_of_another_ct_is_refused(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    other = makeExampleCt(np.diag([-1.0, -1.0, 2.5, 1.0]), "Other")
    with pytest.raises(InputError, match="another voxel grid than volume 'Other'"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, other)


def test_the_map_refers_back_to_its_ct(loaded):
    again = SceneResult(loaded.mhrNode)
    assert again.volumeNode is loaded.volumeNode
    assert again.expectedVolumeMl == pytest.approx(math.pi * RADIUS_MM**3 / 3 / 1000, rel=0.02)


def test_colours_step_equally_and_grow_lighter():
    from skimage.color import rgb2lab

    lab = rgb2lab(mhrColors(256)[None])[0]
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert np.all(np.diff(lab[:, 0]) > 0)
    assert steps.max() / steps.min() < 1.1
    assert lab[-1, 0] < 85  # darker than white contours


def test_colour_conversion_agrees_with_scikit_image():
    from skimage.color import lab2rgb

    lab = np.array([[20.0, 10, -30], [50, 40, 20], [75, -5, 50], [5, 0, 0]])
    np.testing.assert_allclose(_labToSrgb(lab), lab2rgb(lab[None])[0], atol=3e-3)


def test_volume_type_is_the_engines(loaded):
    assert isinstance(volumeFromNode(loaded.mhrNode), Volume)
