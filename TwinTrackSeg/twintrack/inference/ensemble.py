"""Stage 2: the ensemble's pooled tumour score inside the region of interest."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle import Bundle
from twintrack.errors import RoiError
from twintrack.inference.device import select_device
from twintrack.inference.network import Stage, open_stage
from twintrack.inference.preprocess import Preprocessed, preprocess
from twintrack.inference.resample import Range
from twintrack.inference.roi import Roi, grown_box
from twintrack.inference.tiles import TileMeter, count_tiles, member_logits
from twintrack.progress import CancelToken, Progress, no_progress, part
from twintrack.volume import Geometry, Volume

if TYPE_CHECKING:
    import torch

__all__ = ["EnsembleResult", "score_ensemble"]

_SLAB = 16  # slices a time, so that no second copy of all channels is made

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnsembleResult:
    """What stage 2 found, on the voxels of the region's box.

    Attributes
    ----------
    roi : Roi
        The region.
    score : numpy.ndarray
        Pooled, uncalibrated tumour score, float32 in [0, 1], (z, y, x) of the box; 0 outside the region's mask.
    vessels : numpy.ndarray or None
        Vessel label map, uint8, (z, y, x) of the box (mask or not), where the bundle predicts vessels.
    vessel_values : mapping of str to int
        Value of each vessel in `vessels`.
    members : int
        Number of networks averaged.
    tiles : int
        Number of patches predicted, over all members.
    device : str
        Where the networks ran.
    """

    roi: Roi
    score: NDArray[np.float32]
    vessels: NDArray[np.uint8] | None
    vessel_values: Mapping[str, int]
    members: int
    tiles: int
    device: str

    def score_volume(self, geometry: Geometry) -> Volume:
        """Return the score on the whole grid, 0 outside the region."""
        return Volume(self.roi.paste(self.score, geometry), geometry)

    def vessels_volume(self, geometry: Geometry) -> Volume | None:
        """Return the vessel label map on the whole grid, 0 outside the box; None where none is predicted."""
        return None if self.vessels is None else Volume(self.roi.paste(self.vessels, geometry), geometry)


def score_ensemble(
    ct: Volume,
    roi: Roi,
    bundle: Bundle,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> EnsembleResult:
    """Score every voxel of the region with the bundle's fine ensemble.

    The region's box is cropped from the CT; where it is smaller than one patch it is first grown into the CT around it,
    so that the network sees tissue rather than padding. The crop is preprocessed once. Each member's logits become
    class probabilities in network space (softmax, or sigmoid for overlapping regions), these are averaged over members,
    the tumour labels summed, and that one channel is resampled linearly (all three axes) to the CT grid.

    Parameters
    ----------
    ct : Volume
        HU, LPS-oriented.
    roi : Roi
        Region on that grid.
    bundle : Bundle
        The model.
    device : str
        See `twintrack.inference.device.select_device`.
    progress, cancel
        Called, and checked, for every tile.

    Raises
    ------
    RoiError
        If the region does not lie on the CT's grid.
    Cancelled
        Within one tile of `cancel`.
    """
    if not roi.fits(ct.geometry):
        raise RoiError(
            f"the region of interest ends at {roi.stop}, outside the CT of {ct.geometry.size} voxels (x, y, z)"
        )
    cancel = cancel or CancelToken()
    cancel.check()
    target = select_device(device)
    stage = open_stage(bundle, "fine")
    progress(0.0, "Preparing the region of interest")
    case, window = _crop(ct, roi, stage)
    folds = bundle.folds["fine"]
    tiles = count_tiles(case.data.shape[1:], stage.patch) * len(folds)
    meter = TileMeter(tiles, f"Scoring with {len(folds)} networks", part(progress, 0.05, 0.95), cancel)
    pooled = _pooled_probabilities(case, stage, folds, target, meter)
    cancel.check()
    progress(0.95, "Bringing the score to the CT's grid")
    tumour = pooled[[stage.channels[name] for name in bundle.tumor_labels]].sum(dim=0, keepdim=True)
    score = case.to_grid(tumour, window)[0].clamp_(0.0, 1.0).numpy() * roi.mask
    values = bundle.vessel_values
    channels = {stage.channels[bundle.vessel_labels[name]]: value for name, value in values.items()}
    vessels = _vessel_map(case, pooled, window, channels, bool(stage.labels.has_regions)) if channels else None
    progress(1.0, "Tumour score ready")
    _log.info("%d members, %d tiles on %s", len(folds), tiles, target)
    return EnsembleResult(roi, score, vessels, values, len(folds), tiles, str(target))


def _crop(ct: Volume, roi: Roi, stage: Stage) -> tuple[Preprocessed, tuple[Range, Range, Range]]:
    """Preprocess the region with its surroundings; return it and where the region lies in it, along (z, y, x)."""
    shape, spacing = ct.geometry.shape, ct.geometry.spacing_mm[::-1]
    patch = [0, 0, 0]
    for n, axis in enumerate(stage.axes):
        # Rounded down, so that growing never makes a second tile necessary.
        patch[axis] = int(stage.patch[n] * stage.configuration.spacing[n] / spacing[axis])
    start, stop = grown_box(roi.start[::-1], roi.stop[::-1], patch, shape)
    crop = ct.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    case = preprocess(crop, spacing, stage)
    z, y, x = ((s.start - a, s.stop - a) for s, a in zip(roi.slices, start, strict=True))
    return case, (z, y, x)


def _pooled_probabilities(
    case: Preprocessed, stage: Stage, folds: tuple[str, ...], device: torch.device, meter: TileMeter
) -> torch.Tensor:
    """Mean over members of the class probabilities, float32, (channel, a, b, c)."""
    import torch

    pooled = torch.zeros((stage.heads, *case.data.shape[1:]), dtype=torch.float32)
    for logits in member_logits(case.data, stage, folds, device, meter):
        for start in range(0, logits.shape[1], _SLAB):
            slab = slice(start, start + _SLAB)
            pooled[:, slab] += stage.labels.apply_inference_nonlin(logits[:, slab])
    return pooled.div_(len(folds))


def _vessel_map(
    case: Preprocessed,
    pooled: torch.Tensor,
    window: tuple[Range, Range, Range],
    values: Mapping[int, int],
    regions: bool,
) -> NDArray[np.uint8]:
    """Label each voxel of the window with the vessel that has the largest pooled probability of all classes there.

    Channels are resampled linearly one after the other. Where classes overlap (`regions`), a vessel must reach 0.5.
    """
    best: NDArray[np.float32] | None = None
    labels = np.zeros(tuple(stop - start for start, stop in window), dtype=np.uint8)
    if regions:
        best = np.full(labels.shape, 0.5, dtype=np.float32)
    for channel in values if regions else range(pooled.shape[0]):
        probability = case.to_grid(pooled[channel : channel + 1], window)[0].numpy()
        if best is None:
            best = probability
            labels[:] = values.get(channel, 0)
            continue
        better = probability > best
        np.copyto(best, probability, where=better)
        labels[better] = values.get(channel, 0)
    return labels
