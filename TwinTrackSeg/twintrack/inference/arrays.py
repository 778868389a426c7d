"""Arrays on the way through a model: numpy's in main memory, torch's on a graphics card.

Both add, compare and slice in the same words; here is what they call differently. torch is imported only where an
array is to lie on a card, so that a run on the CPU does without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    import torch

__all__ = [
    "CPU",
    "Array",
    "add_product",
    "all_finite",
    "as_float32",
    "as_float64",
    "class_probabilities",
    "flip",
    "largest",
    "like",
    "stack",
    "to_device",
    "to_host",
    "zeros",
    "zeros_beside",
]

CPU = "cpu"
"""torch's name for the CPU; arrays of its memory are numpy's."""

Array: TypeAlias = Any
"""numpy.ndarray in main memory, or torch.Tensor on a graphics card."""


def to_host(array: Array) -> NDArray[Any]:
    """Return the array in main memory."""
    host: NDArray[Any] = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return host


def to_device(array: Array, device: str) -> Array:
    """Return the array in the memory of `device` (torch's name of it)."""
    if device == CPU:
        return to_host(array)
    import torch

    return _tensor(array).to(torch.device(device))


def like(array: Array, other: Array) -> Array:
    """Return `array` where `other` lies."""
    return to_host(array) if isinstance(other, np.ndarray) else _tensor(array).to(other.device)


def _tensor(array: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def zeros(shape: Sequence[int], device: str, dtype: DTypeLike = np.float32) -> Array:
    """Return zeros in the memory of `device`."""
    if device == CPU:
        return np.zeros(shape, dtype=dtype)
    import torch

    return torch.zeros(tuple(shape), dtype=getattr(torch, np.dtype(dtype).name), device=torch.device(device))


def zeros_beside(array: Array, shape: Sequence[int]) -> Array:
    """Return zeros of the kind of `array`, in the same memory."""
    return np.zeros(shape, dtype=array.dtype) if isinstance(array, np.ndarray) else array.new_zeros(tuple(shape))


def as_float32(array: Array) -> Array:
    """Return the array as float32."""
    return array.astype(np.float32, copy=False) if isinstance(array, np.ndarray) else array.float()


def as_float64(array: Array) -> Array:
    """Return the array as float64."""
    return array.astype(np.float64, copy=False) if isinstance(array, np.ndarray) else array.double()


def stack(arrays: Sequence[Array]) -> Array:
    """Join arrays along a new first axis."""
    if isinstance(arrays[0], np.ndarray):
        return np.stack(arrays)
    import torch

    return torch.stack(list(arrays))


def flip(array: Array, axes: Sequence[int]) -> Array:
    """Return the array mirrored along `axes`; with none, itself."""
    if not axes:
        return array
    return np.flip(array, tuple(axes)) if isinstance(array, np.ndarray) else array.flip(tuple(axes))


def largest(channels: Array) -> Array:
    """Return the largest value over the first axis."""
    return channels.max(axis=0) if isinstance(channels, np.ndarray) else channels.amax(dim=0)


def all_finite(channels: Array) -> bool:
    """Whether no value is infinite or no number."""
    if isinstance(channels, np.ndarray):
        return all(bool(np.isfinite(channel).all()) for channel in channels)
    return bool(channels.isfinite().all())


def add_product(total: Array, channels: Array, weight: Array) -> None:
    """Add `channels` (channel, a, b, c) times `weight` (a, b, c) to `total`, in place."""
    if not isinstance(total, np.ndarray):
        total.addcmul_(channels, weight)
        return
    for place, channel in zip(total, channels, strict=True):  # one at a time stays in the processor's cache
        place += channel * weight


def class_probabilities(logits: Array, *, overlapping: bool) -> Array:
    """Return the probabilities (channel, a, b, c) of logits, float32.

    Parameters
    ----------
    logits : array
        float32, (channel, a, b, c).
    overlapping : bool
        Whether each channel is a region of its own (sigmoid) in place of one label a voxel (softmax).
    """
    if not isinstance(logits, np.ndarray):
        return _torch_probabilities(logits, overlapping)
    if overlapping:
        # No overflow on either side: the exponent is never above 0.
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, np.float32(1), small) / (1 + small)
    powers = logits - logits.max(axis=0)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=0)
    return powers


def _torch_probabilities(logits: torch.Tensor, overlapping: bool) -> torch.Tensor:
    return logits.sigmoid() if overlapping else logits.softmax(dim=0)
