"""An upper abdomen with plausible variety: where the gland, the vessels and the organs lie.

Positions are LPS mm (x to the patient's left, y to the back, z to the head) around the neck of the pancreas. A smooth
random warp of space, shared by everything, makes each patient different while neighbours stay neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.shapes import Tube

__all__ = ["BODY_RADII_MM", "PANCREAS", "UNCINATE", "VESSEL_TUBES", "Warp", "organs"]

BODY_RADII_MM = (158.0, 112.0)
"""Half axes of the body's cross-section, left-right and front-back, before warping."""


def _tube(points: list[tuple[float, float, float]], radii: list[float]) -> Tube:
    return Tube(np.asarray(points, dtype=float), np.asarray(radii, dtype=float))


PANCREAS = _tube(
    [(-30, 2, -40), (-31, -3, -22), (-20, -9, -8), (0, -13, 0), (26, -8, 6), (52, 6, 12), (78, 26, 20)],
    [12.0, 15.0, 10.0, 9.0, 10.5, 10.0, 8.0],
)
"""The gland from the lower head over neck and body to the tail."""

UNCINATE = ((-19.0, 11.0, -31.0), (13.0, 8.0, 12.0))
"""Centre and radii (mm) of the uncinate process, behind the SMV."""

VESSEL_TUBES: dict[str, Tube] = {
    "PORTA": _tube([(-9, 5, -9), (-19, 7, 7), (-33, 9, 25), (-47, 7, 40)], [6.6, 6.8, 6.6, 6.0]),
    "SMV": _tube([(-7, 8, -110), (-8, 6, -55), (-9, 4, -24), (-9, 5, -9)], [4.6, 5.2, 5.8, 6.4]),
    "AORTA": _tube([(14, 40, -130), (12, 37, -30), (11, 36, 20), (10, 40, 130)], [9.0, 10.0, 10.5, 11.5]),
    "CELIAC": _tube([(11, 33, 13), (11, 18, 17), (12, 8, 17), (14, 1, 15)], [3.8, 3.8, 3.6, 3.4]),
    "SMA": _tube([(12, 33, -5), (11, 17, -10), (9, 10, -25), (7, 10, -60), (4, 13, -115)], [4.2, 4.0, 3.8, 3.5, 3.0]),
}
"""The five vessels of the vascular involvement protocol."""

OTHER_TUBES: dict[str, Tube] = {
    "splenic_vein": _tube([(-9, 5, -9), (14, 3, 1), (50, 20, 12), (90, 44, 24)], [4.6, 4.2, 4.0, 3.4]),
    "ivc": _tube([(-19, 40, -130), (-20, 38, 0), (-22, 34, 130)], [10.0, 11.0, 12.0]),
    "spine": _tube([(0, 74, -130), (0, 72, 0), (0, 76, 130)], [21.0, 21.0, 21.0]),
    "canal": _tube([(0, 101, -130), (0, 100, 130)], [8.0, 8.0]),
    "duodenum": _tube([(-38, -8, 14), (-52, -2, -4), (-53, 6, -32), (-38, 14, -56)], [10.0, 10.0, 10.0, 9.0]),
    "stomach": _tube([(-30, -42, 18), (10, -52, 12), (50, -38, 34), (70, -8, 66)], [13.0, 20.0, 25.0, 26.0]),
}
"""Everything else that is tube shaped."""


@dataclass(frozen=True)
class Organ:
    """An ellipsoid organ: centre and radii in mm, attenuation in HU."""

    name: str
    center_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float


def organs(rng: np.random.Generator) -> list[Organ]:
    """Draw liver, spleen, kidneys and some bowel loops."""
    placed = [
        Organ("liver", (-88, -12, 42), (62, 78, 62), rng.uniform(95, 120)),
        Organ("spleen", (112, 38, 44), (24, 40, 46), rng.uniform(110, 140)),
        Organ("right_kidney", (-62, 62, -38), (25, 24, 50), rng.uniform(150, 200)),
        Organ("left_kidney", (66, 60, -20), (25, 24, 50), rng.uniform(150, 200)),
    ]
    for number in range(int(rng.integers(6, 11))):
        center = (rng.uniform(-85, 100), rng.uniform(-72, -38), rng.uniform(-105, -28))
        radii = (rng.uniform(12, 22), rng.uniform(10, 15), rng.uniform(10, 18))
        placed.append(Organ(f"bowel_{number}", center, radii, rng.uniform(20, 60)))
    return placed


@dataclass(frozen=True)
class Warp:
    """A smooth, invertible-in-practice map from patient space (mm) to the model anatomy's space (mm).

    A small rotation and scaling plus a few long sine waves, so that one evaluation moves every structure alike.
    """

    matrix: NDArray[np.float64]
    offset_mm: NDArray[np.float64]
    waves: NDArray[np.float64]
    amplitudes_mm: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Warp:
        """Draw a patient."""
        from scipy.spatial.transform import Rotation

        rotation = Rotation.from_euler("xyz", rng.normal(0.0, 3.5, 3), degrees=True).as_matrix()
        matrix = rotation @ np.diag(rng.uniform(0.93, 1.1, 3))
        directions = rng.normal(size=(5, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        waves = directions * (2 * np.pi / rng.uniform(90.0, 200.0, (5, 1)))
        return cls(matrix, rng.normal(0.0, 6.0, 3), waves, rng.normal(0.0, 1.6, (5, 3)), rng.uniform(0, 2 * np.pi, 5))

    def __call__(self, position_mm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map positions (..., 3) in mm."""
        bent = position_mm @ self.matrix.T.astype(np.float32) + self.offset_mm.astype(np.float32)
        for wave, amplitude, phase in zip(self.waves, self.amplitudes_mm, self.phases, strict=True):
            angle = position_mm @ wave.astype(np.float32) + np.float32(phase)
            bent += np.sin(angle)[..., None] * amplitude.astype(np.float32)
        return bent
