"""The 3D view: nested shells around the tumour, rendered off-screen by Slicer's own displayable managers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
import vtk
import vtk.util.numpy_support
from mrml_environment import applicationLogic
from offscreen_slice import savePng

import slicer
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, exampleCenterMm, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

SIZE_PX = 400
HEIGHT_MM = 50.0
MANAGERS = ("vtkMRMLModelDisplayableManager", "vtkMRMLSegmentationsDisplayableManager3D")


@pytest.fixture
def rendered(scene, tmp_path, pictures):
    """The example result seen from the front, as (row, column, RGB), parallel projection."""
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    view = scene.AddNewNodeByClass("vtkMRMLViewNode")
    window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetSize(SIZE_PX, SIZE_PX)
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(applicationLogic())
    for manager in MANAGERS:
        if not factory.IsDisplayableManagerRegistered(manager):
            factory.RegisterDisplayableManager(manager)
    managers = factory.InstantiateDisplayableManagers(renderer)
    managers.SetMRMLDisplayableNode(view)
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetParallelScale(HEIGHT_MM / 2)
    camera.SetFocalPoint(*center)
    camera.SetPosition(center[0], center[1] + 300, center[2])
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCameraClippingRange()
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    array = vtk.util.numpy_support.vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
    pixels = array.reshape(SIZE_PX, SIZE_PX, -1)[::-1, :, :3].astype(int)
    savePng(pixels.astype(np.uint8), pictures / "view_3d.png")
    yield result, pixels
    managers.SetMRMLDisplayableNode(None)
    scene.RemoveNode(view)
    window.Finalize()


def test_shells_are_nested_and_each_shows_through_the_one_around_it(rendered):
    _result, pixels = rendered
    light = pixels.mean(axis=-1)
    rows, columns = np.indices(light.shape)
    radius = np.hypot(rows - SIZE_PX / 2, columns - SIZE_PX / 2) / SIZE_PX * HEIGHT_MM
    away = columns > SIZE_PX / 2 + 10  # the vessel stands on the other side
    outside = light[(radius > RADIUS_MM) & away].mean()
    means = []
    for inner, outer in ((0.6, 0.8), (0.4, 0.6), (0.2, 0.4)):
        ring = (radius > RADIUS_MM * inner + 0.5) & (radius < RADIUS_MM * outer - 0.5) & away
        means.append(float(light[ring].mean()))
    assert abs(means[0] - outside) > 5
    steps = np.diff([outside, *means])
    assert np.all(steps > 0) or np.all(steps < 0)
