"""From CT voxels to the array a network sees, exactly as nnU-Net's own preprocessor makes it, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.inference.network import Stage
from twintrack.inference.resample import Range, linear_resample, range_touched

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocessed", "preprocess"]


@dataclass(frozen=True)
class Preprocessed:
    """A part of a CT in network space, and the way back.

    Attributes
    ----------
    data : numpy.ndarray
        float32, (1, a, b, c): the network's axis order and voxel size, normalised intensities.
    shape : tuple of int
        (z, y, x) of the CT part it was made from.
    axes : tuple of int
        Network axis ``n`` is axis ``axes[n]`` of (z, y, x).
    nonzero : tuple of Range
        The box of voxels other than 0 that nnU-Net crops to, along the network's axes, in CT voxels.
    """

    data: NDArray[np.float32]
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    nonzero: tuple[Range, Range, Range]

    def to_grid(self, channels: torch.Tensor, window: Sequence[Range]) -> torch.Tensor:
        """Resample network outputs linearly onto a part of the CT part's voxels.

        Parameters
        ----------
        channels : torch.Tensor
            (channel, a, b, c) in network space.
        window : sequence of Range
            Which voxels, along (z, y, x) of the CT part.

        Returns
        -------
        torch.Tensor
            (channel, z, y, x) of the window; 0 where nnU-Net cropped the CT away.
        """
        wanted = [window[axis] for axis in self.axes]
        kept = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(wanted, self.nonzero, strict=True)]
        full = channels.new_zeros((channels.shape[0], *(b - a for a, b in wanted)))
        if all(a < b for a, b in kept):
            sizes = [b - a for a, b in self.nonzero]
            inner = [(a - c, b - c) for (a, b), (c, _) in zip(kept, self.nonzero, strict=True)]
            target = [slice(a - c, b - c) for (a, b), (c, _) in zip(kept, wanted, strict=True)]
            place = (slice(None), *target)
            full[place] = linear_resample(channels, sizes, inner)
        back = np.argsort(self.axes)
        return full.permute(0, *(int(axis) + 1 for axis in back))

    def window_touched(self, inside: Sequence[Range]) -> tuple[Range, Range, Range]:
        """Return the smallest CT window, along (z, y, x), in which network voxels `inside` have a share."""
        ranges: list[Range] = [(0, 0)] * 3
        for n, axis in enumerate(self.axes):
            start, stop = self.nonzero[n]
            first, end = range_touched(self.data.shape[n + 1], stop - start, inside[n])
            ranges[axis] = (first + start, end + start)
        return (ranges[0], ranges[1], ranges[2])


def preprocess(
    array: NDArray[np.generic], spacing_mm: tuple[float, float, float], stage: Stage, *, name: str = "the CT"
) -> Preprocessed:
    """Crop to nonzero, normalise and resample as nnU-Net's ``DefaultPreprocessor`` does for prediction.

    The steps and functions are nnU-Net's; what is left out is the resampling of a segmentation that prediction
    does not use, and filling holes of a mask of which only the bounding box matters.

    Parameters
    ----------
    array : numpy.ndarray
        HU, (z, y, x).
    spacing_mm : tuple of float
        Voxel size along (z, y, x), in mm.
    stage : Stage
        The model whose plans apply.
    name : str
        What `array` is, for messages.

    Raises
    ------
    InputError
        If every voxel is 0.
    """
    from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
    from nnunetv2.preprocessing.normalization import default_normalization_schemes as schemes
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

    axes = stage.axes
    turned = array.transpose(axes)
    spacing = [spacing_mm[axis] for axis in axes]
    nonzero = _nonzero_box(turned, name)
    # A copy: normalisation works in place.
    data = turned[tuple(slice(a, b) for a, b in nonzero)].astype(np.float32, order="C")
    configuration = stage.configuration
    use_mask = configuration.use_mask_for_norm[0]
    outside = np.where(create_nonzero_mask(data[None]), np.int8(0), np.int8(-1)) if use_mask else None
    normalizer = getattr(schemes, configuration.normalization_schemes[0])(
        use_mask_for_norm=use_mask,
        intensityproperties=stage.plans.foreground_intensity_properties_per_channel["0"],
    )
    data = normalizer.run(data, outside)[None]
    # At least one voxel: a slab thinner than half a network voxel would vanish.
    shape = np.maximum(compute_new_shape(data.shape[1:], spacing, configuration.spacing), 1)
    data = np.asarray(configuration.resampling_fn_data(data, shape, spacing, configuration.spacing), dtype=np.float32)
    z, y, x = array.shape
    return Preprocessed(data, (z, y, x), axes, nonzero)


def _nonzero_box(array: NDArray[np.generic], name: str) -> tuple[Range, Range, Range]:
    """Bounding box of voxels other than 0: that of nnU-Net's hole-filled mask too, since holes lie inside."""
    ranges: list[Range] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        (filled,) = np.nonzero(np.any(array, axis=others))
        if not filled.size:
            raise InputError(f"{name} holds nothing but zeros in the region; it is not a CT in HU")
        ranges.append((int(filled[0]), int(filled[-1]) + 1))
    return (ranges[0], ranges[1], ranges[2])
