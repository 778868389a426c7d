"""Export a result as DICOM-SEG that refers to the CT series from which the volume was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from twintrack.dicom import Algorithm, MapMeaning, read_series, write_segmentation
from twintrack.errors import InputError
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.ResultSegmentation import segmentMask
from TwinTrackSegLib.mrml.SceneResult import SceneResult
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode

__all__ = ["exportDicomSeg", "sourceFile"]


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
            "Slicer's DICOM module and segment it again"
        )
    database = getattr(slicer, "dicomDatabase", None)
    path = database.fileForInstance(uids[0]) if database is not None else ""
    if not path or not Path(path).is_file():
        raise InputError(f"the DICOM files of volume '{name}' are not in the DICOM database; import the series again")
    return Path(path)


def exportDicomSeg(result: SceneResult, path: str | Path, series: str | Path | None = None) -> Path:
    """Write the segments of `result`, as they are in the scene now, to the DICOM-SEG file `path`.

    Parameters
    ----------
    result : SceneResult
        The result to export.
    path : str or Path
        The file to write.
    series : str or Path, optional
        Folder or file of the source series; without it, Slicer's DICOM database is asked.

    Raises
    ------
    InputError
        If there is no DICOM series, or it is not the one that was segmented.
    OutputError
        If no segment holds a voxel or the file cannot be written.
    """
    volumeNode = result.volumeNode
    if volumeNode is None:
        raise InputError("the CT of this result is not in the scene any more; load it again and segment it")
    source = read_series(sourceFile(volumeNode) if series is None else series)
    record = result.record.get("result", {})
    bundle = record.get("bundle", {})
    target = (record.get("calibrator") or {}).get("target")
    return write_segmentation(
        _masks(result.segmentationNode, volumeNode),
        source,
        path,
        algorithm=Algorithm(
            name=str(bundle.get("name", "unknown bundle")),
            version=str(bundle.get("version") or record.get("version", "")),
            bundle_sha256=str(bundle.get("sha256", "")),
        ),
        threshold=result.threshold,
        meaning=MapMeaning(target) if target else MapMeaning.SCORE,
    )


def _masks(segmentationNode: Any, volumeNode: Any) -> dict[str, Volume]:
    """Return the segments as masks (z, y, x) on the CT's grid, by segment ID, which is the engine's name."""
    grid = geometryFromNode(volumeNode)
    identifiers = segmentationNode.GetSegmentation().GetSegmentIDs()
    return {name: Volume(segmentMask(segmentationNode, name, volumeNode), grid) for name in identifiers}
