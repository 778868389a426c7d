"""The segmentation node of a result: the tumour at the threshold and the vessels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import vtk
import vtk.util.numpy_support
from numpy.typing import NDArray

import slicer
from TwinTrackSegLib.mrml.Boxes import Box, boundingBox
from TwinTrackSegLib.mrml.result.Terminology import SegmentMeaning, meaningOf
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas

__all__ = [
    "BINARY",
    "TUMOR_SEGMENT_ID",
    "addVessels",
    "ensureTumor",
    "newSegmentation",
    "setTumorMask",
    "setTumorSurface",
]

TUMOR_SEGMENT_ID = "tumor"
BINARY = "Binary labelmap"
SURFACE = "Closed surface"


def newSegmentation(volumeNode: Any, name: str) -> Any:
    """Add a segmentation node on the CT's grid with an empty tumour segment."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.GetSegmentation().SetSourceRepresentationName(BINARY)
    _addSegment(node, TUMOR_SEGMENT_ID, meaningOf("tumor"), _emptyLabelmap(volumeNode))
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)  # outlines only: the CT and the overlay show the inside
    display.SetSliceIntersectionThickness(2)
    display.SetPreferredDisplayRepresentationName2D(SURFACE)  # smooth, between voxels, as the iso-contours
    display.SetSegmentVisibility3D(TUMOR_SEGMENT_ID, False)  # the iso-surfaces show it in 3D
    return node


def ensureTumor(node: Any, volumeNode: Any) -> None:
    """Add an empty tumour segment if the user removed it."""
    if node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID) is None:
        _addSegment(node, TUMOR_SEGMENT_ID, meaningOf("tumor"), _emptyLabelmap(volumeNode))
        node.GetDisplayNode().SetSegmentVisibility3D(TUMOR_SEGMENT_ID, False)


def addVessels(node: Any, volumeNode: Any, labels: NDArray[np.generic], values: Mapping[str, int]) -> None:
    """Add a segment with its surface for every vessel of `values` (name to value) that occurs in `labels` (z, y, x)."""
    for name, value in values.items():
        mask = labels == value
        box = boundingBox(mask)
        if box is not None:
            _addSegment(node, name, meaningOf(name), _labelmap(mask[box], box, volumeNode))
    node.CreateClosedSurfaceRepresentation()


def setTumorMask(node: Any, volumeNode: Any, mask: NDArray[np.bool_], box: Box) -> None:
    """Replace the tumour segment's voxels by `mask`, which lies in `box`; its surface stays as it is."""
    segment = node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    segment.SetLabelValue(1)  # a scene that was opened may have shared one label map among segments
    _replace(node, BINARY, _labelmap(mask, box, volumeNode), segment)


def setTumorSurface(node: Any, surface: vtk.vtkPolyData) -> None:
    """Replace the tumour segment's surface, which the views show; its voxels stay as they are."""
    _replace(node, SURFACE, surface, node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID))


def _replace(node: Any, name: str, representation: Any, segment: Any) -> None:
    wasModifying = node.StartModify()
    segment.AddRepresentation(name, representation)
    node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.RepresentationModified, TUMOR_SEGMENT_ID)
    node.EndModify(wasModifying)


def _addSegment(node: Any, identifier: str, meaning: SegmentMeaning, labelmap: Any) -> None:
    segment = slicer.vtkSegment()
    segment.SetName(meaning.name)
    segment.SetColor(*meaning.color)
    segment.SetTerminology(meaning.terminologyEntry)
    segment.SetTag("DICOM.SegmentAlgorithmType", "AUTOMATIC")
    segment.SetTag("DICOM.SegmentAlgorithmName", "TwinTrackSeg")
    segment.AddRepresentation(BINARY, labelmap)
    node.GetSegmentation().AddSegment(segment, identifier)


def _labelmap(mask: NDArray[np.bool_], box: Box, volumeNode: Any) -> Any:
    """Return `mask` at `box` of the CT's index space as a label map."""
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas(volumeNode))
    image.SetExtent(*(v for side in reversed(box) for v in (side.start, side.stop - 1)))
    part = np.ascontiguousarray(mask, dtype=np.uint8)
    scalars = vtk.util.numpy_support.numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    return image


def _emptyLabelmap(volumeNode: Any) -> Any:
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas(volumeNode))
    image.SetExtent(0, -1, 0, -1, 0, -1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image
