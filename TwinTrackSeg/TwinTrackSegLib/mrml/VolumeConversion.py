"""MRML volume nodes (RAS) to the engine's volumes (LPS) and back, exactly; segments as masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk
import vtk.util.numpy_support
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError
from twintrack.volume import Geometry, Volume

__all__ = [
    "checkCt",
    "fillNode",
    "geometryFromNode",
    "ijkToRas",
    "nodeFromVolume",
    "segmentMask",
    "setNodeGeometry",
    "volumeFromNode",
]

LPS_SIGNS = np.array([-1.0, -1.0, 1.0])
"""RAS and LPS differ in the sign of the first two axes."""

CT_DARKEST_HU = -50.0
"""The darkest voxel of a body CT is fat or air, below this value."""

CT_LEAST_RANGE_HU = 200.0
"""Difference between the darkest and the brightest voxel that every body CT exceeds."""

OTHER_IMAGE_CLASSES = ("vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLTensorVolumeNode")
"""Node classes that derive from the scalar volume node and yet are no CT."""


def ijkToRas(node: Any) -> vtk.vtkMatrix4x4:
    """Return the node's matrix from voxel index (i, j, k) to RAS mm, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def geometryFromNode(node: Any) -> Geometry:
    """Return the node's voxel grid in LPS, from its own spacing, origin and directions (no number is recomputed)."""
    directions = np.zeros((3, 3))
    rows = [[0.0] * 3 for _ in range(3)]
    node.GetIJKToRASDirections(rows)
    directions[:] = rows
    return Geometry(
        size=tuple(node.GetImageData().GetDimensions()),
        spacing_mm=tuple(node.GetSpacing()),
        origin_mm=tuple(float(v) for v in LPS_SIGNS * node.GetOrigin()),
        direction=tuple(float(v) for v in (LPS_SIGNS[:, None] * directions).ravel()),
    )


def setNodeGeometry(node: Any, geometry: Geometry) -> None:
    """Put the node on the LPS grid `geometry`."""
    node.SetSpacing(*geometry.spacing_mm)
    node.SetOrigin(*(LPS_SIGNS * geometry.origin_mm))
    node.SetIJKToRASDirections((LPS_SIGNS[:, None] * geometry.direction_matrix).tolist())


def volumeFromNode(node: Any) -> Volume:
    """Return the node's voxels as an engine volume: the array (z, y, x) is a view of the node's memory, not a copy.

    Raises
    ------
    InputError
        If the node holds no voxels, or its grid is sheared.
    """
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or min(image.GetDimensions()) < 1:
        raise InputError(f"volume '{node.GetName()}' is empty; load or choose a CT with voxels", code="volume-empty")
    return Volume(slicer.util.arrayFromVolume(node), geometryFromNode(node))


def nodeFromVolume(volume: Volume, name: str, node: Any = None) -> Any:
    """Add a scalar volume node with a copy of the voxels of `volume`, at the same place; or fill `node`, if given."""
    node = node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.array))
    setNodeGeometry(node, volume.geometry)
    node.CreateDefaultDisplayNodes()
    return node


def fillNode(node: Any, geometry: Geometry, scalarType: int) -> NDArray[Any]:
    """Give a volume node voxels on the LPS grid `geometry`, and return them (z, y, x), a view, to be filled.

    Who reads into the node's own memory holds a volume once, not twice. Call ``Modified`` of the node's image then.
    """
    image = vtk.vtkImageData()
    image.SetDimensions(*geometry.size)
    image.AllocateScalars(scalarType, 1)
    node.SetAndObserveImageData(image)
    setNodeGeometry(node, geometry)
    voxels: NDArray[Any] = slicer.util.arrayFromVolume(node)
    return voxels


def segmentMask(segmentationNode: Any, identifier: str, volumeNode: Any) -> NDArray[np.bool_]:
    """Return the segment's voxels (z, y, x) on the CT's grid, also after it was edited on another one."""
    segment = slicer.vtkOrientedImageData()
    segmentationNode.GetBinaryLabelmapRepresentation(identifier, segment)
    parent = volumeNode.GetParentTransformNode()
    grid = slicer.vtkSlicerSegmentationsModuleLogic.CreateOrientedImageDataFromVolumeNode(volumeNode, parent)
    grid.UnRegister(None)
    onGrid = slicer.vtkOrientedImageData()
    if segment.IsEmpty() or not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        segment, grid, onGrid
    ):
        return np.zeros(tuple(reversed(volumeNode.GetImageData().GetDimensions())), dtype=bool)
    scalars = vtk.util.numpy_support.vtk_to_numpy(onGrid.GetPointData().GetScalars())
    return np.asarray(scalars.reshape(tuple(reversed(onGrid.GetDimensions()))) > 0)


def checkCt(node: Any) -> None:
    """Refuse, with a sentence, what cannot be segmented as a CT.

    Raises
    ------
    InputError
        If there is no node, it is no scalar volume or empty, a single slice, not finite, under a transform that is not
        rigid, or does not look like a CT in Hounsfield units.
    """
    if node is None:
        raise InputError(
            "no volume is chosen; load a contrast CT and choose it as the input volume", code="no-input-chosen"
        )
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode") or any(node.IsA(other) for other in OTHER_IMAGE_CLASSES):
        raise InputError(f"'{name}' is not a CT volume; choose a scalar volume", code="not-a-ct")
    modality = node.GetAttribute("DICOM.Modality") or node.GetAttribute("Modality")
    if modality and modality.upper() != "CT":
        raise InputError(f"volume '{name}' is of modality {modality}; choose a CT", code="not-a-ct")
    volume = volumeFromNode(node)
    if min(volume.geometry.size) < 2:
        raise InputError(
            f"volume '{name}' is a single slice; choose a CT with at least two slices", code="single-slice"
        )
    _checkTransform(node)
    low, high = float(volume.array.min()), float(volume.array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError(
            f"volume '{name}' holds voxels that are not finite (NaN or infinity); replace them first",
            code="values-not-finite",
        )
    if low > CT_DARKEST_HU or high - low < CT_LEAST_RANGE_HU:
        raise InputError(
            f"volume '{name}' does not look like a CT in Hounsfield units (values {low:g} to {high:g}; "
            "air is near -1000, fat near -100); choose a CT or restore its rescale slope and intercept",
            code="not-hounsfield",
        )


def _checkTransform(node: Any) -> None:
    """Refuse a parent transform that bends or scales the grid: contact angles and volumes would be wrong."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return
    matrix = vtk.vtkMatrix4x4()
    rigid = bool(parent.IsTransformToWorldLinear()) and bool(parent.GetMatrixTransformToWorld(matrix))
    if rigid:
        linear: NDArray[np.float64] = slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
        rigid = bool(np.allclose(linear.T @ linear, np.eye(3), atol=1e-4))
    if not rigid:
        raise InputError(
            f"volume '{node.GetName()}' is under a transform that is not rigid (gantry tilt, uneven slices?); "
            "harden the transform onto a resampled volume and choose that one",
            code="transform-not-rigid",
        )
