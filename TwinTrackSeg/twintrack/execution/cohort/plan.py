"""Which cases a run is about, where each one goes, and what its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twintrack import __version__
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import InputError
from twintrack.execution.cohort.case_folder import folder_name, read_record
from twintrack.execution.cohort.outdated import Difference, RecordState, difference
from twintrack.execution.cohort.process_case import SegmentTask
from twintrack.invasion.naming import NAMED
from twintrack.io.manifest import ManifestRow, ManifestRows, scan_manifest
from twintrack.io.vessel_maps import whole_vessels
from twintrack.io.volumes import FILE_ENDINGS
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS, VESSEL_VALUES, VESSELS_OF_CLASSES, structure_of, vessel_of
from twintrack.pipeline import chosen_calibrator
from twintrack.settings import SegmentSettings
from twintrack.system.case_label import as_case_label

__all__ = ["CASES", "CohortPlan", "PlanRow", "make_plan"]

Given = TypeVar("Given")
Made = TypeVar("Made")

CASES = "cases"
"""Folder of the case folders."""

WHERE_NOT_WHAT = ("device", "backend", "curvas_numbers")
"""Settings that say where the networks run, or that are the same in every cohort; they make no result out of date."""

READERS = 16
"""Records read at the same time: file shares answer slowly, but many at once."""


class PlanRow(NamedTuple):
    """A row of the manifest: name, CT, vessel map, and the DICOM series and acquisition where there are several."""

    case: str
    source: str
    vessels: str | None
    series: str | None
    acquisition: int | None

    @property
    def choice(self) -> dict[str, str | int | None]:
        """Which CT of `source` is meant, as settings."""
        return {"series": self.series, "acquisition": self.acquisition}


@dataclass(frozen=True)
class CohortPlan:
    """The cases of a run in the manifest's order; none of them is kept in memory, there may be a hundred thousand.

    Attributes
    ----------
    rows : ManifestRows
        Of the manifest.
    out : Path
        The run's folder, absolute.
    bundle_path : Path
        Absolute.
    bundle_sha256 : str
        Identifies the bundle.
    settings : SegmentSettings
        Options of all cases.
    vessels : tuple of str
        Names of the vessels that may be measured.
    calibrator_sha256 : str or None
        Identifies the calibrator in place of the bundle's.
    overwrite : bool
        Whether other files at the places of the results are replaced.
    """

    rows: ManifestRows
    out: Path
    bundle_path: Path
    bundle_sha256: str
    settings: SegmentSettings
    vessels: tuple[str, ...]
    calibrator_sha256: str | None = None
    overwrite: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def cases(self) -> Iterator[PlanRow]:
        """Yield the cases."""
        for row in self.rows:
            vessels = None
            if "vessels" in row.files:  # the file that is read is the one whose changes count
                vessels = _absolute(whole_vessels(row.files["vessels"], self.settings.vessel_names))
            yield PlanRow(row.case, _absolute(row.files["image"]), vessels, row.series, row.acquisition)

    def folder(self, case: PlanRow) -> Path:
        """Return the folder of a case."""
        return self.out / CASES / folder_name(case.case)

    def made(self, case: PlanRow, *, files: bool = True) -> dict[str, Any]:
        """Return what the result of a case depends on, as its record states it; with `files` as they are now."""
        settings = self.settings.to_json() | case.choice | {"calibrator": self.calibrator_sha256}
        relevant = {name: value for name, value in settings.items() if name not in (*WHERE_NOT_WHAT, "vessels", "case")}
        made: dict[str, Any] = {"version": __version__, "bundle": self.bundle_sha256, "settings": relevant}
        if files:
            made["image"] = _digest(_fingerprint(Path(case.source)))
            made["vessels"] = None if case.vessels is None else _digest(_fingerprint(Path(case.vessels)))
        return dict(json.loads(json.dumps(made)))  # as it is when it is read again

    def task(self, case: PlanRow) -> SegmentTask:
        """Return the task of a case; its key says what the files are like now."""
        made = self.made(case)
        return SegmentTask(
            case=case.case,
            key=_digest([case.case, made]),
            source=case.source,
            folder=str(self.folder(case)),
            bundle=str(self.bundle_path),
            bundle_sha256=self.bundle_sha256,
            settings=self.settings.to_json()
            | case.choice
            | {"vessels": case.vessels, "curvas_numbers": True}
            | {"case": as_case_label(case.case)},
            overwrite=self.overwrite,
            made=made,
        )

    def states(self) -> Iterator[RecordState]:
        """Yield how things stand with each case, as its folder says."""

        def state(case: PlanRow) -> RecordState:
            record = read_record(self.folder(case))
            if record is None:
                return RecordState("open")
            status, found = str(record["status"]), difference(record.get("made"), self.made(case))
            if found.changes:  # nobody loses anything when a failure is tried again
                status = "outdated" if status == "done" else "open"
            return RecordState(status, found)

        yield from _in_threads(state, self.cases())

    def difference(self, case: PlanRow, record: Mapping[str, Any]) -> Difference:
        """Return what a record was made with otherwise; its files are not looked at."""
        return difference(record.get("made"), self.made(case, files=False))

    def records(self) -> Iterator[tuple[PlanRow, dict[str, Any]]]:
        """Yield the cases that have a record with it; one after the other, never all at once."""

        def record(case: PlanRow) -> tuple[PlanRow, dict[str, Any] | None]:
            return case, read_record(self.folder(case))

        for case, found in _in_threads(record, self.cases()):
            if found is not None:
                yield case, found


def make_plan(
    manifest: str | Path,
    bundle_path: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    *,
    overwrite: bool = False,
) -> CohortPlan:
    """Read a manifest: the columns ``case``, ``image`` and, where there are such, ``vessels, series, acquisition``.

    Raises
    ------
    InputError
        If the manifest cannot be used; the line is named.
    BundleError
        If the bundle cannot be used.
    """
    rows = scan_manifest(manifest, needs=("image",), optional=("vessels",))
    settings = settings or SegmentSettings()
    _check_rows(rows, dicom=settings.dicom)
    given = settings.vessel_names or VESSEL_VALUES if any("vessels" in row.files for row in rows) else {}
    with Bundle.open(bundle_path) as bundle:
        own = _own_calibrator(bundle, settings)
        sha256, predicted = bundle.sha256, bundle.vessel_values
    return CohortPlan(
        rows=rows,
        out=Path(out).expanduser().absolute(),
        bundle_path=Path(bundle_path).expanduser().absolute(),
        bundle_sha256=sha256,
        settings=replace(
            settings,
            panel=False,  # a piece of each CT would double the reports of many thousand cases
            vessels=None,
            series=None,
            acquisition=None,
            case=None,
            calibrator=None if own is None else str(own),
        ),
        vessels=_measured([*given, *predicted], settings.name_vessels),
        calibrator_sha256=None if own is None else hashlib.sha256(own.read_bytes()).hexdigest(),
        overwrite=overwrite,
    )


def _measured(vessels: Iterable[str], name_vessels: str) -> tuple[str, ...]:
    """Return the vessels that may be measured: also those that get names where classes alone are known.

    With portal vein and superior mesenteric vein comes what they are together.
    """
    names = list(dict.fromkeys(vessels))
    if name_vessels == "auto" and {structure_of(name) for name in names} & VESSELS_OF_CLASSES:
        names = list(dict.fromkeys([*names, *NAMED]))
    both = {vessel_of(name) for name in names} >= set(JOINT_VEIN_PARTS)
    return tuple(dict.fromkeys([*names, *([JOINT_VEIN] if both else [])]))


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())


def _check_rows(rows: Iterable[ManifestRow], *, dicom: bool) -> None:
    """Refuse files that cannot hold the series that is asked for, and names that would share a folder.

    That is looked at as where upper and lower case are the same.
    """
    taken: dict[str, str] = {}
    for row in rows:
        name = folder_name(row.case).casefold()
        if name in taken:
            raise InputError(
                f"case {row.case!r} and case {taken[name]!r} would share a folder; rename one",
                code="case-folders-collide",
                where=row.where,
            )
        taken[name] = row.case
        image = row.files["image"]
        if not image.name.lower().endswith(FILE_ENDINGS):
            continue
        column = "acquisition" if row.series is None else "series"
        if row.cells.get(column):
            raise InputError(
                f"{column}: {image} is a volume file, which holds none; leave the cell empty",
                code="series-of-a-file",
                where=row.where,
            )
        if dicom:
            raise InputError(
                f"image: {image} is not a DICOM series, which --dicom needs; leave --dicom out",
                code="no-dicom-source",
                where=row.where,
            )


def _own_calibrator(bundle: Bundle, settings: SegmentSettings) -> Path | None:
    """Return the calibrator in place of the bundle's, if any; refuse what every single case would be refused for."""
    if not settings.calibrate:
        return None
    if settings.calibrator is not None:
        chosen_calibrator(bundle, settings.calibrator)
        return Path(settings.calibrator).expanduser().absolute()
    if bundle.calibrator_path is None:
        raise InputError(
            "holds no calibrator; fit one, or ask for the raw score with --no-calibration",
            code="no-calibrator",
            path=bundle.path,
        )
    return None


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _fingerprint(path: Path) -> list[Any]:
    """Return what tells that an input was exchanged: names, sizes and times of its files."""
    whole_folder = path.is_dir() or not path.name.lower().endswith((*FILE_ENDINGS, ".zip"))
    try:
        if not whole_folder:
            return _sizes({"": path})
        folder = path if path.is_dir() else path.parent  # one file of a DICOM series stands for all beside it
        return _sizes({file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()})
    except OSError as error:
        return [error.strerror]


def _sizes(files: Mapping[str, Path]) -> list[Any]:
    stats = {name: path.stat() for name, path in sorted(files.items())}
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()]


def _in_threads(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield what `work` makes of the items, in their order, a few ahead at a time."""
    left = iter(items)
    with ThreadPoolExecutor(READERS) as pool:
        while block := list(islice(left, 32 * READERS)):
            yield from pool.map(work, block)
