"""One case of a cohort: paths and settings in, a complete folder on disk and a word about it out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from twintrack.errors import OutputError, TwinTrackError
from twintrack.execution.answer import UNEXPECTED
from twintrack.execution.cohort.case_folder import RECORD, read_record, write_record
from twintrack.inference.loaded_model import model_of_process, return_memory
from twintrack.labels import JOINT_VEIN
from twintrack.results.folder import RESULT_FILES, run_inputs, segment_file
from twintrack.results.report.html import read_pictures
from twintrack.results.report.wording import is_score, of_result, without_readers
from twintrack.system.atomic import atomic_folder
from twintrack.system.paths import file_sha256

__all__ = [
    "FROM_MAP",
    "OF_SCORE",
    "STAGES",
    "Failure",
    "SegmentTask",
    "case_columns",
    "case_row",
    "failure_record",
    "process_case",
    "publish_failure",
]

COMMAND = "cohort"
"""What the list of files in a case's folder calls its writer."""

THUMBNAIL = "thumbnail.jpg"
"""The worst vessel's section, or the tumour's, small, for the table of all cases."""

CASE_FILES = (*RESULT_FILES, THUMBNAIL, RECORD)
"""All that a case's folder may get."""

THUMBNAIL_SIZE = (320, 200)
"""Largest width and height of a thumbnail."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentTask:
    """What a worker needs to know of a case; small, because the scheduler holds it.

    Names and paths are left out where it is written as text: Dask logs so what it could not handle.

    Attributes
    ----------
    case : str
        Its name in the manifest.
    key : str
        Hash of all that the result depends on.
    source, folder : str
        The CT, and the folder that is to hold the result; absolute, as the workers see them.
    bundle, bundle_sha256 : str
        The bundle's place and what it has to hold.
    settings : mapping
        `SegmentSettings` as JSON values.
    made : mapping
        What `key` is made of; see `twintrack.execution.cohort.outdated`.
    overwrite : bool
        Whether other files at the places of the result's are replaced.
    """

    case: str = field(repr=False)
    key: str
    source: str = field(repr=False)
    folder: str = field(repr=False)
    bundle: str
    bundle_sha256: str
    settings: Mapping[str, Any] = field(repr=False)
    made: Mapping[str, Any]
    overwrite: bool = False


def process_case(task: SegmentTask) -> str:
    """Segment a case, unless its folder already holds the result; return ``done`` or ``failed``.

    Whatever is wrong with the case is written into its folder as a failure with the reason; the run goes on.

    Raises
    ------
    OutputError
        If not even the failure can be written.
    """
    folder = Path(task.folder)
    record = read_record(folder, task.key)
    if record is not None and record["status"] == "done":
        return "done"
    started = time.perf_counter()
    try:
        _segment(task, folder)
        return "done"
    except OutputError:
        raise
    except TwinTrackError as error:
        failure = Failure(error.fields()["kind"], str(error), error.code)
    except MemoryError:
        sentence = "not enough memory; give this case a machine with more, or an ROI"
        failure = Failure("MemoryError", sentence, "no-memory")
    except Exception as error:
        _log.exception("unexpected trouble with a case")
        kind = type(error).__name__
        failure = Failure(kind, f"unexpected: {error or kind}", UNEXPECTED)
    finally:
        return_memory()
    publish_failure(task, failure, time.perf_counter() - started)
    return "failed"


class Failure(NamedTuple):
    """Why a case has no result: the type of the error, its sentence, and the kind of trouble."""

    kind: str
    reason: str
    code: str


def publish_failure(task: SegmentTask, failure: Failure, seconds: float | None = None) -> None:
    """Let the case's folder say why there is no result."""
    folder = Path(task.folder)
    with atomic_folder(folder, command=COMMAND, last=RECORD, overwrite=task.overwrite) as work:
        write_record(work, failure_record(task, failure, seconds))


def failure_record(task: SegmentTask, failure: Failure, seconds: float | None) -> dict[str, Any]:
    """Return the record of a case without a result."""
    return {
        "case": task.case,
        "key": task.key,
        "made": task.made,
        "status": "failed",
        "kind": failure.kind,
        "code": failure.code,
        "reason": " ".join(failure.reason.split()),
        "seconds": {} if seconds is None else {"total": round(seconds, 3)},
        "worker": _worker_name(),
    }


def _segment(task: SegmentTask, folder: Path) -> None:
    """Write the whole result beside its final place, and move it there."""
    from twintrack.settings import SegmentSettings

    started = time.perf_counter()
    settings = SegmentSettings.from_json(task.settings)
    model = model_of_process(task.bundle, task.bundle_sha256)
    store = model.store(settings)
    inputs = run_inputs(task.source, task.bundle, settings)
    place = atomic_folder(folder, command=COMMAND, last=RECORD, inputs=inputs, overwrite=task.overwrite)
    with place as work:
        try:
            segment_file(
                task.source, model.bundle or task.bundle, work, settings, store=store, turn=model.turn, private=True
            )
        except TwinTrackError:
            raise
        except Exception:
            model.drop()  # nobody knows what state they are in
            raise
        _draw_thumbnail(work)
        row, seconds = case_row(work)
        record = {"case": task.case, "key": task.key, "made": task.made, "status": "done", "row": row}
        record |= {"worker": _worker_name(), "seconds": seconds | {"total": round(time.perf_counter() - started, 3)}}
        write_record(work, record)


def _draw_thumbnail(folder: Path) -> None:
    """Draw the worst vessel's section small; of a case without contact, the tumour's axial section."""
    from twintrack.results.report.overview import axial_of
    from twintrack.results.report.vessel_pictures import section_of

    pictures = read_pictures(folder / "report.html")
    worst = next(iter(pictures), None)  # the report shows them by severity
    small = axial_of(folder / "overview.png") if worst is None else section_of(pictures[worst])
    small.thumbnail(THUMBNAIL_SIZE)
    small.save(folder / THUMBNAIL, quality=80)


def _worker_name() -> str:
    """Return the name of the Dask worker, empty outside one."""
    from distributed import get_worker

    try:
        return str(get_worker().name)
    except ValueError:
        return ""


STAGES = (
    *("read", "localize", "ensemble", "calibrate", "measure", "write", "total"),
    *("import", "open", "wait", "pictures", "report"),
)
"""Timed steps of a case; those of later versions stand at the end."""

_VOLUMES = ("expected", "at_threshold", "p10", "p90")
_VESSEL = ("expected_angle_deg", "angle_p10_deg", "angle_p90_deg", "p_contact", "p_encased", "category", "reason")
_FIRST = ("case", *(f"volume_{name}_ml" for name in _VOLUMES), "lesions", "largest_lesion_ml", "contact_pattern")
_LAST = ("warnings", "spacing_mm", "size", "device", "version", "bundle_sha256", "probability_sha256", "key", "folder")
_ADDED = ("ct_sha256",)
_VESSEL_ADDED = ("coverage", "gap_mm_at_0.5", "near_180")
_READERS = ("p10", "median", "p90")
_SAID = ("statements", "any_tumour", *(f"volume_readers_{name}_ml" for name in _READERS))
_VESSEL_SAID = ("statements", "angle_median_deg")
_SCORE = ("volume_score_sum_ml",)
_VESSEL_LEVELS = ("level_contact", "level_encased", "angle_deg_at_0.5")
"""Columns of later versions stand at the end."""


FROM_MAP = "map"
"""What is said of raters is read from the map, not calibrated; so in results that do not say."""

OF_SCORE = "score"
"""Nothing is said of raters: no calibrator was applied, and what would say it stays empty."""


def case_columns(vessels: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the table; what was measured of each vessel stands in the middle.

    The vein that portal vein and superior mesenteric vein make together is at the end, as all that came later.
    """
    names = [vessel.lower() for vessel in vessels]
    joint = [name for name in names if name == JOINT_VEIN.lower()]
    single = [name for name in names if name not in joint]
    first, last = (tuple(f"{name}_{column}" for name in some for column in _VESSEL) for some in (single, joint))
    added = tuple(f"{name}_{column}" for name in (*single, *joint) for column in _VESSEL_ADDED)
    said = tuple(f"{name}_{column}" for name in (*single, *joint) for column in _VESSEL_SAID)
    levels = tuple(f"{name}_{column}" for name in (*single, *joint) for column in _VESSEL_LEVELS)
    return (*_FIRST, *first, *_LAST, *last, *added, *_ADDED, *_SAID, *said, *_SCORE, *levels)


def case_row(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the row of a result folder, without the columns that the cohort knows, and the seconds of each stage.

    Of a score the columns about raters stay empty; its levels, and what its outline measures, have their own.
    """
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = {f"volume_{name}_ml": result["volume_ml"].get(name) for name in _VOLUMES}
    if is_score(result):
        row |= {f"volume_{name}_ml": None for name in _VOLUMES if name != "at_threshold"}
        row["volume_score_sum_ml"] = result["volume_ml"].get("expected")
    row["lesions"] = len(result["lesions"])
    row["largest_lesion_ml"] = max((lesion["volume_ml"] for lesion in result["lesions"]), default=None)
    statements = result.get("statements") or {}
    source = OF_SCORE if is_score(result) else statements.get("source") or FROM_MAP
    row |= {"statements": source, "any_tumour": statements.get("any_tumour")}
    volumes = statements.get("volume_ml") or {}
    row |= {f"volume_readers_{name}_ml": volumes.get(name) for name in _READERS}
    measured = folder / "invasion.json"
    if measured.is_file():
        row |= _vessels(of_result(json.loads(measured.read_text(encoding="utf-8")), result))
    row["warnings"] = " | ".join(result["warnings"])
    row["spacing_mm"] = " ".join(f"{step:g}" for step in result["input"]["spacing_mm"])
    row["size"] = " ".join(str(number) for number in result["input"]["size"])
    row |= {"device": result["device"], "version": result["version"], "bundle_sha256": result["bundle"]["sha256"]}
    row["ct_sha256"] = result["input"]["sha256"]
    row["probability_sha256"] = file_sha256(folder / "probability.nii.gz")
    return row, {stage: result["seconds"][stage] for stage in STAGES if stage in result["seconds"]}


def _vessels(invasion: Mapping[str, Any]) -> dict[str, Any]:
    of_score, invasion = is_score(invasion), without_readers(invasion)
    row: dict[str, Any] = {"contact_pattern": (invasion.get("resectability") or {}).get("pattern")}
    row["statements"] = OF_SCORE if of_score else invasion.get("statements") or FROM_MAP
    levels = [abs(level - 0.5) < 1e-9 for level in invasion["thresholds"]]
    half = levels.index(True) if any(levels) else None
    for vessel, found in invasion["vessels"].items():
        row |= {
            f"{vessel.lower()}_{name}": found.get(name)
            for name in (*_VESSEL, "coverage", "near_180", "angle_median_deg", "level_contact", "level_encased")
        }
        row[f"{vessel.lower()}_statements"] = OF_SCORE if of_score else found.get("statements") or FROM_MAP
        for curve in ("gap_mm", "angle_deg"):
            values = found.get(curve)
            row[f"{vessel.lower()}_{curve}_at_0.5"] = None if half is None or not values else values[half]
    return row
