"""Blocks of phantoms as the experiment asks for them: made once, then read from its folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom import LABELS, PhantomCase, RaterPanel, Slab, make_phantom
from twintrack.studies.table1.cache import content_key
from twintrack.system.atomic import atomic_path
from twintrack.training import CaseVolumes, Labels
from twintrack.volume import Geometry, Volume

__all__ = ["Block", "BlockStore"]

FORMAT = 1
"""Counted up when phantoms or what is kept of them change."""


@dataclass(frozen=True)
class Block:
    """What the experiment needs of a phantom, on one grid.

    Attributes
    ----------
    ct, anatomy, vessels, true_mhr : Volume
        As in `twintrack.phantom.PhantomCase`.
    masks : mapping of str to Volume
        Each rater's.
    true_raters : mapping of str to Volume
        Chance that this rater marks a voxel; empty for raters without habits.
    """

    ct: Volume
    anatomy: Volume
    vessels: Volume
    true_mhr: Volume
    masks: Mapping[str, Volume]
    true_raters: Mapping[str, Volume]

    @classmethod
    def of(cls, case: PhantomCase) -> Block:
        """Take it from a phantom."""
        masks = dict(zip(case.raters, case.annotations, strict=True))
        return cls(case.ct, case.anatomy, case.vessels, case.true_mhr, masks, case.true_raters)

    def volumes(self) -> CaseVolumes:
        """Return what training takes; the block as a whole is the region."""
        # Vessels would take most of what so short a training can learn.
        gland = Labels(self.anatomy, {name: LABELS[name] for name in ("tumor", "pancreas")})
        return CaseVolumes(self.ct, self.masks, gland, self.ct.with_array(np.ones(self.ct.array.shape, np.uint8)))


class BlockStore:
    """Makes blocks, or finds them again; the one asked for last is at hand, all of them would fill memory.

    Parameters
    ----------
    slab : Slab
        Size of the blocks.
    panel : RaterPanel or None
        Raters with habits.
    raters : int
        How many there are without a panel.
    folder : Path or None
        Where blocks are kept; None: nowhere. A file that cannot be read is made again.
    """

    def __init__(self, slab: Slab, panel: RaterPanel | None, raters: int, folder: Path | None) -> None:
        self._slab, self._panel, self._raters, self._folder = slab, panel, raters, folder
        self._last: tuple[int, Block] | None = None

    def __call__(self, seed: int) -> Block:
        """Return the block of a seed."""
        if self._last is None or self._last[0] != seed:
            self._last = (seed, self._found(seed))
        return self._last[1]

    def _found(self, seed: int) -> Block:
        if self._folder is None:
            return self._made(seed)
        path = self._folder / f"{content_key(FORMAT, seed, self._slab, self._panel, self._raters)}.npz"
        try:
            return _read(path)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            block = self._made(seed)
        self._folder.mkdir(exist_ok=True)
        with atomic_path(path, overwrite=True, mark=False) as partial:
            partial.write_bytes(_packed(block))
        return block

    def _made(self, seed: int) -> Block:
        raters = self._raters if self._panel is None else None
        return Block.of(make_phantom(seed, slab=self._slab, panel=self._panel, raters=raters))


_ALONE = ("ct", "anatomy", "vessels", "true_mhr")
_GRID = ("size", "spacing_mm", "origin_mm", "direction")
_MASK, _CHANCE = "mask/", "chance/"


def _packed(block: Block) -> bytes:
    geometry = block.ct.geometry
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(block, name).array for name in _ALONE}
    arrays |= {_MASK + name: mask.array for name, mask in block.masks.items()}
    arrays |= {_CHANCE + name: chance.array for name, chance in block.true_raters.items()}
    arrays |= {name: np.array(getattr(geometry, name)) for name in _GRID}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read(path: Path) -> Block:
    with np.load(path, allow_pickle=False) as stored:
        size, spacing_mm, origin_mm, direction = (tuple(stored[name].tolist()) for name in _GRID)
        geometry = Geometry(size, spacing_mm, origin_mm, direction)
        alone = {name: Volume(stored[name], geometry) for name in _ALONE}
        masks, chances = (
            {name.removeprefix(kind): Volume(stored[name], geometry) for name in stored.files if name.startswith(kind)}
            for kind in (_MASK, _CHANCE)
        )
    return Block(**alone, masks=masks, true_raters=chances)
