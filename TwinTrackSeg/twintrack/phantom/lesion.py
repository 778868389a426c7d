"""The tumours: where they sit, how deep inside one each voxel lies and how far the margin fades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.anatomy import PANCREAS, VESSEL_TUBES
from twintrack.phantom.shapes import smooth_noise

__all__ = ["Lesion", "LesionField", "draw_lesion", "draw_second_lesion", "joint_field", "lesion_field"]

VOLUME_ML = (2.0, 40.0)
"""Range of the tumour volume within the median rater's outline, vessel lumens excluded."""

SECOND_VOLUME_ML = (0.2, 10.0)
"""Range of a second tumour's volume."""

APART_MM = 8.0
"""Least distance between the ellipsoids of two tumours."""

TRIES = 200
"""How often a place for a second tumour is looked for before the one furthest from the first is taken."""

SITES = {"head": (0.08, 0.3), "body": (0.42, 0.66), "tail": (0.7, 0.92)}
"""Part of the gland's length (0 lower head, 1 tip of the tail) in which a lesion of that site is centred."""


@dataclass(frozen=True)
class Lesion:
    """What was drawn for one tumour.

    Attributes
    ----------
    site : str
        ``head``, ``body`` or ``tail``.
    volume_ml : float
        Volume within the median rater's outline in mL, vessel lumens excluded.
    towards : str
        The vessel towards which the centre is shifted.
    shift : float
        0: centred on the gland's axis; 1: centred on that vessel.
    center_mm, radii_mm : tuple of float
        Ellipsoid in the model anatomy's space, (x, y, z) order, in mm.
    """

    site: str
    volume_ml: float
    towards: str
    shift: float
    center_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]


@dataclass(frozen=True)
class LesionField:
    """Tumour depth and fade on a grid, both (z, y, x) in mm; with two tumours, every voxel belongs to one of them.

    Attributes
    ----------
    depth_mm : numpy.ndarray
        Signed depth below the outline that the median rater draws, positive inside.
    fade_mm : numpy.ndarray
        Length over which gland turns into tumour there.
    volumes_ml : tuple of float
        Volume of each tumour within the median outline, in mL.
    tumor : numpy.ndarray or None
        Index of the tumour that each voxel belongs to; None if there is one.
    """

    depth_mm: NDArray[np.float32]
    fade_mm: NDArray[np.float32]
    volumes_ml: tuple[float, ...]
    tumor: NDArray[np.uint8] | None = None

    @property
    def diameters_mm(self) -> tuple[float, ...]:
        """Diameter of the ball of each tumour's volume."""
        return tuple(float((6000 * volume / np.pi) ** (1 / 3)) for volume in self.volumes_ml)

    def domains(self) -> list[NDArray[np.bool_]]:
        """Return the voxels (z, y, x) that belong to each tumour."""
        if self.tumor is None:
            return [np.ones(self.depth_mm.shape, dtype=bool)]
        return [self.tumor == number for number in range(len(self.volumes_ml))]


def draw_lesion(rng: np.random.Generator, volume_range_ml: tuple[float, float] = VOLUME_ML) -> Lesion:
    """Draw site, size, shape and relation to a vessel."""
    site = str(rng.choice(list(SITES), p=[0.6, 0.25, 0.15]))
    volume_ml = float(np.exp(rng.uniform(*np.log(volume_range_ml))))
    axis, _ = PANCREAS.sampled()
    on_axis = axis[int(rng.uniform(*SITES[site]) * (len(axis) - 1))]
    towards = str(rng.choice({"head": ["SMV", "SMA", "PORTA"], "body": ["CELIAC", "SMA", "PORTA"]}.get(site, ["SMA"])))
    wall, _ = VESSEL_TUBES[towards].sampled()
    target = wall[np.argmin(np.linalg.norm(wall - on_axis, axis=1))]
    # A tumour of the tail only nears a vessel; elsewhere everything from no contact to full encasement occurs.
    shift = 0.0 if rng.uniform() < 0.3 else float(rng.uniform(0.2, 0.3 if site == "tail" else 1.0))
    center = on_axis + shift * (target - on_axis)
    shape = rng.uniform(0.8, 1.25, 3)
    radii = (volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3) * shape / np.prod(shape) ** (1 / 3)
    x, y, z = (float(value) for value in center)
    a, b, c = (float(value) for value in radii)
    return Lesion(site, volume_ml, towards, shift, (x, y, z), (a, b, c))


def draw_second_lesion(rng: np.random.Generator, first: Lesion) -> Lesion:
    """Draw a tumour that lies apart from `first`."""

    def gap_mm(other: Lesion) -> float:
        between = float(np.linalg.norm(np.subtract(other.center_mm, first.center_mm)))
        return between - max(other.radii_mm) - max(first.radii_mm)

    drawn: list[Lesion] = []
    while len(drawn) < TRIES and not (drawn and gap_mm(drawn[-1]) >= APART_MM):
        drawn.append(draw_lesion(rng, SECOND_VOLUME_ML))
    return max(drawn, key=gap_mm)


def lesion_field(
    rng: np.random.Generator,
    lesion: Lesion,
    position_mm: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    spacing_xyz_mm: tuple[float, float, float],
) -> LesionField:
    """Evaluate the tumour at warped positions (z, y, x, 3) in mm; `allowed` is where a rater may mark it."""
    from twintrack.phantom.shapes import ellipsoid_depth

    shape = position_mm.shape[:3]
    depth = ellipsoid_depth(position_mm, lesion.center_mm, lesion.radii_mm)
    size_mm = float(np.prod(lesion.radii_mm) ** (1 / 3))
    depth += np.float32(0.09 * size_mm) * smooth_noise(rng, shape, 7.0, spacing_xyz_mm)
    # Grow or shrink it until exactly the drawn volume lies within the median outline.
    voxels = max(1, round(lesion.volume_ml * 1000 / float(np.prod(spacing_xyz_mm))))
    depth -= np.partition(depth[allowed], -voxels)[-voxels]
    # Wide where the margin is ill-defined, narrow where it is crisp: between about 0.8 and 3 mm.
    fade = np.float32(1.6) * np.exp(np.float32(0.4) * smooth_noise(rng, shape, 12.0, spacing_xyz_mm))
    return LesionField(depth, np.clip(fade, 0.6, 3.5), (lesion.volume_ml,))


def joint_field(fields: Sequence[LesionField]) -> LesionField:
    """Join the fields of single tumours: each voxel belongs to the one that it lies deepest in or nearest to."""
    if len(fields) == 1:
        return fields[0]
    depths, fades = (np.stack([getattr(field, name) for field in fields]) for name in ("depth_mm", "fade_mm"))
    tumor = depths.argmax(axis=0)
    fade = np.take_along_axis(fades, tumor[None], axis=0)[0]
    volumes = tuple(volume for field in fields for volume in field.volumes_ml)
    return LesionField(depths.max(axis=0), fade, volumes, tumor.astype(np.uint8))
