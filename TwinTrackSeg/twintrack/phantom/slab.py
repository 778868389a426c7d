"""A small block of a phantom around its lesion, for many cases: a twentieth of the work for the whole abdomen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.phantom.anatomy import Warp
from twintrack.phantom.lesion import Lesion
from twintrack.volume import Geometry

__all__ = ["Slab"]

_STEPS = 30
"""Steps towards the place that the warp maps onto the lesion: each shortens the way there to a third or less."""


@dataclass(frozen=True)
class Slab:
    """Grid of a block around a phantom's lesion, and the lesions that fit into it.

    Attributes
    ----------
    size : tuple of int
        Voxels, (x, y, z) order.
    spacing_mm : tuple of float
        (x, y, z) order.
    off_center_mm : tuple of float
        The lesion lies up to this far from the block's centre, (x, y, z) order.
    volume_range_ml : tuple of float
        Range of the tumour's volume.

    Raises
    ------
    InputError
        If a number is not positive, a range is no range, or the largest tumour does not fit into the block.
    """

    size: tuple[int, int, int] = (64, 64, 16)
    spacing_mm: tuple[float, float, float] = (1.6, 1.6, 2.5)
    off_center_mm: tuple[float, float, float] = (12.0, 12.0, 4.0)
    volume_range_ml: tuple[float, float] = (1.0, 8.0)

    def __post_init__(self) -> None:
        low, high = self.volume_range_ml
        positive = min(*self.size, *self.spacing_mm, low) > 0 and min(self.off_center_mm) >= 0
        extent = [
            n * step - 2 * off for n, step, off in zip(self.size, self.spacing_mm, self.off_center_mm, strict=True)
        ]
        if not (positive and low <= high and min(extent) > (6000 * high / np.pi) ** (1 / 3)):
            raise InputError(
                "a slab needs a positive size and spacing, and must hold the largest tumor of its volume_range_ml "
                f"wherever off_center_mm puts it, got {self}",
                code="phantom-number",
            )

    def around(self, rng: np.random.Generator, warp: Warp, lesion: Lesion) -> Geometry:
        """Place the block near the lesion of a patient, LPS axes."""
        center = _before_warp(warp, np.asarray(lesion.center_mm))
        middle = center + rng.uniform(-1.0, 1.0, 3) * self.off_center_mm
        extent = (np.asarray(self.size) - 1) * self.spacing_mm
        x, y, z = (float(value) for value in (middle - extent / 2).round(1))
        return Geometry(self.size, self.spacing_mm, (x, y, z))


def _before_warp(warp: Warp, target_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the patient's point (x, y, z) in mm that the warp maps onto `target_mm`, to a tenth of a millimetre."""
    point = target_mm.copy()
    for _ in range(_STEPS):
        point -= warp(point[None].astype(np.float32))[0] - target_mm
    return point
