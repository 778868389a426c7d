"""One vessel in the views: its worst section in the middle, one slice perpendicular to it, its curve in the plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer
from TwinTrackSegLib.mrml.display.Views import jumpToPoint
from TwinTrackSegLib.mrml.vessels.VesselPlot import plotVessel

__all__ = ["PERPENDICULAR_VIEW", "focusVessel", "jumpToVessel", "leaveVessel", "worstSection"]

PERPENDICULAR_VIEW = "Yellow"
"""Layout name of the slice view that is turned across the vessel: sagittal otherwise, the one needed least."""

ANTERIOR = np.array([0.0, 1.0, 0.0])
RIGHT = np.array([1.0, 0.0, 0.0])
SMALL = 0.3
"""Length of the part of the anterior axis in the section below which it cannot point up there."""


def worstSection(
    mhrNode: Any, invasion: Mapping[str, Any], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the middle (mm) and the direction of the vessel in its worst section, in world RAS; None without one."""
    section = invasion.get("vessels", {}).get(name, {}).get("worst_section")
    if not section:
        return None
    point, tip = np.zeros(3), np.zeros(3)
    start = np.asarray(section["position_ras_mm"], dtype=float)
    mhrNode.TransformPointToWorld(start, point)
    mhrNode.TransformPointToWorld(start + np.asarray(section["direction_ras"], dtype=float), tip)
    direction = tip - point
    return point, direction / np.linalg.norm(direction)


def focusVessel(mhrNode: Any, invasion: Mapping[str, Any], name: str, threshold: float) -> bool:
    """Show the vessel `name`: its curve, and its worst section in all views; return False if it has no section."""
    plotVessel(mhrNode, invasion, name, threshold)
    return jumpToVessel(mhrNode, invasion, name)


def jumpToVessel(mhrNode: Any, invasion: Mapping[str, Any], name: str) -> bool:
    """Show the worst section of the vessel `name` in all views; return False if it has no section."""
    leaveVessel()
    found = worstSection(mhrNode, invasion, name)
    if found is None:
        return False
    point, direction = found
    section = invasion["vessels"][name]["worst_section"]
    jumpToPoint(mhrNode, tuple(section["position_ras_mm"]))
    view = _perpendicularView()
    if view is not None:
        up = _upIn(direction)
        view.SetSliceToRASByNTP(*direction, *np.cross(up, direction), *point, 0)
    return True


def leaveVessel() -> None:
    """Turn the view that stood across a vessel back to its own orientation."""
    view = _perpendicularView()
    if view is not None:
        view.SetOrientation(view.GetDefaultOrientation() or "Sagittal")


def _perpendicularView() -> Any:
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetLayoutName() == PERPENDICULAR_VIEW:
            return node
    return None


def _upIn(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction in the section that points up on the screen: anterior, as in axial slices, if it can."""
    for axis in (ANTERIOR, RIGHT):
        up = axis - (axis @ direction) * direction
        length = float(np.linalg.norm(up))
        if length > SMALL:
            break
    return np.asarray(up / length)
