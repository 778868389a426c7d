"""At which probability levels the tumour touches each point of a vessel's wall, and the curves that follow.

Tumour maps stop at vessels: they are 0 in the lumen, and interpolating across the wall would halve them just where it
matters. The tissue next to the wall is therefore read by *normalised* interpolation, among voxels outside the vessel
only. A tumour drawn over the vessel is met from the inside in the same way, among the vessel's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.invasion.geometry import Neighbourhood, directional_voxel_mm
from twintrack.invasion.sections import Sections

__all__ = ["ContactCurve", "WallContact", "wall_contact"]

DEPTHS = 3
"""Depths at which the layer of tissue is read, from the wall to the layer's far side."""

MIN_WEIGHT = 0.1
"""Least share of the wanted kind of voxels (tissue or lumen) among the interpolated ones for a reading to count."""

ALONG_SMOOTHING_VOXELS = 0.5
"""Gaussian width, in voxels along the vessel, that evens out the steps which the voxels cut into a tumour's border."""

LEVEL_TOLERANCE = 1e-5
"""A level this close below a threshold reaches it: interpolation of equal single-precision numbers is not exact."""


@dataclass(frozen=True)
class WallContact:
    """The touch levels of a vessel's wall, all branches one after the other.

    Attributes
    ----------
    level : numpy.ndarray
        Highest probability level at which the tumour touches the wall in section ``n`` and direction ``d``, in [0, 1];
        0 where there is no wall; shape (n, d).
    centre_mm, tangent : numpy.ndarray
        Local middle and direction of each section; shape (n, 3), (x, y, z).
    step_mm : numpy.ndarray
        Length of vessel each section stands for; shape (n,).
    """

    level: NDArray[np.float64]
    centre_mm: NDArray[np.float64]
    tangent: NDArray[np.float64]
    step_mm: NDArray[np.float64]

    def curve(self, thresholds: NDArray[np.float64]) -> ContactCurve:
        """Return contact angle and length at every threshold (a section touches where ``level >= threshold``)."""
        if len(self.level) == 0:
            return ContactCurve(thresholds, np.zeros(len(thresholds)), np.zeros(len(thresholds)))
        reached = self._reached(thresholds)
        return ContactCurve(
            thresholds=thresholds,
            angle_deg=reached.max(axis=0) * (360.0 / self.level.shape[1]),
            length_mm=((reached > 0) * self.step_mm[:, None]).sum(axis=0),
        )

    def worst_section(self, threshold: float) -> int:
        """Return the number of the section with the largest angle, of several the one in the middle."""
        reached = self._reached(np.array([threshold]))[:, 0]
        largest = np.flatnonzero(reached == reached.max())
        return int(largest[len(largest) // 2])

    def _reached(self, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many directions of each section reach each threshold; shape (n, t)."""
        ordered = np.sort(self.level, axis=1)
        below = np.stack([np.searchsorted(row, thresholds - LEVEL_TOLERANCE) for row in ordered])
        return np.asarray(ordered.shape[1] - below, dtype=np.int64)

    @property
    def p_contact(self) -> float:
        """Largest level at which any point of the wall is touched."""
        return float(self.level.max(initial=0.0))

    @property
    def p_encased(self) -> float:
        """Largest level at which more than half of the directions of a section, over 180 degrees, are touched."""
        if len(self.level) == 0:
            return 0.0
        directions = self.level.shape[1]
        return float(np.sort(self.level, axis=1)[:, directions - (directions // 2 + 1)].max())


@dataclass(frozen=True)
class ContactCurve:
    """Contact against threshold.

    Attributes
    ----------
    thresholds : numpy.ndarray
        Levels in (0, 1); shape (t,).
    angle_deg : numpy.ndarray
        Contact angle in the section where it is largest, 0 to 360.
    length_mm : numpy.ndarray
        Length of vessel with any contact, summed over branches.
    """

    thresholds: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    length_mm: NDArray[np.float64]


def wall_contact(near: Neighbourhood, branches: list[Sections], contact_mm: float | None) -> WallContact:
    """Read the touch levels of all `branches`.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    branches : list of Sections
        Cross-sections.
    contact_mm : float or None
        Thickness of the layer outside the wall in which tumour counts as touching; None is one voxel, measured along
        each direction. As a voxel's value stands for half a voxel to each side, a layer is read to half a voxel less
        than its thickness, and at least to half a voxel, the middle of the first voxels outside.
    """
    branches = [sections for sections in branches if len(sections.centre_mm)]
    if not branches:
        none = np.zeros((0, 3))
        return WallContact(np.zeros((0, 1)), none, none, np.zeros(0))
    tissue, lumen = (1 - near.vessel) * near.known, near.vessel * near.known
    return WallContact(
        level=np.concatenate([_levels(near, sections, contact_mm, tissue, lumen) for sections in branches]),
        centre_mm=np.concatenate([sections.centre_mm for sections in branches]),
        tangent=np.concatenate([sections.tangent for sections in branches]),
        step_mm=np.concatenate([np.full(len(sections.centre_mm), sections.step_mm) for sections in branches]),
    )


def _levels(
    near: Neighbourhood,
    sections: Sections,
    contact_mm: float | None,
    tissue: NDArray[np.float32],
    lumen: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the touch levels of one branch; shape (n, d)."""
    voxel_mm = directional_voxel_mm(sections.direction, near.spacing_mm)
    depth_mm = voxel_mm / 2 if contact_mm is None else np.maximum(contact_mm - voxel_mm / 2, voxel_mm / 2)
    wall_mm = np.nan_to_num(sections.wall_mm)
    level = np.zeros(wall_mm.shape)
    readings = [(tissue, part * depth_mm) for part in np.linspace(0, 1, DEPTHS)]
    readings += [(lumen, -part * voxel_mm / 2) for part in (0.0, 1.0)]
    for kind, offset_mm in readings:
        radius_mm = np.maximum(wall_mm + offset_mm, 0.0)
        points = sections.centre_mm[:, None, :] + radius_mm[..., None] * sections.direction
        weight = near.sample(kind, points)
        value = near.sample(near.probability * kind, points)
        level = np.maximum(level, np.where(weight >= MIN_WEIGHT, value / np.maximum(weight, MIN_WEIGHT), 0.0))
    level[np.isnan(sections.wall_mm)] = 0.0
    along_mm = float(np.median(directional_voxel_mm(sections.tangent, near.spacing_mm)))
    sigma = ALONG_SMOOTHING_VOXELS * along_mm / sections.step_mm
    smooth = ndimage.gaussian_filter1d(level, sigma, axis=0, mode="nearest") if sigma > 0 else level
    return np.clip(smooth, 0.0, 1.0)
