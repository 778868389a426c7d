"""Sliding-window prediction of one member, as nnU-Net does it, with a say between tiles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import BundleError, InputError
from twintrack.inference.network import Member, Stage, load_member
from twintrack.progress import CancelToken, Progress

if TYPE_CHECKING:
    import torch

__all__ = ["Tile", "TileMeter", "count_tiles", "member_logits", "plan_tiles", "sliding_logits"]

Tile = tuple[slice, slice, slice]
"""A patch's place in network space."""

TILE_STEP = 0.5
"""Largest step between tiles as a fraction of the patch: nnU-Net's default."""


@dataclass
class TileMeter:
    """Counts the tiles of all members, reports each one done and lets the user stop before each one.

    Attributes
    ----------
    total : int
        Tiles planned, over all members.
    message : str
        What the tiles are for.
    progress, cancel
        Called with the fraction done; checked before every pass through a network.
    done : int
        Tiles done so far.
    """

    total: int
    message: str
    progress: Progress
    cancel: CancelToken
    done: int = 0

    def before(self) -> None:
        """Raise if the user cancelled."""
        self.cancel.check()

    def after(self) -> None:
        """Count and report one tile."""
        self.done += 1
        self.progress(self.done / self.total, f"{self.message}: tile {self.done} of {self.total}")


def plan_tiles(shape: tuple[int, int, int], patch: tuple[int, int, int]) -> list[Tile]:
    """Return nnU-Net's tiles for a volume of at least the patch's size."""
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    steps = compute_steps_for_sliding_window(shape, patch, TILE_STEP)
    a, b, c = patch
    return [(slice(i, i + a), slice(j, j + b), slice(k, k + c)) for i, j, k in itertools.product(*steps)]


def count_tiles(shape: tuple[int, ...], patch: tuple[int, int, int]) -> int:
    """Return how many tiles `sliding_logits` will run for data of `shape` (a, b, c)."""
    a, b, c = (max(n, p) for n, p in zip(shape, patch, strict=True))
    return len(plan_tiles((a, b, c), patch))


def member_logits(
    data: NDArray[np.float32], stage: Stage, folds: Sequence[str], device: torch.device, meter: TileMeter
) -> Iterator[torch.Tensor]:
    """Load one member after the other and yield its logits; only one is in memory at a time.

    Yields
    ------
    torch.Tensor
        float32, (channel, a, b, c), on the CPU; the caller may overwrite it.

    Raises
    ------
    BundleError
        If a member cannot be used or gives values that are not finite.
    """
    import torch

    for fold in folds:
        meter.before()
        member = load_member(stage, fold, device)
        logits = sliding_logits(member, data, stage, meter)
        if not bool(torch.isfinite(logits).all()):
            raise BundleError(f"{stage.folder}: member {member.name} gives values that are not finite on this CT")
        yield logits


def sliding_logits(member: Member, data: NDArray[np.float32], stage: Stage, meter: TileMeter) -> torch.Tensor:
    """Predict a volume tile by tile; overlapping tiles are averaged with nnU-Net's Gaussian weight.

    Tiles, padding, weights and mirroring are nnU-Net's own; sums are kept in float32 (nnU-Net keeps them in float16).

    Parameters
    ----------
    member : Member
        The network.
    data : numpy.ndarray
        float32, (1, a, b, c), as `twintrack.inference.preprocess.preprocess` returns it.
    stage : Stage
        Its plans.
    meter : TileMeter
        Told of every tile; may stop before one.

    Returns
    -------
    torch.Tensor
        Logits, float32, (channel, a, b, c), on the CPU.

    Raises
    ------
    InputError
        If the device has too little memory for one tile.
    """
    import torch
    from acvl_utils.cropping_and_padding.padding import pad_nd_image
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    padded, inner = pad_nd_image(torch.from_numpy(data), stage.patch, "constant", {"value": 0}, True, None)
    # nnU-Net rounds the weights to float16; so do we, or overlaps would be blended differently.
    weight = compute_gaussian(
        stage.patch, sigma_scale=1.0 / 8, value_scaling_factor=10, dtype=torch.float16, device=torch.device("cpu")
    ).float()
    total = torch.zeros((stage.heads, *padded.shape[1:]), dtype=torch.float32)
    weights = torch.zeros(padded.shape[1:], dtype=torch.float32)
    for tile in plan_tiles(tuple(padded.shape[1:]), stage.patch):
        place = (slice(None), *tile)
        total[place] += _predict(member, padded[place][None], meter).mul_(weight)
        weights[tile] += weight
        meter.after()
    total /= weights
    unpadded = (slice(None), *inner[1:])
    return total[unpadded]


def _predict(member: Member, patch: torch.Tensor, meter: TileMeter) -> torch.Tensor:
    """Logits of one patch (1, 1, a, b, c), averaged over the member's mirrorings, as float32 on the CPU."""
    import torch

    flips = [
        tuple(axis + 2 for axis in axes)
        for n in range(len(member.mirror_axes) + 1)
        for axes in itertools.combinations(member.mirror_axes, n)
    ]
    patch = patch.to(member.device).contiguous()
    total = torch.zeros((), device=member.device)
    try:
        # Half precision as in nnU-Net: on CUDA alone.
        with torch.no_grad(), torch.autocast("cuda", enabled=member.device.type == "cuda"):
            for axes in flips:
                meter.before()
                total = total + member.network(patch.flip(axes)).flip(axes)[0].float()
    except torch.OutOfMemoryError as error:
        raise InputError("the GPU has too little free memory for this model; run again with --device cpu") from error
    return (total / len(flips)).cpu()
