"""Cases of a few thousand voxels, in memory, with which a network can be trained in seconds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from twintrack.training import CaseVolumes, Labels, StageSettings, TrainingCase
from twintrack.volume import Geometry, Volume

GRID = Geometry((40, 36, 20), (2.0, 2.0, 3.0))

TINIEST = StageSettings(
    epochs=3, iterations=2, spacing_mm=(3.0, 2.0, 2.0), patch_size=(8, 16, 16), features=(4, 8), thin_start=True
)

RADII_MM: Mapping[str, float] = {"A": 8.0, "B": 10.0, "C": 12.0}
"""Raters draw balls around one centre, one larger than the other."""


def ball_case(number: int, raters: tuple[str, ...] = ("A", "B", "C")) -> TrainingCase:
    """A bright ball in an organ, drawn by each rater with the rater's own radius."""

    def read() -> CaseVolumes:
        rng = np.random.default_rng(number)
        z, y, x = np.indices(GRID.shape)
        center = np.array([30.0, 36.0, 40.0]) + rng.uniform(-6, 6, 3)
        distance = np.sqrt((3 * z - center[0]) ** 2 + (2 * y - center[1]) ** 2 + (2 * x - center[2]) ** 2)
        ct = (60 + 60 * (distance < 10) + rng.normal(0, 10, GRID.shape)).astype(np.int16)
        masks = {rater: Volume((distance < RADII_MM[rater]).astype(np.uint8), GRID) for rater in raters}
        anatomy = np.where(distance < 15, 7, 0).astype(np.uint8)
        anatomy[:, :, :5] = 3
        anatomy[distance < 9] = 1  # somebody's tumour, which is not used
        return CaseVolumes(
            Volume(ct, GRID), masks, Labels(Volume(anatomy, GRID), {"tumor": 1, "smv": 3, "pancreas": 7})
        )

    return TrainingCase(f"ball_{number}", read, raters, where=f"ball {number}")
