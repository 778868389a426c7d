"""How the MHR volume looks: colour overlay on the CT, fixed scale, transparent below the threshold, legend."""

from __future__ import annotations

from typing import Any

import slicer
from TwinTrackSegLib.mrml.MhrColors import colorNode

__all__ = ["OVERLAY_OPACITY", "jumpToPoint", "setOverlayThreshold", "showOverlay", "styleMhrVolume"]

OVERLAY_OPACITY = 0.5
"""One opacity for the whole overlay: the value is in the colour alone."""

LEGEND_SIZE = (0.08, 0.3)
"""Width and height of the colour legend, as fractions of the view."""

ABOVE_SCALE = 2.0
"""Upper display threshold, beyond every MHR."""


def styleMhrVolume(mhrNode: Any, threshold: float) -> None:
    """Give `mhrNode` the MHR colours on a fixed 0 to 1 scale, transparent below `threshold`, and a legend."""
    mhrNode.CreateDefaultDisplayNodes()
    display = mhrNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.AutoThresholdOff()
    setOverlayThreshold(mhrNode, threshold)
    display.ApplyThresholdOn()
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(mhrNode)
    if legend is not None:
        legend.SetTitleText("Fraction\nof readers")
        legend.SetSize(*LEGEND_SIZE)
        legend.SetLabelFormat("%.1f")
        legend.SetNumberOfLabels(6)
        legend.SetVisibility(True)


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
