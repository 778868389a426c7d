"""Volume nodes (RAS) and engine volumes (LPS) describe the same voxels at the same places."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
import vtk

import slicer
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.volume import Geometry
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
from TwinTrackSegLib.mrml.VolumeConversion import checkCt, geometryFromNode, setNodeGeometry, volumeFromNode
from TwinTrackSegLib.mrml.worker.TemporaryFiles import writeNrrd


def rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    a, b, c = np.deg2rad([x_deg, y_deg, z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def obliqueMatrix(signs=(1, 1, 1), angles=(20, -35, 50)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*angles) @ np.diag(signs) * np.array([0.7, 0.9, 2.5])
    matrix[:3, 3] = (12.5, -40.25, 310.0)
    return matrix


def nodeWith(matrix: np.ndarray, array: np.ndarray):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(node, array)
    return node


@pytest.mark.parametrize("signs", [(i, j, k) for i in (1, -1) for j in (1, -1) for k in (1, -1)])
def test_every_voxel_of_an_oblique_node_has_the_same_place_in_both_worlds(scene, signs):
    matrix = obliqueMatrix(signs)
    node = nodeWith(matrix, np.zeros((4, 5, 6), np.int16))
    geometry = geometryFromNode(node)
    for ijk in ((0, 0, 0), (5, 4, 3), (2, 0, 1)):
        ras = (matrix @ [*ijk, 1.0])[:3]
        np.testing.assert_allclose(geometry.to_lps_mm(np.array(ijk)), ras * [-1, -1, 1], atol=1e-9)


def test_array_is_a_view_in_z_y_x_order(scene):
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    node = nodeWith(obliqueMatrix(), array)
    volume = volumeFromNode(node)
    np.testing.assert_array_equal(volume.array, array)
    volume.array[1, 2, 3] = -7
    assert node.GetImageData().GetScalarComponentAsDouble(3, 2, 1, 0) == -7


def test_geometry_given_back_to_a_node_is_unchanged_to_the_last_bit(scene):
    node = nodeWith(obliqueMatrix((1, -1, 1)), np.zeros((4, 5, 6), np.int16))
    other = nodeWith(np.eye(4), np.zeros((4, 5, 6), np.int16))
    geometry = geometryFromNode(node)
    setNodeGeometry(other, geometry)
    assert geometryFromNode(other) == geometry


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, 1)])
def test_nrrd_written_for_the_engine_lies_where_slicer_itself_reads_it(scene, tmp_path, signs):
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    matrix = obliqueMatrix(signs)
    node = nodeWith(matrix, array)
    path = tmp_path / "ct.nrrd"
    writeNrrd(volumeFromNode(node), path)

    engine = read_volume(path)
    np.testing.assert_array_equal(engine.array, array)
    assert engine.geometry.same_grid(geometryFromNode(node))

    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "again")
    assert storage.ReadData(again)
    reread = vtk.vtkMatrix4x4()
    again.GetIJKToRASMatrix(reread)
    for ijk in ((0, 0, 0), (5, 4, 3)):
        value = array[ijk[2], ijk[1], ijk[0]]
        found = np.argwhere(slicer.util.arrayFromVolume(again) == value)[0][::-1]
        np.testing.assert_allclose(reread.MultiplyPoint((*found, 1.0))[:3], (matrix @ [*ijk, 1.0])[:3], atol=1e-5)


def test_a_ct_is_accepted(scene):
    checkCt(makeExampleCt())


def test_no_node_is_refused(scene):
    with raises_error(InputError, "no-input-chosen"):
        checkCt(None)


def test_an_empty_node_is_refused_by_name(scene):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing in it")
    with raises_error(InputError, "volume-empty"):
        checkCt(node)


def test_an_mr_like_volume_is_refused_with_its_values(scene):
    node = nodeWith(np.eye(4), np.linspace(0, 900, 120).reshape(4, 5, 6).astype(np.int16))
    with raises_error(InputError, "not-hounsfield", "CT", "900"):
        checkCt(node)


def test_a_node_that_says_it_is_mr_is_refused_whatever_its_values(scene):
    node = makeExampleCt()
    node.SetAttribute("DICOM.Modality", "MR")
    with raises_error(InputError, "not-a-ct", "MR"):
        checkCt(node)


@pytest.mark.parametrize("nodeClass", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"])
def test_label_maps_and_color_images_are_refused(scene, nodeClass):
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, "other")
    with raises_error(InputError, "not-a-ct", "CT"):
        checkCt(node)


def test_a_single_slice_is_refused(scene):
    with raises_error(InputError, "single-slice"):
        checkCt(nodeWith(np.eye(4), np.full((1, 8, 8), -1000, np.int16)))


def test_nan_is_refused(scene):
    array = np.linspace(-1000, 500, 120).reshape(4, 5, 6)
    array[0, 0, 0] = np.nan
    with raises_error(InputError, "values-not-finite"):
        checkCt(nodeWith(np.eye(4), array))


def test_a_sheared_node_is_refused(scene):
    matrix = np.eye(4)
    matrix[1, 2] = 0.4
    node = nodeWith(matrix, np.linspace(-1000, 500, 120).reshape(4, 5, 6))
    with raises_error(InputError, "axes-sheared"):
        checkCt(node)


def underTransform(node, matrix: np.ndarray):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def test_a_rigid_parent_transform_is_accepted_and_a_scaling_one_refused(scene):
    node = makeExampleCt()
    rigid = np.eye(4)
    rigid[:3, :3] = rotation(10, 20, 30)
    transform = underTransform(node, rigid)
    checkCt(node)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, 1.0, 1.2, 1.0])))
    with raises_error(InputError, "transform-not-rigid"):
        checkCt(node)


def test_geometry_is_the_engines_type(scene):
    assert isinstance(geometryFromNode(makeExampleCt()), Geometry)
