"""Changing a segment as Segment Editor does: through the logic of Slicer's Segmentations module."""

from __future__ import annotations

import numpy as np
import vtk
import vtk.util.numpy_support

import slicer


def drawSegment(segmentationNode, identifier: str, mask: np.ndarray, volumeNode) -> None:
    """Make `mask` (z, y, x) on the grid of `volumeNode` the voxels of the segment."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*reversed(mask.shape))
    image.SetGeometryFromImageToWorldMatrix(matrix)
    scalars = vtk.util.numpy_support.numpy_to_vtk(np.ascontiguousarray(mask, np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, segmentationNode, identifier, logic.MODE_REPLACE)
