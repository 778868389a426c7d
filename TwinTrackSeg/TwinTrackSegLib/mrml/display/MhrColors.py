"""The colours of the MHR scale: a straight path through CIELAB, so that equal steps of MHR look equally far apart.

Lightness rises all the way, so the order of the colours survives every form of colour blindness and a grey print; the
path stops short of white, so that the white iso-contours stay visible on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer

__all__ = ["COLOR_NODE_NAME", "colorNode", "mhrColors"]

COLOR_NODE_NAME = "TwinTrackSeg MHR"
COLOR_NODE_ATTRIBUTE = "TwinTrackSeg.colors"
NUMBER_OF_COLORS = 256

PATH_LAB = ((26.0, 46.0, -72.0), (45.0, 70.0, -22.0), (60.0, 58.0, 30.0), (80.0, 14.0, 70.0))
"""Corners of the path (L*, a*, b*): blue, magenta, coral, amber; all inside the sRGB gamut."""

WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
XYZ_TO_LINEAR_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
"""IEC 61966-2-1."""


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


def _labToSrgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) to gamma-encoded sRGB, not clipped."""
    middle = (lab[:, 0] + 16.0) / 116.0
    f = np.stack([middle + lab[:, 1] / 500.0, middle, middle - lab[:, 2] / 200.0], axis=-1)
    knee = 6.0 / 29.0
    xyz = np.where(f > knee, f**3, 3.0 * knee**2 * (f - 4.0 / 29.0)) * WHITE_D65
    linear = xyz @ XYZ_TO_LINEAR_SRGB.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055)
