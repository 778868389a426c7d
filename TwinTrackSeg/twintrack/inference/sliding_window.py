"""Sliding-window prediction of one member, as nnU-Net does it, with a say between tiles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, InputError
from twintrack.inference.arrays import CPU, Array, add_product, all_finite, flip, padded, stack, to_device, zeros
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Member, Stage
from twintrack.inference.pass_clock import EventClock, PassClock, WallClock
from twintrack.inference.tiling import Tile, TileMeter, most_tiles, plan_tiles
from twintrack.system.capacity import is_out_of_memory

__all__ = ["Canvas", "member_logits", "sliding_logits"]

MAX_TILES = 50_000
"""Most patches of a CT; a whole body at the resolution of a full-size network has some thousand."""


@dataclass(frozen=True)
class Canvas:
    """A preprocessed CT, padded to at least one patch, with the tiles that cover it.

    Attributes
    ----------
    data : array
        float32, (1, a, b, c); see `twintrack.inference.arrays`.
    tiles : list of Tile
        In padded voxels.
    inner : tuple of slice
        Where the unpadded data lie.
    """

    data: Array
    tiles: list[Tile]
    inner: Tile

    @classmethod
    def of(cls, data: Array, stage: Stage, mask: NDArray[np.bool_] | None = None) -> Canvas:
        """Pad `data` (1, a, b, c) as nnU-Net does and place tiles over it, or over `mask` (a, b, c)."""
        sizes = data.shape[1:]
        lacking = [max(patch - size, 0) for patch, size in zip(stage.patch, sizes, strict=True)]
        whole = padded(data, [(0, 0), *((n // 2, n - n // 2) for n in lacking)])
        z, y, x = (slice(n // 2, n // 2 + size) for n, size in zip(lacking, sizes, strict=True))
        inner: Tile = (z, y, x)
        if mask is not None:
            within = np.zeros(tuple(whole.shape[1:]), dtype=bool)
            within[inner] = mask
            mask = within
        a, b, c = whole.shape[1:]
        if (tiles := most_tiles((a, b, c), stage.patch)) > MAX_TILES:
            raise InputError(
                f"the network of {stage.folder / 'plans.json'} would look at {tiles:,} patches of {stage.patch} voxels,"
                f" more than the {MAX_TILES:,} that are allowed; give a smaller region or another bundle",
                code="too-many-patches",
            )
        return cls(whole, plan_tiles((a, b, c), stage.patch, mask), inner)


def member_logits(
    canvas: Canvas,
    tiles: Sequence[Tile],
    bundle: Bundle,
    stage: Stage,
    name: str,
    fold: str,
    store: NetworkStore,
    meter: TileMeter,
) -> tuple[Array, Array]:
    """Predict with one member; where the device proves too small, step down and begin the member again.

    Returns
    -------
    tuple of array
        See `sliding_logits`.

    Raises
    ------
    BundleError
        If the member cannot be used or gives values that are not finite.
    InputError
        If there is too little memory on every device.
    """
    begun = meter.done
    while True:
        meter.before()
        try:
            # The member has no name here: it must be gone before the next one is loaded.
            logits, covered = sliding_logits(
                store.member(bundle, stage, name, fold),
                canvas,
                tiles,
                stage,
                meter,
                batch=store.batch_for(stage),
                sums=store.sums,
                queued=store.queued,
            )
            if not all_finite(logits):
                raise BundleError(
                    f"member fold_{fold} gives values that are not finite on this CT",
                    code="values-not-finite",
                    path=stage.folder,
                )
            return logits, covered
        except (RuntimeError, MemoryError) as error:
            if store.backend == "torch" and not is_out_of_memory(error):
                raise
            failed = error
        # Outside of the handler and without traceback: its frames hold what filled the memory.
        store.step_down(failed.with_traceback(None))
        meter.done = begun


def sliding_logits(
    member: Member,
    canvas: Canvas,
    tiles: Sequence[Tile],
    stage: Stage,
    meter: TileMeter,
    *,
    batch: int = 1,
    sums: str = CPU,
    queued: bool = False,
) -> tuple[Array, Array]:
    """Predict tile by tile; overlapping tiles are averaged with nnU-Net's Gaussian weight.

    Tiles, padding, weights and mirroring are nnU-Net's own; sums are kept in float32 (nnU-Net keeps them in float16).

    Parameters
    ----------
    member : Member
        The network.
    canvas : Canvas
        The data.
    tiles : sequence of Tile
        Those of the canvas, or some of them.
    stage : Stage
        Its plans.
    meter : TileMeter
        Told of every tile; may stop before one.
    batch : int
        Tiles predicted together.
    sums : str
        torch's name of where tiles are summed up.
    queued : bool
        Whether the member's device is a CUDA card that is not waited for: see
        `twintrack.inference.pass_clock.EventClock`.

    Returns
    -------
    tuple of array
        Logits, float32, (channel, a, b, c) without padding, 0 where there is no tile; and where there is one, bool,
        (a, b, c). Both on `sums`.
    """
    weight = _weight_on(sums, stage.patch)
    data = to_device(canvas.data, member.device)
    total = zeros((stage.heads, *data.shape[1:]), sums)
    weights = zeros(data.shape[1:], sums)
    clock: PassClock = EventClock(meter) if queued else WallClock(meter)
    for start in range(0, len(tiles), batch):
        group = tiles[start : start + batch]
        patches = stack([data[:, tile[0], tile[1], tile[2]] for tile in group])
        for tile, logits in zip(group, _predict(member, patches, meter, clock), strict=True):
            place = (slice(None), *tile)
            add_product(total[place], to_device(logits, sums), weight)
            weights[tile] += weight
        clock.done(len(group))
    clock.finish()
    inner = (slice(None), *canvas.inner)
    total, weights = total[inner], weights[canvas.inner]
    total /= weights.clip(min=float(np.finfo(np.float32).tiny))
    return total, weights > 0


@lru_cache(maxsize=2)
def tile_weight(patch: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return how much each voxel of a tile counts: a Gaussian of an eighth of the patch, 10 in its centre.

    nnU-Net rounds the weights to float16; so do we, or overlaps would be blended differently. What is rounded to 0
    counts as little as the least other weight, so that nothing is divided by 0.
    """
    from scipy import ndimage

    peak = np.zeros(patch)
    peak[tuple(edge // 2 for edge in patch)] = 1
    gaussian = ndimage.gaussian_filter(peak, [edge / 8 for edge in patch], mode="constant")
    # By way of float32, as torch converts.
    weight = (gaussian / (gaussian.max() / 10)).astype(np.float32).astype(np.float16).astype(np.float32)
    weight[weight == 0] = weight[weight > 0].min()
    return weight


@lru_cache(maxsize=4)
def _weight_on(device: str, patch: tuple[int, int, int]) -> Array:
    return to_device(tile_weight(patch), device)


def _predict(member: Member, patches: Array, meter: TileMeter, clock: PassClock) -> Array:
    """Logits of patches (batch, 1, a, b, c), averaged over the member's mirrorings, as float32."""
    flips = [
        tuple(axis + 2 for axis in axes)
        for n in range(len(member.mirror_axes) + 1)
        for axes in itertools.combinations(member.mirror_axes, n)
    ]
    total: Array = None
    for axes in flips:
        meter.before()
        with clock.network():
            logits = flip(member.network(flip(patches, axes)), axes)
        total = logits if total is None else total + logits
    return total if len(flips) == 1 else total / len(flips)
