"""Iso-probability surfaces of the MHR volume: white lines in the slice views, nested shells in 3D."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
import vtk.util.numpy_support
from numpy.typing import NDArray

import slicer
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS
from TwinTrackSegLib.mrml.VolumeParts import Box, boundingBox, grown

__all__ = ["contourNode", "isoSurface"]

LINE_THICKNESS_PX = 2
OPACITY_3D = 0.25
WHITE = (1.0, 1.0, 1.0)


def isoSurface(volume: Volume, level: float) -> vtk.vtkPolyData:
    """Return the closed surface in RAS mm where `volume`, interpolated between voxels, crosses `level`.

    Only the box around the voxels at or above `level` is looked at; beyond the volume's border the value is 0.
    """
    box = boundingBox(volume.array >= level)
    if box is None:
        return vtk.vtkPolyData()
    image = _paddedImage(volume.array, box)
    flying = vtk.vtkFlyingEdges3D()
    flying.SetInputData(image)
    flying.SetValue(0, level)
    flying.ComputeNormalsOn()  # from the gradient: they point outward, to lower values, on every grid
    flying.ComputeScalarsOff()
    flying.ComputeGradientsOff()
    place = vtk.vtkTransformPolyDataFilter()
    place.SetInputConnection(flying.GetOutputPort())
    transform = _indexToRas(volume)
    place.SetTransform(transform)
    last = place
    if transform.GetMatrix().Determinant() < 0:  # a mirror turns the triangles inside out
        last = vtk.vtkReverseSense()
        last.SetInputConnection(place.GetOutputPort())
        last.ReverseNormalsOff()
        last.ReverseCellsOn()
    last.Update()
    surface = vtk.vtkPolyData()
    surface.ShallowCopy(last.GetOutput())
    return surface


def contourNode(surface: vtk.vtkPolyData, level: float) -> Any:
    """Add a model node for `surface`: a white line in slices, a translucent shell in 3D."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"MHR {level:.2g}")
    node.SetAndObservePolyData(surface)
    node.CreateDefaultDisplayNodes()
    node.SetAttribute("TwinTrackSeg.level", f"{level:g}")
    display = node.GetDisplayNode()
    display.SetColor(*WHITE)
    display.SetOpacity(OPACITY_3D)
    display.SetBackfaceCulling(False)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(LINE_THICKNESS_PX)
    display.SetSliceIntersectionOpacity(1.0)
    return node


def _paddedImage(array: NDArray[np.generic], box: Box) -> vtk.vtkImageData:
    """Copy `box` and one voxel around it (0 beyond the border) into an image that keeps the volume's voxel indices."""
    wide = grown(box, array.shape)
    missing = [(1 - (b.start - w.start), 1 - (w.stop - b.stop)) for b, w in zip(box, wide, strict=True)]
    part = np.ascontiguousarray(np.pad(np.asarray(array[wide], dtype=np.float32), missing))
    image = vtk.vtkImageData()
    image.SetExtent(*(v for side in reversed(box) for v in (side.start - 1, side.stop)))
    scalars = vtk.util.numpy_support.numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_FLOAT)
    image.GetPointData().SetScalars(scalars)
    return image


def _indexToRas(volume: Volume) -> vtk.vtkTransform:
    affine = np.diag([*LPS_SIGNS, 1.0]) @ volume.geometry.affine
    transform = vtk.vtkTransform()
    transform.SetMatrix(slicer.util.vtkMatrixFromArray(affine))
    return transform
