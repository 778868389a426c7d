"""Contours of a result: spheres of known size, on any grid, and the colours of the map."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from twintrack.imaging.map_colors import lab_to_srgb, map_colors
from twintrack.io.volumes import read_volume, write_volume
from TwinTrackSegLib.mrml.display.MhrDisplay import DEFAULT_LEVELS as LEVELS
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, exampleCenterMm, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

OBLIQUE = np.array(
    [[0.8, -0.48, 0.72, 12.5], [0.48, 0.864, -0.304, -40.0], [-0.36, 0.3, 1.84, 300.0], [0, 0, 0, 1]], dtype=float
)


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def orthogonal(matrix: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return an oblique, unequally spaced, exactly orthogonal IJK-to-RAS matrix near `matrix`."""
    q, _r = np.linalg.qr(matrix[:3, :3])
    out = matrix.copy()
    out[:3, :3] = q * [1.0, 1.0, -1.0 if mirrored else 1.0] * np.array([1.0, 1.1, 1.9])
    return out


@pytest.mark.slow
def test_iso_contours_are_spheres_of_the_right_size_at_the_right_place(loaded):
    center = exampleCenterMm(volumeFromNode(loaded.nodes.ct)) * [-1, -1, 1]
    assert [float(node.GetAttribute("TwinTrackSeg.level")) for node in loaded.nodes.contours] == list(LEVELS)
    for node, level in zip(loaded.nodes.contours, LEVELS, strict=True):
        points = slicer.util.arrayFromModelPoints(node)
        radii = np.linalg.norm(points - center, axis=1)
        # linear interpolation of a radial ramp is exact on the axes and off by a part of a voxel between them
        np.testing.assert_allclose(radii, RADIUS_MM * (1 - level), atol=0.35)
        assert abs(radii.mean() - RADIUS_MM * (1 - level)) < 0.12


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_on_an_oblique_grid_contours_segment_and_map_agree_in_ras(scene, tmp_path, mirrored):
    node = makeExampleCt(orthogonal(OBLIQUE, mirrored))
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    points = slicer.util.arrayFromModelPoints(result.nodes.contours[1])
    np.testing.assert_allclose(np.linalg.norm(points - center, axis=1), RADIUS_MM * 0.6, atol=0.4)
    np.testing.assert_allclose(result.center(), center, atol=0.05)

    bounds = np.zeros(6)
    tumor = result.nodes.segmentation.GetSegmentation().GetSegment("tumor")
    tumor.GetRepresentation("Closed surface").GetBounds(bounds)
    np.testing.assert_allclose((bounds[::2] + bounds[1::2]) / 2, center, atol=0.3)
    np.testing.assert_allclose(bounds[1::2] - bounds[::2], 2 * RADIUS_MM * 0.5, atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_surface_normals_point_outward_also_on_a_mirrored_grid(scene, tmp_path, mirrored):
    node = makeExampleCt(orthogonal(OBLIQUE, mirrored))
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    data = result.nodes.contours[0].GetPolyData()
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    outward = slicer.util.arrayFromModelPoints(result.nodes.contours[0]) - center
    normals = slicer.util.arrayFromModelPointData(result.nodes.contours[0], "Normals")
    assert data.GetNumberOfPoints() > 100
    assert (np.sum(outward * normals, axis=1) > 0).mean() > 0.99


@pytest.mark.slow
def test_a_tumor_at_the_border_of_the_volume_gets_closed_contours(scene, tmp_path):
    import vtk

    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    stored = read_volume(folder / "probability.nii.gz")
    shifted = np.roll(stored.array, -stored.array.shape[0] // 2, axis=0)
    write_volume(stored.with_array(shifted), folder / "probability.nii.gz")
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(result.nodes.contours[0].GetPolyData())
    edges.BoundaryEdgesOn()
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0


@pytest.mark.slow
def test_contours_are_white_visible_in_slices_and_translucent_in_3d(loaded):
    for node in loaded.nodes.contours:
        display = node.GetDisplayNode()
        assert display.GetColor() == (1.0, 1.0, 1.0)
        assert display.GetVisibility2D()
        assert 0 < display.GetOpacity() < 1


def test_colors_step_equally_and_grow_lighter():
    from skimage.color import rgb2lab

    lab = rgb2lab(map_colors(256)[None])[0]
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert np.all(np.diff(lab[:, 0]) > 0)
    assert steps.max() / steps.min() < 1.1
    assert lab[-1, 0] < 85  # darker than white contours


def test_color_conversion_agrees_with_scikit_image():
    from skimage.color import lab2rgb

    lab = np.array([[20.0, 10, -30], [50, 40, 20], [75, -5, 50], [5, 0, 0]])
    np.testing.assert_allclose(lab_to_srgb(lab), lab2rgb(lab[None])[0], atol=3e-3)
