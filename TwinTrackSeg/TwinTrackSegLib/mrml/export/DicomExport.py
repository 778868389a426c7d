"""Export a result as DICOM objects that refer to the CT series from which the volume was loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from twintrack.dicom import (
    AlgorithmType,
    MapMeaning,
    Remarks,
    read_series,
    write_parametric_map,
    write_segmentation,
    write_structured_report,
)
from twintrack.dicom.write.derived import MANUFACTURER
from twintrack.errors import InputError
from twintrack.results.checked_names import told_segments
from twintrack.results.dicom_objects import algorithm_of
from twintrack.system.atomic import atomic_paths
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.export.ResultFiles import RecordNow, recordNow
from TwinTrackSegLib.mrml.result.Correction import drawnBy, noticeEdit
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID, UNNAMED_PREFIX
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, segmentMask

__all__ = ["DICOM_NEEDS", "dicomStep", "exportDicomSeg", "sourceFile"]

DICOM_NEEDS = ("highdicom", "scikit-image")
"""The packages, beside those that every Slicer ships, that the export takes."""


def sourceFile(volumeNode: Any) -> Path:
    """Return one DICOM file of the series that `volumeNode` was loaded from.

    Raises
    ------
    InputError
        If the volume was not loaded from DICOM, or the DICOM database no longer has its files.
    """
    name = volumeNode.GetName()
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not uids:
        raise InputError(
            f"volume '{name}' was not loaded from DICOM, so there is no series to refer to; load the CT through "
            "Slicer's DICOM module and segment it again",
            code="no-dicom-source",
        )
    database = getattr(slicer, "dicomDatabase", None)
    path = database.fileForInstance(uids[0]) if database is not None else ""
    if not path or not Path(path).is_file():
        raise InputError(
            f"the DICOM files of volume '{name}' are not in the DICOM database; import the series again",
            code="not-in-database",
        )
    return Path(path)


def exportDicomSeg(result: SceneResult, path: str | Path, series: str | Path | None = None) -> Path:
    """Write `result`, as it is in the scene now, as DICOM objects: the segmentation `path`, and two files beside it.

    An outline that was edited by hand is measured first, and marked as such in all objects.
    The segmentation holds the segments of the scene and nested levels of the map; vessels that were named by anatomy
    are arteries and veins there until a reader checked the names. Beside ``NAME.dcm`` are written the
    parametric map ``NAME-map.dcm`` and, where there is a tumour, the structured report ``NAME-report.dcm``.

    Parameters
    ----------
    result : SceneResult
        The result to export.
    path : str or Path
        The segmentation file to write.
    series : str or Path, optional
        Folder or file of the source series; without it, Slicer's DICOM database is asked.

    Returns
    -------
    Path
        The segmentation file.

    Raises
    ------
    InputError
        If there is no DICOM series, or it is not the one that was segmented.
    OutputError
        If no segment holds a voxel, a file cannot be written, or one of the names beside is another program's.
    """
    if result.nodes.ct is not None:
        result.outline.settle()
        noticeEdit(result)
    return dicomStep(result, path, series)()


def dicomStep(result: SceneResult, path: str | Path, series: str | Path | None = None) -> Callable[[], Path]:
    """Return what does, without the scene, what `exportDicomSeg` does; an outline was measured before."""
    path, volumeNode = Path(path), result.nodes.ct
    if volumeNode is None:
        raise InputError(
            "the CT of this result is no longer in the scene; load it again and segment it", code="ct-removed"
        )
    result.outline.settle()
    return partial(
        _writeObjects,
        path,
        sourceFile(volumeNode) if series is None else series,
        RecordNow.of(result),
        _masks(result.nodes.segmentation, volumeNode),
        drawnBy(result),
        result.record.raters,
    )


def _writeObjects(
    path: Path, series: str | Path, now: RecordNow, masks: dict[str, Volume], drawn: str, raters: int | None
) -> Path:
    source = read_series(series)
    probability = now.probability
    said = now.tell(_invasionNow(now))
    masks = told_segments(masks, said.withheld)
    anything = any(mask.array.any() for mask in masks.values())
    stated = _stated(now)
    shown = stated | {"remarks": Remarks.of(now.result)}
    beside = path.with_name(f"{path.stem}-map.dcm"), path.with_name(f"{path.stem}-report.dcm")
    with atomic_paths(*beside, path, inputs=source.files, proof=lambda file: file == path or _isOurs(file)) as partials:
        mapFile, reportFile, segmentationFile = partials
        write_segmentation(
            masks,
            source,
            segmentationFile,
            threshold=now.threshold,
            probability=probability if anything else None,
            drawn_by={TUMOR_SEGMENT_ID: AlgorithmType(drawn)},
            raters=raters,
            remarked=said.remarks,
            **shown,
        )
        if probability.array.any():
            write_parametric_map(probability, source, mapFile, **shown)
        if "tumor" in masks and masks["tumor"].array.any():
            record, _ = recordNow(now)
            write_structured_report(
                record, said.invasion, source, segmentationFile, reportFile, raters=raters, **stated
            )
    return path


def _isOurs(file: Path) -> bool:
    """Whether a DICOM object is one of this module's; the user was asked about the one that was named alone."""
    import pydicom

    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["Manufacturer"])
    except (OSError, ValueError, pydicom.errors.InvalidDicomError):
        return False
    return not file.is_symlink() and str(header.get("Manufacturer", "")) == MANUFACTURER


def _invasionNow(now: RecordNow) -> dict[str, Any] | None:
    """Return ``invasion.json`` with the one threshold of the scene, which the engine need not have listed."""
    invasion = now.invasion
    if not invasion:
        return None
    vessels = {}
    for readout in now.readouts:
        here = {
            "angle_deg": [readout.angle_deg],
            "contact_length_mm": [readout.length_mm],
            "gap_mm": [readout.gap_mm],
        }
        known = invasion.get("vessels", {}).get(readout.name, {})
        vessels[readout.name] = {**known, "present": readout.present, **here, "category": readout.category or None}
    return {**invasion, "thresholds": [now.threshold], "vessels": vessels}


def _stated(now: RecordNow) -> dict[str, Any]:
    """Return what all objects state: the algorithm, and what the map means."""
    target = (now.result.get("calibrator") or {}).get("target")
    return {
        "algorithm": algorithm_of(now.result, now.threshold),
        "meaning": MapMeaning(target) if target else MapMeaning.SCORE,
    }


def _masks(segmentationNode: Any, volumeNode: Any) -> dict[str, Volume]:
    """Return the segments as masks (z, y, x) on the CT's grid, by segment ID, which is the engine's name."""
    grid = geometryFromNode(volumeNode)
    every = segmentationNode.GetSegmentation().GetSegmentIDs()
    identifiers = [name for name in every if not name.startswith(UNNAMED_PREFIX)]
    return {name: Volume(segmentMask(segmentationNode, name, volumeNode), grid) for name in identifiers}
