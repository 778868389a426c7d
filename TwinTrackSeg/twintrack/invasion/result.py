"""What `measure_invasion` returns, as dataclasses, JSON and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twintrack.calibration.statements.table import ANGLES_DEG
from twintrack.errors import OutputError
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD, Category
from twintrack.invasion.resectability import ContactPattern, vessel_title
from twintrack.invasion.wall import VesselWall
from twintrack.invasion.worst_section import WorstSection
from twintrack.system.csv_cells import harmless

__all__ = [
    "CALIBRATED",
    "MAP",
    "NOT_CALIBRATED",
    "SCHEMA",
    "InvasionResult",
    "MemberRange",
    "VesselInvasion",
    "write_invasion_csv",
]

SCHEMA = 2
"""Version of ``invasion.json``."""

CALIBRATED, MAP, SCORE = "calibrated", "map", "score"
"""Whether what is said of raters is a calibrated statement, or the map's own level; of a score nothing is."""

NOT_CALIBRATED = "read from the map, not calibrated"

Curve = tuple[float | None, ...]


@dataclass(frozen=True)
class MemberRange:
    """Smallest and largest value over the members of an ensemble, each with its own tumour and its own vessels.

    What all members say together can lie outside: their mean has an outline of its own.

    Attributes
    ----------
    angle_deg : tuple of float or None
        Contact angle in the worst section, at level 0.5.
    level_contact, level_encased : tuple of float or None
        As in `VesselInvasion`.
    members : int
        Members in which contact with this vessel could be measured.
    """

    angle_deg: tuple[float, float] | None
    level_contact: tuple[float, float] | None
    level_encased: tuple[float, float] | None
    members: int

    def to_json(self) -> dict[str, Any]:
        """Return the range's part of ``invasion.json``."""
        ranges = {
            "angle_deg": self.angle_deg,
            "level_contact": self.level_contact,
            "level_encased": self.level_encased,
        }
        return {key: None if value is None else list(value) for key, value in ranges.items()} | {
            "members": self.members
        }


@dataclass(frozen=True)
class VesselInvasion:
    """The contact of the tumour with one vessel. None stands for what could not be measured; `reason` says why.

    Attributes
    ----------
    present : bool
        Whether the vessel map holds the vessel at all.
    angle_deg, arc_deg, contact_length_mm, contact_area_mm2 : tuple of float or None
        See `twintrack.invasion.wall.ContactCurve`; one value a threshold.
    protocol_deg : dict of str to list of float
        CURVAS-PDACVI degrees per plane ("axial", "coronal", "sagittal"), one value a threshold.
    angle_half_voxel_deg : tuple of two curves
        `angle_deg` if the mask were half a voxel smaller, and half a voxel larger.
    gap_mm : tuple of float or None
        Distance from the wall to the nearest tumour, one value a threshold; None where there is none within
        `twintrack.invasion.gap.FAR_MM`. At most the contact distance where there is contact, at least that elsewhere.
    expected_angle_deg, angle_median_deg, angle_p10_deg, angle_p90_deg, p_contact, p_encased, category_probability
        What is said of raters: see `twintrack.invasion.rater_categories.RaterView`, or, where `statements` says so,
        `twintrack.calibration.statements.VesselStatement`.
    fraction_over : tuple of float or None
        Fraction of raters whose contact angle exceeds each of `twintrack.calibration.statements.ANGLES_DEG`.
    statements : str
        "calibrated" or "map": what the fractions of raters are.
    p_contact_interval, p_encased_interval, expected_angle_deg_interval : tuple of float or None
        Over the choice of the calibration cases; None unless calibrated.
    score_levels : tuple of float or None
        Highest level of the score at which the angle exceeds each of `ANGLES_DEG`; None where no score was measured.
    score_gap_mm : float or None
        See `twintrack.invasion.score_levels.ScoreLevels`.
    level_contact, level_encased : float or None
        Largest level of the map at which there is contact, and more than 180 degrees of it.
    near_180 : bool or None
        Whether 180 degrees lie within the measurement's own error of the angle at level 0.5; None if not known.
    category : Category or None
        The median rater's; the map's at level 0.5.
    worst : WorstSection or None
        None without any contact.
    reason : str or None
        Why numbers are missing.
    searched : float or None
        Fraction of the vessel, in [0, 1], that lies in the region where tumour was looked for; None if that region is
        not known.
    coverage : float or None
        Share, in [0, 1], of its wall near the tumour map around which tumour was looked for: see
        `twintrack.invasion.coverage`. None if the region is not known.
    notes : tuple of str
        What a reader of the numbers must know, for instance that the volume cuts the vessel.
    member_range : MemberRange or None
        How far the ensemble's members differ; None for one member, or where it was not measured.
    named_by, name_confidence : str or None
        "anatomy" where the vessel got its name by that, and how sure it is: "high", or "low", which makes no pattern.
    wall : VesselWall or None
        The table that all numbers were read from, for pictures; not part of ``invasion.json``.
    """

    present: bool
    angle_deg: Curve
    arc_deg: Curve
    contact_length_mm: Curve
    contact_area_mm2: Curve
    protocol_deg: Mapping[str, Sequence[float | None]]
    angle_half_voxel_deg: tuple[Curve, Curve]
    gap_mm: Curve
    expected_angle_deg: float | None = None
    angle_p10_deg: float | None = None
    angle_p90_deg: float | None = None
    p_contact: float | None = None
    p_encased: float | None = None
    level_contact: float | None = None
    level_encased: float | None = None
    near_180: bool | None = None
    category_probability: dict[str, float] | None = None
    category: Category | None = None
    worst: WorstSection | None = None
    reason: str | None = None
    searched: float | None = None
    coverage: float | None = None
    notes: tuple[str, ...] = ()
    member_range: MemberRange | None = None
    statements: str = MAP
    angle_median_deg: float | None = None
    fraction_over: tuple[float, ...] | None = None
    p_contact_interval: tuple[float, float] | None = None
    p_encased_interval: tuple[float, float] | None = None
    expected_angle_deg_interval: tuple[float, float] | None = None
    score_levels: tuple[float, ...] | None = None
    score_gap_mm: float | None = None
    named_by: str | None = None
    name_confidence: str | None = None
    wall: VesselWall | None = field(default=None, repr=False, compare=False)

    @property
    def worst_position_lps_mm(self) -> tuple[float, float, float] | None:
        """Middle of the vessel in the worst section, in LPS patient coordinates."""
        return None if self.worst is None else self.worst.position_lps_mm

    def _score_level(self, angle_deg: int) -> float | None:
        return None if self.score_levels is None else self.score_levels[ANGLES_DEG.index(angle_deg)]

    def to_json(self) -> dict[str, Any]:
        """Return the vessel's part of ``invasion.json``."""
        return {
            "present": self.present,
            "angle_deg": list(self.angle_deg),
            "arc_deg": list(self.arc_deg),
            "contact_length_mm": list(self.contact_length_mm),
            "contact_area_mm2": list(self.contact_area_mm2),
            "angle_half_voxel_deg": {
                "less": list(self.angle_half_voxel_deg[0]),
                "more": list(self.angle_half_voxel_deg[1]),
            },
            "gap_mm": list(self.gap_mm),
            "statements": self.statements,
            "expected_angle_deg": self.expected_angle_deg,
            "expected_angle_deg_interval": _listed(self.expected_angle_deg_interval),
            "angle_median_deg": self.angle_median_deg,
            "angle_p10_deg": self.angle_p10_deg,
            "angle_p90_deg": self.angle_p90_deg,
            "p_contact": self.p_contact,
            "p_contact_interval": _listed(self.p_contact_interval),
            "p_encased": self.p_encased,
            "p_encased_interval": _listed(self.p_encased_interval),
            "fraction_over": _listed(self.fraction_over),
            "level_contact": self.level_contact,
            "level_encased": self.level_encased,
            "score_level_contact": self._score_level(0),
            "score_level_encased": self._score_level(180),
            "score_levels": _listed(self.score_levels),
            "score_gap_mm": self.score_gap_mm,
            "near_180": self.near_180,
            "category": None if self.category is None else self.category.value,
            "category_probability": self.category_probability,
            "protocol_deg": {plane: list(values) for plane, values in self.protocol_deg.items()},
            "worst_position_lps_mm": list(self.worst_position_lps_mm) if self.worst_position_lps_mm else None,
            "worst_section": None if self.worst is None else self.worst.to_json(),
            "reason": self.reason,
            "searched": self.searched,
            "coverage": self.coverage,
            "notes": list(self.notes),
            "member_range": None if self.member_range is None else self.member_range.to_json(),
        } | ({} if self.named_by is None else {"named_by": self.named_by, "name_confidence": self.name_confidence})


@dataclass(frozen=True)
class InvasionResult:
    """The contact of the tumour with all vessels.

    Attributes
    ----------
    thresholds : tuple of float
        Probability levels of the curves.
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches a vessel.
    vessels : dict of str to VesselInvasion
        By name.
    resectability : ContactPattern
        The anatomic contact pattern of all vessels.
    warnings : tuple of str
        What was done to the input.
    statements : str
        "calibrated" or "map": what the fractions of raters are.
    statements_note : str
        The same in a sentence, with the reason or the calibration cases.
    calibration : mapping or None
        Of calibrated statements: ``cases``, ``raters``, ``family`` and ``interval_level``.
    networks_sha256, vessel_source : str or None
        What the levels of the score hold for; None where no score was measured.
    measured_on : str or None
        "score" where no calibrator made a map of it, so that nothing can be said of raters; "map"; None if not known.
    """

    thresholds: tuple[float, ...]
    contact_mm: float
    vessels: dict[str, VesselInvasion]
    resectability: ContactPattern
    warnings: tuple[str, ...] = ()
    statements: str = MAP
    statements_note: str = NOT_CALIBRATED
    calibration: Mapping[str, Any] | None = None
    networks_sha256: str | None = None
    vessel_source: str | None = None
    measured_on: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``invasion.json``: plain numbers, strings, lists and dicts."""
        vessels = {name: {"title": vessel_title(name)} | vessel.to_json() for name, vessel in self.vessels.items()}
        return {
            "schema": SCHEMA,
            "statements": self.statements,
            "statements_note": self.statements_note,
            "calibration": None if self.calibration is None else dict(self.calibration),
            "networks_sha256": self.networks_sha256,
            "vessel_source": self.vessel_source,
            "measured_on": self.measured_on,
            "fraction_angles_deg": list(ANGLES_DEG),
            "thresholds": list(self.thresholds),
            "contact_mm": self.contact_mm,
            "vessels": vessels,
            "resectability": self.resectability.to_json(),
            "warnings": list(self.warnings),
        }


def _listed(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, 5) for value in values]


def write_invasion_csv(content: Mapping[str, Any], path: str | Path) -> None:
    """Write one row a vessel from the content of ``invasion.json``.

    What is not known stays empty, and so do the columns at level 0.5 if that is not among the thresholds, and what
    would be said of raters where no calibrator made a map of the score (`statements` is `SCORE`).

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    levels = [abs(level - CATEGORY_THRESHOLD) < 1e-9 for level in content["thresholds"]]
    half = levels.index(True) if any(levels) else None
    text = io.StringIO()
    rows = [_row(name, vessel, half) for name, vessel in content["vessels"].items()]
    if content.get("measured_on") == SCORE:
        rows = [row | dict.fromkeys(_OF_RATERS, "") | {"statements": SCORE} for row in rows]
    table = csv.DictWriter(text, list(_row("", {}, None)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    try:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "cannot be written; check the folder, its permissions and the free space", code="not-writable", path=path
        ) from error


_OF_RATERS = ("category", "expected_angle_deg", "p_contact", "p_encased", "angle_p10_deg", "angle_p90_deg")
"""Columns that say something of raters."""


def _row(name: str, vessel: Mapping[str, Any], half: int | None) -> dict[str, str]:
    """Return a vessel's row of the table."""

    def text(key: str, digits: int, part: Mapping[str, Any] = vessel) -> str:
        value = part.get(key)
        return "" if value is None else f"{value:.{digits}f}"

    def at_half(key: str) -> str:
        return "" if half is None else text("value", 1, {"value": (vessel.get(key) or {half: None})[half]})

    worst = vessel.get("worst_section") or {}
    return {
        "vessel": harmless(name),
        "present": str(vessel.get("present", False)).lower(),
        "category": vessel.get("category") or "",
        "angle_deg_at_0.5": at_half("angle_deg"),
        "expected_angle_deg": text("expected_angle_deg", 1),
        "p_contact": text("p_contact", 3),
        "p_encased": text("p_encased", 3),
        "contact_length_mm_at_0.5": at_half("contact_length_mm"),
        "arc_deg_at_0.5": at_half("arc_deg"),
        "contact_area_mm2_at_0.5": at_half("contact_area_mm2"),
        "angle_p10_deg": text("angle_p10_deg", 1),
        "angle_p90_deg": text("angle_p90_deg", 1),
        "lumen_ratio": text("lumen_ratio", 2, worst),
        "reason": harmless(vessel.get("reason") or ""),
        "gap_mm_at_0.5": at_half("gap_mm"),
        "coverage": text("coverage", 3),
        "near_180": str(vessel["near_180"]).lower() if isinstance(vessel.get("near_180"), bool) else "",
        "statements": vessel.get("statements") or "",
        "level_contact": text("level_contact", 3),
        "level_encased": text("level_encased", 3),
    }
