"""What Slicer knows of a CT and the engine, which gets voxels in a private file, cannot: its file or its series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from twintrack.dicom.read.headers import read_header
from twintrack.dicom.read.series import iso_date, whole_number
from twintrack.errors import TwinTrackError
from twintrack.results.which_ct import shown_name

__all__ = ["ctOrigin"]


def ctOrigin(volumeNode: Any) -> dict[str, Any]:
    """Return the fields of ``input`` in ``result.json`` that say where a volume comes from; None where nobody knows.

    Parameters
    ----------
    volumeNode : vtkMRMLScalarVolumeNode
        The CT: loaded from a file, or from a series in Slicer's DICOM database.
    """
    fields: dict[str, Any] = dict.fromkeys(("name", "series_number", "series_description", "study_date"))
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if uids:
        return fields | _ofSeries(uids[0])
    storage = volumeNode.GetStorageNode()
    return fields | {"name": shown_name(Path(storage.GetFileName() or "").name if storage is not None else None)}


def _ofSeries(uid: str) -> dict[str, Any]:
    """Return what the header of an instance in the DICOM database says; nothing if it is not there any more."""
    database = getattr(slicer, "dicomDatabase", None)
    path = database.fileForInstance(uid) if database is not None else ""
    try:
        header = read_header(Path(path)) if path else None
    except (TwinTrackError, OSError):
        header = None
    if header is None:
        return {}
    return {
        "series_number": whole_number(header.text("SeriesNumber")),
        "series_description": shown_name(header.text("SeriesDescription")),
        "study_date": iso_date(header.text("StudyDate")),
    }
