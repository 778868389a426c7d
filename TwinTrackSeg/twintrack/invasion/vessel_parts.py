"""Which vessels a label map holds, and where: every named label, and the two veins that are one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import label_boxes
from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.invasion.joint_vein import joined_veins
from twintrack.labels import JOINT_VEIN
from twintrack.volume import Volume

__all__ = ["VesselPart", "in_lps", "of_values", "vessel_parts"]

MOST_LABELS = 4096
"""Largest value of a named label up to which the boxes of all are found in one pass."""


@dataclass(frozen=True)
class VesselPart:
    """One vessel to measure.

    Attributes
    ----------
    name : str
        The vessel's name.
    values : tuple of int
        Its label values: two for the portal vein and the superior mesenteric vein together.
    box : tuple of slice or None
        Where they lie; None if the map does not hold them.
    ends : bool
        Whether the vessel ends where its label does; one of two labels of the same vein ends where the other begins,
        and what goes on is told of both together.
    """

    name: str
    values: tuple[int, ...]
    box: Box | None
    ends: bool

    @property
    def extent(self) -> int:
        """Voxels of the box, of which the time of its measurement is a matter."""
        return 0 if self.box is None else math.prod(side.stop - side.start for side in self.box)


def vessel_parts(vessels: Volume, names: Mapping[str, int]) -> list[VesselPart]:
    """Return every named vessel, and portal vein and superior mesenteric vein as one where they touch each other."""
    boxes = _boxes(vessels, names)
    joint = joined_veins(vessels.array, names, boxes)
    both = () if joint is None else joint[0]
    parts = [VesselPart(name, (value,), boxes[name], value not in both) for name, value in names.items()]
    return parts if joint is None else [*parts, VesselPart(JOINT_VEIN, *joint, ends=True)]


def of_values(labels: NDArray[np.generic], values: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where a label map has one of the values."""
    found: NDArray[np.bool_] = np.equal(labels, values[0])
    for value in values[1:]:
        found |= np.equal(labels, value)
    return found


def in_lps(volume: Volume) -> Volume:
    """Return the volume in LPS order, untouched if it is so already."""
    matrix = volume.geometry.direction_matrix
    return volume if np.all(np.diag(matrix) > np.sqrt(0.5)) else volume.to_lps()


def _boxes(vessels: Volume, names: Mapping[str, int]) -> dict[str, Box | None]:
    """Return the box of every named label; None for one that the map does not hold."""
    most = int(max(names.values()))
    if most > MOST_LABELS:
        return {name: bounding_box(np.equal(vessels.array, value)) for name, value in names.items()}
    boxes = label_boxes(vessels.array, most)
    return {name: boxes[value - 1] for name, value in names.items()}
