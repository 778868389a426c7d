"""``index.html``: all cases of a cohort in one table to sort and filter, which opens from a file share."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from twintrack import __version__
from twintrack.execution.cohort.case_folder import folder_name
from twintrack.execution.cohort.plan import CASES, CohortPlan
from twintrack.execution.cohort.process_case import FROM_MAP, OF_SCORE
from twintrack.execution.cohort.tables import Counts
from twintrack.results.which_ct import HASH_DIGITS
from twintrack.system.json_file import json_for_script

__all__ = ["INDEX", "write_index"]

INDEX = "index.html"

_VESSEL = ("expected_angle_deg", "p_contact", "p_encased", "coverage", "gap_mm_at_0.5")
_VESSEL_OF_SCORE = ("angle_deg_at_0.5", "level_contact", "level_encased", "coverage", "gap_mm_at_0.5")
"""What the page shows of a vessel; of a score that no calibrator made a map of, nothing that readers would say."""

_COLUMNS = (
    "Volumes in mL: expected over readers, and of the outline at the working threshold. Contact pattern: the median "
    "reader's. Of each vessel: the mean contact angle over readers, and the expected fraction of readers who see "
    "contact (bar, pale) and more than 180 degrees (bar, dark); where it says so, these are read from the map, not "
    "calibrated."
)
_COLUMNS_OF_SCORE = (
    "No calibrator was applied: these are scores, not readers. Volumes in mL: the sum of the score over all voxels, "
    "and of the outline at the working threshold. Of each vessel: the contact angle of the outline at 0.5, and the "
    "highest level of the score at which there is contact (bar, pale) and more than 180 degrees of it (bar, dark)."
)
"""What the columns say."""


def write_index(plan: CohortPlan, folder: Path, counts: Counts, note: str = "") -> None:
    """Write the page case by case, with how many there are on top and a note on all of them.

    Names and reasons reach the page as JSON in which no tag can end, and the page puts them into it as plain text. Only
    its own script may run.
    """
    data = files("twintrack") / "data"
    page = (data / "cohort.html").read_text(encoding="utf-8")
    script = (data / "cohort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    about = (
        f"TwinTrack {__version__}, bundle {plan.bundle_path.name} (sha256 {plan.bundle_sha256[:16]}), "
        f"threshold {plan.settings.threshold:g} of {'readers' if plan.settings.calibrate else 'the score'}. {note}"
    )
    values = {
        "SCRIPT_HASH": f"'sha256-{digest}'",
        "CASES": f"{len(plan):,} cases",
        "FAILED": f"{counts.failed:,} failed" if counts.failed else "none failed",
        "ABOUT": html.escape(about),
        "COLUMNS": html.escape(_COLUMNS if plan.settings.calibrate else _COLUMNS_OF_SCORE),
        "SCRIPT": script,
    }
    before, after = page.split("@@DATA@@")
    with (folder / INDEX).open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(_filled(before, values))
        stream.write(f'{{"vessels": {json_for_script(list(plan.vessels))}, "rows": [\n')
        for number, row in enumerate(_rows(plan)):
            stream.write((",\n" if number else "") + json_for_script(row))
        stream.write("\n]}")
        stream.write(_filled(after, values))


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@@{name}@@", value)
    return text


def _rows(plan: CohortPlan) -> Iterator[list[Any]]:
    """Yield what the page shows of each case, in the order that its script expects."""
    readers = plan.settings.calibrate
    shown, volume = (_VESSEL, "expected") if readers else (_VESSEL_OF_SCORE, "score_sum")
    for case, record in plan.records():
        row = record.get("row", {})
        yield [
            case.case,
            f"{CASES}/{folder_name(case.case)}",
            record["status"],
            _rounded(row.get(f"volume_{volume}_ml")),
            _rounded(row.get("volume_at_threshold_ml")),
            row.get("lesions"),
            row.get("contact_pattern") if readers else None,
            row.get("warnings") or record.get("reason") or "",
            record["seconds"].get("total"),
            [
                [_rounded(row.get(f"{vessel.lower()}_{name}")) for name in shown]
                + [row.get(f"{vessel.lower()}_statements") or FROM_MAP]
                for vessel in plan.vessels
            ],
            (row.get("ct_sha256") or "")[:HASH_DIGITS],
            (row.get("statements") or FROM_MAP) if readers else OF_SCORE,
        ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
