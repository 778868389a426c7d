"""A result that came back from a server gets the names that did not travel: of case, CT and calibrator."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twintrack.results.schema import read_invasion_json, read_result_json
from twintrack.results.which_ct import WhichCt, shown_name
from twintrack.settings import SegmentSettings
from twintrack.system.paths import is_there

__all__ = ["label_result"]

logger = logging.getLogger(__name__)

STRUCTURED_REPORT = Path("dicom") / "report.dcm"


def label_result(folder: Path, source: str | Path, settings: SegmentSettings) -> None:
    """State in a result's files whose they are, as if it had been made here; nothing is computed again.

    Where a package for reports is missing, ``result.json`` alone states it, and the report keeps the hash's digits.

    Parameters
    ----------
    folder : Path
        Result folder that is not in its place yet, with all files that a run of this version writes.
    source : path
        The CT as the user named it.
    settings : SegmentSettings
        What was asked for: the label of the case, without which it stays the first digits of the CT's hash, and the
        calibrator.

    Raises
    ------
    InputError
        If a file of the result cannot be read.
    OutputError
        If one cannot be written.
    """
    case = settings.case
    result = read_result_json(folder / "result.json")
    stated: dict[str, Any] = dict(result.get("input") or {})
    stated |= {"name": shown_name(Path(source).absolute().name)} | ({} if case is None else {"case": case})
    result |= {"input": stated, "settings": dict(result.get("settings") or {}) | {"case": case}}
    if settings.calibrator is not None and isinstance(result.get("calibrator"), dict):
        result["calibrator"] |= {"file": Path(settings.calibrator).name}
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as error:
        logger.warning("the report keeps the CT's hash as the label of the case, because %s is missing", error.name)
    else:
        _label_report(folder, result, case)
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    (folder / "result.json").write_text(text, encoding="utf-8")


def _label_report(folder: Path, result: Mapping[str, Any], case: str | None) -> None:
    """Label the picture, the report in which it stands, and the structured report, if there is one."""
    from twintrack.dicom.write.structured_report import change_case_label
    from twintrack.results.report.html import read_panel, read_pictures, write_report
    from twintrack.results.report.overview import change_title_line

    report, picture = folder / "report.html", folder / "overview.png"
    invasion = read_invasion_json(folder / "invasion.json") if is_there(folder / "invasion.json") else None
    vessels, panel = read_pictures(report), read_panel(report)
    if case is not None:
        change_title_line(picture, WhichCt.of(result).short)
    write_report(report, result, invasion, picture, vessel_pictures=vessels, panel=panel, overwrite=True)
    if case is not None and is_there(folder / STRUCTURED_REPORT):
        change_case_label(folder / STRUCTURED_REPORT, case)
