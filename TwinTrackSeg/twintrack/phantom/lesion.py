"""The tumour: where it sits, how deep inside it each voxel lies and how far its margin fades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.anatomy import PANCREAS, VESSEL_TUBES
from twintrack.phantom.shapes import smooth_noise

__all__ = ["Lesion", "LesionField", "draw_lesion", "lesion_field"]

VOLUME_ML = (2.0, 40.0)
"""Range of the tumour volume within the median rater's outline, vessel lumens excluded."""

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
    centre_mm, radii_mm : tuple of float
        Ellipsoid in the model anatomy's space, (x, y, z) order, in mm.
    """

    site: str
    volume_ml: float
    towards: str
    shift: float
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]


@dataclass(frozen=True)
class LesionField:
    """Tumour depth and rater spread on a grid, both (z, y, x) in mm.

    Attributes
    ----------
    depth_mm : numpy.ndarray
        Signed depth below the outline that the median rater draws, positive inside.
    fade_mm : numpy.ndarray
        Length over which gland turns into tumour there.
    """

    depth_mm: NDArray[np.float32]
    fade_mm: NDArray[np.float32]


def draw_lesion(rng: np.random.Generator) -> Lesion:
    """Draw site, size, shape and relation to a vessel."""
    site = str(rng.choice(list(SITES), p=[0.6, 0.25, 0.15]))
    volume_ml = float(np.exp(rng.uniform(*np.log(VOLUME_ML))))
    axis, _ = PANCREAS.sampled()
    on_axis = axis[int(rng.uniform(*SITES[site]) * (len(axis) - 1))]
    towards = str(rng.choice({"head": ["SMV", "SMA", "PORTA"], "body": ["CELIAC", "SMA", "PORTA"]}.get(site, ["SMA"])))
    wall, _ = VESSEL_TUBES[towards].sampled()
    target = wall[np.argmin(np.linalg.norm(wall - on_axis, axis=1))]
    # A tumour of the tail only nears a vessel; elsewhere everything from no contact to full encasement occurs.
    shift = 0.0 if rng.uniform() < 0.3 else float(rng.uniform(0.2, 0.3 if site == "tail" else 1.0))
    centre = on_axis + shift * (target - on_axis)
    shape = rng.uniform(0.8, 1.25, 3)
    radii = (volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3) * shape / np.prod(shape) ** (1 / 3)
    x, y, z = (float(value) for value in centre)
    a, b, c = (float(value) for value in radii)
    return Lesion(site, volume_ml, towards, shift, (x, y, z), (a, b, c))


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
    depth = ellipsoid_depth(position_mm, lesion.centre_mm, lesion.radii_mm)
    size_mm = float(np.prod(lesion.radii_mm) ** (1 / 3))
    depth += np.float32(0.09 * size_mm) * smooth_noise(rng, shape, 7.0, spacing_xyz_mm)
    # Grow or shrink it until exactly the drawn volume lies within the median outline.
    voxels = max(1, round(lesion.volume_ml * 1000 / float(np.prod(spacing_xyz_mm))))
    depth -= np.partition(depth[allowed], -voxels)[-voxels]
    # Wide where the margin is ill-defined, narrow where it is crisp: between about 0.8 and 3 mm.
    fade = np.float32(1.6) * np.exp(np.float32(0.4) * smooth_noise(rng, shape, 12.0, spacing_xyz_mm))
    return LesionField(depth, np.clip(fade, 0.6, 3.5))
