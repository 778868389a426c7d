"""Stage 2: the ensemble's pooled tumour score inside the region of interest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import RoiError
from twintrack.inference.arrays import Array, as_float32, class_probabilities, like, to_device, to_host, zeros_beside
from twintrack.inference.ensemble_result import EnsembleResult, MemberMap
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import Stage, open_stage
from twintrack.inference.preprocess import preprocess_region
from twintrack.inference.rater_maps import RaterSums, rater_spread
from twintrack.inference.roi import Roi
from twintrack.inference.slices import score_slices
from twintrack.inference.sliding_window import Canvas, member_logits
from twintrack.inference.tiling import Tile, TileMeter, tiles_near
from twintrack.inference.vessel_map import VesselChannels, vessel_map
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.volume import Volume

__all__ = ["SKIP_BELOW", "Disagreement", "EnsembleResult", "MemberMap", "score_ensemble"]

SKIP_BELOW = 0.01
"""Later members leave out a tile where the first one sees a tumour probability below this, in it and in every tile that
shares voxels with it."""

_SLAB = 16  # slices a time, so that no second copy of all channels is made

_log = logging.getLogger(__name__)


def score_ensemble(
    ct: Volume,
    roi: Roi,
    bundle: Bundle,
    *,
    device: str = "auto",
    store: NetworkStore | None = None,
    skip_below: float = SKIP_BELOW,
    keep_each: bool = False,
    each_vessels: bool = True,
    keep_raters: bool = False,
    samples: int = 0,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> EnsembleResult:
    """Score every voxel of the region with the bundle's fine ensemble.

    The region's box is cropped from the CT; where it is smaller than one patch it is first grown into the CT around it,
    so that the network sees tissue rather than padding. The crop is preprocessed once, tiles are placed over the
    region's mask. Each member's logits become class probabilities in network space (softmax, or sigmoid for overlapping
    regions), these are averaged over members, the tumour labels summed, and that one channel is resampled linearly (all
    three axes) to the CT grid.

    Where tumour labels have weights, their weighted probabilities are summed. Where members belong to raters, each
    rater counts the same: the mean over raters of the mean over each rater's members.

    Members after the first look only at tiles in which, or next to which, the first one gives some voxel a tumour
    probability of at least `skip_below`; elsewhere the mean is that of the members that looked. Members that belong to
    raters look everywhere: that one rater sees nothing says little about the others.

    Parameters
    ----------
    ct : Volume
        HU, LPS-oriented.
    roi : Roi
        Region on that grid.
    bundle : Bundle
        The model.
    device : str
        See `twintrack.inference.devices.select_device`; of no meaning with a `store`.
    store : NetworkStore, optional
        Keeps the networks for the next run.
    skip_below : float
        Tumour score; 0 lets every member look at every tile.
    keep_each : bool
        Whether to keep what each member says, at 3 bytes a voxel of the region's box and member.
    each_vessels : bool
        Whether that holds each member's vessels: of no use where the vessels are given.
    keep_raters : bool
        Whether to keep what each rater would draw, at 2 bytes a voxel of the region's box and rater.
    samples : int
        How many samples of a network of slices to keep, together at 2 bytes a voxel of the region's box; the score is
        the mean of the same ones whatever is kept.
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
            f"the region of interest ends at {roi.stop}, outside the CT of {ct.geometry.size} voxels (x, y, z)",
            code="region-outside",
        )
    token = cancel or CancelToken()
    token.check()
    networks = store or NetworkStore(device, keep=False)
    if bundle.slices:
        return networks.with_room(
            lambda: score_slices(ct, roi, bundle, networks, keep_raters, samples, progress, token)
        )
    if bundle.raters_have_members:
        skip_below = 0.0
    return networks.with_room(
        lambda: _score(ct, roi, bundle, networks, skip_below, keep_each, each_vessels, keep_raters, progress, token)
    )


def _score(
    ct: Volume,
    roi: Roi,
    bundle: Bundle,
    store: NetworkStore,
    skip_below: float,
    keep_each: bool,
    each_vessels: bool,
    keep_raters: bool,
    progress: Progress,
    cancel: CancelToken,
) -> EnsembleResult:
    stage = open_stage(bundle, "fine")
    progress(0.0, "Preparing the region of interest")
    case, window = preprocess_region(ct, roi, stage, device=store.prepares_on, members=bundle.members, note=store.note)
    region = case.from_grid(roi.mask, window)
    canvas = Canvas.of(case.data, stage, None if roi.mask.all() else region)
    folds = bundle.folds["fine"]
    meter = TileMeter(
        len(canvas.tiles) * len(folds),
        f"Scoring with {len(folds)} networks",
        part(progress, 0.05, 0.95),
        cancel,
    )
    apart = Disagreement()
    channels = VesselChannels.of(bundle, stage)
    each: list[MemberMap] = []
    keep_each = keep_each and len(folds) > 1
    sums = RaterSums(bundle.rater_members) if keep_raters and bundle.raters_have_members else None

    def on_grid(channel: Array) -> NDArray[np.float32]:
        found = to_host(case.to_grid(channel[None], window)[0].clip(0.0, 1.0))
        return np.multiply(found, roi.mask, out=found)

    def labelled(probabilities: Array) -> NDArray[np.uint8] | None:
        if not channels.values:
            return None
        return vessel_map(case, to_device(probabilities, store.labels_on), window, channels, roi.mask)

    def keep(fold: str, probabilities: Array) -> None:
        score = on_grid(channels.score(probabilities))
        if sums is not None:
            sums.add(fold, score)
        if keep_each:
            each.append(MemberMap(score.astype(np.float16), labelled(probabilities) if each_vessels else None))

    pooled = _pool(
        canvas, bundle, stage, store, meter, apart, skip_below, keep if keep_each or sums is not None else None
    )
    cancel.check()
    progress(0.95, "Bringing the score to the CT's grid")
    score = on_grid(channels.score(pooled))
    rater_maps = {} if sums is None else sums.maps()
    if keep_raters and sums is None:
        outputs = {rater.id: stage.channels[rater.label] for rater in bundle.rater_members if rater.label is not None}
        rater_maps = {rater: on_grid(pooled[channel]).astype(np.float16) for rater, channel in outputs.items()}
    vessels = labelled(pooled)
    progress(1.0, "Tumour score ready")
    skipped = len(canvas.tiles) * len(folds) - meter.total
    apart_ml = apart.volume_ml(region, math.prod(stage.spacing) / 1000)
    _log.info("%d members, %d tiles (%d skipped) on %s", len(folds), meter.total, skipped, store.device)
    return EnsembleResult(
        roi,
        score,
        vessels,
        bundle.vessel_values,
        members=len(folds),
        tiles=meter.total,
        skipped=skipped,
        disagreement_ml=None if apart_ml is None else round(apart_ml, 3),
        device=store.device,
        backend=store.backend,
        network_s=round(meter.network_s, 3),
        notes=tuple(store.notes),
        each=tuple(each),
        rater_maps=rater_maps,
        rater_spread=rater_spread(list(rater_maps.values())) if rater_maps else None,
    )


def _pool(
    canvas: Canvas,
    bundle: Bundle,
    stage: Stage,
    store: NetworkStore,
    meter: TileMeter,
    apart: Disagreement,
    skip_below: float,
    keep: Callable[[str, Array], None] | None,
) -> Array:
    """Mean of the class probabilities over the members that looked, float32, (channel, a, b, c); 0 where none did.

    Members that belong to raters count so that each rater counts the same.

    `keep` is called with the fold and the probabilities of each member, if a second one looks at all; where a later
    member did not look, they are the first one's.
    """
    folds, channels = bundle.folds["fine"], VesselChannels.of(bundle, stage)
    tiles: list[Tile] = canvas.tiles
    total: Array = None  # a bundle has at least one member
    looked: Array = None
    for place, (fold, weight) in enumerate(zip(folds, bundle.member_weights, strict=True)):
        logits, covered = member_logits(canvas, tiles, bundle, stage, "fine", fold, store, meter)
        for start in range(0, logits.shape[1], _SLAB):
            slab = slice(start, start + _SLAB)
            logits[:, slab] = class_probabilities(logits[:, slab], overlapping=stage.overlapping) * covered[slab]
        apart.add(channels.score(logits), covered)
        if total is None:
            total, looked = logits, as_float32(covered)
            if weight != 1:
                total, looked = total * weight, looked * weight
            if skip_below > 0 and len(folds) > 1:
                tiles = _tiles_with_tumor(canvas, channels.score(total), skip_below)
                meter.skip((len(canvas.tiles) - len(tiles)) * (len(folds) - place - 1))
        else:
            # After a fall from the GPU, members' results lie in different places.
            total, looked = like(total, logits), like(looked, logits)
            total += logits if weight == 1 else logits * weight
            looked += covered if weight == 1 else covered * weight
            if keep is not None:
                # Later members leave out the same tiles, so that the sum is still the first one's there.
                for start in range(0, logits.shape[1], _SLAB):
                    slab = slice(start, start + _SLAB)
                    logits[:, slab] += total[:, slab] * ~covered[slab]
        if not tiles:
            break
        if keep is not None:
            keep(fold, logits)
    total /= looked.clip(min=1.0)
    return total


def _tiles_with_tumor(canvas: Canvas, tumor: Array, bound: float) -> list[Tile]:
    """Return the tiles in which, or next to which, `tumour` reaches `bound` somewhere."""
    padded = np.zeros(canvas.data.shape[1:], dtype=np.float32)
    padded[canvas.inner] = to_host(tumor)
    return tiles_near(canvas.tiles, [bool((padded[tile] >= bound).any()) for tile in canvas.tiles])


class Disagreement:
    """Spread of the members' tumour probability, in Welford's way: differences of large sums would be rounding errors.

    References
    ----------
    B. P. Welford, Technometrics 4(3), 1962, doi:10.1080/00401706.1962.10490022.
    """

    def __init__(self) -> None:
        self._members = 0
        self._looked: Array = None  # until the first member
        self._mean: Array = None
        self._squares: Array = None

    def add(self, tumor: Array, covered: Array) -> None:
        """Add a member's probability, float32, (a, b, c), which counts where `covered` (bool) is true."""
        self._members += 1
        if self._members == 1:
            self._looked, self._mean = as_float32(covered), tumor * covered
            self._squares = zeros_beside(self._mean, self._mean.shape)
            return
        # After a fall from the GPU, members' results lie in different places.
        self._looked, self._mean, self._squares = (
            like(array, tumor) for array in (self._looked, self._mean, self._squares)
        )
        self._looked += covered
        change = (tumor - self._mean) * covered
        self._mean += change / self._looked.clip(min=1.0)
        self._squares += change * (tumor - self._mean)

    def volume_ml(self, region: NDArray[np.bool_], voxel_ml: float) -> float | None:
        """Return the standard deviation over the members, added up over the voxels of `region` (a, b, c).

        It is a volume: 1 mL is 2 mL that half of the members call tumour and half do not. None for a single member.
        """
        if self._members < 2:
            return None
        spread = np.sqrt(to_host(self._squares / self._looked.clip(min=1.0)))
        return float(spread.sum(where=region, dtype=np.float64)) * voxel_ml
