"""A DICOM series in the scene as Slicer's DICOM module leaves it, and the part of the database that the module asks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom

import slicer


class Database:
    """`slicer.dicomDatabase`: files by instance UID, and what was put in."""

    def __init__(self, files: dict[str, str], folder: Path) -> None:
        self._files, self.folder, self.isOpen = files, folder, True
        self.folder.mkdir()

    def fileForInstance(self, uid: str) -> str:
        return self._files.get(uid, "")

    def insertFolder(self, folder: str, copy: bool) -> None:
        assert copy, "the files are in a temporary folder"
        if not self.isOpen:
            return  # Slicer's only leaves a line in the log
        for path in Path(folder).glob("*.dcm"):
            uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
            self._files[uid] = str(shutil.copy(path, self.folder))


def dicomCt(scene, tmp_path: Path, monkeypatch):
    """Return the example CT as a volume that was loaded from DICOM, and the database."""
    from twintrack.dicom import read_series, write_ct_series
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode

    example = makeExampleCt()
    write_ct_series(volumeFromNode(example), tmp_path / "ct", description="Example")
    scene.RemoveNode(example)
    series = read_series(tmp_path / "ct")
    node = nodeFromVolume(series.volume, "CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(series.sop_instance_uids))
    files = dict(zip(series.sop_instance_uids, map(str, series.files), strict=True))
    database = Database(files, tmp_path / "database")
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    return node, database
