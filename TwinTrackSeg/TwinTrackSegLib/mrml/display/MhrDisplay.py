"""How the MHR looks: its colours on a fixed scale, transparent below the threshold, and the legend in readers.

The colours are a straight path through CIELAB, so that equal steps of MHR look equally far apart. Lightness rises all
the way, so the order of the colours survives every form of colour blindness and a grey print; the path stops short of
white, so that the white iso-contours stay visible on it.
"""

from __future__ import annotations

from typing import Any

import slicer
from twintrack.imaging.map_colors import NUMBER_OF_COLORS, map_colors

__all__ = [
    "ABOVE_SCALE",
    "COLOR_NODE_NAME",
    "DEFAULT_LEVELS",
    "MOST_RATERS",
    "addLegend",
    "colorNode",
    "newLegend",
    "placeLegend",
    "raterLevels",
    "setOverlayThreshold",
    "showLegend",
    "styleMhrVolume",
]

COLOR_NODE_NAME = "TwinTrackSeg MHR"
COLOR_NODE_ATTRIBUTE = "TwinTrackSeg.colors"

DEFAULT_LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Levels of the contours where nobody knows how many raters there were."""

MOST_RATERS = 7
"""More raters than this would crowd the slider and the views: the default levels are taken then."""

LEGEND_PLACE = (0.97, 0.78)
"""In the upper right corner of a view: what one looks at stands in its middle."""

LEGEND_SIZE = (0.14, 0.4)
"""Width and height of the colour legend, as fractions of the view."""

LEGEND_BACKGROUND_OPACITY = 0.6
"""Of the black behind the legend's white words: on bone they stand out 5.7 to 1, and the CT is still seen."""

ABOVE_SCALE = 2.0
"""Upper display threshold, beyond every MHR."""


def colorNode() -> Any:
    """Return the scene's colour node of the MHR scale, made on first use and saved with the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(COLOR_NODE_ATTRIBUTE):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", COLOR_NODE_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(NUMBER_OF_COLORS)
    for index, (red, green, blue) in enumerate(map_colors()):
        node.SetColor(index, f"{index / (NUMBER_OF_COLORS - 1):.2f}", red, green, blue, 1.0)
    node.SetAttribute(COLOR_NODE_ATTRIBUTE, "1")
    node.SetAttribute("Category", "TwinTrackSeg")
    node.SetHideFromEditors(False)  # hidden colour nodes are not saved with the scene
    return node


def raterLevels(raters: int | None) -> tuple[float, ...]:
    """Return the MHR at which one more rater agrees: 1 of N, 2 of N, up to N - 1 of N."""
    if raters is None or not 2 <= raters <= MOST_RATERS:
        return DEFAULT_LEVELS
    return tuple(round(k / raters, 4) for k in range(1, raters))


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


def addLegend(contourNode: Any, raters: int | None) -> None:
    """Add a colour legend in the words of readers, "3 of 5", to the views that show `contourNode`.

    A volume's legend counts in the volume's own values, 0 to 1; a model's counts in any range. The contours are drawn
    in white all the same: the colours are for the legend alone.
    """
    display = contourNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode().GetID())
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0.0, float(raters or 100))
    legend = newLegend(contourNode)
    legend.SetTitleText("Readers")
    placeLegend(legend)
    legend.SetLabelFormat(f"%.0f of {raters}" if raters else "%.0f %%")
    few = raters is not None and raters <= MOST_RATERS
    legend.SetNumberOfLabels(raters + 1 if raters is not None and few else 6)
    legend.SetVisibility(True)


def newLegend(node: Any) -> Any:
    """Return a legend of the colours of `node`, with the usual look.

    Raises
    ------
    RuntimeError
        If the scene knows no legends: colours that nobody can read must not be shown as if nothing was missing.
    """
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is None:
        raise RuntimeError("the scene knows no colour legends: set up vtkSlicerColorLogic on it, which registers them")
    return legend


def placeLegend(legend: Any) -> None:
    """Put a legend where the module's legends are, with a dark background behind its words."""
    legend.SetSize(*LEGEND_SIZE)
    legend.SetPosition(*LEGEND_PLACE)
    for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        text.SetBackgroundColor(0.0, 0.0, 0.0)
        text.SetBackgroundOpacity(LEGEND_BACKGROUND_OPACITY)
    legend.Modified()


def showLegend(node: Any, visible: bool) -> None:
    """Show or hide the legend of `node`, if it has one: no view must show the legend of other colours than its own."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        placeLegend(legend)  # in scenes of earlier versions its words had no background
        legend.SetVisibility(visible)


def setOverlayThreshold(mhrNode: Any, threshold: float) -> None:
    """Make the overlay transparent where the MHR is below `threshold`."""
    mhrNode.GetDisplayNode().SetThreshold(threshold, ABOVE_SCALE)
