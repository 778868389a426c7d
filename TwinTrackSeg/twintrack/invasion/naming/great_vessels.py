"""The two widest vessels, aorta and inferior vena cava: where a ball fits that is too large for what leaves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.imaging.plane_contact import bounding_box
from twintrack.invasion.naming.grid import Grid, Mask

__all__ = ["Trunk", "find_aorta", "find_cava", "trunk_of"]

AORTA_RADIUS_MM = 5.3
"""Least inscribed radius of an aorta, as the median over its slices."""

BALL_SHARE = 0.62
"""Radius of the ball as a share of the vessel's: what leaves an aorta is narrower."""

BALL_MM = (4.3, 8.0)
"""Smallest and largest radius of the ball."""

AORTA_LONG_MM, CAVA_LONG_MM = 25.0, 40.0
"""Least height."""

CAVA_BALL_MM = 4.4

CRUMB_MM3 = 60.0
"""What leaves a trunk and is smaller than this is roughness of its wall."""

BEHIND_MM = 10.0
"""A cava without an aorta beside it lies at least so far behind the rest of the veins."""


@dataclass(frozen=True)
class Trunk:
    """A great vessel.

    Attributes
    ----------
    mask : numpy.ndarray
        (z, y, x) on the working grid.
    line_mm : numpy.ndarray
        (n, 3): middle of each slice, LPS, from the feet to the head.
    radius_mm : float
        Median over the slices.
    """

    mask: Mask
    line_mm: NDArray[np.float64]
    radius_mm: float

    def at(self, z_mm: float) -> NDArray[np.float64]:
        """Return the middle of the vessel at a height."""
        z = self.line_mm[:, 2]
        return np.array([np.interp(z_mm, z, self.line_mm[:, axis]) for axis in (0, 1)] + [z_mm])

    @property
    def height_mm(self) -> float:
        """From the lowest slice to the highest."""
        return float(np.ptp(self.line_mm[:, 2]))


def find_aorta(arteries: Mask, grid: Grid) -> Trunk | None:
    """Find the aorta among the arteries (z, y, x); None where none is wide enough."""
    edge = grid.spacing_mm
    rough = _coarse(arteries)
    wide = ndimage.distance_transform_edt(_continued(rough), sampling=[2 * step for step in edge])[1:-1] > 3.6
    pieces, count = ndimage.label(wide)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())[1:]
    box = bounding_box(pieces == int(sizes.argmax()) + 1)
    assert box is not None
    reach = [int(np.ceil(16.0 / step)) for step in edge]
    fine = tuple(
        slice(max(2 * side.start - r, 0), min(2 * side.stop + r, n))
        for side, r, n in zip(box, reach, arteries.shape, strict=True)
    )
    part = arteries[fine]
    # A flap of a dissection is a gap in the label.
    whole = ndimage.binary_closing(np.pad(part, 2), iterations=2)[2:-2, 2:-2, 2:-2] | part
    depth = ndimage.distance_transform_edt(_continued(whole), sampling=edge)[1:-1]
    profile = depth.max(axis=(1, 2))
    radius = (
        float(np.median(profile[profile > 0.5 * AORTA_RADIUS_MM])) if (profile > 0.5 * AORTA_RADIUS_MM).any() else 0.0
    )
    if radius < AORTA_RADIUS_MM:
        return None
    narrow = float(np.percentile(profile[profile > 0.5 * AORTA_RADIUS_MM], 15))
    ball = float(np.clip(BALL_SHARE * min(radius, narrow), *BALL_MM))
    pieces, count = ndimage.label(depth > ball)
    if not count:
        return None
    core = pieces == int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    core = _with_others_in_line(pieces, core)
    opened = (ndimage.distance_transform_edt(~core, sampling=edge) <= ball + 0.3) & part
    mask = np.zeros(arteries.shape, bool)
    mask[fine] = opened
    mask = _without_crumbs(mask, arteries, grid)
    trunk = trunk_of(mask, grid, radius)
    return trunk if trunk is not None and trunk.height_mm >= AORTA_LONG_MM else None


def _with_others_in_line(pieces: NDArray[np.integer], core: Mask) -> Mask:
    """Add pieces of the core above or below it that are as large as a length of aorta: a narrow place parts them."""
    whole = core.copy()
    least = 0.05 * np.count_nonzero(core)
    for one in np.flatnonzero(np.bincount(pieces.ravel()) >= least):
        if one:
            whole |= pieces == one
    return whole


def _without_crumbs(mask: Mask, solid: Mask, grid: Grid) -> Mask:
    """Give the trunk what is left on its wall: pieces of the rest that are small, or lead nowhere."""
    box = bounding_box(mask, 4)
    if box is None:
        return mask
    inside, rest = mask[box], solid[box] & ~mask[box]
    pieces, _ = ndimage.label(rest)
    sizes = np.bincount(pieces.ravel())
    touching = np.unique(pieces[ndimage.binary_dilation(inside) & rest])
    crumbs = np.zeros(len(sizes), bool)
    crumbs[touching] = sizes[touching] * grid.voxel_mm3 < CRUMB_MM3
    layer = ndimage.binary_dilation(inside, iterations=3)
    leads_on = np.zeros(len(sizes), bool)
    leads_on[np.unique(pieces[rest & ~layer])] = True
    crumbs[touching] |= ~leads_on[touching]
    crumbs[0] = False
    mask = mask.copy()
    mask[box] |= crumbs[pieces]
    return mask


def trunk_of(mask: Mask, grid: Grid, radius_mm: float | None = None) -> Trunk | None:
    """Describe the mask of a great vessel; None if it is empty."""
    index = np.argwhere(mask)
    if not len(index):
        return None
    slices, start, count = np.unique(index[:, 0], return_index=True, return_counts=True)
    middle = np.stack([np.add.reduceat(index[:, axis], start) / count for axis in range(3)], 1)
    middle[:, 0] = slices
    line = grid.lps_mm(middle)
    line = line[np.argsort(line[:, 2])]
    if radius_mm is None:
        area = np.median(count) * grid.spacing_mm[1] * grid.spacing_mm[2]
        radius_mm = float(np.sqrt(area / np.pi))
    return Trunk(mask, _smooth(line), radius_mm)


def find_cava(veins: Mask, grid: Grid, aorta: Trunk | None) -> Trunk | None:
    """Find the inferior vena cava among the veins; None where it is not there or cannot be told from other veins."""
    edge = grid.spacing_mm
    rough = _coarse(veins)
    depth = ndimage.distance_transform_edt(_continued(rough), sampling=[2 * step for step in edge])[1:-1]
    pieces, _ = ndimage.label(depth > CAVA_BALL_MM)
    sizes = np.bincount(pieces.ravel())
    cores: list[tuple[float, Mask]] = []
    for one in np.argsort(-sizes[1:])[:6] + 1 if len(sizes) > 1 else []:
        if sizes[one] * 8 * grid.voxel_mm3 < 300.0:
            break
        core = np.zeros(veins.shape, bool)
        doubled = (pieces == one).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        core[tuple(slice(0, n) for n in doubled.shape)] = doubled
        core &= veins
        trunk = trunk_of(core, grid)
        if trunk is not None and trunk.height_mm >= CAVA_LONG_MM:
            cores.append((_behind_mm(trunk, veins, aorta, grid), core))
    behind = [(depth_mm, core) for depth_mm, core in cores if depth_mm > 0]
    if not behind:
        return None
    core = max(behind, key=lambda one: one[0])[1]
    ball = CAVA_BALL_MM + 0.3
    box = bounding_box(core, int(np.ceil(ball / min(edge))) + 1)
    assert box is not None
    mask = np.zeros(veins.shape, bool)
    mask[box] = (ndimage.distance_transform_edt(~core[box], sampling=edge) <= ball) & veins[box]
    return trunk_of(mask, grid)


def _behind_mm(trunk: Trunk, veins: Mask, aorta: Trunk | None, grid: Grid) -> float:
    """Return how far a trunk lies behind where the portal system can be; not above 0 where it may be a part of that."""
    if aorta is not None:
        fronts = [aorta.at(point[2])[1] - 0.8 * aorta.radius_mm for point in trunk.line_mm]
        return float(np.median(trunk.line_mm[:, 1] - np.array(fronts)))
    rest = grid.lps_mm(np.argwhere(veins & ~ndimage.binary_dilation(trunk.mask, iterations=4)))
    if len(rest) < 200:
        return 0.0
    middle = float(np.median(trunk.line_mm[:, 1]))
    near = rest[np.abs(rest[:, 0] - np.median(trunk.line_mm[:, 0])) < 45.0]
    in_front = near[near[:, 1] < middle - BEHIND_MM]
    return middle - float(np.median(rest[:, 1])) if len(in_front) * grid.voxel_mm3 > 2000.0 else 0.0


def _coarse(inside: Mask) -> Mask:
    """Halve a mask's resolution."""
    z, y, x = (n - n % 2 for n in inside.shape)
    part = inside[:z, :y, :x]
    pairs = part[::2].astype(np.uint8) + part[1::2]
    pairs = pairs[:, ::2] + pairs[:, 1::2]
    return pairs[:, :, ::2] + pairs[:, :, 1::2] >= 4


def _continued(inside: Mask) -> Mask:
    """Go on beyond the first and last slice that hold anything: there the field of view ends, not the vessel."""
    held = np.flatnonzero(inside.any(axis=(1, 2)))
    longer = np.pad(inside, [(1, 1), (0, 0), (0, 0)])
    if held.size:
        longer[: held[0] + 1] = inside[held[0]]
        longer[held[-1] + 2 :] = inside[held[-1]]
    return longer


def _smooth(line: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([ndimage.gaussian_filter1d(line[:, axis], 2.0, mode="nearest") for axis in range(3)], 1)
