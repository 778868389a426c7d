"""Intensities as nnU-Net's networks expect them: its four schemes for one channel, without its packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import Array
from twintrack.inference.nnunet_model import Stage

__all__ = ["VOXELWISE", "normalization"]

VOXELWISE = ("CTNormalization", "NoNormalization")
"""Schemes that treat every voxel by itself."""

LEAST_SPREAD = 1e-8
"""What intensities are divided by at least."""

Scheme = Callable[[Array], Array]
"""Normalises float32 intensities, in place; those of `VOXELWISE` also on a graphics card."""


def normalization(stage: Stage) -> tuple[str, Scheme]:
    """Return the name of the plans' scheme, as nnU-Net calls it, and the scheme for a volume (a, b, c)."""
    name = stage.normalization
    if name == "CTNormalization":
        intensities = stage.intensities
        return name, lambda volume: _ct(volume, intensities)
    if name == "ZScoreNormalization":
        masked = stage.masked_normalization
        return name, lambda volume: _zscore(volume, _filled(volume) if masked else None)
    return name, _rescaled if name == "RescaleTo01Normalization" else lambda volume: volume


def _ct(volume: Array, intensities: Mapping[str, float]) -> Array:
    """Clip to the training intensities' percentiles, subtract their mean, divide by their standard deviation."""
    low, high = intensities["percentile_00_5"], intensities["percentile_99_5"]
    spread = max(intensities["std"], LEAST_SPREAD)
    if isinstance(volume, np.ndarray):
        np.clip(volume, low, high, out=volume)
        volume -= intensities["mean"]
        volume /= spread
        return volume
    # By an array of the card: torch would multiply by the reciprocal of a number, which rounds otherwise.
    return volume.clamp_(low, high).sub_(intensities["mean"]).div_(volume.new_full((), spread))


def _zscore(volume: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Subtract the volume's own mean, divide by its standard deviation; where a mask is given, of its voxels and there.

    What lies outside the mask stays as it is.
    """
    if inside is None:
        mean, spread = volume.mean(), volume.std()
        volume -= mean
        volume /= max(spread, LEAST_SPREAD)
    else:
        values = volume[inside]
        volume[inside] = (values - values.mean()) / max(values.std(), LEAST_SPREAD)
    return volume


def _rescaled(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map the volume's smallest value to 0 and its largest to 1."""
    volume -= volume.min()
    volume /= max(volume.max(), LEAST_SPREAD)
    return volume


def _filled(volume: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a volume is not 0, with the holes in that."""
    from scipy import ndimage

    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(volume != 0)
    return filled
