"""The table of vessel readouts: what readers are expected to say, and this outline, looked up at the threshold.

Nothing is measured again. What is said of readers is the same at every threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_TITLE, VESSELS
from twintrack.results.report import wording
from twintrack.results.report.wording import (
    NOT_PRESENT,
    SIGNS,
    angle_category,
    away,
    bare,
    is_calibrated,
    median_angle_deg,
    pair,
    percent,
    share,
    signed_category,
    span,
    vessel_source,
    without_readers,
)

__all__ = [
    "COLUMNS",
    "MISSING",
    "TITLES",
    "VesselReadout",
    "bySeverity",
    "newVesselTable",
    "readoutsAt",
    "updateVesselTable",
]

COLUMNS = (
    "Vessel",
    "Category",
    "Contact (% readers)",
    "Over 180° (% readers)",
    "Median (°)",
    "10–90 % (°)",
    "Mean (°)",
    "Outline (°)",
    "Outline (mm)",
    "Gap (mm)",
    "Networks (°)",
    "Searched (%)",
    "Source",
    "Note",
)
"""First what readers are expected to say, then this outline; the networks' range is a doubt of its own."""

TITLES = {vessel.name: vessel.short_title for vessel in VESSELS} | {JOINT_VEIN: JOINT_VEIN_TITLE}
"""The vessels' names for people, short enough for a table."""

MISSING = "–"
"""In a cell; a sentence says that it is not available."""

NOT_CALIBRATED_NOTE = "not calibrated: "
"""How the engine's note begins that says why the statements of a vessel are not calibrated."""

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
        Largest contact angle and contact length of this outline.
    category : str
        The median rater's: ``none``, ``abutment`` (up to 180 degrees) or ``encasement``; empty if not measured.
    angle_median_deg, angle_p10_deg, angle_p90_deg : float or None
        The median rater's contact angle, and between which angles 8 of 10 further raters lie.
    p_contact, p_encased : float or None
        Expected fraction of raters who see contact, and encasement (more than 180 degrees).
    expected_angle_deg : float or None
        Contact angle averaged over the raters.
    members_deg : tuple of float or None
        Least and largest contact angle over the networks of the ensemble, at level 0.5.
    source : str
        Where what is said of raters comes from.
    calibrated : bool
        Whether that is calibrated.
    fullTitle : str
        The vessel's name as the engine writes it; empty where it does not say.
    reason : str
        Why a number is missing; empty where none is, or where nobody says.
    notCalibrated : str
        Why the vessel's statements are not calibrated where those of others are.
    gap_mm : float or None
        Distance from the vessel's wall to this outline; None where there is none near, and in results of
        earlier versions.
    coverage : float or None
        Share of the vessel's wall near the tumour that was searched.
    unnamed : bool
        Whether it is not there because nothing found by anatomy has its name: it may well be in the CT.
    reader : str
        Pseudonym of the one reader in whose map the vessel was measured: the row says whose it is, and no category.
    """

    name: str
    present: bool
    angle_deg: float | None = None
    length_mm: float | None = None
    category: str = ""
    angle_median_deg: float | None = None
    angle_p10_deg: float | None = None
    angle_p90_deg: float | None = None
    p_contact: float | None = None
    p_encased: float | None = None
    expected_angle_deg: float | None = None
    members_deg: tuple[float, float] | None = None
    source: str = ""
    calibrated: bool = False
    fullTitle: str = ""
    reason: str = ""
    notCalibrated: str = ""
    gap_mm: float | None = None
    coverage: float | None = None
    unnamed: bool = False
    reader: str = ""

    @property
    def title(self) -> str:
        """The vessel's name for people, and whose map is meant if it is one reader's."""
        title = TITLES.get(self.name, self.fullTitle or self.name)
        return f"{title}, reader {self.reader}" if self.reader else title

    @property
    def note(self) -> str:
        """Why something is missing in the row or not calibrated; empty where nothing is."""
        numbers = (self.angle_deg, self.length_mm, self.angle_p10_deg, self.p_contact, self.p_encased)
        missing = self.reason if not self.present or None in (*numbers, self.expected_angle_deg) else ""
        return "; ".join(text for text in (missing, self.notCalibrated) if text)

    @property
    def outlineCategory(self) -> str:
        """Category of this outline, by its angle; empty if not measured, and of one reader's map."""
        if self.reader:
            return ""
        return (angle_category(self.angle_deg) if self.present else None) or ""

    @property
    def _sign(self) -> str:
        return "" if self.reader else f"{SIGNS[self.outlineCategory]} "

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts, in the order of `COLUMNS`."""
        if not self.present:
            seen = MISSING if self.unnamed else NOT_PRESENT
            return (self.title, seen, *[MISSING] * (len(COLUMNS) - 3), self.note)
        return (
            self.title,
            self._categoryText,
            _cell(bare(percent(self.p_contact))),
            _cell(bare(percent(self.p_encased))),
            _text(self.angle_median_deg, "{:.0f}"),
            _cell(span(self.angle_p10_deg, self.angle_p90_deg)),
            _text(self.expected_angle_deg, "{:.0f}"),
            _text(self.angle_deg, self._sign + "{:.0f}"),
            _text(self.length_mm, "{:.1f}"),
            self._gapText,
            _cell(span(*(self.members_deg or (None, None)))),
            _cell(bare(share(self.coverage))),
            self.source,
            self.note,
        )

    @property
    def _gapText(self) -> str:
        """How far this outline is away, in words; contact has none."""
        free = self.angle_deg == 0 if self.reader else self.outlineCategory == "none"
        return (away(self.gap_mm) if free else "") or MISSING

    @property
    def _categoryText(self) -> str:
        if self.reader:
            return self.source
        return signed_category(self.category, self.p_contact)


def readoutsAt(
    invasion: Mapping[str, Any], threshold: float, edited: Mapping[str, Any] | None = None
) -> list[VesselReadout]:
    """Look up every vessel of an ``invasion.json`` at `threshold` (MHR), linearly between measured thresholds.

    With `edited`, the content of another ``invasion.json`` that was measured of an outline drawn by hand, angle, length
    and gap are that outline's; what is said of the raters stays as it was before the edit.
    """
    invasion = without_readers(invasion)
    readouts = []
    names = list(dict.fromkeys([*invasion.get("vessels", {}), *(edited or {}).get("vessels", {})]))
    for name in names:
        vessel = invasion.get("vessels", {}).get(name, {})
        drawn = vessel if edited is None else edited.get("vessels", {}).get(name, {})
        levels = (invasion if edited is None else edited).get("thresholds", [])
        said = {
            "fullTitle": str(vessel.get("title") or drawn.get("title") or ""),
            "reason": str(drawn.get("reason") or vessel.get("reason") or ""),
            "notCalibrated": next(
                (str(note) for note in vessel.get("notes") or () if str(note).startswith(NOT_CALIBRATED_NOTE)), ""
            ),
        }
        if not drawn.get("present"):
            unnamed = vessel.get("named_by") is not None
            readouts.append(VesselReadout(name, present=False, unnamed=unnamed, **said))
            continue
        readouts.append(
            VesselReadout(
                name,
                present=True,
                angle_deg=_curveAt(levels, drawn.get("angle_deg"), threshold),
                length_mm=_curveAt(levels, drawn.get("contact_length_mm"), threshold),
                gap_mm=_curveAt(levels, drawn.get("gap_mm"), threshold),
                coverage=drawn.get("coverage"),
                category=vessel.get("category") if vessel.get("category") in SEVERITY else "",
                angle_median_deg=median_angle_deg(invasion, vessel),
                members_deg=pair((vessel.get("member_range") or {}).get("angle_deg")),
                source=vessel_source(invasion, vessel),
                calibrated=is_calibrated(vessel),
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
    """Return `readouts` with the most severe for readers first, at every threshold; absent vessels come last."""

    def key(readout: VesselReadout) -> tuple[float, ...]:
        numbers = (readout.angle_median_deg, readout.p_encased, readout.p_contact)
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
    _addColumns(node)  # a scene of an earlier version has fewer, and others
    table.SetNumberOfRows(len(rows))
    for index, row in enumerate(rows):
        for column, text in enumerate(row):
            table.GetColumn(column).SetValue(index, text)
    table.Modified()
    node.Modified()
    node.EndModify(wasModifying)


def _addColumns(node: Any) -> None:
    for column in range(node.GetNumberOfColumns()):
        node.GetTable().GetColumn(column).SetName(COLUMNS[column])
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


def _cell(text: str) -> str:
    return MISSING if text == wording.MISSING else text


def _text(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)
