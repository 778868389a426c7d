"""A 3D view without a window: Slicer's own displayable managers, rendered into an array."""

from __future__ import annotations

import numpy as np
import vtk
from mrml_environment import applicationLogic
from offscreen_window import grabPixels, newWindow

import slicer

MANAGERS = ("vtkMRMLModelDisplayableManager", "vtkMRMLSegmentationsDisplayableManager3D")
DISTANCE_MM = 300.0


class Offscreen3DView:
    """One 3D view of the scene, parallel projection."""

    def __init__(self, scene, width: int = 400, height: int | None = None, background=(0.0, 0.0, 0.0)) -> None:
        self._scene = scene
        self.node = scene.AddNewNodeByClass("vtkMRMLViewNode")
        self.window, self._renderer = newWindow(width, height or width), vtk.vtkRenderer()
        self._renderer.SetBackground(*background)
        self.window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(applicationLogic())
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = factory.InstantiateDisplayableManagers(self._renderer)
        self._managers.SetMRMLDisplayableNode(self.node)

    def lookAt(self, ras, heightMm: float, direction=(0.0, 1.0, 0.0)) -> None:
        """Look at the point `ras` from `direction`, by default from the front; so much is seen from top to bottom."""
        camera = self._renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetParallelScale(heightMm / 2)
        camera.SetFocalPoint(*ras)
        camera.SetPosition(*(np.asarray(ras) + DISTANCE_MM * np.asarray(direction) / np.linalg.norm(direction)))
        camera.SetViewUp(0, 0, 1)
        self._renderer.ResetCameraClippingRange()

    def pixels(self) -> np.ndarray:
        """Render and return the picture, (row, column, RGB), first row on top."""
        return grabPixels(self.window)

    def close(self) -> None:
        """Detach from the scene."""
        self._managers.SetMRMLDisplayableNode(None)
        self._scene.RemoveNode(self.node)
        self.window.Finalize()
