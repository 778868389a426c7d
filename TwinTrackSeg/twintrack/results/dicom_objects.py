"""DICOM objects of a result: from memory at the end of a run, or later from its folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import read_volume
from twintrack.results.checked_names import told_names, told_segments, withheld_sentence
from twintrack.results.schema import read_folder
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.ownership import is_same_place
from twintrack.system.paths import is_there
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.dicom import Algorithm, DicomSeries

__all__ = ["Exported", "algorithm_of", "export_result", "save_objects", "write_objects"]

logger = logging.getLogger(__name__)

MAP, SEGMENTATION, REPORT = "probability.dcm", "segmentation.dcm", "report.dcm"
FRACTIONAL, LABELMAP = "fractional.dcm", "labelmap.dcm"
MADE_SERIES = "ct"
COMMAND = "export"
OBJECTS = (MAP, SEGMENTATION, REPORT, FRACTIONAL, LABELMAP, MADE_SERIES)
"""Everything that an export may write, with the series that was made for a volume file."""


NOT_IDENTIFYING = ("device", "backend", "keep_score", "rater_maps", "samples", "panel", "dicom", "series", "case")
"""Settings of a run that change neither its map nor its outlines."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes
    ----------
    files : tuple of Path
        The objects.
    series : tuple of Path
        The slices of the series that was made for them, where the input was no DICOM.
    warnings : tuple of str
        What the user must be told.
    """

    files: tuple[Path, ...]
    series: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def export_result(
    result_folder: str | Path,
    series_path: str | Path | None,
    out: str | Path,
    *,
    series_uid: str | None = None,
    acquisition: int | None = None,
    make_series: str | Path | None = None,
    fractional: bool = False,
    labelmap: bool = False,
    names_checked: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the DICOM objects of a result folder.

    Parameters
    ----------
    result_folder : path
        What ``twintrack segment`` wrote.
    series_path : path or None
        The CT series that was segmented: folder, ZIP archive or one file.
    out : path
        Folder for the objects.
    series_uid : str, optional
        SeriesInstanceUID, to choose among several series; without it the one that was segmented is taken.
    acquisition : int, optional
        AcquisitionNumber, to choose among several phases or passes; without it the one that was segmented is taken.
    make_series : path, optional
        Instead of `series_path`: the volume file that was segmented, from which a series is made.
    fractional, labelmap : bool
        Whether a fractional segmentation and a label map are written too, which few viewers read.
    names_checked : bool
        Whether a reader looked at the names that were found by anatomy: without, those that are not sure are withheld.
    overwrite : bool
        Whether other files at the places of the objects are replaced; never the result or the series.

    Raises
    ------
    InputError
        If the folder holds no complete result, or the result lies on another grid than the series.
    OutputError
        If there is nothing to export or `out` cannot be written.
    """
    folder = Path(result_folder)
    stored = read_folder(folder)
    _check_choice(folder, stored.result, series_path, make_series)
    return save_objects(
        out,
        series_path,
        stored.labels,
        stored.probability,
        stored.result,
        stored.invasion,
        vessels=stored.vessels,
        named=stored.named,
        names_checked=names_checked,
        series_uid=series_uid,
        acquisition=acquisition,
        make_series=make_series,
        fractional=fractional,
        labelmap=labelmap,
        overwrite=overwrite,
        folder=folder,
    )


def save_objects(
    out: str | Path,
    series_path: str | Path | None,
    labels: Volume,
    probability: Volume,
    result: Mapping[str, Any],
    invasion: Mapping[str, Any] | None,
    *,
    vessels: Volume | None = None,
    named: Volume | None = None,
    names_checked: bool = False,
    series_uid: str | None = None,
    acquisition: int | None = None,
    make_series: str | Path | None = None,
    fractional: bool = False,
    labelmap: bool = False,
    overwrite: bool = False,
    folder: Path | None = None,
) -> Exported:
    """Write the DICOM objects of a result in memory; `folder` is where it was read from, if it was.

    `vessels` are the predicted ones, whole, as ``vessel_values`` of `result` names them; without, those in `labels`.
    `named` takes their place: vessels with names by anatomy, as ``named_vessel_values`` says; `names_checked` as in
    `export_result`.

    Raises
    ------
    InputError, OutputError
        As `export_result`.
    """
    segmented = str((result.get("input") or {}).get("series_uid") or "")
    read = () if folder is None else _read_files(folder)
    inputs = [Path(path) for path in (*read, series_path, make_series) if path is not None]
    unasked = {FRACTIONAL: fractional, LABELMAP: labelmap, MADE_SERIES: make_series is not None}
    entries = [name for name in OBJECTS if unasked.get(name, True)]
    if series_path is not None and is_same_place(Path(series_path), Path(out)):
        raise OutputError(
            "is the CT's own folder; choose another folder for the objects", code="place-of-input", path=out
        )
    check_output_folder(out, entries, command=COMMAND, inputs=inputs, overwrite=overwrite)
    where = "the result" if folder is None else f"the result in {folder}"
    with atomic_folder(out, command=COMMAND, last=MAP, inputs=inputs, overwrite=overwrite) as partial:
        if make_series is not None:
            series = _made_series(Path(make_series), partial / MADE_SERIES)
        else:
            series = _read_series(Path(str(series_path)), series_uid, segmented, _acquisition(acquisition, result))
        try:
            probability.restored_to(series.volume.geometry)
        except InputError:
            place = make_series or series_path
            raise InputError(
                f"another grid than {where}; give the segmented series", code="grid-differs", path=place
            ) from None
        made = write_objects(
            partial,
            series,
            labels,
            probability,
            result,
            invasion,
            vessels=vessels,
            named=named,
            names_checked=names_checked,
            fractional=fractional,
            labelmap=labelmap,
        )
        if not made:
            raise OutputError(
                "the map is 0 everywhere, so there is nothing to export; check the result",
                code="map-empty",
                path=out if folder is None else folder,
            )
        slices = [path.name for path in series.files] if make_series is not None else []
        warnings = _warnings(series, segmented, make_series)
        if named is not None and (withheld := told_names(invasion, checked=names_checked).withheld):
            warnings = (*warnings, withheld_sentence(withheld))
    final = Path(out)
    return Exported(
        tuple(final / path.name for path in made), tuple(final / MADE_SERIES / name for name in slices), warnings
    )


def _read_files(folder: Path) -> list[Path]:
    """Return the files of a result that an export reads."""
    volumes = ("segmentation.nii.gz", "vessels.nii.gz", "named_vessels.nii.gz", "probability.nii.gz")
    return [folder / name for name in ("result.json", "invasion.json", *volumes)]


def write_objects(
    out: Path,
    series: DicomSeries,
    labels: Volume,
    probability: Volume,
    result: Mapping[str, Any],
    invasion: Mapping[str, Any] | None = None,
    *,
    vessels: Volume | None = None,
    named: Volume | None = None,
    names_checked: bool = False,
    fractional: bool = False,
    labelmap: bool = False,
) -> tuple[Path, ...]:
    """Write the DICOM objects of a result that lies on the grid of `series` and is described by ``result.json``.

    Where neither a tumour nor a vessel was found there is no segmentation to write, no report without a tumour, and
    nothing at all where the map is 0 everywhere. Segments of `vessels`, with the values that ``vessel_values`` of
    `result` states, overlap the tumour; a label map, which cannot hold that, and a result without them have the vessels
    of `labels`. Vessels that were `named` by anatomy stand in the place of both, and say who named them: see
    `twintrack.results.checked_names`.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    from twintrack import dicom

    bundle, calibrator = result["bundle"], result["calibrator"]
    raters = (calibrator or {}).get("raters") or bundle.get("raters")
    meaning = dicom.MapMeaning.SCORE if calibrator is None else dicom.MapMeaning(calibrator["target"])
    out.mkdir(parents=True, exist_ok=True)
    stated: dict[str, Any] = {"algorithm": algorithm_of(result), "meaning": meaning}
    shown = stated | {"remarks": dicom.Remarks.of(result)}
    drawn = shown | {"threshold": result["threshold"], "raters": raters}
    masks = dicom.segments_from_labels(labels, result["labels"])
    whole = masks if vessels is None else masks | dicom.segments_from_labels(vessels, result["vessel_values"])
    if named is not None:
        told = told_names(invasion, checked=names_checked)
        invasion, drawn = told.invasion, drawn | {"remarked": told.remarks}
        own = told_segments(dicom.segments_from_labels(named, result["named_vessel_values"]), told.withheld)
        outline = {name: masks[name] for name in ("tumor",) if name in masks}
        masks, whole = outline | {name: _beside(mask, outline) for name, mask in own.items()}, outline | own
    tumor = "tumor" in masks and bool(masks["tumor"].array.any())
    if not probability.array.any():
        logger.warning("the map is 0 everywhere, so that no DICOM object is written")
        return ()
    paths = [dicom.write_parametric_map(probability, series, out / MAP, **shown)]
    if labels.array.any() or probability.array.max() >= np.float32(dicom.ISO_LEVELS[0]):
        paths.append(dicom.write_segmentation(whole, series, out / SEGMENTATION, probability=probability, **drawn))
    if tumor:
        report = dicom.write_structured_report(
            result, invasion, series, out / SEGMENTATION, out / REPORT, raters=raters, **stated
        )
        paths.append(report)
    else:
        logger.warning("no voxel reaches the threshold, so that no structured report is written")
    if fractional:
        paths.append(dicom.write_fractional(probability, series, out / FRACTIONAL, **shown))
    if labelmap and labels.array.any():
        kind = dicom.SegmentationKind.LABELMAP
        paths.append(dicom.write_segmentation(masks, series, out / LABELMAP, kind=kind, **drawn))
    return tuple(paths)


def _beside(mask: Volume, outline: Mapping[str, Volume]) -> Volume:
    """Return a mask without what the tumour covers, for a label map."""
    free = mask.array != 0
    for tumor in outline.values():
        free = free & (tumor.array == 0)
    return mask.with_array(free)


def algorithm_of(result: Mapping[str, Any], threshold: float | None = None) -> Algorithm:
    """Return what made the objects of a ``result.json``; `threshold` where the outline was cut anew since.

    What a run of the same settings need not have in common enters no UID: where it ran, what it wrote besides, the
    names of files and cases.
    """
    from twintrack.dicom import Algorithm

    bundle, calibrator = result.get("bundle") or {}, result.get("calibrator") or {}
    settings = {key: value for key, value in (result.get("settings") or {}).items() if key not in NOT_IDENTIFYING}
    settings |= {"threshold": result.get("threshold"), "calibrator": calibrator.get("sha256")}
    cut = result.get("threshold", "") if threshold is None else threshold
    parameters = {"device": str(result.get("device", "")), "threshold": str(cut)}
    return Algorithm(
        name=str(bundle.get("name", "unknown bundle")),
        version=str(bundle.get("version") or result.get("version", "")),
        bundle_sha256=str(bundle.get("sha256", "")),
        parameters=parameters,
        settings=settings,
    )


def _check_choice(
    folder: Path, result: Mapping[str, Any], series_path: str | Path | None, make_series: str | Path | None
) -> None:
    """Check that exactly one of the two ways to a series was taken, and say which one fits the result."""
    if series_path is not None and make_series is not None:
        raise InputError("give either --series or --make-series, not both", code="options-exclude")
    if series_path is None and make_series is None:
        if (result.get("input") or {}).get("source") == "file":
            raise InputError(
                "was made from a volume file, so that there is no DICOM series to refer to; "
                "--make-series CT (the same file) makes one with new UIDs and placeholder patient data",
                code="no-dicom-source",
                path=folder,
            )
        raise InputError("give the CT series that was segmented (--series FOLDER)", code="no-dicom-source", path=folder)


def _acquisition(chosen: int | None, result: Mapping[str, Any]) -> int | None:
    """Return the acquisition that is chosen, or else the one that was segmented, if the result says that one was."""
    segmented = (result.get("settings") or {}).get("acquisition")
    return segmented if chosen is None and isinstance(segmented, int) else chosen


def _read_series(path: Path, series_uid: str | None, segmented: str, acquisition: int | None) -> DicomSeries:
    from twintrack.dicom import is_dicom_input, read_series

    if is_there(path) and not is_dicom_input(path):
        raise InputError(
            f"not a DICOM series; give the folder of the segmented series, or --make-series {path.name} to "
            "make one with new UIDs and placeholder patient data",
            code="not-dicom",
            path=path,
        )
    return read_series(path, series_uid=series_uid, preferred_uid=segmented or None, acquisition=acquisition)


def _made_series(ct_file: Path, folder: Path) -> DicomSeries:
    """Write a volume file as a DICOM series without a patient, and read it back."""
    from twintrack.dicom import Origin, is_dicom_input, read_series, write_ct_series

    if is_dicom_input(ct_file):
        raise InputError(
            "is DICOM already; give it with --series instead of --make-series", code="options-exclude", path=ct_file
        )
    ct = read_volume(ct_file)
    voxels = hashlib.sha256(ct.array.tobytes()).hexdigest()
    write_ct_series(
        ct,
        folder,
        description="CT from a volume file (research use only)",
        patient_name="TwinTrack^No patient data",
        patient_id="TWINTRACK-NO-PATIENT",
        uid_seed=f"{voxels} {ct.geometry}",
        origin=Origin.VOLUME_FILE,
    )
    return read_series(folder)


def _warnings(series: DicomSeries, segmented: str, make_series: str | Path | None) -> tuple[str, ...]:
    warnings = list(series.notes)
    if make_series is None and segmented and series.series_uid != segmented:
        warnings.append(
            "The series has another UID than the one that was segmented; it lies on the same grid, so check that it is "
            "the same images and not another phase of the contrast."
        )
    return tuple(warnings)
