"""A slice view without a window: Slicer's own slice logic and displayable managers, rendered into an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
import vtk.util.numpy_support
from mrml_environment import applicationLogic

import slicer

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


class OffscreenSliceView:
    """One slice view of the scene, `size` pixels wide and high."""

    def __init__(self, scene, size: int = 400, name: str = "Offscreen", orientation: str = "Axial") -> None:
        self._scene = scene
        self._application = applicationLogic()
        self._logics = vtk.vtkCollection()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self._application)
        self._logics.AddItem(self.logic)
        self._application.SetSliceLogics(self._logics)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetDimensions(size, size, 1)
        self._makeWindow(size)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self._application)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = factory.InstantiateDisplayableManagers(self._front)
        self._managers.SetMRMLDisplayableNode(self.node)

    def _makeWindow(self, size: int) -> None:
        """The image of the slice logic lies behind, what the displayable managers draw in front."""
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(size, size)
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
        """Centre the view on a point, with the given width and height of what is seen."""
        self.node.JumpSliceByCentering(*ras)
        self.node.SetFieldOfView(fieldOfViewMm, fieldOfViewMm, 1.0)

    def pixels(self) -> np.ndarray:
        """Render and return the picture, (row, column, RGB), first row on top."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())  # another one for every set of layers
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return array.reshape(height, width, -1)[::-1, :, :3].copy()

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
        self._application.SetSliceLogics(vtk.vtkCollection())
        self.window.Finalize()


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
