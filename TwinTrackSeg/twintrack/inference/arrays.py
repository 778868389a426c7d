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
    "assign",
    "at_least",
    "class_probabilities",
    "edge_values",
    "flip",
    "is_any_of",
    "largest",
    "like",
    "padded",
    "raise_to",
    "stack",
    "to_device",
    "to_host",
    "transposed",
    "uploaded",
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


def uploaded(array: NDArray[Any], device: str) -> Array:
    """Return an array of any kind of number, strides and order of bytes in the memory of `device`, a graphics card.

    Kinds of number of which torch cannot take every step of preprocessing arrive as float32.
    """
    native = array.dtype.newbyteorder("=")
    kind = native if native.name in _TORCH_TYPES else np.dtype(np.float32)
    values = np.ascontiguousarray(array, dtype=kind)
    # A view of a file or of another program's memory may be read-only, of which torch warns.
    return to_device(values if values.flags.writeable else values.copy(), device)


_TORCH_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64")


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


def zeros_beside(array: Array, shape: Sequence[int], dtype: DTypeLike | None = None) -> Array:
    """Return zeros in the memory of `array`, and of its kind if no other is named."""
    if isinstance(array, np.ndarray):
        return np.zeros(shape, dtype=array.dtype if dtype is None else dtype)
    import torch

    return array.new_zeros(tuple(shape), dtype=None if dtype is None else getattr(torch, np.dtype(dtype).name))


def as_float32(array: Array) -> Array:
    """Return the array as float32."""
    return array.astype(np.float32, copy=False) if isinstance(array, np.ndarray) else array.float()


def as_float64(array: Array) -> Array:
    """Return the array as float64."""
    return array.astype(np.float64, copy=False) if isinstance(array, np.ndarray) else array.double()


def transposed(array: Array, axes: Sequence[int] | NDArray[np.signedinteger[Any]]) -> Array:
    """Return a view with the axes in another order."""
    return array.transpose(axes) if isinstance(array, np.ndarray) else array.permute(tuple(int(axis) for axis in axes))


def padded(array: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """Return the array with zeros before and behind it along each axis; itself where there are none to add."""
    if not any(before or behind for before, behind in widths):
        return array
    if isinstance(array, np.ndarray):
        return np.pad(array, widths)
    import torch

    return torch.nn.functional.pad(array, [n for pair in reversed(widths) for n in pair])


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


def edge_values(values: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the smallest and the largest value over some axes, which stay with length 1."""
    if isinstance(values, np.ndarray):
        return np.min(values, axis=axes, keepdims=True), np.max(values, axis=axes, keepdims=True)
    return values.amin(dim=axes, keepdim=True), values.amax(dim=axes, keepdim=True)


def at_least(values: Array, low: float) -> Array:
    """Raise what is below `low` to it, in place."""
    return np.maximum(values, low, out=values) if isinstance(values, np.ndarray) else values.clamp_(min=low)


def raise_to(values: Array, other: Array) -> None:
    """Replace each value by that of `other` where it is larger, in place."""
    if isinstance(values, np.ndarray):
        np.maximum(values, other, out=values)
        return
    import torch

    torch.maximum(values, other, out=values)


def assign(array: Array, where: Array, value: float) -> None:
    """Set `array` to a value where the mask is true, in place; a card is not waited for."""
    if isinstance(array, np.ndarray):
        array[where] = value
    else:
        array.masked_fill_(where, value)


def is_any_of(labels: Array, values: Sequence[int]) -> Array:
    """Return where a label is one of some values."""
    if isinstance(labels, np.ndarray):
        return np.isin(labels, values)
    found = labels == values[0]
    for value in values[1:]:
        found |= labels == value
    return found


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
