"""Top-label calibration error in a box around the annotations: the protocol's to its last bit, and ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import grown
from twintrack.imaging.plane_contact import Box

__all__ = ["corrected_box", "corrected_ece", "protocol_box", "protocol_ece", "protocol_flaw"]

BINS = 50
"""Uniform bins of the confidence on [0, 1]."""

MARGIN_VOXELS = 20
"""Voxels that the box reaches beyond the annotations."""

FLOOR = 1e-8
"""Least value of a class probability in the protocol."""

LARGEST_COUNT = 1 << 24
"""Where counting by ones in float32 stops: this number plus one is this number."""


def protocol_box(annotated: Box | None, shape: tuple[int, ...]) -> Box | None:
    """Return the box that the protocol's code cuts out; None where no rater marks tumour and it stops.

    It means 20 voxels below and 19 above all annotations. Above, the border cuts the box. Below, a start under 0
    counts from the far end, as Python's slices do: the box is then empty or another slab.
    """
    if annotated is None:
        return None
    box = []
    for side, length in zip(annotated, shape, strict=True):
        start, stop, _ = slice(side.start - MARGIN_VOXELS, side.stop + MARGIN_VOXELS - 1).indices(length)
        box.append(slice(start, max(start, stop)))
    z, y, x = box
    return z, y, x


def corrected_box(annotated: Box | None, shape: tuple[int, ...]) -> Box:
    """Return the box with 20 voxels on both sides, cut at the border; the whole volume where no rater marks tumour."""
    if annotated is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    return grown(annotated, MARGIN_VOXELS, MARGIN_VOXELS, shape)


def protocol_flaw(annotated: Box | None, shape: tuple[int, ...]) -> str | None:
    """Say why the protocol's error is undefined or taken in a wrong box; None where it is what it means to be."""
    box = protocol_box(annotated, shape)
    if annotated is None or box is None:
        return "the protocol's ECE is not defined (no rater marked tumour, where its code stops)"
    if box == grown(annotated, MARGIN_VOXELS, MARGIN_VOXELS - 1, shape):
        return None
    near = f"tumour lies within {MARGIN_VOXELS} voxels of the volume's first slice, row or column"
    if any(side.start == side.stop for side in box):
        return f"the protocol's ECE is not defined ({near}, where its code cuts out an empty box)"
    cut = ", ".join(f"{side.start}:{side.stop}" for side in box)
    return f"the protocol's ECE tells nothing ({near}, where its code cuts out the wrong box, {cut})"


def protocol_ece(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> tuple[float, ...]:
    r"""Return the expected calibration error against every rater; the protocol's ECE is their mean.

    .. math:: \sum_k \frac{n_k}{N} \left|\mathrm{acc}_k - \mathrm{conf}_k\right|

    over 50 uniform bins of the confidence, which is the larger of the two class probabilities (each at least 1e-8,
    their sum scaled to 1, in the map's precision, then rounded to float32). The predicted class is tumour where its
    probability is above that of the background. A confidence of exactly 1 has a bin of its own.

    As in the protocol's code, confidences are added one voxel after the other in float32, and counts stop at 2**24.
    The sums drift in boxes of more than some 100,000 voxels with small probabilities in the background: 0.0055 for
    0.0002 in a box of 10^6 voxels. `corrected_ece` does not.

    Parameters
    ----------
    probability : numpy.ndarray
        (z, y, x) crop of the map to `protocol_box`; NaN for every rater if it is empty.
    masks : sequence of numpy.ndarray
        The same crop of every rater's mask; any number of raters (the protocol's code takes exactly five).

    References
    ----------
    C. Guo et al., ICML 2017, arXiv:1706.04599; M. Riera-Marín et al., CURVAS-PDACVI challenge, 2025.
    """
    if probability.size == 0:
        return (float("nan"),) * len(masks)
    one = probability.dtype.type(1)
    classes = np.maximum(np.stack([one - probability, probability]), probability.dtype.type(FLOOR))
    classes /= classes.sum(axis=0)
    tumor = (classes[1] > classes[0]).ravel()
    confidence = classes.max(axis=0).ravel().astype(np.float32)
    number = np.searchsorted(_edges(), confidence, side="right") - 1
    sums = np.zeros(BINS + 1, np.float32)
    np.add.at(sums, number, confidence)
    counts = _counted(number)
    used = np.maximum(counts, np.float32(1))
    mean, share = sums / used, counts / counts.sum()
    errors = []
    for mask in masks:
        accuracy = _counted(number[tumor == (mask != 0).ravel()]) / used
        errors.append(float((np.abs(accuracy - mean) * share).sum()))
    return tuple(errors)


def corrected_ece(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> tuple[float, ...]:
    """Return the same error without the protocol's peculiarities, for a crop to `corrected_box`.

    Double precision throughout, no floor of 1e-8, and the last bin holds its upper end.
    """
    exact = probability.astype(np.float64).ravel()
    confidence, tumor = np.maximum(exact, 1 - exact), exact > 0.5
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sums = np.bincount(number, weights=confidence, minlength=BINS)
    errors = []
    for mask in masks:
        correct = np.bincount(number[tumor == (mask != 0).ravel()], minlength=BINS)
        errors.append(float(np.abs(correct - sums).sum()) / max(number.size, 1))
    return tuple(errors)


def _counted(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how many voxels fall into each bin, counted by ones in float32."""
    counts = np.bincount(number, minlength=BINS + 1)
    return np.minimum(counts, LARGEST_COUNT).astype(np.float32)


def _edges() -> NDArray[np.float32]:
    """Return the float32 bin edges as the protocol's library makes them: from both ends, each rounded once."""
    step = float(np.float32(1 / BINS))
    rise = np.arange(BINS + 1)
    edges: NDArray[np.float32] = np.where(rise < BINS / 2, step * rise, 1 - step * (BINS - rise)).astype(np.float32)
    return edges
