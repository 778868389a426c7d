"""Volumes and lesions read off a probability map."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import box_from, inner_box
from twintrack.volume import Volume

__all__ = ["Lesion", "VolumeReadout", "edge_notes", "find_lesions", "read_volumes"]

SMALLEST_LESION_ML = 0.1
"""Connected parts below this volume are noise of a threshold, not lesions; they still count in the total volume."""


@dataclass(frozen=True)
class VolumeReadout:
    """Tumour volume in mL.

    Attributes
    ----------
    expected : float
        Mean over raters: the sum of the map.
    at_threshold : float
        Voxels at or above the working threshold.
    p10, p90 : float or None
        10th and 90th percentile over raters, if raters are nested: voxels at or above 0.9 and 0.1. None where the map
        does not tell, see `read_volumes`.
    """

    expected: float
    at_threshold: float
    p10: float | None
    p90: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return the volumes as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Lesion:
    """One connected part of the tumour at the working threshold.

    Attributes
    ----------
    volume_ml : float
        Its volume.
    longest_diameter_mm : float
        Largest distance between two of its voxel centres plus one voxel's in-plane edge.
    centroid_lps_mm : tuple of float
        Centre of its voxels in LPS mm.
    max_probability : float
        Largest expected fraction of raters in it.
    score_level : float or None
        Largest score in it, where the score was given.
    p_found : float or None
        Calibrated fraction of raters who mark it; None where there is no such statement.
    """

    volume_ml: float
    longest_diameter_mm: float
    centroid_lps_mm: tuple[float, float, float]
    max_probability: float
    score_level: float | None = None
    p_found: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the lesion as JSON values, without those that are not known."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {**known, "centroid_lps_mm": list(self.centroid_lps_mm)}


def read_volumes(probability: Volume, threshold: float, *, reached: float | None = None) -> VolumeReadout:
    """Measure the tumour volume of a map in [0, 1].

    With nested raters the tightest share ``1 - t`` of them leaves out every voxel below ``t``, so that the volume at
    level t is the (1 - t) quantile of the raters' volumes.

    Parameters
    ----------
    probability : Volume
        The map.
    threshold : float
        The working threshold.
    reached : float, optional
        The largest value that the map can be trusted to take, see `twintrack.calibration.Calibrator.reached`. Above it,
        no voxel at a level means that the calibrator ends below it, not that so many raters agree on no voxel.
    """
    p, voxel_ml = probability.array, probability.geometry.voxel_ml

    def at(level: float) -> float:
        return float(np.count_nonzero(p >= np.float32(level)) * voxel_ml)

    p10, p90 = (at(level) if reached is None or level <= reached else None for level in (0.9, 0.1))
    return VolumeReadout(float(p.sum(dtype=np.float64) * voxel_ml), at(threshold), p10, p90)


def find_lesions(probability: Volume, threshold: float, score: Volume | None = None) -> tuple[Lesion, ...]:
    """Return the connected parts (26 neighbours) of the map at or above `threshold`, largest first.

    With the `score` on the same grid they know the largest score in them.
    """
    from scipy.ndimage import find_objects, label

    around = box_from(probability.array, float(np.float32(threshold)))
    if around is None:
        return ()
    parts, count = label(probability.array[around] >= np.float32(threshold), structure=np.ones((3, 3, 3)))
    lesions = []
    for number, place in enumerate(find_objects(parts, count), start=1):
        inside = parts[place] == number
        if np.count_nonzero(inside) * probability.geometry.voxel_ml >= SMALLEST_LESION_ML:
            box = inner_box(around, place)
            lesion = _measure(probability, box, inside)
            level = None if score is None else float(score.array[box][inside].max())
            lesions.append(replace(lesion, score_level=level))
    return tuple(sorted(lesions, key=lambda lesion: -lesion.volume_ml))


def edge_notes(probability: Volume, threshold: float) -> tuple[str, ...]:
    """Say where the tumour touches the first or last slice of the CT, so that a part of it may not have been scanned.

    Parameters
    ----------
    probability : Volume
        LPS-oriented map, (z, y, x), from the feet to the head.
    threshold : float
        Of the outline.
    """
    ends = [name for name, index in (("lowest", 0), ("highest", -1)) if (probability.array[index] >= threshold).any()]
    if not ends:
        return ()
    return (
        f"The tumour touches the {' and the '.join(ends)} slice of the CT and may go on beyond; its volume, and the "
        "contact with vessels, are those of the part that was scanned.",
    )


def _measure(probability: Volume, box: tuple[slice, ...], inside: NDArray[np.bool_]) -> Lesion:
    geometry = probability.geometry
    start_zyx = np.array([part.start for part in box])
    index_xyz = (np.argwhere(inside) + start_zyx)[:, ::-1]
    points = geometry.to_lps_mm(index_xyz)
    x, y, z = (float(value) for value in points.mean(axis=0))
    return Lesion(
        volume_ml=len(points) * geometry.voxel_ml,
        longest_diameter_mm=_longest_mm(points) + min(geometry.spacing_mm),
        centroid_lps_mm=(x, y, z),
        max_probability=float(probability.array[box][inside].max()),
    )


def _longest_mm(points: NDArray[np.float64]) -> float:
    """Largest distance between two points: both lie on the convex hull, which is small."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # flat or too few points: few enough, or thin enough, to compare them all
        points = points[np.unique(np.linspace(0, len(points) - 1, 2000).astype(int))]
    return float(pdist(points).max()) if len(points) > 1 else 0.0
