"""Temporary folders of the module: locked while they are in use, so that another Slicer's clearing up spares them."""

from __future__ import annotations

import slicer
from twintrack.errors import OutputError
from twintrack.system.private_folder import PrivateFolder

__all__ = ["temporaryFolder"]


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
        raise OutputError(f"no temporary folder can be made ({error.strerror}); make room on the disk") from error


def _root() -> str | None:
    app = getattr(slicer, "app", None)
    return str(app.temporaryPath) if app is not None else None
