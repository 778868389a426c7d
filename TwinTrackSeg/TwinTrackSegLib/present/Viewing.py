"""What only the browser viewer says: of pages, long steps, and what a browser has that Slicer's panel has not."""

from __future__ import annotations

from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["answers", "brush", "pageLost", "paths", "secondPage", "working"]


def working() -> str:
    """Say that a long step is going on."""
    return _("Working; threshold, vessels and views go on meanwhile.")


def secondPage() -> str:
    """Refuse a second page."""
    return _("This viewer is open in another page; close that one, and this page takes its place.")


def pageLost() -> str:
    """Say that the program behind the page has ended."""
    return _("The viewer has ended; start it again with twintrack view.")


def paths() -> dict[str, str]:
    """Return what stands in empty fields, most of them for files of this computer, and the button beside one."""
    return {
        "vesselFile": _("path of a file with vessels; empty for the model's"),
        "region": _("path of a region of 3D Slicer, .mrk.json; empty for the model's"),
        "readerFile": _("path of a reader's mask"),
        "readersFilter": _("part of a name"),
        "calibrator": _("path of a calibrator.json; empty for the model's"),
        "add": _("Add"),
    }


def brush() -> dict[str, tuple[str, str]]:
    """Return text and tooltip of what the brush has, which stands in for Segment Editor."""
    return {
        "paint": (_("Draw"), _("The left button adds to the tumour in the slice")),
        "erase": (_("Erase"), _("The left button takes away from the tumour in the slice")),
        "undo": (_("Undo stroke"), _("Take the last stroke back")),
        "done": (_("Done"), _("Put the brush away, and measure the outline")),
        "diameter": (_("Diameter (mm):"), ""),
    }


def answers() -> tuple[str, str]:
    """Return the answers to a question: go on, or not."""
    return _("OK"), _("Cancel")
