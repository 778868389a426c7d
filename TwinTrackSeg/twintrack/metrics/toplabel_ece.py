"""The protocol's calibration error: top-label, per rater, in a box around the annotations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import grown
from twintrack.imaging.plane_contact import Box

__all__ = ["corrected_box", "corrected_ece", "protocol_box", "protocol_ece"]

BINS = 50
"""Uniform bins of the confidence on [0, 1]."""

MARGIN_VOXELS = 20
"""Voxels that the box reaches beyond the annotations."""

FLOOR = 1e-8
"""Least value of a class probability in the protocol."""


def protocol_box(annotated: Box | None, shape: tuple[int, ...]) -> Box:
    """Return the protocol's box: 20 voxels below and 19 above all annotations.

    Where the protocol's own code fails, the box does the obvious: it is cut at the volume's border (there, a start
    below 0 counts from the far end, which gives an empty or a wrong box), and it is the whole volume where no rater
    marks any tumour (there, an overflow).
    """
    if annotated is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    return grown(annotated, MARGIN_VOXELS, MARGIN_VOXELS - 1, shape)


def corrected_box(annotated: Box | None, shape: tuple[int, ...]) -> Box:
    """Return the box with 20 voxels on both sides, cut at the volume's border."""
    return protocol_box(None, shape) if annotated is None else grown(annotated, MARGIN_VOXELS, MARGIN_VOXELS, shape)


def protocol_ece(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> tuple[float, ...]:
    r"""Return the expected calibration error against every rater; the protocol's ECE is their mean.

    .. math:: \sum_k \frac{n_k}{N} \left|\mathrm{acc}_k - \mathrm{conf}_k\right|

    over 50 uniform bins of the confidence, which is the larger of the two class probabilities (each at least 1e-8,
    their sum scaled to 1, in the map's precision). The predicted class is tumour where its probability is above that of
    the background. A confidence of exactly 1 has a bin of its own.

    The sums are taken in double precision. The challenge's code adds float32 numbers one by one and drifts for boxes of
    more than some 100,000 voxels with small probabilities in the background: 0.0055 for 0.0002 in a box of 10^6 voxels.

    Parameters
    ----------
    probability : numpy.ndarray
        (z, y, x) crop of the map to `protocol_box`.
    masks : sequence of numpy.ndarray
        The same crop of every rater's mask; any number of raters.

    References
    ----------
    C. Guo et al., ICML 2017, arXiv:1706.04599; M. Riera-Marín et al., CURVAS-PDACVI challenge, 2025.
    """
    one = probability.dtype.type(1)
    classes = np.maximum(np.stack([one - probability, probability]), probability.dtype.type(FLOOR))
    classes /= classes.sum(axis=0)
    tumour = classes[1] > classes[0]
    confidence = classes.max(axis=0)
    number = np.searchsorted(_edges(), confidence.ravel(), side="right") - 1
    return _top_label_errors(number, confidence, tumour, masks, BINS + 1)


def corrected_ece(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> tuple[float, ...]:
    """Return the same error without the protocol's peculiarities, for a crop to `corrected_box`.

    Double precision throughout, no floor of 1e-8, and the last bin holds its upper end.
    """
    exact = probability.astype(np.float64)
    confidence = np.maximum(exact, 1 - exact)
    number = np.minimum((confidence.ravel() * BINS).astype(np.int64), BINS - 1)
    return _top_label_errors(number, confidence, exact > 0.5, masks, BINS)


def _top_label_errors(
    number: NDArray[np.int64],
    confidence: NDArray[np.floating],
    tumour: NDArray[np.bool_],
    masks: Sequence[NDArray[np.generic]],
    bins: int,
) -> tuple[float, ...]:
    """Return the error against every rater; `number` is the flat bin number of every voxel."""
    sums = np.bincount(number, weights=confidence.ravel(), minlength=bins)
    errors = []
    for mask in masks:
        correct = np.bincount(number[(tumour == (mask != 0)).ravel()], minlength=bins)
        errors.append(float(np.abs(correct - sums).sum()) / max(number.size, 1))
    return tuple(errors)


def _edges() -> NDArray[np.float32]:
    """Return the float32 bin edges as the protocol's library makes them: from both ends, each rounded once."""
    step = float(np.float32(1 / BINS))
    rise = np.arange(BINS + 1)
    edges: NDArray[np.float32] = np.where(rise < BINS / 2, step * rise, 1 - step * (BINS - rise)).astype(np.float32)
    return edges
