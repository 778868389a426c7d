"""What the views show, and where: the module's own layout (three slices, 3D, curve), overlay, jumps."""

from __future__ import annotations

from typing import Any

import vtk

import slicer

__all__ = [
    "LAYOUT_ID",
    "LAYOUT_XML",
    "MODULE_NAME",
    "OVERLAY_OPACITY",
    "jumpToPoint",
    "overlayOpacity",
    "registerLayout",
    "setOverlayOpacity",
    "setWindow",
    "showChart",
    "showLayout",
    "showOverlay",
    "showTable",
    "windowOf",
]

OVERLAY_OPACITY = 0.5
"""One opacity for the whole overlay: the value is in the colour alone."""

LAYOUT_ID = 5283
"""Any number above those of Slicer's own layouts."""

MODULE_NAME = "TwinTrackSeg"
"""Singleton tag of the scene's parameter node."""

ATTRIBUTE_LAYOUT = "TwinTrackSeg.layout"
"""Of the parameter node: set while the views are arranged in the module's own way."""


def _slice(tag: str, orientation: str, label: str, color: str) -> str:
    return (
        f'<item><view class="vtkMRMLSliceNode" singletontag="{tag}">'
        f'<property name="orientation" action="default">{orientation}</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{color}</property></view></item>'
    )


LAYOUT_XML = (
    '<layout type="vertical" split="true">'
    '<item splitSize="700"><layout type="vertical"><item><layout type="horizontal">'
    + _slice("Red", "Axial", "R", "#F34A33")
    + '<item><view class="vtkMRMLViewNode" singletontag="1">'
    '<property name="viewlabel" action="default">1</property></view></item>'
    '</layout></item><item><layout type="horizontal">'
    + _slice("Green", "Coronal", "G", "#6EB04B")
    + _slice("Yellow", "Sagittal", "Y", "#EDD54C")
    + "</layout></item></layout></item>"
    '<item splitSize="300"><view class="vtkMRMLPlotViewNode" singletontag="PlotView1">'
    '<property name="viewlabel" action="default">P</property></view></item></layout>'
)
"""Without a table: the panel's own stands beside the views, and a row of that leads to its vessel."""


def registerLayout() -> bool:
    """Make the module's layout known to Slicer; return False where there is no layout (no main window).

    Called when the module is set up, before any scene is opened: of a layout that nobody registered Slicer shows an
    empty area. A layout node saves its number alone, not what it looks like, so that a scene in the module's layout
    would open empty for a colleague without the module; and Slicer tells nobody that it saves, to put another layout
    in for the moment. So the layout node stays out of the scene's file while the layout is the module's: the views of
    whoever opens it stay as they are, and where the module is, it arranges them again.
    """
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is None:
        return False
    if not node.IsLayoutDescription(LAYOUT_ID):
        node.AddLayoutDescription(LAYOUT_ID, LAYOUT_XML)
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, _onLayoutModified)
        slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, _onImported)
        _onLayoutModified(node)
    return True


def showLayout() -> bool:
    """Arrange the views in the module's own way; return False where there is no layout (no main window)."""
    if not registerLayout():
        return False
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode").SetViewArrangement(LAYOUT_ID)
    return True


def _onLayoutModified(node: Any, _event: str = "") -> None:
    own = node.GetViewArrangement() == LAYOUT_ID
    node.SetSaveWithScene(not own)
    parameters = slicer.mrmlScene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode")
    if parameters is not None and not slicer.mrmlScene.IsImporting():
        parameters.SetAttribute(ATTRIBUTE_LAYOUT, "1" if own else None)


def _onImported(scene: Any, _event: str) -> None:
    parameters = scene.GetSingletonNode(MODULE_NAME, "vtkMRMLScriptedModuleNode")
    if parameters is not None and parameters.GetAttribute(ATTRIBUTE_LAYOUT):
        showLayout()


def showTable(tableNode: Any) -> None:
    """Show `tableNode` in the views for tables."""
    for view in slicer.util.getNodesByClass("vtkMRMLTableViewNode"):
        view.SetTableNodeID(tableNode.GetID())


def showChart(chartNode: Any) -> None:
    """Show `chartNode` in the views for plots."""
    for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        view.SetPlotChartNodeID(chartNode.GetID())


def showOverlay(volumeNode: Any, mhrNode: Any) -> None:
    """Put the CT behind and the MHR volume in front in every slice view; what the user made of its opacity stays."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volumeNode.GetID())
        if composite.GetForegroundVolumeID() != mhrNode.GetID():
            composite.SetForegroundVolumeID(mhrNode.GetID())
            composite.SetForegroundOpacity(OVERLAY_OPACITY)


def overlayOpacity(volumeNode: Any) -> float:
    """Return how much a volume in front covers the CT, from 0 to 1; 0 where no slice view shows it."""
    found = [view.GetForegroundOpacity() for view in _viewsWithInFront(volumeNode)]
    return float(max(found, default=0.0))


def setOverlayOpacity(volumeNode: Any, opacity: float) -> None:
    """Set how much a volume in front covers the CT behind it, from 0 to 1, in every slice view that shows it."""
    for view in _viewsWithInFront(volumeNode):
        view.SetForegroundOpacity(opacity)


def windowOf(ctNode: Any) -> tuple[float, float] | None:
    """Return window and level (HU) of a CT; None where it is not displayed."""
    display = ctNode.GetDisplayNode()
    return None if display is None else (float(display.GetWindow()), float(display.GetLevel()))


def setWindow(ctNode: Any, window_hu: float, level_hu: float) -> None:
    """Show a CT with this window and level in all views."""
    if ctNode.GetDisplayNode() is None:
        ctNode.CreateDefaultDisplayNodes()
    ctNode.GetDisplayNode().AutoWindowLevelOff()
    ctNode.GetDisplayNode().SetWindowLevel(window_hu, level_hu)


def _viewsWithInFront(volumeNode: Any) -> list[Any]:
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [view for view in views if view.GetForegroundVolumeID() == volumeNode.GetID()]


def jumpToPoint(node: Any, ras: tuple[float, float, float]) -> None:
    """Move every slice view to the point `ras` (mm) of `node`, whose parent transform is applied."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(ras, world)
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        sliceNode.JumpSliceByCentering(*world)
