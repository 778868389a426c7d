"""Sliding-window prediction of one member, as nnU-Net does it, with a say between tiles."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, InputError
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Member, Stage
from twintrack.inference.tiling import Tile, TileMeter, most_tiles, plan_tiles
from twintrack.system.capacity import is_out_of_memory

if TYPE_CHECKING:
    import torch

__all__ = ["Canvas", "member_logits", "sliding_logits"]

MAX_TILES = 50_000
"""Most patches of a CT; a whole body at the resolution of a full-size network has some thousand."""


@dataclass(frozen=True)
class Canvas:
    """A preprocessed CT, padded to at least one patch, with the tiles that cover it.

    Attributes
    ----------
    data : torch.Tensor
        float32, (1, a, b, c).
    tiles : list of Tile
        In padded voxels.
    inner : tuple of slice
        Where the unpadded data lie.
    """

    data: torch.Tensor
    tiles: list[Tile]
    inner: Tile

    @classmethod
    def of(cls, data: NDArray[np.float32], stage: Stage, mask: NDArray[np.bool_] | None = None) -> Canvas:
        """Pad `data` (1, a, b, c) as nnU-Net does and place tiles over it, or over `mask` (a, b, c)."""
        import torch
        from acvl_utils.cropping_and_padding.padding import pad_nd_image

        padded, place = pad_nd_image(torch.from_numpy(data), stage.patch, "constant", {"value": 0}, True, None)
        inner: Tile = (place[1], place[2], place[3])
        if mask is not None:
            whole = np.zeros(tuple(padded.shape[1:]), dtype=bool)
            whole[inner] = mask
            mask = whole
        a, b, c = padded.shape[1:]
        if (tiles := most_tiles((a, b, c), stage.patch)) > MAX_TILES:
            raise InputError(
                f"the network of {stage.folder / 'plans.json'} would look at {tiles:,} patches of {stage.patch} voxels,"
                f" more than the {MAX_TILES:,} that are allowed; give a smaller region or another bundle",
                code="too-many-patches",
            )
        return cls(padded, plan_tiles((a, b, c), stage.patch, mask), inner)


def member_logits(
    canvas: Canvas,
    tiles: Sequence[Tile],
    bundle: Bundle,
    stage: Stage,
    name: str,
    fold: str,
    store: NetworkStore,
    meter: TileMeter,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict with one member; where the device proves too small, step down and begin the member again.

    Returns
    -------
    tuple of torch.Tensor
        See `sliding_logits`.

    Raises
    ------
    BundleError
        If the member cannot be used or gives values that are not finite.
    InputError
        If there is too little memory on every device.
    """
    import torch

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
                batch=store.batch,
                sums=store.sums,
            )
            if not bool(torch.isfinite(logits).all()):
                raise BundleError(
                    f"member fold_{fold} gives values that are not finite on this CT",
                    code="values-not-finite",
                    path=stage.folder,
                )
            return logits, covered
        except RuntimeError as error:
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
    sums: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
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
    sums : torch.device, optional
        Where tiles are summed up; by default in main memory.

    Returns
    -------
    tuple of torch.Tensor
        Logits, float32, (channel, a, b, c) without padding, 0 where there is no tile; and where there is one, bool,
        (a, b, c). Both on `sums`.
    """
    import torch
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    sums = sums or torch.device("cpu")
    # nnU-Net rounds the weights to float16; so do we, or overlaps would be blended differently.
    weight = compute_gaussian(
        stage.patch, sigma_scale=1.0 / 8, value_scaling_factor=10, dtype=torch.float16, device=torch.device("cpu")
    ).to(sums, torch.float32)
    data = canvas.data.to(member.device)
    total = torch.zeros((stage.heads, *data.shape[1:]), dtype=torch.float32, device=sums)
    weights = torch.zeros(data.shape[1:], dtype=torch.float32, device=sums)
    for start in range(0, len(tiles), batch):
        group = tiles[start : start + batch]
        patches = torch.stack([data[:, tile[0], tile[1], tile[2]] for tile in group])
        for tile, logits in zip(group, _predict(member, patches, meter), strict=True):
            place = (slice(None), *tile)
            total[place].addcmul_(logits.to(sums), weight)
            weights[tile] += weight
        meter.after(len(group))
    unpadded = (slice(None), *canvas.inner)
    weights = weights[canvas.inner]
    return total[unpadded].div_(weights.clamp_min(torch.finfo(torch.float32).tiny)), weights > 0


def _predict(member: Member, patches: torch.Tensor, meter: TileMeter) -> torch.Tensor:
    """Logits of patches (batch, 1, a, b, c), averaged over the member's mirrorings, as float32."""
    import torch

    flips = [
        tuple(axis + 2 for axis in axes)
        for n in range(len(member.mirror_axes) + 1)
        for axes in itertools.combinations(member.mirror_axes, n)
    ]
    total: torch.Tensor | None = None
    # Half precision as in nnU-Net: on CUDA alone.
    with torch.no_grad(), torch.autocast("cuda", enabled=member.device.type == "cuda"):
        for axes in flips:
            meter.before()
            start = time.perf_counter()
            logits = member.network(patches.flip(axes)).flip(axes).float() if axes else member.network(patches).float()
            if member.device.type == "cuda":
                torch.cuda.synchronize()  # or the clock would tell how long it took to ask
            meter.network_s += time.perf_counter() - start
            total = logits if total is None else total + logits
    assert total is not None  # there is always the unmirrored one
    return total if len(flips) == 1 else total / len(flips)
