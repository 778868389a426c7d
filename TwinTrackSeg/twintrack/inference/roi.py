"""The region of interest: a box on the CT's grid and which of its voxels count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, RoiError
from twintrack.inference.arrays import CPU, to_device, to_host
from twintrack.system.capacity import is_out_of_memory
from twintrack.volume import Geometry

__all__ = ["Box", "Roi", "dilated_roi", "grown_box", "map_box", "roi_box", "roi_full"]

Box = tuple[int, int, int, int, int, int]
"""Voxel index box (i0, i1, j0, j1, k0, k1): x, y, z order, ends exclusive."""

INDEX_TOLERANCE = 1e-2
"""Largest distance, in voxels, of a mapped voxel centre from the target grid's nearest voxel centre."""

DISTANCE_TOLERANCE_MM = 1e-6
"""Voxels this much further than the margin still count, against rounding."""


@dataclass(frozen=True)
class Roi:
    """A box of voxels and the part of it that is scored.

    Attributes
    ----------
    start, stop : tuple of int
        First voxel and one past the last, in (x, y, z) order.
    mask : numpy.ndarray
        Which voxels of the box are scored, bool, (z, y, x) order. Read-only.
    source : str
        ``"auto"`` (found by stage 1), ``"full"`` or ``"box"`` (given by the user).
    organ_ml : float or None
        Volume of the organ that stage 1 found, in mL.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    mask: NDArray[np.bool_]
    source: str
    organ_ml: float | None = None

    def __post_init__(self) -> None:
        if min(self.start) < 0 or any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise RoiError(
                f"the region of interest from {self.start} to {self.stop} holds no voxel", code="region-empty"
            )
        if self.mask.shape != self.shape:
            raise InputError(
                f"mask shape {self.mask.shape} does not fit the region's (z, y, x) {self.shape}", code="grid-differs"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x) of the box."""
        x, y, z = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in a (z, y, x) array of the whole grid."""
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def fits(self, geometry: Geometry) -> bool:
        """Whether the box lies inside the grid."""
        return all(b <= n for b, n in zip(self.stop, geometry.size, strict=True))

    def within(self, box: tuple[slice, slice, slice]) -> Roi:
        """Return the region as seen from a box (z, y, x) of the grid that holds it."""
        z, y, x = (side.start for side in box)
        start, stop = ((i - x, j - y, k - z) for i, j, k in (self.start, self.stop))
        return replace(self, start=start, stop=stop)

    def paste(self, array: NDArray[np.generic], geometry: Geometry) -> NDArray[np.generic]:
        """Return an array of the whole grid: `array` (z, y, x) in the box, 0 outside it."""
        full = np.zeros(geometry.shape, dtype=array.dtype)
        full[self.slices] = array
        return full


def roi_full(geometry: Geometry) -> Roi:
    """Return the region that holds every voxel of the grid."""
    return Roi((0, 0, 0), geometry.size, _all_true(geometry.shape), "full")


def roi_box(geometry: Geometry, box: Sequence[int], *, given_on: Geometry | None = None) -> Roi:
    """Return the region of a box that a user gave.

    Parameters
    ----------
    geometry : Geometry
        The grid the engine works on.
    box : sequence of int
        (i0, i1, j0, j1, k0, k1) in x, y, z order, ends exclusive.
    given_on : Geometry, optional
        The flipped or permuted grid whose voxels `box` counts; by default `geometry` itself.

    Raises
    ------
    RoiError
        If the box is not six numbers, is empty, or reaches outside the volume.
    """
    source = given_on or geometry
    if len(box) != 6:
        raise RoiError(f"a region needs six numbers i0,i1,j0,j1,k0,k1, got {len(box)}", code="region-numbers")
    for axis, name in enumerate("ijk"):
        first, end, size = box[2 * axis], box[2 * axis + 1], source.size[axis]
        if not 0 <= first < end <= size:
            raise RoiError(
                f"the region's {name} range {first} to {end} does not fit the volume: it must hold at least one voxel "
                f"and lie within 0 to {size} (x, y, z order, end exclusive)",
                code="region-outside",
            )
    i0, i1, j0, j1, k0, k1 = map_box((box[0], box[1], box[2], box[3], box[4], box[5]), source, geometry)
    return Roi((i0, j0, k0), (i1, j1, k1), _all_true((k1 - k0, j1 - j0, i1 - i0)), "box")


def map_box(box: Box, source: Geometry, target: Geometry) -> Box:
    """Express a voxel box of one grid in the voxels of a flipped or permuted form of that grid.

    Raises
    ------
    InputError
        If `target` is not such a form of `source`.
    """
    low = np.array(box[0::2])
    last = np.array(box[1::2]) - 1
    mapped = target.to_index(source.to_lps_mm(np.array([low, last])))
    corners = np.rint(mapped).astype(int)
    if np.abs(mapped - corners).max() > INDEX_TOLERANCE or sorted(source.size) != sorted(target.size):
        raise InputError(
            "the two grids are not flipped or permuted forms of each other, so a region cannot be mapped",
            code="grid-differs",
        )
    (i0, j0, k0), (i1, j1, k1) = corners.min(axis=0).tolist(), (corners.max(axis=0) + 1).tolist()
    return (i0, i1, j0, j1, k0, k1)


def grown_box(
    start: Sequence[int], stop: Sequence[int], smallest: Sequence[int], size: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grow a box about its centre to at least `smallest` voxels an axis, moved and cut to lie within `size`."""
    first, end = [], []
    for a, b, wanted, n in zip(start, stop, smallest, size, strict=True):
        length = max(b - a, min(wanted, n))
        begin = min(max(a - (length - (b - a)) // 2, 0), n - length)
        first.append(begin)
        end.append(begin + length)
    return tuple(first), tuple(end)


def dilated_roi(
    organ: NDArray[np.bool_],
    offset: tuple[int, int, int],
    geometry: Geometry,
    margin_mm: float,
    organ_ml: float,
    device: str = CPU,
) -> Roi:
    """Return the region of all voxels within `margin_mm` of an organ.

    Distances are Euclidean, between voxel centres, in mm; the box is tight around the result and cut by the volume.

    Parameters
    ----------
    organ : numpy.ndarray
        Bool, (z, y, x), with at least one voxel set; a part of the grid.
    offset : tuple of int
        Where that part starts in the grid, (z, y, x).
    geometry : Geometry
        The grid.
    margin_mm : float
        Dilation in mm.
    organ_ml : float
        Kept in the result.
    device : str
        torch's name of where distances are measured; if its memory is too small, the CPU does it.
    """
    from scipy import ndimage

    spacing = np.asarray(geometry.spacing_mm[::-1])
    (organ_slices,) = ndimage.find_objects(organ.astype(np.uint8))
    reach = np.floor((margin_mm + DISTANCE_TOLERANCE_MM) / spacing).astype(int)
    low = np.array([s.start for s in organ_slices]) + offset
    high = np.array([s.stop for s in organ_slices]) + offset
    start = np.maximum(low - reach, 0)
    stop = np.minimum(high + reach, geometry.shape)
    outside = np.ones(tuple(stop - start), dtype=bool)
    outside[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = ~organ[organ_slices]
    within_mm = margin_mm + DISTANCE_TOLERANCE_MM
    mask = _near_on_card(outside, spacing, reach, within_mm, device) if device != CPU else None
    if mask is None:
        mask = _near(outside, spacing, within_mm)
    mask.setflags(write=False)
    (z0, y0, x0), (z1, y1, x1) = start.tolist(), stop.tolist()
    return Roi((x0, y0, z0), (x1, y1, z1), mask, "auto", organ_ml)


def _near(outside: NDArray[np.bool_], spacing_zyx_mm: NDArray[np.float64], within_mm: float) -> NDArray[np.bool_]:
    """Return which voxels lie within a distance of those that are not `outside`.

    Distances are measured within slices, and what they leave is the way to other slices: a transform of a slice at a
    time takes a tenth of one of the volume, and no memory.
    """
    from scipy import ndimage

    step_mm, *within_slice = spacing_zyx_mm.tolist()
    mask = np.zeros(outside.shape, dtype=bool)
    for number, plane in enumerate(outside):
        if plane.all():
            continue
        distance_mm = ndimage.distance_transform_edt(plane, sampling=within_slice)
        for n in range(int(within_mm / step_mm) + 1):
            near = distance_mm <= np.sqrt(max(within_mm**2 - (n * step_mm) ** 2, 0.0))
            for other in {number - n, number + n}:
                if 0 <= other < len(mask):
                    mask[other] |= near
    return mask


def _near_on_card(
    outside: NDArray[np.bool_],
    spacing_zyx_mm: NDArray[np.float64],
    reach: NDArray[np.int64],
    within_mm: float,
    device: str,
) -> NDArray[np.bool_] | None:
    """Return which voxels lie within a distance of those that are not `outside`; None for lack of memory.

    Squared distances are least sums along one axis after the other, over the voxels within reach: many passes over
    the volume, for a card a few milliseconds, where the transform on one core takes seconds.
    """
    import torch

    try:
        squares = to_device(outside, device).to(torch.float64).mul_(4 * within_mm**2 + 1)  # beyond, or 0
        for axis, (step_mm, voxels) in enumerate(zip(spacing_zyx_mm.tolist(), reach.tolist(), strict=True)):
            least, size = squares.clone(), squares.shape[axis]
            for n in range(1, min(voxels, size - 1) + 1):
                further = (n * step_mm) ** 2
                for near, far in ((0, n), (n, 0)):
                    here = least.narrow(axis, near, size - n)
                    torch.minimum(here, squares.narrow(axis, far, size - n) + further, out=here)
            squares = least
        return to_host(squares <= within_mm**2)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def _all_true(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.broadcast_to(np.True_, shape)  # a view of one value: takes no memory
