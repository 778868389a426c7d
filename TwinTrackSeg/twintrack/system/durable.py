"""Files forced to the disk, so that a power failure cannot leave half of one under a final name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["force_to_disk"]

CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Error numbers of file systems that know no forcing, such as some network folders; nothing is lost by that alone."""


def force_to_disk(path: Path, *, deep: bool = True) -> None:
    """Return when a file or folder has reached the disk, as far as the system can say.

    Parameters
    ----------
    path : Path
        The file or folder; a link is left alone.
    deep : bool
        Whether all that is in the folder is forced too, or its list of names alone.

    Raises
    ------
    OSError
        If it did not; some file systems find out only now that they are full.
    """
    if path.is_symlink():
        return
    if path.is_dir():
        for entry in sorted(path.iterdir()) if deep else ():
            force_to_disk(entry)
        if os.name == "nt":  # Windows opens no folders
            return
    # Windows forces only what is open for writing; elsewhere files may be read-only, and folders always are.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
    finally:
        os.close(descriptor)
