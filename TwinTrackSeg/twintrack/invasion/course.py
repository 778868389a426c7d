"""Where a vessel runs, found once for all tumours that are measured on it: several raters' masks, a map and its score.

Lines, the middle of the lumen and the wall depend on the vessel alone, but for how much of it is looked at. So what was
found is kept for the next tumour; where the same is asked for again the same numbers come back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from twintrack.invasion.centerline import MOST_BRANCHES, CenterLine, center_lines
from twintrack.invasion.geometry import Neighborhood, Points

__all__ = ["Course", "KnownSections", "KnownWall", "course_of"]

MOST_KEPT = 24
"""Pieces whose course is kept: those of all vessels of a case, little enough to hold (0.4 MB each)."""


@dataclass(frozen=True)
class KnownWall:
    """The wall around one run of points.

    Attributes
    ----------
    rough_mm : numpy.ndarray
        In few directions; shape (n, few).
    fine_mm : numpy.ndarray
        In many, where `known`; shape (n, many).
    known : numpy.ndarray of bool
        Sections that were looked at in many directions; shape (n,).
    """

    rough_mm: NDArray[np.float64]
    fine_mm: NDArray[np.float64]
    known: NDArray[np.bool_]


@dataclass
class KnownSections:
    """What is known of one line's sections.

    Attributes
    ----------
    middle_mm : numpy.ndarray or None
        The line moved to the middle of the lumen; shape (n, 3).
    walls : dict of bytes to KnownWall
        By the points that they are around: how a line is continued depends on where the tumour is.
    steered : dict of bytes to numpy.ndarray
        Where the steps of a continued line were steered to (3,), by where they would have led and in which direction.
    """

    middle_mm: Points | None = None
    walls: dict[bytes, KnownWall] = field(default_factory=dict)
    steered: dict[bytes, Points] = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """The lines of one connected piece of a vessel, the longest first, and what is known of each one's sections."""

    lines: tuple[CenterLine, ...]
    sections: tuple[KnownSections, ...]


_kept: OrderedDict[bytes, Course] = OrderedDict()
_lock = Lock()


def course_of(near: Neighborhood, piece: NDArray[np.bool_]) -> Course:
    """Return the course of one connected `piece` (a mask of the neighbourhood's shape), which may be known already."""
    key = _key(near, piece)
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
            return found
    lines = tuple(center_lines(near, piece))
    found = Course(lines, tuple(KnownSections() for _ in lines))
    if len(lines) < MOST_BRANCHES:  # noise, of which there would be much to hold
        with _lock:
            _kept[key] = found
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
    return found


def _key(near: Neighborhood, piece: NDArray[np.bool_]) -> bytes:
    digest = hashlib.sha256(repr((piece.shape, near.start, near.geometry)).encode())
    for mask in (piece, near.vessel):
        digest.update(np.packbits(mask).data)
    return digest.digest()
