"""Find the regular voxel grid of a stack of slices, or refuse the stack where none is sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.layout import SliceLayout
from twintrack.dicom.read.stack import Stack
from twintrack.errors import InputError
from twintrack.volume import Geometry

__all__ = ["Grid", "find_grid"]

OFF_GRID_TOLERANCE = 0.1
"""Fraction of the slice distance by which a slice may lie off the regular grid."""

SIDEWAYS_TOLERANCE = 0.1
"""Fraction of the pixel spacing by which a slice may be shifted within its plane."""

ROUNDED_PIXELS = 1e-3
"""Shifts that differ from whole pixels by less than this are whole."""

LARGE_GAP = 1.4
"""A gap of more than this many slice distances is told."""

WHOLE_GAP_TOLERANCE = 0.1
"""A gap this close to a multiple of the slice distance (in slices) is told as missing slices."""

LEAST_ALIKE = 3
"""So many gaps in a row that are alike are another slice distance, not missing slices."""

LARGEST_GAP_MM = 5.0
"""Gaps up to the slice distance of common abdominal CTs are bridged by linear interpolation; wider ones are refused."""

MOST_PLANES_PER_SLICE = 2.0
"""A grid with more planes than this for each slice would be made of interpolation for the most part."""

MOST_TILT_DEG = 35.0
"""A gantry tilts by up to 30 degrees; a larger shear is an error of the header."""


@dataclass(frozen=True)
class Grid:
    """The grid of a stack.

    Attributes
    ----------
    geometry : Geometry
        In LPS mm: i runs along an image row, j down a column, k through the slices (right-handed).
    layout : SliceLayout or None
        How to resample the slices onto the grid; None where they are its planes.
    notes : tuple of str
        What a user must be told about the resampling.
    """

    geometry: Geometry
    layout: SliceLayout | None = None
    notes: tuple[str, ...] = ()


def find_grid(stack: Stack) -> Grid:
    """Return the grid that the slices of `stack` form, or onto which they can be resampled.

    Raises
    ------
    InputError
        If too many slices are missing, gaps are too wide, or slices are shifted sideways; the sentence names them.
    """
    tilt_deg = _tilt_deg(stack)
    gaps = np.diff(stack.along_mm)
    # The lower median is a true gap even where every second slice of three is missing.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    count = len(stack.slices)
    regular = np.linspace(0.0, stack.along_mm[-1], count)
    off_mm = np.abs(stack.along_mm - regular).max()
    even = off_mm <= OFF_GRID_TOLERANCE * usual and gaps.max() <= LARGE_GAP * usual
    if even and not tilt_deg:
        return Grid(_geometry(stack, count, np.zeros(2), np.asarray(stack.size)))
    planes = count if even else round(stack.along_mm[-1] / usual) + 1
    if not even and (gaps.max() > LARGEST_GAP_MM or planes > MOST_PLANES_PER_SLICE * count):
        raise InputError(f"{_gap_text(stack, usual)}", code="slices-uneven", path=stack.slices[0].folder)
    shift = _shift_ij(stack) if tilt_deg else np.zeros((count, 2))
    start = np.floor(shift.min(axis=0))
    size = np.asarray(stack.size) + (np.ceil(shift.max(axis=0)) - start).astype(int)
    geometry = _geometry(stack, planes, start, size)
    place_k = regular / geometry.spacing_mm[2] if even else stack.along_mm / geometry.spacing_mm[2]
    layout = SliceLayout(geometry, stack.size, shift - start, place_k)
    notes = [] if even else [_gap_note(stack, usual, planes)]
    if tilt_deg:
        notes.append(
            f"The slices are sheared by {tilt_deg:.1f} degrees (gantry tilt); they were shifted onto an upright grid."
        )
    return Grid(geometry, layout, tuple(notes))


def _shift_ij(stack: Stack) -> NDArray[np.float64]:
    """Return by how many pixels along (i, j) each slice is shifted; positions rounded in the files are whole shifts."""
    shift = stack.offsets_mm[:, :2] / np.asarray(stack.spacing_mm)
    whole = np.rint(shift)
    return np.where(np.abs(shift - whole) < ROUNDED_PIXELS, whole, shift)


def _geometry(stack: Stack, planes: int, start: np.ndarray, size: np.ndarray) -> Geometry:
    """Return the grid of `planes` planes whose first voxel lies at pixel `start` (i, j) of the lowest slice."""
    origin = stack.positions_mm[0] + stack.axes[:, :2] @ (start * np.asarray(stack.spacing_mm))
    x, y, z = (float(value) for value in origin)
    return Geometry(
        size=(int(size[0]), int(size[1]), planes),
        spacing_mm=(*stack.spacing_mm, float(stack.along_mm[-1]) / (planes - 1)),
        origin_mm=(x, y, z),
        direction=tuple(stack.axes.ravel().tolist()),
    )


def _tilt_deg(stack: Stack) -> float:
    """Return by how much the stack is sheared, in degrees; 0 where the slices lie straight above each other."""
    sideways = np.linalg.norm(stack.offsets_mm[:, :2], axis=1)
    tolerance = SIDEWAYS_TOLERANCE * min(stack.spacing_mm)
    if sideways.max() <= tolerance:
        return 0.0
    line = stack.along_mm[:, None] / stack.along_mm[-1] * stack.offsets_mm[-1, :2]
    tilt_deg = float(np.degrees(np.arctan2(sideways[-1], stack.along_mm[-1])))
    if np.abs(stack.offsets_mm[:, :2] - line).max() > tolerance:
        worst = int(sideways.argmax())
        raise InputError(
            f"the slice is shifted sideways by {sideways[worst]:.2f} mm against the "
            "first one; the series is not one stack, export the reconstruction you mean as a series of its own",
            code="slices-shifted",
            path=stack.slices[worst].place,
        )
    if tilt_deg > MOST_TILT_DEG:
        raise InputError(
            f"the stack is sheared by {tilt_deg:.1f} degrees, more than a gantry tilts; "
            "export the original series again",
            code="stack-sheared",
            path=stack.slices[0].folder,
        )
    return tilt_deg


def _gaps(stack: Stack, usual_mm: float) -> list[int]:
    """Return the indices of the slices below gaps to be told: the wide ones, or else the oddest one."""
    gaps = np.diff(stack.along_mm)
    wide: list[int] = np.flatnonzero(gaps > LARGE_GAP * usual_mm).tolist()
    return wide or [int(np.abs(gaps - usual_mm).argmax())]


def _gap_kind(stack: Stack, k: int, usual_mm: float) -> str:
    """Say what is wrong above slice `k`."""
    gap = float(stack.along_mm[k + 1] - stack.along_mm[k]) / usual_mm
    missing = round(gap) - 1
    whole = missing >= 1 and abs(gap - round(gap)) <= WHOLE_GAP_TOLERANCE and not _is_other_distance(stack, k, usual_mm)
    return f"{missing} slice{'s' * (missing > 1)} missing" if whole else "uneven slice distance"


def _is_other_distance(stack: Stack, k: int, usual_mm: float) -> bool:
    """Whether the gap above slice `k` is one of many alike, as where a protocol changes the distance on the way."""
    gaps = np.diff(stack.along_mm)
    alike = np.abs(gaps - gaps[k]) <= WHOLE_GAP_TOLERANCE * usual_mm
    before, after = k, k
    while before > 0 and alike[before - 1]:
        before -= 1
    while after + 1 < len(gaps) and alike[after + 1]:
        after += 1
    return after - before + 1 >= LEAST_ALIKE


def _gap_text(stack: Stack, usual_mm: float) -> str:
    """Say where the widest gap lies."""
    k = max(_gaps(stack, usual_mm), key=lambda index: stack.along_mm[index + 1] - stack.along_mm[index])
    below, above = stack.slices[k], stack.slices[k + 1]
    heights = (stack.positions_mm @ stack.axes[:, 2])[[k, k + 1]]
    kind = _gap_kind(stack, k, usual_mm)
    where = (
        f"{kind} between {below.name} at {heights[0]:.2f} mm and {above.name} at "
        f"{heights[1]:.2f} mm along the slice normal (slices {k + 1} and {k + 2} of {len(stack.slices)}; "
        f"usual distance {usual_mm:.2f} mm)"
    )
    if kind.endswith("missing"):
        return f"{where}; export the complete series"
    gaps = np.diff(stack.along_mm)
    why = (
        f"gaps of more than {LARGEST_GAP_MM:g} mm are not filled in"
        if gaps.max() > LARGEST_GAP_MM
        else "most of a regular grid would be interpolated"
    )
    return (
        f"{where}; the slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart, and {why}; give a reconstruction with "
        "even distances"
    )


def _gap_note(stack: Stack, usual_mm: float, planes: int) -> str:
    """Tell a user which slices lie around what was filled in."""
    places = _gaps(stack, usual_mm)
    named = ", ".join(f"{k + 1} and {k + 2} ({_gap_kind(stack, k, usual_mm)})" for k in places[:5])
    more = f" and {len(places) - 5} more places" if len(places) > 5 else ""
    apart_mm = stack.along_mm[-1] / (planes - 1)
    return (
        f"The slices do not lie at even distances: between slices {named}{more}, counted from the lowest of "
        f"{len(stack.slices)}; they were interpolated onto {planes} planes {apart_mm:.2f} mm apart."
    )
