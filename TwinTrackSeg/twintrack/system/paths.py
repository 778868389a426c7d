"""Paths as users and requests give them, which can be too long or forbidden to look at, and the hash of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_sha256", "is_there", "is_utf8"]


def is_utf8(path: str | Path) -> bool:
    """Whether a path can be handed to libraries that take UTF-8 alone; on Linux a name can be any bytes."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_there(path: str | Path) -> bool:
    """Whether there is a file or folder; before Python 3.14 `pathlib` raises for names that are too long."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
