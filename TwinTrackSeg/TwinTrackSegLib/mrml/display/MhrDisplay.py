"""How the MHR volume looks: overlay in colour, fixed scale, transparent below the threshold, legend in readers."""

from __future__ import annotations

from typing import Any

import slicer
from TwinTrackSegLib.mrml.display.MhrColors import colorNode
from TwinTrackSegLib.mrml.display.ReaderScale import MOST_READERS

__all__ = [
    "LEGEND_PLACE",
    "LEGEND_SIZE",
    "OVERLAY_OPACITY",
    "addLegend",
    "jumpToPoint",
    "setOverlayThreshold",
    "showLegend",
    "showOverlay",
    "styleMhrVolume",
]

OVERLAY_OPACITY = 0.5
"""One opacity for the whole overlay: the value is in the colour alone."""

LEGEND_PLACE = (0.97, 0.78)
"""In the upper right corner of a view: what one looks at stands in its middle."""

LEGEND_SIZE = (0.14, 0.4)
"""Width and height of the colour legend, as fractions of the view."""

ABOVE_SCALE = 2.0
"""Upper display threshold, beyond every MHR."""


def styleMhrVolume(mhrNode: Any, threshold: float) -> None:
    """Give `mhrNode` the MHR colours on a fixed 0 to 1 scale, transparent below `threshold`."""
    mhrNode.CreateDefaultDisplayNodes()
    display = mhrNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.AutoThresholdOff()
    setOverlayThreshold(mhrNode, threshold)
    display.ApplyThresholdOn()


def addLegend(contourNode: Any, readers: int | None) -> None:
    """Add a colour legend in the words of readers, "3 of 5", to the views that show `contourNode`.

    A volume's legend counts in the volume's own values, 0 to 1; a model's counts in any range. The contours are drawn
    in white all the same: the colours are for the legend alone.
    """
    display = contourNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode().GetID())
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0.0, float(readers or 100))
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(contourNode)
    if legend is None:
        return
    legend.SetTitleText("Readers")
    legend.SetSize(*LEGEND_SIZE)
    legend.SetPosition(*LEGEND_PLACE)
    legend.SetLabelFormat(f"%.0f of {readers}" if readers else "%.0f %%")
    few = readers is not None and readers <= MOST_READERS
    legend.SetNumberOfLabels(readers + 1 if readers is not None and few else 6)
    legend.SetVisibility(True)


def showLegend(node: Any, visible: bool) -> None:
    """Show or hide the legend of `node`, if it has one: no view must show the legend of other colours than its own."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetVisibility(visible)


def setOverlayThreshold(mhrNode: Any, threshold: float) -> None:
    """Make the overlay transparent where the MHR is below `threshold`."""
    mhrNode.GetDisplayNode().SetThreshold(threshold, ABOVE_SCALE)


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
