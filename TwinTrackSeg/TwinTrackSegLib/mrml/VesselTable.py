"""The table of vessel readouts: contact curves looked up at the threshold, nothing measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

import slicer

__all__ = ["COLUMNS", "VesselReadout", "newVesselTable", "readoutsAt", "updateVesselTable"]

COLUMNS = (
    "Vessel",
    "Angle (°)",
    "Length (mm)",
    "Category",
    "Contact (% readers)",
    "Encased (% readers)",
    "Mean angle (°)",
)
SHORT_NAMES = {"PORTA": "Portal vein", "SMV": "SMV", "AORTA": "Aorta", "CELIAC": "Celiac trunk", "SMA": "SMA"}
ENCASEMENT_ABOVE_DEG = 180.0
MISSING = "–"


@dataclass(frozen=True)
class VesselReadout:
    """What the table says of one vessel at one threshold; None where it was not measured.

    Attributes
    ----------
    name : str
        The engine's name of the vessel, such as ``"SMA"``.
    present : bool
        Whether the vessel is in the vessel segmentation at all.
    angle_deg, length_mm : float or None
        Largest contact angle and contact length at the threshold.
    p_contact, p_encased : float or None
        Expected fraction of readers who see contact, and encasement (more than 180 degrees).
    expected_angle_deg : float or None
        Contact angle averaged over the thresholds.
    """

    name: str
    present: bool
    angle_deg: float | None = None
    length_mm: float | None = None
    p_contact: float | None = None
    p_encased: float | None = None
    expected_angle_deg: float | None = None

    @property
    def category(self) -> str:
        """``none``, ``abutment`` (up to 180 degrees) or ``encasement`` at the threshold; empty if not measured."""
        if not self.present or self.angle_deg is None:
            return ""
        if self.angle_deg <= 0:
            return "none"
        return "encasement" if self.angle_deg > ENCASEMENT_ABOVE_DEG else "abutment"

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts, in the order of `COLUMNS`."""
        name = SHORT_NAMES.get(self.name, self.name)
        if not self.present:
            return (name, MISSING, MISSING, "not seen", MISSING, MISSING, MISSING)
        return (
            name,
            _text(self.angle_deg, "{:.0f}"),
            _text(self.length_mm, "{:.1f}"),
            self.category or MISSING,
            _text(self.p_contact, "{:.0%}").rstrip("%"),
            _text(self.p_encased, "{:.0%}").rstrip("%"),
            _text(self.expected_angle_deg, "{:.0f}"),
        )


def readoutsAt(invasion: Mapping[str, Any], threshold: float) -> list[VesselReadout]:
    """Look up every vessel of an ``invasion.json`` at `threshold` (MHR), linearly between measured thresholds."""
    levels = invasion.get("thresholds", [])
    readouts = []
    for name, vessel in invasion.get("vessels", {}).items():
        if not vessel.get("present"):
            readouts.append(VesselReadout(name, present=False))
            continue
        readouts.append(
            VesselReadout(
                name,
                present=True,
                angle_deg=_curveAt(levels, vessel.get("angle_deg"), threshold),
                length_mm=_curveAt(levels, vessel.get("contact_length_mm"), threshold),
                p_contact=vessel.get("p_contact"),
                p_encased=vessel.get("p_encased"),
                expected_angle_deg=vessel.get("expected_angle_deg"),
            )
        )
    return readouts


def newVesselTable(name: str) -> Any:
    """Add an empty table node with the readouts' columns."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    for title in COLUMNS:
        column = vtk.vtkStringArray()
        column.SetName(title)
        node.AddColumn(column)
    return node


def updateVesselTable(node: Any, readouts: Sequence[VesselReadout]) -> None:
    """Make `node` show `readouts`, one row each."""
    rows = [readout.cells() for readout in readouts]
    table = node.GetTable()
    wasModifying = node.StartModify()
    table.SetNumberOfRows(len(rows))
    for index, row in enumerate(rows):
        for column, text in enumerate(row):
            table.GetColumn(column).SetValue(index, text)
    table.Modified()
    node.Modified()
    node.EndModify(wasModifying)


def _curveAt(levels: Sequence[float], values: Sequence[float | None] | None, threshold: float) -> float | None:
    if not levels or not values or len(levels) != len(values):
        return None
    order = np.argsort(levels)
    curve = np.array([np.nan if v is None else float(v) for v in values])[order]
    value = float(np.interp(threshold, np.asarray(levels, dtype=float)[order], curve))
    return value if np.isfinite(value) else None


def _text(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)
