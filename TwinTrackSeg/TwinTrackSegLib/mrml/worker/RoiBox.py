"""A markups ROI as the box of voxels that the model looks at."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.errors import InputError
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas

__all__ = ["roiBox"]

Box = tuple[int, int, int, int, int, int]


def roiBox(roiNode: Any, volumeNode: Any) -> Box:
    """Return the smallest box (i0, i1, j0, j1, k0, k1), ends exclusive, of voxels of `volumeNode` around the ROI.

    The ROI may be turned, and both nodes may stand under transforms.

    Raises
    ------
    InputError
        If the ROI does not reach into the volume.
    """
    half = np.array(roiNode.GetSize()) / 2
    corners = np.array([(*(np.array(signs) * half), 1.0) for signs in product((-1, 1), repeat=3)])
    toWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    fromWorld = np.eye(4)
    transform = volumeNode.GetParentTransformNode()
    if transform is not None:
        matrix = vtk.vtkMatrix4x4()
        transform.GetMatrixTransformToWorld(matrix)
        fromWorld = np.linalg.inv(slicer.util.arrayFromVTKMatrix(matrix))
    toIndex = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ijkToRas(volumeNode))) @ fromWorld
    index = (corners @ (toIndex @ toWorld).T)[:, :3]
    size = np.array(volumeNode.GetImageData().GetDimensions())
    first = np.clip(np.floor(index.min(axis=0) + 0.5), 0, size).astype(int)
    last = np.clip(np.ceil(index.max(axis=0) + 0.5), 0, size).astype(int)
    if np.any(last - first < 1):
        raise InputError(
            f"the region '{roiNode.GetName()}' does not reach into volume '{volumeNode.GetName()}'; move it, or choose "
            "no region"
        )
    (i0, j0, k0), (i1, j1, k1) = first.tolist(), last.tolist()
    return (i0, i1, j0, j1, k0, k1)
