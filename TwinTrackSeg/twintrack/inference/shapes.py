"""nnU-Net's rules for the size of a resampled volume and for resampling thick slices apart.

They are a few lines in nnU-Net, in a module whose import takes half a second for pandas; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["network_shape", "slice_axis"]

THICK = 3.0
"""How many times larger the largest spacing must be than the smallest for slices to count as thick."""


def network_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> list[int]:
    """Return the size of a volume of `shape` and voxel size `spacing` when resampled to `target`.

    At least one voxel along each axis: a slab thinner than half a network voxel would vanish.
    """
    return [max(round(old / new * size), 1) for size, old, new in zip(shape, spacing, target, strict=True)]


def slice_axis(spacing: Sequence[float], target: Sequence[float], apart: bool | None) -> int | None:
    """Return the axis across thick slices, which is resampled apart from the others; None if there is none.

    Parameters
    ----------
    spacing, target : sequence of float
        Voxel size before and after, along the same axes.
    apart : bool or None
        Whether the plans ask for it; None leaves it to the spacings.
    """
    candidates = [spacing] if apart else []
    if apart is None:
        candidates = [voxel for voxel in (spacing, target) if max(voxel) / min(voxel) > THICK][:1]
    for voxel in candidates:
        largest = [axis for axis, size in enumerate(voxel) if max(voxel) / size == 1]
        if len(largest) == 1:
            return largest[0]
    return None
