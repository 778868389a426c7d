"""Which branch a point of the wall belongs to, so that none is counted twice.

Where a vessel forks, the cross-sections of one branch look into the other one. Contact there is contact of the other
branch: counted in both, it would lengthen the contact and add an angle that nobody would see.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from twintrack.invasion.sections import Sections

__all__ = ["without_other_branches"]

FAR_RATIO = 1.2
"""Only walls further away than this many median radii can belong elsewhere."""

CLEARLY_NEARER = 0.8
"""A point belongs elsewhere if, in radii of the vessel, it lies this much nearer to the line there."""


def without_other_branches(branches: list[Sections]) -> list[Sections]:
    """Return the branches with a wall of NaN in every direction that meets a wall which belongs elsewhere.

    A centre line that turns from a trunk into its branch is one line: where it turns, its sections look into the rest
    of the trunk and along the branch, so that other parts of the same line count as elsewhere too.
    """
    branches = [sections for sections in branches if len(sections.centre_mm)]
    if not branches:
        return []
    radii_mm = [np.nanmedian(sections.wall_mm, axis=1) for sections in branches]
    lines = [(cKDTree(sections.centre_mm), radius) for sections, radius in zip(branches, radii_mm, strict=True)]
    result = []
    for sections, radius_mm in zip(branches, radii_mm, strict=True):
        row, column = np.nonzero(sections.wall_mm > FAR_RATIO * radius_mm[:, None])
        wall_mm = sections.wall_mm.copy()
        far_mm = wall_mm[row, column]
        points = sections.centre_mm[row] + far_mm[:, None] * sections.direction[row, column]
        for tree, other_mm in lines:
            if len(row) == 0:
                break
            gap_mm, nearest = tree.query(points)
            taken = gap_mm / other_mm[nearest] < CLEARLY_NEARER * far_mm / radius_mm[row]
            wall_mm[row[taken], column[taken]] = np.nan
        result.append(replace(sections, wall_mm=wall_mm))
    return result
