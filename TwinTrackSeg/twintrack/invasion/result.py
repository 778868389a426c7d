"""What `measure_invasion` returns, as dataclasses, JSON and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import OutputError
from twintrack.invasion.readers import CATEGORY_THRESHOLD, Category
from twintrack.invasion.resectability import ContactPattern

__all__ = ["SCHEMA", "InvasionResult", "VesselInvasion", "write_invasion_csv"]

SCHEMA = 1
"""Version of ``invasion.json``."""

COLUMNS = (
    "vessel",
    "present",
    "category",
    "angle_deg_at_0.5",
    "expected_angle_deg",
    "p_contact",
    "p_encased",
    "contact_length_mm_at_0.5",
)


@dataclass(frozen=True)
class VesselInvasion:
    """The contact of the tumour with one vessel.

    Attributes
    ----------
    present : bool
        Whether the vessel map holds the vessel at all; without it all numbers are 0.
    angle_deg, contact_length_mm : tuple of float
        Contact angle at the worst cross-section and length of vessel in contact, one value a threshold.
    expected_angle_deg, p_contact, p_encased : float
        See `twintrack.invasion.readers.ReaderView`.
    category : Category
        At probability level 0.5.
    protocol_deg : dict of str to list of float
        CURVAS-PDACVI degrees per plane ("axial", "coronal", "sagittal"), one value a threshold.
    worst_position_lps_mm : tuple of float or None
        Middle of the vessel in the worst section at level 0.5 or, without contact there, at the highest level with
        contact; None without any contact.
    notes : tuple of str
        What a reader of the numbers must know, for instance that the volume cuts the vessel.
    """

    present: bool
    angle_deg: tuple[float, ...]
    contact_length_mm: tuple[float, ...]
    expected_angle_deg: float
    p_contact: float
    p_encased: float
    category: Category
    protocol_deg: dict[str, list[float]]
    worst_position_lps_mm: tuple[float, float, float] | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the vessel's part of ``invasion.json``."""
        return {
            "present": self.present,
            "angle_deg": list(self.angle_deg),
            "contact_length_mm": list(self.contact_length_mm),
            "expected_angle_deg": self.expected_angle_deg,
            "p_contact": self.p_contact,
            "p_encased": self.p_encased,
            "category": self.category.value,
            "protocol_deg": {plane: list(values) for plane, values in self.protocol_deg.items()},
            "worst_position_lps_mm": list(self.worst_position_lps_mm) if self.worst_position_lps_mm else None,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class InvasionResult:
    """The contact of the tumour with all vessels.

    Attributes
    ----------
    thresholds : tuple of float
        Probability levels of the curves.
    contact_mm : float or None
        Thickness of the layer in which tumour counts as touching; None is one voxel along each direction.
    vessels : dict of str to VesselInvasion
        By name.
    resectability : ContactPattern
        The anatomic contact pattern of all vessels.
    """

    thresholds: tuple[float, ...]
    contact_mm: float | None
    vessels: dict[str, VesselInvasion]
    resectability: ContactPattern

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``invasion.json``: plain numbers, strings, lists and dicts."""
        return {
            "schema": SCHEMA,
            "thresholds": list(self.thresholds),
            "contact_mm": self.contact_mm,
            "vessels": {name: vessel.to_json() for name, vessel in self.vessels.items()},
            "resectability": self.resectability.to_json(),
        }


def write_invasion_csv(content: Mapping[str, Any], path: str | Path) -> None:
    """Write one row a vessel from the content of ``invasion.json``.

    The two columns at level 0.5 stay empty if 0.5 is not among the thresholds.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    levels = [abs(level - CATEGORY_THRESHOLD) < 1e-9 for level in content["thresholds"]]
    half = levels.index(True) if any(levels) else None
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, vessel in content["vessels"].items():
        angle_deg = "" if half is None else f"{vessel['angle_deg'][half]:.1f}"
        length_mm = "" if half is None else f"{vessel['contact_length_mm'][half]:.1f}"
        row = [name, str(vessel["present"]).lower(), vessel["category"], angle_deg]
        row += [f"{vessel['expected_angle_deg']:.1f}", f"{vessel['p_contact']:.3f}", f"{vessel['p_encased']:.3f}"]
        table.writerow([*row, length_mm])
    try:
        Path(path).write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written; check the folder, its permissions and the free space") from error
