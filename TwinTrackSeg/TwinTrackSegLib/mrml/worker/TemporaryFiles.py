"""Temporary folders, locked while in use so that another Slicer's clearing up spares them, and volumes in them."""

from __future__ import annotations

from pathlib import Path

import slicer
from twintrack.errors import OutputError
from twintrack.system.private_folder import PrivateFolder
from twintrack.volume import Volume

__all__ = ["temporaryFolder", "writeNrrd"]


def temporaryFolder() -> PrivateFolder:
    """Make a folder in Slicer's own place for temporary files, or the system's outside Slicer.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        return PrivateFolder(parent=_root())
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made ({error.strerror}); make room on the disk", code="no-temporary-folder"
        ) from error


def writeNrrd(volume: Volume, path: Path) -> None:
    """Write `volume` to a NRRD file, not compressed: it is read once and removed, and the user waits.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import SimpleITK as sitk

    try:
        sitk.WriteImage(volume.to_sitk(), str(path), useCompression=False)
    except RuntimeError as error:
        raise OutputError(
            "cannot be written; check the free space of the temporary folder", code="not-writable", path=path
        ) from error


def _root() -> str | None:
    app = getattr(slicer, "app", None)
    return str(app.temporaryPath) if app is not None else None
