"""A brush for the tumour's outline where there is no Segment Editor: discs in a slice, and a way back by strokes.

Only the tumour's segment is touched. Its surface follows each movement; those of the vessels stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.IsoContours import isoSurface
from TwinTrackSegLib.mrml.result.ResultSegmentation import (
    TUMOR_SEGMENT_ID,
    contentTime,
    ensureTumor,
    setTumorMask,
    setTumorSurface,
)
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, ijkToRas, segmentMask
from TwinTrackSegLib.mrml.VolumeParts import Box, boundingBox, cropped

__all__ = ["Brush"]

LEVEL = 0.5
MOST_STROKES = 50
"""That can be taken back."""

Point = Sequence[float]


class Brush:
    """Adds to the tumour of a result, or takes away from it.

    Parameters
    ----------
    result : SceneResult
        Whose tumour it is.

    Raises
    ------
    InputError
        If its CT or segmentation left the scene.
    """

    def __init__(self, result: SceneResult) -> None:
        if result.nodes.ct is None or result.nodes.segmentation is None:
            raise InputError(
                "the CT or the segmentation is no longer in the scene; segment the CT again", code="ct-removed"
            )
        self.result = result
        self._node, self._ct = result.nodes.segmentation, result.nodes.ct
        ensureTumor(self._node, self._ct)
        self._grid = geometryFromNode(self._ct)
        self._toRas = slicer.util.arrayFromVTKMatrix(ijkToRas(self._ct))
        self._strokes: list[tuple[Box, NDArray[np.bool_]]] = []
        self._mask: NDArray[np.bool_] | None = None
        self._box: Box | None = None
        self._seen = 0

    @property
    def canUndo(self) -> bool:
        """Whether there is a stroke that can be taken back."""
        return bool(self._strokes) and self._seen == contentTime(self._node)

    def begin(self) -> None:
        """Begin a stroke: what is drawn until the next one is taken back with it."""
        self._follow()
        self._strokes = self._strokes[-MOST_STROKES + 1 :]
        self._strokes.append(((slice(0, 0), slice(0, 0), slice(0, 0)), np.zeros((0, 0, 0), bool)))

    def draw(self, start: Point, end: Point, normal: Point, diameter_mm: float, *, erase: bool = False) -> bool:
        """Draw with a disc from one point to another; return whether a voxel changed.

        Parameters
        ----------
        start, end : sequence of float
            In RAS mm, in one slice.
        normal : sequence of float
            Direction across the slice, in RAS. The disc is as thick as a voxel is in this direction.
        diameter_mm : float
            Of the disc.
        erase : bool
            Whether it takes away.
        """
        if not self._strokes:
            self.begin()
        self._follow()
        mask = self._mask
        assert mask is not None
        box = self._around(np.array([start, end], float), diameter_mm)
        if box is None:
            return False
        inside = self._disc(
            box, np.asarray(start, float), np.asarray(end, float), np.asarray(normal, float), diameter_mm
        )
        now = mask[box] & ~inside if erase else mask[box] | inside
        if np.array_equal(now, mask[box]):
            return False
        self._remember(box)
        mask[box] = now
        self._box = box if self._box is None else _both(self._box, box)
        self._write()
        return True

    def undo(self) -> None:
        """Take the last stroke back."""
        while self.canUndo:
            box, before = self._strokes.pop()
            if before.size:
                assert self._mask is not None
                self._mask[box] = before
                self._write()
                return

    def _follow(self) -> None:
        """Take up voxels that something else has changed since: its strokes are none of ours."""
        now = contentTime(self._node)
        if self._mask is None or now != self._seen:
            self._mask = segmentMask(self._node, TUMOR_SEGMENT_ID, self._ct)
            self._box, self._seen = boundingBox(self._mask), now
            self._strokes = []

    def _around(self, points: NDArray[np.float64], diameter_mm: float) -> Box | None:
        """Return the voxels that a disc at these points may reach; None outside the CT."""
        index = (np.c_[points, np.ones(len(points))] @ np.linalg.inv(self._toRas).T)[:, :3]
        reach = diameter_mm / 2 / np.asarray(self._grid.spacing_mm) + 1
        low = np.maximum(np.floor(index.min(axis=0) - reach), 0).astype(int)
        high = np.minimum(np.ceil(index.max(axis=0) + reach) + 1, self._grid.size).astype(int)
        if (high <= low).any():
            return None
        x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return (z, y, x)

    def _disc(
        self,
        box: Box,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        normal: NDArray[np.float64],
        diameter_mm: float,
    ) -> NDArray[np.bool_]:
        """Return which voxels of a box (z, y, x) lie within half a diameter of the line, in its slice."""
        z, y, x = np.meshgrid(*(np.arange(side.start, side.stop) for side in box), indexing="ij")
        points = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ self._toRas[:3].T
        normal = normal / np.linalg.norm(normal)
        axes = self._toRas[:3, :3]
        across = (points - start) @ normal
        thickness_mm = float(np.abs(normal @ axes).max())
        flat = points - across[..., None] * normal
        line = end - start
        length = float(line @ line)
        along = np.clip((flat - start) @ line / length, 0, 1) if length > 0 else np.zeros(across.shape)
        off = np.linalg.norm(flat - start - along[..., None] * line, axis=-1)
        inside: NDArray[np.bool_] = (off <= diameter_mm / 2) & (np.abs(across) <= thickness_mm / 2 + 1e-6)
        return inside

    def _remember(self, box: Box) -> None:
        """Keep what was there before the stroke, in the box that it has reached until now."""
        assert self._mask is not None
        old, before = self._strokes.pop()
        wide = box if not before.size else _both(old, box)
        kept = self._mask[wide].copy()
        if before.size:
            kept[tuple(slice(o.start - w.start, o.stop - w.start) for o, w in zip(old, wide, strict=True))] = before
        self._strokes.append((wide, kept))

    def _write(self) -> None:
        mask, box = self._mask, self._box
        assert mask is not None
        assert box is not None
        setTumorMask(self._node, self._ct, mask[box], box)
        setTumorSurface(self._node, isoSurface(cropped(Volume(mask.view(np.uint8), self._grid), box), LEVEL))
        self._seen = contentTime(self._node)


def _both(one: Box, other: Box) -> Box:
    z, y, x = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (z, y, x)
