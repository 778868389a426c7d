"""A render window without a screen, and its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
import vtk.util.numpy_support

__all__ = ["grabPixels", "newWindow", "savePng"]


def newWindow(width: int, height: int, samples: int = 0) -> vtk.vtkRenderWindow:
    """Return an off-screen window."""
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(samples)
    window.SetSize(width, height)
    return window


def grabPixels(window: vtk.vtkRenderWindow) -> np.ndarray:
    """Render and return the picture, (row, column, RGB), first row on top."""
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return array.reshape(height, width, -1)[::-1, :, :3].copy()


def savePng(pixels: np.ndarray, path: Path) -> Path:
    """Write (row, column, RGB) to a PNG file."""
    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    flat = np.ascontiguousarray(pixels[::-1]).reshape(-1, 3)
    image.GetPointData().SetScalars(vtk.util.numpy_support.numpy_to_vtk(flat, deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    return path
