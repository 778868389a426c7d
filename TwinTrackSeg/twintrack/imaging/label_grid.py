"""A mask or label map brought to the grid of the image it was drawn on: exactly where that can be, else resampled."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.volume import Geometry, Volume

__all__ = ["fit_labels"]

EXACT_VOXELS = 0.01
"""Voxel centres that lie within this fraction of a voxel of the image's are the image's: programs round origins."""

MANY_VOXELS, ENOUGH_VOXELS = 4_000_000, 1000
"""A volume of more voxels is looked at in part, if that finds enough that are labelled."""

LEAST_INSIDE = 0.5
"""Least share of what is labelled that must lie inside the image for both to be in the same place."""


def fit_labels(labels: Volume, grid: Geometry, what: str) -> tuple[Volume, str | None]:
    """Return labels on the grid of an image, and a warning if voxels were interpolated or lost.

    Flipped or permuted axes, and a crop or a margin of whole voxels, are undone exactly; elsewhere each voxel of the
    image takes the label at its centre (nearest neighbour), with a warning. Files know no frame of reference: both are
    taken to be in the same place if most of what is labelled lies inside the image.

    Parameters
    ----------
    labels : Volume
        Whole numbers, 0 where there is nothing, (z, y, x).
    grid : Geometry
        The image's.
    what : str
        What `labels` is, for messages.

    Raises
    ------
    InputError
        If it lies elsewhere.
    """
    if labels.geometry.same_grid(grid):
        # Files store the geometry rounded in different ways; it is the same grid.
        return Volume(labels.array, grid), None
    inside = _share_inside(labels, grid)
    places = f"(image: {_describe(grid)}; {what}: {_describe(labels.geometry)})"
    if inside < LEAST_INSIDE:
        raise InputError(
            f"{what} does not lie in the same place as the image it belongs to; give one made on that image {places}",
            code="grid-differs",
        )
    if labels.geometry.size == grid.size and not _same_spacing(labels.geometry, grid):
        raise InputError(
            f"{what} has as many voxels as the image, but of another size; it lost its place, or belongs elsewhere; "
            f"give one made on that image {places}",
            code="grid-differs",
        )
    lost = "" if inside == 1 else f"{100 * (1 - inside):.2g} % of {what} lies outside the image"
    moved = _copied(labels, grid)
    if moved is not None:
        return moved, lost or None
    warning = f"{what} was resampled to the image's grid, nearest neighbour {places}"
    return _resampled(labels, grid), f"{warning}; {lost}" if lost else warning


def _copied(labels: Volume, grid: Geometry) -> Volume | None:
    """Return the same voxels on the grid, if each centre of one is a centre of the other where both are."""
    to_grid = np.linalg.inv(grid.affine) @ labels.geometry.affine
    turn, shift = np.rint(to_grid[:3, :3]), np.rint(to_grid[:3, 3])
    if not np.array_equal(np.abs(turn).sum(axis=0), (1, 1, 1)) or not np.array_equal(
        np.abs(turn).sum(axis=1), (1, 1, 1)
    ):
        return None
    last = np.asarray(labels.geometry.size) - 1
    for corner in itertools.product((0, 1), repeat=3):
        index = corner * last
        if np.abs(to_grid[:3, :3] @ index + to_grid[:3, 3] - turn @ index - shift).max() > EXACT_VOXELS:
            return None
    turned: NDArray[np.generic] = labels.array.transpose(2, 1, 0)  # (x, y, z)
    axes = [int(np.flatnonzero(turn[axis])[0]) for axis in range(3)]
    signs = [turn[axis, source] for axis, source in enumerate(axes)]
    turned = turned.transpose(axes)[tuple(slice(None, None, int(sign)) for sign in signs)]
    # Where the first voxel of the turned labels lies on the grid.
    start = [int(shift[n] - (turned.shape[n] - 1 if signs[n] < 0 else 0)) for n in range(3)]
    found = np.zeros(grid.size, dtype=labels.array.dtype)
    target = [
        slice(max(a, 0), max(min(a + n, size), 0)) for a, n, size in zip(start, turned.shape, grid.size, strict=True)
    ]
    source = [slice(t.start - a, t.stop - a) for t, a in zip(target, start, strict=True)]
    if all(t.stop > t.start for t in target):
        found[tuple(target)] = turned[tuple(source)]
    return Volume(np.ascontiguousarray(found.transpose(2, 1, 0)), grid)


def _resampled(labels: Volume, grid: Geometry) -> Volume:
    import SimpleITK as sitk

    array = labels.array
    small = array.min(initial=0) >= 0 and array.max(initial=0) < 256
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing_mm)
    reference.SetOrigin(grid.origin_mm)
    reference.SetDirection(grid.direction)
    image = labels.with_array(array.astype(np.uint8 if small else np.int32)).to_sitk()
    moved = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return Volume(sitk.GetArrayFromImage(moved).astype(array.dtype, copy=False), grid)


def _same_spacing(one: Geometry, other: Geometry) -> bool:
    """Whether voxels have the same size, along whatever axes."""
    return bool(np.allclose(sorted(one.spacing_mm), sorted(other.spacing_mm), rtol=1e-3))


def _share_inside(labels: Volume, grid: Geometry) -> float:
    """Return the share of the labelled voxels whose middle lies inside the grid; 0 or 1 if nothing is labelled."""
    places = _some_voxels(labels.array)
    if len(places) == 0:
        places = np.indices((2, 2, 2)).reshape(3, -1).T * (np.asarray(labels.geometry.size) - 1)
        index = grid.to_index(labels.geometry.to_lps_mm(places))
        low, high = index.min(axis=0), index.max(axis=0)
        return float(np.all((high >= -0.5) & (low <= np.asarray(grid.size) - 0.5)))
    index = grid.to_index(labels.geometry.to_lps_mm(places))
    return float(np.all((index >= -0.5) & (index <= np.asarray(grid.size) - 0.5), axis=1).mean())


def _some_voxels(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return indices (x, y, z) of what is labelled: of all, or of regularly chosen ones where there are very many."""
    step = max(1, int((array.size / MANY_VOXELS) ** (1 / 3)))
    for every in (step, 1):
        found = np.argwhere(array[::every, ::every, ::every] != 0)[:, ::-1] * every
        if len(found) >= ENOUGH_VOXELS:
            break
    return found


def _describe(geometry: Geometry) -> str:
    """Return size, spacing, origin and direction for a message."""
    size = " x ".join(str(n) for n in geometry.size)
    spacing = ", ".join(f"{value:.4g}" for value in geometry.spacing_mm)
    origin = ", ".join(f"{value:.5g}" for value in geometry.origin_mm)
    turned = " ".join(f"{value:.3g}" for value in geometry.direction)
    axes = "" if turned == "1 0 0 0 1 0 0 0 1" else f", axes {turned}"
    return f"{size} voxels of {spacing} mm from {origin} mm{axes}"
