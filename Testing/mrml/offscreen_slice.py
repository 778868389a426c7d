"""A slice view without a window: Slicer's own slice logic and displayable managers, rendered into an array."""

from __future__ import annotations

import numpy as np
import vtk
from mrml_environment import applicationLogic
from offscreen_window import grabPixels, newWindow, savePng

import slicer

__all__ = ["OffscreenSliceView", "savePng"]

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


class OffscreenSliceView:
    """One slice view of the scene, `size` pixels wide and, without `height`, as high; there may be several."""

    def __init__(
        self, scene, size: int = 400, name: str = "Offscreen", orientation: str = "Axial", height: int | None = None
    ) -> None:
        self._scene = scene
        self._application = applicationLogic()
        self._logics = self._application.GetSliceLogics() or vtk.vtkCollection()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self._application)
        self._logics.AddItem(self.logic)
        self._application.SetSliceLogics(self._logics)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetDefaultOrientation(orientation)
        self.node.SetDimensions(size, height or size, 1)
        self._makeWindow(size, height or size)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self._application)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = factory.InstantiateDisplayableManagers(self._front)
        self._managers.SetMRMLDisplayableNode(self.node)

    def _makeWindow(self, width: int, height: int) -> None:
        """The image of the slice logic lies behind, what the displayable managers draw in front."""
        self.window = newWindow(width, height)
        self.window.SetNumberOfLayers(2)
        back, self._front = vtk.vtkRenderer(), vtk.vtkRenderer()
        for layer, renderer in enumerate((back, self._front)):
            renderer.SetLayer(layer)
            self.window.AddRenderer(renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        mapper = self._mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        back.AddViewProp(actor)

    def lookAt(self, ras, fieldOfViewMm: float) -> None:
        """Centre the view on a point, with the given width of what is seen."""
        width, height, _ = self.node.GetDimensions()
        self.node.JumpSliceByCentering(*ras)
        self.node.SetFieldOfView(fieldOfViewMm, fieldOfViewMm * height / width, 1.0)

    def pixels(self) -> np.ndarray:
        """Render and return the picture, (row, column, RGB), first row on top."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())  # another one for every set of layers
        return grabPixels(self.window)

    def pixelOf(self, ras) -> tuple[int, int]:
        """Return (row, column) of the pixel that shows the point `ras`."""
        toPixel = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), toPixel)
        x, y, _z, _w = toPixel.MultiplyPoint((*ras, 1.0))
        return int(self.node.GetDimensions()[1] - 1 - round(y)), round(x)

    def close(self) -> None:
        """Detach from the scene."""
        self._managers.SetMRMLDisplayableNode(None)
        # Slice nodes are singletons that survive the clearing of a scene; a later view needs new ones.
        for node in (self.node, self.logic.GetSliceCompositeNode()):
            self._scene.RemoveNode(node)
        self.logic.SetMRMLScene(None)
        self._logics.RemoveItem(self.logic)
        self.window.Finalize()
