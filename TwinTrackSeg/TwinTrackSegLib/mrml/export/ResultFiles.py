"""A result, as it is in the scene now, as files: volumes, and a report for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.imaging.lesions import find_lesions, read_volumes
from twintrack.io.volumes import write_volume
from twintrack.results.checked_names import ARTERIES, ToldNames, told_names
from twintrack.results.which_ct import WhichCt
from twintrack.system.atomic import atomic_paths
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.result.Correction import drawnMap, noticeEdit
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID, UNNAMED_PREFIX
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.VesselNames import teller, told, toldReadouts
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, segmentMask, volumeFromNode
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder

__all__ = [
    "EDITED_NOTE",
    "ENDINGS",
    "REPORT_NEEDS",
    "RecordNow",
    "currentRecord",
    "recordNow",
    "reportStep",
    "safeName",
    "saveReport",
    "saveVolumes",
    "volumesStep",
]

ENDINGS = (".nii.gz", ".nrrd")
"""File formats of volumes."""

REPORT_NEEDS = {".html": ("matplotlib", "jinja2"), ".pdf": ("matplotlib",)}
"""The packages, beside those that Slicer ships, that a report takes, by its ending."""

EDITED_NOTE = (
    "The tumour outline was edited by hand after the model had run: volume, contact angle and length of this outline "
    "are the edited one's; what readers are expected to say is the model's, from before the edit."
)

OUTLINE_PATTERN = ("pattern", "not_assessed", "complete", "reason")
"""What is told of the pattern of an edited outline."""


@dataclass(frozen=True)
class RecordNow:
    """What a result is in the scene at a moment: what files say of it is put together from that, without the scene.

    Attributes
    ----------
    result, invasion : dict
        The engine's own ``result.json`` and ``invasion.json``; the second may be empty.
    probability : Volume
        The map.
    threshold, volumeMl : float
        Of the outline.
    edited : dict or None
        What was measured of an outline that was edited by hand.
    drawn : tuple of Volume and float, or None
        That outline, to list lesions from.
    outlinePattern : dict
        Contact pattern of that outline.
    readouts : tuple of VesselReadout
        The vessels.
    tell : callable
        Returns what may leave the scene of an ``invasion.json``; see `told`.
    """

    result: dict[str, Any]
    invasion: dict[str, Any]
    probability: Volume
    threshold: float
    volumeMl: float
    edited: dict[str, Any] | None
    drawn: tuple[Volume, float] | None
    outlinePattern: dict[str, Any]
    readouts: tuple[VesselReadout, ...]
    tell: Callable[[Mapping[str, Any] | None], ToldNames]

    @classmethod
    def of(cls, result: SceneResult) -> RecordNow:
        """Take it from the scene."""
        record = result.record
        return cls(
            result=dict(record.result),
            invasion=record.invasion,
            probability=volumeFromNode(result.nodes.mhr),
            threshold=result.outline.threshold,
            volumeMl=result.outline.volumeMl,
            edited=record.edited,
            drawn=drawnMap(result) if record.edited else None,
            outlinePattern=record.outlinePattern,
            readouts=tuple(result.outline.readouts),
            tell=teller(result),
        )


def currentRecord(result: SceneResult) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return ``result.json`` and ``invasion.json`` as they hold for the scene's threshold and outline."""
    return recordNow(RecordNow.of(result))


def recordNow(now: RecordNow) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return ``result.json`` and ``invasion.json`` as they hold for a threshold and an outline."""
    record = dict(now.result)
    reached = (record.get("calibrator") or {}).get("reached")
    volumes = read_volumes(now.probability, now.threshold, reached=reached).to_json()
    record |= {
        "threshold": now.threshold,
        "volume_ml": volumes | {"at_threshold": now.volumeMl},
        "lesions": _lesions(record, now.probability, now.threshold),
    }
    invasion = now.invasion or None
    if now.edited and now.drawn:
        record["lesions"] = [lesion.to_json() for lesion in find_lesions(*now.drawn)]
        record["edited"] = {key: now.edited[key] for key in ("added_ml", "removed_ml", "threshold")}
        record["warnings"] = [EDITED_NOTE, *record.get("warnings", [])]
        invasion = _withOutline(invasion, now)
    return record, invasion


def _lesions(record: Mapping[str, Any], probability: Volume, threshold: float) -> list[dict[str, Any]]:
    """Return the lesions at `threshold`: the engine's own, with what it says of readers, where it is the engine's."""
    if record.get("lesions") and record.get("threshold") == threshold:
        return list(record["lesions"])
    return [lesion.to_json() for lesion in find_lesions(probability, threshold)]


def saveVolumes(result: SceneResult, folder: str | Path, ending: str = ENDINGS[0]) -> list[Path]:
    """Write the map, the segments (label map) and their list into `folder`; return the files.

    The tumour wins in the label map. Where there are vessels, a file of its own at the end holds them whole, with the
    same values; as NIfTI it names them inside.

    Raises
    ------
    InputError
        If the CT is no longer in the scene, or the ending is none of `ENDINGS`.
    OutputError
        If a file cannot be written, or one of that name is there that was not written by the module.
    """
    result.outline.settle()
    noticeEdit(result)
    return volumesStep(result, folder, ending)()


def volumesStep(result: SceneResult, folder: str | Path, ending: str = ENDINGS[0]) -> Callable[[], list[Path]]:
    """Return what does, without the scene, what `saveVolumes` does; an outline was measured before."""
    if ending not in ENDINGS:
        raise InputError(f"volumes are written as {' or '.join(ENDINGS)}, not as {ending}", code="volume-ending")
    result.outline.settle()
    folder, stem = Path(folder), safeName(result.nodes.mhr.GetName())
    files = [folder / f"{stem}{ending}", folder / f"{stem} segments{ending}", folder / f"{stem} segments.txt"]
    marks = {name: f" ({remark})" for name, remark in told_names(result.record.invasion, checked=False).remarks.items()}
    marks |= {TUMOR_SEGMENT_ID: " (edited by hand)"} if result.record.edited else {}
    segments, vessels = _labels(result), _labels(result, tumor=False)
    if vessels[1]:
        files.append(folder / f"{stem} vessels{ending}")
    lines = [f"{value} {name}{marks.get(name, '')}\n" for name, value in segments[1].items()]
    return partial(_writeVolumes, files, volumeFromNode(result.nodes.mhr), segments, lines, vessels)


def _writeVolumes(
    files: Sequence[Path],
    probability: Volume,
    segments: tuple[Volume, dict[str, int]],
    lines: Sequence[str],
    vessels: tuple[Volume, dict[str, int]],
) -> list[Path]:
    with atomic_paths(*files) as (mapFile, segmentsFile, listed, *vesselFiles):
        write_volume(probability, mapFile)
        write_volume(segments[0], segmentsFile, names=segments[1])
        listed.write_text("".join(lines), encoding="utf-8")
        for path in vesselFiles:
            write_volume(vessels[0], path, names=vessels[1])
    return list(files)


def saveReport(result: SceneResult, path: str | Path) -> Path:
    """Write the report, with pictures, as HTML or PDF by the ending of `path`.

    Raises
    ------
    InputError
        If the ending is another one or the CT is no longer in the scene.
    OutputError
        If the file cannot be written.
    """
    result.outline.settle()
    noticeEdit(result)
    return reportStep(result, path)()


def reportStep(result: SceneResult, path: str | Path) -> Callable[[], Path]:
    """Return what does, without the scene, what `saveReport` does; an outline was measured before."""
    path = Path(path)
    if path.suffix.lower() not in REPORT_NEEDS:
        raise InputError("a report ends with .html or .pdf", code="report-ending", path=path)
    result.outline.settle()
    segments = _labels(result, withheld=told(result, result.record.invasion or None).withheld)
    readouts = toldReadouts(result)
    return partial(_writeReport, path, RecordNow.of(result), volumeFromNode(result.nodes.ct), segments, readouts)


def _writeReport(
    path: Path,
    now: RecordNow,
    ct: Volume,
    segments: tuple[Volume, dict[str, int]],
    readouts: Sequence[VesselReadout],
) -> Path:
    from twintrack.results.report.html import write_report
    from twintrack.results.report.overview import write_overview

    record, invasion = recordNow(now)
    invasion = now.tell(invasion).invasion
    bundle = record.get("bundle", {})
    with temporaryFolder() as folder:
        picture = folder / "overview.png"
        write_overview(
            picture,
            ct,
            now.probability,
            threshold=now.threshold,
            segmentation=segments[0],
            labels=segments[1],
            calibrated=record.get("calibrator", True) is not None,
            bundle_name=str(bundle.get("name", "")),
            demo=bool(bundle.get("demo")),
            which=WhichCt.of(record).short,
        )
        if path.suffix.lower() == ".html":
            write_report(path, record, invasion, picture, overwrite=True)  # the user was asked
        else:
            from TwinTrackSegLib.mrml.export.PdfReport import writePdf

            writePdf(path, record, invasion, readouts, picture)
    return path


def _labels(
    result: SceneResult, *, tumor: bool = True, withheld: Collection[str] = ()
) -> tuple[Volume, dict[str, int]]:
    """Return the segments as one label map (uint8), tumour on top, and the value of each; or the vessels alone.

    `withheld` are vessels whose names stay inside: they are arteries and veins.
    """
    ct, segmentation = result.nodes.ct, result.nodes.segmentation
    if ct is None or segmentation is None:
        raise InputError(
            "the CT of this result is no longer in the scene; load it again and segment it", code="ct-removed"
        )
    grid = geometryFromNode(ct)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    every = segmentation.GetSegmentation().GetSegmentIDs()
    identifiers = [identifier for identifier in every if not identifier.startswith(UNNAMED_PREFIX)]
    names = {identifier: number for number, identifier in enumerate(identifiers, start=1)}
    if not tumor:
        names.pop(TUMOR_SEGMENT_ID, None)
    for identifier in sorted(names, key=lambda name: name == TUMOR_SEGMENT_ID):
        labels[segmentMask(segmentation, identifier, ct)] = names[identifier]
    for kind in ("ARTERIES", "VEINS"):
        values = [names.pop(name) for name in withheld if name in names and (name in ARTERIES) == (kind == "ARTERIES")]
        if values:
            names[kind] = values[0]
            labels[np.isin(labels, values)] = values[0]
    return Volume(labels, grid), names


def _withOutline(invasion: dict[str, Any] | None, now: RecordNow) -> dict[str, Any] | None:
    """Return ``invasion.json`` with the curves of the edited outline in place of the map's.

    What readers are expected to say stays as it is; the pattern of the edited outline stands beside it.
    """
    edited = (now.edited or {}).get("invasion", {}).get("vessels", {})
    if invasion is None or not edited:
        return invasion
    levels = invasion["thresholds"]
    vessels = {}
    for name, vessel in invasion["vessels"].items():
        drawn = edited.get(name, {})
        curves = ("angle_deg", "contact_length_mm", "gap_mm") if drawn.get("present") else ()
        vessels[name] = {**vessel, **{key: [drawn[key][0]] * len(levels) for key in curves if drawn.get(key)}}
    drawn = {f"outline_{key}": value for key, value in now.outlinePattern.items() if key in OUTLINE_PATTERN}
    return {**invasion, "vessels": vessels, "resectability": {**invasion.get("resectability", {}), **drawn}}


def safeName(name: str) -> str:
    """Return `name` without what a file name must not hold on one of the systems."""
    return "".join("_" if character in '<>:"/\\|?*' else character for character in name).strip() or "result"
