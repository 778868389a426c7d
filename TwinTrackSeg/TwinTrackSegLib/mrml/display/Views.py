"""What the views show, and where: the module's own layout (three slices, 3D, curve), overlay, jumps."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = [
    "LAYOUT_ID",
    "LAYOUT_XML",
    "OVERLAY_OPACITY",
    "jumpToPoint",
    "showChart",
    "showLayout",
    "showOverlay",
    "showTable",
]

OVERLAY_OPACITY = 0.5
"""One opacity for the whole overlay: the value is in the colour alone."""

LAYOUT_ID = 5283
"""Any number above those of Slicer's own layouts."""


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


def showLayout() -> bool:
    """Arrange the views in the module's own way; return False where there is no layout (no main window)."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is None:
        return False
    if not node.IsLayoutDescription(LAYOUT_ID):
        node.AddLayoutDescription(LAYOUT_ID, LAYOUT_XML)
    node.SetViewArrangement(LAYOUT_ID)
    return True


def showTable(tableNode: Any) -> None:
    """Show `tableNode` in the views for tables."""
    for view in slicer.util.getNodesByClass("vtkMRMLTableViewNode"):
        view.SetTableNodeID(tableNode.GetID())


def showChart(chartNode: Any) -> None:
    """Show `chartNode` in the views for plots."""
    for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        view.SetPlotChartNodeID(chartNode.GetID())


def showOverlay(volumeNode: Any, mhrNode: Any) -> None:
    """Put the CT behind and the MHR volume in front in every slice view."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volumeNode.GetID())
        composite.SetForegroundVolumeID(mhrNode.GetID())
        composite.SetForegroundOpacity(OVERLAY_OPACITY)


def jumpToPoint(node: Any, ras: tuple[float, float, float]) -> None:
    """Move every slice view to the point `ras` (mm) of `node`, whose parent transform is applied."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(ras, world)
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        sliceNode.JumpSliceByCentering(*world)
