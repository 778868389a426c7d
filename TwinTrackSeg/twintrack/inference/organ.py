"""Stage 1's finding: where the organ lies on the CT's grid, by one of two rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import Array, class_probabilities, is_any_of, largest, to_host
from twintrack.inference.nnunet_model import Stage
from twintrack.inference.preprocess import Preprocessed
from twintrack.inference.resample import true_box

__all__ = ["Organ", "OrganLogits", "longest_mm", "main_parts"]

_SLAB = 16  # slices a time, so that logits on the CT grid never exist for the whole volume


@dataclass(frozen=True)
class Organ:
    """The organ on a part of the CT grid.

    Attributes
    ----------
    mask : numpy.ndarray
        bool, (z, y, x).
    offset : tuple of int
        Where that part starts in the grid, (z, y, x).
    """

    mask: NDArray[np.bool_]
    offset: tuple[int, int, int]


_NOTHING = Organ(np.zeros((1, 1, 1), dtype=bool), (0, 0, 0))


@dataclass(frozen=True)
class OrganLogits:
    """What the coarse members say, averaged, in network space.

    Attributes
    ----------
    case : Preprocessed
        The CT they looked at, and the way back.
    logits : array
        float32, (channel, a, b, c); see `twintrack.inference.arrays`. What is made of them is made where they lie.
    stage : Stage
        Their plans.
    names : tuple of str
        The labels that make the organ.
    """

    case: Preprocessed
    logits: Array
    stage: Stage
    names: tuple[str, ...]

    def organ(self, least: float | None) -> Organ:
        """Return the organ: where its probability is at least `least`, or, with None, where it is the likeliest."""
        return self._that_wins() if least is None else self._above(least)

    @property
    def _channels(self) -> list[int]:
        return [self.stage.channels[name] for name in self.names]

    def _that_wins(self) -> Organ:
        """Where the organ's logit, resampled linearly, is the largest; where regions overlap, where it is above 0."""
        channels, regions = self._channels, self.stage.overlapping
        # Interpolated logits of the organ can win only where the organ beats the background at a neighbouring voxel.
        inside = true_box(to_host(largest(self.logits[channels]) > (0 if regions else self.logits[0])))
        if inside is None:
            return _NOTHING
        (z0, z1), rows, columns = self.case.window_touched(inside)
        slabs = []
        for start in range(z0, z1, _SLAB):
            values = self.case.to_grid(self.logits, ((start, min(start + _SLAB, z1)), rows, columns))
            if regions:
                slabs.append(to_host((values[channels] > 0).any(axis=0)))
            else:
                slabs.append(to_host(is_any_of(values.argmax(axis=0), channels)))
        return Organ(np.concatenate(slabs), (z0, rows[0], columns[0])) if slabs else _NOTHING

    def _above(self, least: float) -> Organ:
        """Where the organ's probability, resampled linearly, is at least `least`."""
        values = class_probabilities(self.logits, overlapping=self.stage.overlapping)[self._channels]
        organ = (largest(values) if self.stage.overlapping else values.sum(axis=0))[None]
        inside = true_box(to_host(organ[0] >= least))
        if inside is None:
            return _NOTHING
        window = self.case.window_touched(inside)
        z, y, x = (start for start, _ in window)
        return Organ(to_host(self.case.to_grid(organ, window)[0] >= least), (z, y, x))


def longest_mm(organ: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Return the longest edge of the organ's box; 0 where there is none."""
    bounds = true_box(organ)
    if bounds is None:
        return 0.0
    return max((stop - start) * step for (start, stop), step in zip(bounds, spacing_zyx_mm, strict=True))


def main_parts(organ: NDArray[np.bool_], fraction: float) -> NDArray[np.bool_]:
    """Keep the connected parts (26 neighbours) of at least `fraction` of the largest one's voxels."""
    from scipy import ndimage

    parts, count = ndimage.label(organ, structure=np.ones((3, 3, 3), dtype=bool))
    if count < 2:
        return organ
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    is_main: NDArray[np.bool_] = (sizes > 0) & (sizes >= fraction * sizes.max())
    return is_main[parts]
