"""Choices that belong to the user's machine, not to a scene: kept in the application's settings."""

from pathlib import Path

import qt

__all__ = ["forget", "recall", "remember"]

GROUP = "TwinTrackSeg/"


def remember(name: str, value: str) -> None:
    """Keep `value` under `name` for the next start."""
    qt.QSettings().setValue(GROUP + name, str(value))


def recall(name: str, exists: bool = False) -> str:
    """Return what was kept under `name`, empty if nothing was, or if it must exist as a path and does not."""
    value = qt.QSettings().value(GROUP + name)
    text = "" if value is None else str(value)
    return "" if exists and text and not Path(text).exists() else text


def forget(name: str) -> None:
    """Keep nothing under `name` any more."""
    qt.QSettings().remove(GROUP + name)
