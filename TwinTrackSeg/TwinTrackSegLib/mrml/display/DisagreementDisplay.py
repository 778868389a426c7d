"""How the spread over the readers looks: colours of its own, so that nobody takes it for a map.

One hue from dark to light green, which the map's colours (blue, magenta, coral, amber) do not come near; lightness
rises all the way, for every form of colour vision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import slicer
from TwinTrackSegLib.mrml.display.MhrDisplay import ABOVE_SCALE, newLegend, placeLegend

__all__ = ["LARGEST_SPREAD", "LEAST_SHOWN", "styleDisagreement"]

LARGEST_SPREAD = 0.5
"""Standard deviation where half of the readers draw a voxel for certain and half do not."""

LEAST_SHOWN = 0.05
"""Below it the readers agree, and the CT alone is seen."""

COLOR_NODE_NAME = "TwinTrackSeg disagreement"
NUMBER_OF_COLORS = 256
DARK, LIGHT = (0.0, 0.27, 0.15), (0.72, 1.0, 0.66)


def styleDisagreement(node: Any) -> None:
    """Give the volume its colours on a fixed scale, transparent where readers agree, and a legend, which is hidden."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colorNode().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, LARGEST_SPREAD)
    display.AutoThresholdOff()
    display.SetThreshold(LEAST_SHOWN, ABOVE_SCALE)
    display.ApplyThresholdOn()
    legend = newLegend(node)
    legend.SetTitleText("Readers apart (SD)")
    placeLegend(legend)
    legend.SetLabelFormat("%.1f")
    legend.SetNumberOfLabels(6)
    legend.SetVisibility(False)


def _colorNode() -> Any:
    """Return the scene's colour node of the scale, made on first use and saved with the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetName() == COLOR_NODE_NAME:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", COLOR_NODE_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(NUMBER_OF_COLORS)
    for index, color in enumerate(np.linspace(DARK, LIGHT, NUMBER_OF_COLORS)):
        value = LARGEST_SPREAD * index / (NUMBER_OF_COLORS - 1)
        node.SetColor(index, f"{value:.2f}", *(float(channel) for channel in color), 1.0)
    node.SetAttribute("Category", "TwinTrackSeg")
    node.SetHideFromEditors(False)  # hidden colour nodes are not saved with the scene
    return node
