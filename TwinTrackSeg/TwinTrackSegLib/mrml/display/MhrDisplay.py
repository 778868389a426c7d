"""How the MHR looks: its colours on a fixed scale, transparent below the threshold, and the legend in readers.

The colours are a straight path through CIELAB, so that equal steps of MHR look equally far apart. Lightness rises all
the way, so the order of the colours survives every form of colour blindness and a grey print; the path stops short of
white, so that the white iso-contours stay visible on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer

__all__ = [
    "ABOVE_SCALE",
    "COLOR_NODE_NAME",
    "DEFAULT_LEVELS",
    "MOST_RATERS",
    "addLegend",
    "colorNode",
    "mhrColors",
    "placeLegend",
    "raterLevels",
    "setOverlayThreshold",
    "showLegend",
    "styleMhrVolume",
]

COLOR_NODE_NAME = "TwinTrackSeg MHR"
COLOR_NODE_ATTRIBUTE = "TwinTrackSeg.colors"
NUMBER_OF_COLORS = 256

PATH_LAB = ((26.0, 46.0, -72.0), (45.0, 70.0, -22.0), (60.0, 58.0, 30.0), (80.0, 14.0, 70.0))
"""Corners of the path (L*, a*, b*): blue, magenta, coral, amber; all inside the sRGB gamut."""

WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
XYZ_TO_LINEAR_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
"""IEC 61966-2-1."""

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


def mhrColors(number: int = NUMBER_OF_COLORS) -> NDArray[np.float64]:
    """Return `number` RGB colours (number, 3) in [0, 1], equally spaced along the path."""
    corners = np.array(PATH_LAB)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    where = np.linspace(0.0, length[-1], number)
    lab = np.stack([np.interp(where, length, corners[:, channel]) for channel in range(3)], axis=-1)
    return np.asarray(np.clip(_labToSrgb(lab), 0.0, 1.0))


def colorNode() -> Any:
    """Return the scene's colour node of the MHR scale, made on first use and saved with the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(COLOR_NODE_ATTRIBUTE):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", COLOR_NODE_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(NUMBER_OF_COLORS)
    for index, (red, green, blue) in enumerate(mhrColors()):
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
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(contourNode)
    if legend is None:
        return
    legend.SetTitleText("Readers")
    placeLegend(legend)
    legend.SetLabelFormat(f"%.0f of {raters}" if raters else "%.0f %%")
    few = raters is not None and raters <= MOST_RATERS
    legend.SetNumberOfLabels(raters + 1 if raters is not None and few else 6)
    legend.SetVisibility(True)


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


def _labToSrgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) to gamma-encoded sRGB, not clipped."""
    middle = (lab[:, 0] + 16.0) / 116.0
    f = np.stack([middle + lab[:, 1] / 500.0, middle, middle - lab[:, 2] / 200.0], axis=-1)
    knee = 6.0 / 29.0
    xyz = np.where(f > knee, f**3, 3.0 * knee**2 * (f - 4.0 / 29.0)) * WHITE_D65
    linear = xyz @ XYZ_TO_LINEAR_SRGB.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055)
