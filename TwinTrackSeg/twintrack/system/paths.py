"""Paths as users and requests give them, which can be too long for the system or forbidden to look at."""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_there", "is_utf8"]


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
