"""The table of vessel readouts: contact curves looked up at the threshold, nothing measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_TITLE, VESSELS

__all__ = ["COLUMNS", "TITLES", "VesselReadout", "bySeverity", "newVesselTable", "readoutsAt", "updateVesselTable"]

COLUMNS = (
    "Vessel",
    "Category",
    "Angle (°)",
    "10–90 % (°)",
    "Length (mm)",
    "Contact (% readers)",
    "Encased (% readers)",
    "Mean angle (°)",
    "Note",
    "Gap (mm)",
    "Searched (%)",
)
TITLES = {vessel.name: vessel.short_title for vessel in VESSELS} | {JOINT_VEIN: JOINT_VEIN_TITLE}
"""The vessels' names for people, short enough for a table."""

ENCASEMENT_ABOVE_DEG = 180.0
MISSING = "–"
NOT_PRESENT = "not seen"

SYMBOLS = {"encasement": "● encasement", "abutment": "◐ abutment", "none": "○ no contact", "": "? not measured"}
"""What the table says of a category: a sign that needs no colour, and the word."""

SEVERITY = ("encasement", "abutment", "", "none")
"""From the worst on; what could not be measured stands above what is known to be free."""


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
    angle_p10_deg, angle_p90_deg : float or None
        Range of the contact angle over the raters.
    p_contact, p_encased : float or None
        Expected fraction of raters who see contact, and encasement (more than 180 degrees).
    expected_angle_deg : float or None
        Contact angle averaged over the thresholds.
    fullTitle : str
        The vessel's name as the engine writes it; empty where it does not say.
    reason : str
        Why a number is missing; empty where none is, or where nobody says.
    gap_mm : float or None
        Distance from the vessel's wall to the tumour at the threshold; None where there is none near, and in results of
        earlier versions.
    coverage : float or None
        Share of the vessel's wall near the tumour that was searched.
    """

    name: str
    present: bool
    angle_deg: float | None = None
    length_mm: float | None = None
    angle_p10_deg: float | None = None
    angle_p90_deg: float | None = None
    p_contact: float | None = None
    p_encased: float | None = None
    expected_angle_deg: float | None = None
    fullTitle: str = ""
    reason: str = ""
    gap_mm: float | None = None
    coverage: float | None = None

    @property
    def title(self) -> str:
        """The vessel's name for people."""
        return TITLES.get(self.name, self.fullTitle or self.name)

    @property
    def note(self) -> str:
        """Why something is missing in the row; empty where nothing is."""
        numbers = (self.angle_deg, self.length_mm, self.angle_p10_deg, self.p_contact, self.p_encased)
        return self.reason if not self.present or None in (*numbers, self.expected_angle_deg) else ""

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
        if not self.present:
            before = [MISSING] * (COLUMNS.index("Note") - 2)
            return (self.title, NOT_PRESENT, *before, self.note, MISSING, MISSING)
        return (
            self.title,
            SYMBOLS[self.category],
            _text(self.angle_deg, "{:.0f}"),
            _range(self.angle_p10_deg, self.angle_p90_deg),
            _text(self.length_mm, "{:.1f}"),
            _text(self.p_contact, "{:.0%}").rstrip("%"),
            _text(self.p_encased, "{:.0%}").rstrip("%"),
            _text(self.expected_angle_deg, "{:.0f}"),
            self.note,
            self._gapText,
            _text(self.coverage, "{:.0%}").rstrip("%"),
        )

    @property
    def _gapText(self) -> str:
        """How far the tumour is away, in words; contact has none."""
        return f"{self.gap_mm:.1f} mm away" if self.gap_mm is not None and self.category == "none" else MISSING


def readoutsAt(
    invasion: Mapping[str, Any], threshold: float, edited: Mapping[str, Any] | None = None
) -> list[VesselReadout]:
    """Look up every vessel of an ``invasion.json`` at `threshold` (MHR), linearly between measured thresholds.

    With `edited`, the content of another ``invasion.json`` that was measured of an outline drawn by hand, angle and
    length are that outline's; what is said of the raters stays the map's.
    """
    readouts = []
    names = list(dict.fromkeys([*invasion.get("vessels", {}), *(edited or {}).get("vessels", {})]))
    for name in names:
        vessel = invasion.get("vessels", {}).get(name, {})
        drawn = vessel if edited is None else edited.get("vessels", {}).get(name, {})
        levels = (invasion if edited is None else edited).get("thresholds", [])
        said = {
            "fullTitle": str(vessel.get("title") or drawn.get("title") or ""),
            "reason": str(drawn.get("reason") or vessel.get("reason") or ""),
        }
        if not drawn.get("present"):
            readouts.append(VesselReadout(name, present=False, **said))
            continue
        readouts.append(
            VesselReadout(
                name,
                present=True,
                angle_deg=_curveAt(levels, drawn.get("angle_deg"), threshold),
                length_mm=_curveAt(levels, drawn.get("contact_length_mm"), threshold),
                gap_mm=_curveAt(levels, drawn.get("gap_mm"), threshold),
                coverage=drawn.get("coverage"),
                angle_p10_deg=vessel.get("angle_p10_deg"),
                angle_p90_deg=vessel.get("angle_p90_deg"),
                p_contact=vessel.get("p_contact"),
                p_encased=vessel.get("p_encased"),
                expected_angle_deg=vessel.get("expected_angle_deg"),
                **said,
            )
        )
    return readouts


def bySeverity(readouts: Sequence[VesselReadout]) -> list[VesselReadout]:
    """Return `readouts` with the most severe first; vessels that are not there come last."""

    def key(readout: VesselReadout) -> tuple[float, ...]:
        numbers = (readout.angle_deg, readout.p_encased, readout.p_contact)
        return (not readout.present, SEVERITY.index(readout.category), *(-(n or 0.0) for n in numbers))

    return sorted(readouts, key=key)


def newVesselTable(name: str) -> Any:
    """Add an empty table node with the readouts' columns."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    _addColumns(node)
    return node


def updateVesselTable(node: Any, readouts: Sequence[VesselReadout]) -> None:
    """Make `node` show `readouts`, one row each."""
    rows = [readout.cells() for readout in readouts]
    table = node.GetTable()
    wasModifying = node.StartModify()
    _addColumns(node)  # a scene of an earlier version has fewer
    table.SetNumberOfRows(len(rows))
    for index, row in enumerate(rows):
        for column, text in enumerate(row):
            table.GetColumn(column).SetValue(index, text)
    table.Modified()
    node.Modified()
    node.EndModify(wasModifying)


def _addColumns(node: Any) -> None:
    for title in COLUMNS[node.GetNumberOfColumns() :]:
        column = vtk.vtkStringArray()
        column.SetName(title)
        column.SetNumberOfValues(node.GetNumberOfRows())
        node.AddColumn(column)


def _curveAt(levels: Sequence[float], values: Sequence[float | None] | None, threshold: float) -> float | None:
    if not levels or not values or len(levels) != len(values):
        return None
    order = np.argsort(levels)
    curve = np.array([np.nan if v is None else float(v) for v in values])[order]
    value = float(np.interp(threshold, np.asarray(levels, dtype=float)[order], curve))
    return value if np.isfinite(value) else None


def _range(low: float | None, high: float | None) -> str:
    return MISSING if low is None or high is None else f"{low:.0f} – {high:.0f}"


def _text(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)
