"""The degrees of contact in image planes, counted on the mask of one threshold after the other.

Slow and plain, as the challenge describes it: what the engine counts for all thresholds at once must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["protocol_deg", "symmetric_deg"]

Mask = NDArray[np.bool_]


def protocol_deg(probability: NDArray[np.generic], vessel: Mask, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Return the protocol's degrees; shape (3, thresholds)."""
    return np.stack([_largest(tumor, vessel, _protocol) for tumor in _masks(probability, thresholds)], axis=1)


def symmetric_deg(probability: NDArray[np.generic], vessel: Mask, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Return the degrees of `twintrack.metrics.vascular.symmetric_contact_deg`; shape (3, thresholds)."""
    return np.stack([_largest(tumor, vessel, _symmetric) for tumor in _masks(probability, thresholds)], axis=1)


def _masks(probability: NDArray[np.generic], thresholds: Sequence[float]) -> list[Mask]:
    return [probability.astype(np.float64) > threshold for threshold in thresholds]


CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
SQUARE = np.ones((3, 3), dtype=bool)


def _largest(tumor: Mask, vessel: Mask, count: Callable[[Mask, Mask], NDArray[np.int64]]) -> list[float]:
    """Return 360 times the largest share of a slice's edge pixels, for the slices perpendicular to each axis."""
    largest = []
    for axis in range(3):
        # Slices lie along axis 0, each with background around it, which it has beyond its border.
        t, v = (np.pad(np.moveaxis(mask, axis, 0), ((0, 0), (2, 2), (2, 2))) for mask in (tumor, vessel))
        pixels = np.count_nonzero(_edge(v), axis=(1, 2))
        largest.append(max(hits / n * 360 if n else 0.0 for hits, n in zip(count(t, v), pixels, strict=True)))
    return largest


def _edge(vessel: Mask) -> Mask:
    return vessel & ~ndimage.binary_erosion(vessel, CROSS[None])


def _protocol(tumor: Mask, vessel: Mask) -> NDArray[np.int64]:
    edge = _edge(vessel)
    around = ndimage.binary_dilation(tumor, CROSS[None])
    outside = around & ~edge
    right, below, diagonal = (np.roll(outside, step, axis=(1, 2)) for step in ((0, -1), (-1, 0), (-1, -1)))
    beside = edge & ~around
    hits = (edge & around, beside & right, beside & below, beside & diagonal, beside & (right | below))
    return sum(np.count_nonzero(kind, axis=(1, 2)) for kind in hits)


def _symmetric(tumor: Mask, vessel: Mask) -> NDArray[np.int64]:
    around = ndimage.binary_dilation(tumor, CROSS[None])
    touching = _edge(vessel) & (around | ndimage.binary_dilation(around & ~vessel, SQUARE[None]))
    return np.count_nonzero(touching, axis=(1, 2))
