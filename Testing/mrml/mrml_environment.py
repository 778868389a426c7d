"""A scene as Slicer sets it up (colours, legends, subject hierarchy) without the application."""

from __future__ import annotations

import tempfile

import slicer.util

import slicer

# The logics observe their scene: they must live as long as it does.
_keep: list[object] = []
_shared: dict[str, object] = {}

LOGICS = (
    "vtkSlicerColorLogic",
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerSubjectHierarchyModuleLogic",
)


def applicationLogic():
    """Return the one application logic that all logics and views share."""
    if "application" not in _shared:
        folder = tempfile.TemporaryDirectory(prefix="twintrack-no-home-")
        application = slicer.vtkSlicerApplicationLogic()
        application.SetHomeDirectory(folder.name)  # else the logics complain; it holds nothing
        application.SetShareDirectory(folder.name)
        _shared["application"] = application
        _keep.append(folder)
    return _shared["application"]


def preparedScene():
    """Return ``slicer.mrmlScene``, made on first use with the node classes and default nodes that logics register."""
    if getattr(slicer, "mrmlScene", None) is None:
        slicer.mrmlScene = slicer.vtkMRMLScene()
        _prepareFiles(slicer.mrmlScene)
        application = applicationLogic()
        application.SetMRMLScene(slicer.mrmlScene)
        for name in LOGICS:
            logic = getattr(slicer, name)()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(slicer.mrmlScene)
            _keep.append(logic)
    slicer.mrmlScene.Clear(False)
    return slicer.mrmlScene


def _prepareFiles(scene) -> None:
    """Give the scene the cache folder that opening a saved scene needs."""
    folder = tempfile.TemporaryDirectory(prefix="twintrack-scene-cache-")
    cache, files = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(folder.name)
    files.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(files)
    _keep.extend([folder, cache, files])
