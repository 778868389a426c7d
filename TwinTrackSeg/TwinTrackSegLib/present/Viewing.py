"""What only the browser viewer says: of pages, long steps, and what a browser has that Slicer's panel has not."""

from __future__ import annotations

from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["answers", "opening", "pageLost", "secondPage", "working"]


def opening() -> str:
    """Say that CT and result are being read."""
    return _("Opening the CT...")


def working() -> str:
    """Say that a long step is going on and the views stand still."""
    return _("Working; the views follow when it is done.")


def secondPage() -> str:
    """Refuse a second page."""
    return _("This viewer is open in another page; close that one, and this page takes its place.")


def pageLost() -> str:
    """Say that the program behind the page has ended."""
    return _("The viewer has ended; start it again with twintrack view.")


def answers() -> tuple[str, str]:
    """Return the answers to a question: go on, or not."""
    return _("OK"), _("Cancel")
