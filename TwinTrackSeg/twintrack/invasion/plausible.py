"""Whether what somebody calls a vessel can be that vessel: its volume, its calibre, its shape.

Wide bounds, so that an aneurysm or a thrombosed vein passes and a liver, a spleen or a tumour does not. They hold for
maps that are given; what networks predict is told by the bundle's own suitability.

References
----------
Erbel and Eggebrecht, Heart 92(1):137, 2006, doi:10.1136/hrt.2004.048111 (aorta: 20 to 40 mm wide, aneurysms beyond).
Normal portal veins are up to 13 mm wide at rest, aneurysms begin at 20 mm. Celiac trunk and superior
mesenteric artery: 6 to 10 mm wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.errors import InputError
from twintrack.imaging.plane_contact import bounding_box
from twintrack.volume import Volume

__all__ = ["plausible_vessels"]

SPECK_MM3 = 60.0
"""Pieces below this volume are stray voxels: dropped, and told."""

MOST_PIECES = 100
"""More pieces than this are no vessel."""

LEAST_ELONGATION = 1.5
"""Least ratio of a whole vessel's length to its width; a ball has 1, the shortest celiac trunk about 2."""


@dataclass(frozen=True)
class _Bounds:
    most_ml: float
    most_radius_mm: float


BOUNDS = {
    "PORTA": _Bounds(100.0, 22.0),
    "SMV": _Bounds(100.0, 20.0),
    "PORTA_SMV": _Bounds(150.0, 22.0),
    "AORTA": _Bounds(900.0, 55.0),
    "CELIAC": _Bounds(40.0, 15.0),
    "SMA": _Bounds(60.0, 15.0),
}
"""Largest volume and largest inscribed radius of each vessel."""


def plausible_vessels(labels: Volume, names: Mapping[str, int]) -> tuple[Volume, tuple[str, ...]]:
    """Return a vessel map without stray voxels, and what was dropped; refuse what cannot be the vessel of its name.

    Parameters
    ----------
    labels : Volume
        Whole numbers, (z, y, x).
    names : mapping of str to int
        Value of each vessel; only those of `BOUNDS` are judged.

    Raises
    ------
    InputError
        Names the vessel, what it measures, and what that vessel can have.
    """
    notes: list[str] = []
    array = labels.array
    for name, value in names.items():
        box = bounding_box(labels.array == value) if name in BOUNDS else None
        if box is None:
            continue
        inside = labels.array[box] == value
        pieces, large = _pieces(inside, labels)
        if large.sum() > MOST_PIECES:
            raise InputError(
                f"{name} is in {int(large.sum())} pieces, as noise is and a vessel is not; check its label",
                code="vessel-implausible",
            )
        dropped = len(large) - int(large.sum())
        if dropped:
            if array is labels.array:
                array = array.copy()
            specks = inside & ~np.concatenate([[False], large])[pieces]
            array[box][specks] = 0
            inside &= ~specks
            of = "piece" if dropped == 1 else "pieces"
            notes.append(f"{dropped} {of} of {name} below {SPECK_MM3:g} mm3 left out")
            held = bounding_box(inside)
            assert held is not None  # something large is left
            inside = inside[held]
            z, y, x = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, held, strict=True))
            box = (z, y, x)
        _check(name, inside, labels, touches_edge=_touches_edge(box, labels.array.shape))
    return (labels if array is labels.array else labels.with_array(array)), tuple(notes)


def _pieces(inside: NDArray[np.bool_], labels: Volume) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the numbered pieces, and which of them are no specks; all of them where there are only specks."""
    pieces, count = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    large: NDArray[np.bool_] = voxels * labels.geometry.voxel_ml * 1000.0 >= SPECK_MM3
    return pieces.astype(np.int32, copy=False), large if bool(large.any()) else np.ones(count, dtype=np.bool_)


def _check(name: str, inside: NDArray[np.bool_], labels: Volume, *, touches_edge: bool) -> None:
    bounds = BOUNDS[name]
    volume_ml = float(np.count_nonzero(inside)) * labels.geometry.voxel_ml
    if volume_ml > bounds.most_ml:
        raise InputError(
            f"{name} has {volume_ml:.0f} mL, more than the {bounds.most_ml:g} mL that it can have; check its label",
            code="vessel-implausible",
        )
    spacing = labels.geometry.spacing_mm[::-1]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)
    radius_mm = float(depth.max())
    if radius_mm > bounds.most_radius_mm:
        raise InputError(
            f"{name} is {2 * radius_mm:.0f} mm wide, more than the {2 * bounds.most_radius_mm:g} mm that it can "
            "be; check "
            "its label",
            code="vessel-implausible",
        )
    points = np.argwhere(inside) * spacing
    if touches_edge or len(points) < 2:
        return
    points = points - points.mean(axis=0)
    axis = np.linalg.eigh(points.T @ points)[1][:, -1]
    along = points @ axis
    length_mm = float(along.max() - along.min()) + min(spacing)
    if length_mm < LEAST_ELONGATION * 2 * radius_mm and radius_mm > 2 * max(spacing):
        raise InputError(
            f"{name} is {length_mm:.0f} mm long and {2 * radius_mm:.0f} mm wide, which is not a tube; check its label",
            code="vessel-implausible",
        )


def _touches_edge(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Whether the vessel may go on where the volume ends."""
    return any(place.start == 0 or place.stop == size for place, size in zip(box, shape, strict=True))
