"""The numbers of one case for the table of all cases, taken from its result folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twintrack.system.paths import file_sha256

__all__ = ["STAGES", "case_columns", "case_row"]

STAGES = ("read", "localize", "ensemble", "calibrate", "measure", "write", "total")
"""Timed steps of a case."""

_VOLUMES = ("expected", "at_threshold", "p10", "p90")
_VESSEL = ("expected_angle_deg", "angle_p10_deg", "angle_p90_deg", "p_contact", "p_encased", "category", "reason")
_FIRST = ("case", *(f"volume_{name}_ml" for name in _VOLUMES), "lesions", "largest_lesion_ml", "contact_pattern")
_LAST = ("warnings", "spacing_mm", "size", "device", "version", "bundle_sha256", "probability_sha256", "key", "folder")


def case_columns(vessels: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the table; what was measured of each vessel stands in the middle."""
    return (*_FIRST, *(f"{vessel.lower()}_{name}" for vessel in vessels for name in _VESSEL), *_LAST)


def case_row(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the row of a result folder, without the columns that the cohort knows, and the seconds of each stage."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = {f"volume_{name}_ml": result["volume_ml"].get(name) for name in _VOLUMES}
    row["lesions"] = len(result["lesions"])
    row["largest_lesion_ml"] = max((lesion["volume_ml"] for lesion in result["lesions"]), default=None)
    measured = folder / "invasion.json"
    if measured.is_file():
        row |= _vessels(json.loads(measured.read_text(encoding="utf-8")))
    row["warnings"] = " | ".join(result["warnings"])
    row["spacing_mm"] = " ".join(f"{step:g}" for step in result["input"]["spacing_mm"])
    row["size"] = " ".join(str(number) for number in result["input"]["size"])
    row |= {"device": result["device"], "version": result["version"], "bundle_sha256": result["bundle"]["sha256"]}
    row["probability_sha256"] = file_sha256(folder / "probability.nii.gz")
    return row, {stage: result["seconds"][stage] for stage in STAGES if stage in result["seconds"]}


def _vessels(invasion: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"contact_pattern": (invasion.get("resectability") or {}).get("pattern")}
    for vessel, found in invasion["vessels"].items():
        row |= {f"{vessel.lower()}_{name}": found.get(name) for name in _VESSEL}
    return row
