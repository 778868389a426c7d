"""From CT voxels to the array a network sees, exactly as nnU-Net's own preprocessor makes it, and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.inference.arrays import CPU, Array, to_device, to_host, transposed, uploaded, zeros_beside
from twintrack.inference.cubic import Prepare, resample_cubic, resample_slices
from twintrack.inference.nnunet_model import Stage, nnunet_managers
from twintrack.inference.normalize import VOXELWISE, normalization
from twintrack.inference.resample import (
    Piece,
    Range,
    linear_pieces,
    linear_resample,
    neighbors,
    network_shape,
    range_touched,
    slice_axis,
)
from twintrack.inference.roi import Roi, grown_box
from twintrack.system.capacity import is_out_of_memory, lacking_memory
from twintrack.volume import Volume

__all__ = ["Preprocessed", "preprocess", "preprocess_region"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocessed:
    """A part of a CT in network space, and the way back.

    Attributes
    ----------
    data : array
        float32, (1, a, b, c): the network's axis order and voxel size, normalised intensities; where it was made. See
        `twintrack.inference.arrays`.
    shape : tuple of int
        (z, y, x) of the CT part it was made from.
    axes : tuple of int
        Network axis ``n`` is axis ``axes[n]`` of (z, y, x).
    nonzero : tuple of Range
        The box of voxels other than 0 that nnU-Net crops to, along the network's axes, in CT voxels.
    """

    data: Array
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    nonzero: tuple[Range, Range, Range]

    def to_grid(self, channels: Array, window: Sequence[Range]) -> Array:
        """Resample network outputs linearly onto a part of the CT part's voxels.

        Parameters
        ----------
        channels : array
            (channel, a, b, c) in network space; see `twintrack.inference.arrays`.
        window : sequence of Range
            Which voxels, along (z, y, x) of the CT part.

        Returns
        -------
        array
            (channel, z, y, x) of the window; 0 where nnU-Net cropped the CT away.
        """
        wanted = [window[axis] for axis in self.axes]
        shared = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(wanted, self.nonzero, strict=True)]
        sizes = [b - a for a, b in self.nonzero]
        inner = [(a - c, b - c) for (a, b), (c, _) in zip(shared, self.nonzero, strict=True)]
        if shared == wanted:
            full = linear_resample(channels, sizes, inner)
        else:
            full = zeros_beside(channels, (channels.shape[0], *(b - a for a, b in wanted)))
            if all(a < b for a, b in shared):
                target = [slice(a - c, b - c) for (a, b), (c, _) in zip(shared, wanted, strict=True)]
                place = (slice(None), *target)
                full[place] = linear_resample(channels, sizes, inner)
        back = (0, *(int(axis) + 1 for axis in np.argsort(self.axes)))
        return transposed(full, back)

    def pieces_on_grid(
        self, channels: Sequence[NDArray[np.floating]], window: Sequence[Range]
    ) -> Iterator[tuple[Piece, tuple[slice, ...]]]:
        """Do what `to_grid` does for channels (a, b, c) in main memory, a piece of all of them at a time.

        The window must lie in what nnU-Net did not crop away. With each piece, which has the network's order of axes,
        comes its place in the window, along (z, y, x).
        """
        inner = [
            (window[axis][0] - a, window[axis][1] - a) for axis, (a, _) in zip(self.axes, self.nonzero, strict=True)
        ]
        back = np.argsort(self.axes)
        for piece in linear_pieces(channels, [b - a for a, b in self.nonzero], inner):
            yield piece, tuple(piece.place[n] for n in back)

    def from_grid(self, mask: NDArray[np.bool_], window: Sequence[Range]) -> NDArray[np.bool_]:
        """Return which network voxels have a share in the CT voxels of a mask, when outputs are brought back.

        Parameters
        ----------
        mask : numpy.ndarray
            bool, (z, y, x), of the window.
        window : sequence of Range
            Which voxels, along (z, y, x) of the CT part.

        Returns
        -------
        numpy.ndarray
            bool, (a, b, c).
        """
        turned = mask.transpose(self.axes)
        for n, axis in enumerate(self.axes):
            (start, stop), (first, end) = window[axis], self.nonzero[n]
            shared = slice(max(start, first) - start, max(min(stop, end) - start, 0))
            below, above = neighbors(self.data.shape[n + 1], end - first)
            offset = max(start, first) - first
            here = slice(offset, offset + max(shared.stop - shared.start, 0))
            turned = _spread(np.moveaxis(turned, n, 0)[shared], below[here], above[here], self.data.shape[n + 1])
            turned = np.moveaxis(turned, 0, n)
        return turned

    def window_touched(self, inside: Sequence[Range]) -> tuple[Range, Range, Range]:
        """Return the smallest CT window, along (z, y, x), in which network voxels `inside` have a share."""
        ranges: list[Range] = [(0, 0)] * 3
        for n, axis in enumerate(self.axes):
            start, stop = self.nonzero[n]
            first, end = range_touched(self.data.shape[n + 1], stop - start, inside[n])
            ranges[axis] = (first + start, end + start)
        return (ranges[0], ranges[1], ranges[2])


def preprocess(
    array: NDArray[np.generic],
    spacing_mm: tuple[float, float, float],
    stage: Stage,
    *,
    device: str = CPU,
    name: str = "the CT",
    members: int = 1,
    note: Callable[[str], None] = _log.warning,
) -> Preprocessed:
    """Crop to nonzero, normalise and resample as nnU-Net's ``DefaultPreprocessor`` does for prediction.

    The steps are nnU-Net's, and so are the numbers (see `twintrack.inference.cubic`). What is left out is the
    resampling of a segmentation that prediction does not use, and filling holes of a mask of which only the bounding
    box matters.

    Parameters
    ----------
    array : numpy.ndarray
        HU, (z, y, x).
    spacing_mm : tuple of float
        Voxel size along (z, y, x), in mm.
    stage : Stage
        The model whose plans apply.
    device : str
        torch's name of where to do it and to leave the result; where it lacks float64, the CPU does it.
    name : str
        What `array` is, for messages.
    members : int
        Networks that will look at it, for the memory that their outputs take.
    note : callable
        Told, in words, when the CPU must resample in place of `device`.

    Raises
    ------
    InputError
        If every voxel is 0, or the resampled CT and the networks' outputs do not fit into memory.
    """
    if device == "cuda":
        try:
            return _preprocess(array, spacing_mm, stage, device, name, members)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: the error's frames hold what filled the memory.
        note("the GPU has too little memory to resample the CT; the CPU does it")
    return _preprocess(array, spacing_mm, stage, CPU, name, members)


def preprocess_region(
    ct: Volume, roi: Roi, stage: Stage, *, device: str, members: int, note: Callable[[str], None]
) -> tuple[Preprocessed, tuple[Range, Range, Range]]:
    """Preprocess the region with its surroundings; return it and where the region lies in it, along (z, y, x).

    Where the region's box is smaller than one patch, it is grown into the CT around it. The arguments are those of
    `preprocess`.
    """
    shape, spacing = ct.geometry.shape, ct.geometry.spacing_mm[::-1]
    patch = [0, 0, 0]
    for n, axis in enumerate(stage.axes):
        # Rounded down, so that growing never makes a second tile necessary.
        patch[axis] = int(stage.patch[n] * stage.spacing[n] / spacing[axis])
    start, stop = grown_box(roi.start[::-1], roi.stop[::-1], patch, shape)
    crop = ct.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    case = preprocess(crop, spacing, stage, device=device, members=members, note=note)
    z, y, x = ((s.start - a, s.stop - a) for s, a in zip(roi.slices, start, strict=True))
    return case, (z, y, x)


def _preprocess(
    array: NDArray[np.generic],
    spacing_mm: tuple[float, float, float],
    stage: Stage,
    device: str,
    name: str,
    members: int,
) -> Preprocessed:
    axes = stage.axes
    turned = transposed(array if device == CPU else uploaded(array, device), axes)
    spacing = [spacing_mm[axis] for axis in axes]
    nonzero = _nonzero_box(turned, name)
    part = turned[tuple(slice(a, b) for a, b in nonzero)]
    shape = network_shape(part.shape, spacing, stage.spacing)
    _check_room(part.shape, shape, stage, members, on_gpu=device != CPU, name=name)
    part, normalize = _normalization(part, stage, device)
    data = _resample(part, normalize, shape, spacing, stage)
    z, y, x = array.shape
    return Preprocessed(data[None], (z, y, x), axes, nonzero)


def _normalization(part: Array, stage: Stage, device: str) -> tuple[Array, Prepare]:
    """Return what is to be resampled and what to do with each part of it first.

    nnU-Net's CT scheme looks at one voxel at a time, so it runs on a few slices at a time, and the CT never exists as
    float32 as a whole. The others need the whole at once, and main memory.
    """
    scheme, normalize = normalization(stage)
    if scheme in VOXELWISE:
        return part, lambda values: normalize(_float32_copy(values))  # normalisation works in place
    return to_device(normalize(to_host(part).astype(np.float32, order="C")), device), _float32


def _float32_copy(values: Array) -> Array:
    if isinstance(values, np.ndarray):
        # Compact first: to read a part of a whole CT across the order in which it lies takes five times as long.
        return values.copy(order="K").astype(np.float32, order="C")
    import torch

    return values.to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _float32(values: Array) -> Array:
    return values.astype(np.float32, copy=False) if isinstance(values, np.ndarray) else values


def _check_room(
    before: Sequence[int], after: Sequence[int], stage: Stage, members: int, *, on_gpu: bool, name: str
) -> None:
    """Refuse a CT that is too large at the network's voxel size, before it is resampled.

    At the same time there are, in bytes a voxel: first the result (4) beside the CT in float64, resampled but along the
    axis that grows most, or, with nnU-Net's own function, twelve arrays of 8 bytes with all coordinates; then the
    result, its copy that is padded to a patch, the weights and the mask of `sliding_logits` in
    `twintrack.inference.sliding_window` (13), and 4 a channel for the sums of one member and those of the members
    before it, which lie on a GPU where there is one. The matrices of the splines have a row for each new and a column
    for each old voxel of an axis.
    """
    voxels = prod(after)
    padded = prod(max(size, patch) for size, patch in zip(after, stage.patch, strict=True))
    matrices = sum(8 * (new + old) * old for new, old in zip(after, before, strict=True) if new != old)
    last = max(range(3), key=lambda axis: after[axis] / before[axis])
    resampling = matrices + 4 * voxels + 8 * (voxels // after[last] * before[last])
    if not _is_usual(stage):
        resampling += 96 * voxels
    sums = 0 if on_gpu else 4 * stage.heads * min(members, 2)
    lacking = lacking_memory(max(resampling, padded * (13 + sums)))
    if lacking is None:
        return
    shown = (after, stage.spacing, stage.patch)
    size, edges, patch = (" x ".join(f"{n:g}" for n in values) for values in shown)
    patches = f" in patches of {patch} voxels" if padded > voxels else ""
    raise InputError(
        f"{name} has {size} voxels at the network's voxel size of {edges} mm{patches} ({stage.folder / 'plans.json'}) "
        f"and so {lacking}; give a smaller region or a bundle with larger voxels or smaller patches",
        code="no-memory",
    )


def _is_usual(stage: Stage) -> bool:
    """Whether the plans ask for cubic resampling within slices and the nearest slice, as nnU-Net's do."""
    configuration = stage.configuration
    options = configuration["resampling_fn_data_kwargs"]
    return (
        configuration["resampling_fn_data"] == "resample_data_or_seg_to_shape"
        and (options.get("order", 3), options.get("order_z", 0), options.get("is_seg", False)) == (3, 0, False)
        and set(options) <= {"order", "order_z", "is_seg", "force_separate_z"}
    )


def _resample(part: Array, normalize: Prepare, shape: list[int], spacing: list[float], stage: Stage) -> Array:
    """Resample (a, b, c) as the plans say, where it lies; to float32."""
    options = stage.configuration["resampling_fn_data_kwargs"]
    usual = _is_usual(stage)
    if usual and list(part.shape) == shape:
        return normalize(part)
    if not usual:
        whole = to_host(normalize(part))[None]
        resample = nnunet_managers(stage)[1].resampling_fn_data
        resampled = resample(whole, shape, spacing, stage.spacing)
        return np.asarray(resampled, dtype=np.float32)[0]
    axis = slice_axis(spacing, stage.spacing, options.get("force_separate_z", False))
    if axis is not None:
        return resample_slices(part, shape, axis, normalize)
    return resample_cubic(part, shape, normalize)


def _spread(
    mask: NDArray[np.bool_], below: NDArray[np.int64], above: NDArray[np.int64], size: int
) -> NDArray[np.bool_]:
    """Mark, along the first axis, the voxels `below` and `above` of every marked row."""
    marked = np.zeros((size, *mask.shape[1:]), dtype=bool)
    for row, *places in zip(mask, below, above, strict=True):
        for place in places:
            marked[place] |= row
    return marked


def _nonzero_box(array: Array, name: str) -> tuple[Range, Range, Range]:
    """Bounding box of voxels other than 0: that of nnU-Net's hole-filled mask too, since holes lie inside."""
    ranges: list[Range] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.any(array, axis=others) if isinstance(array, np.ndarray) else to_host(array.any(dim=others))
        (filled,) = np.nonzero(found)
        if not filled.size:
            raise InputError(f"{name} holds nothing but zeros in the region; it is not a CT in HU", code="region-zero")
        ranges.append((int(filled[0]), int(filled[-1]) + 1))
    return (ranges[0], ranges[1], ranges[2])
