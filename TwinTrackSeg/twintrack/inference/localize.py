"""Stage 1: find the organ in the whole CT and take the region around it."""

from __future__ import annotations

import functools
import logging
import operator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle import Bundle
from twintrack.errors import RoiError
from twintrack.inference.device import select_device
from twintrack.inference.network import Stage, open_stage
from twintrack.inference.preprocess import Preprocessed, preprocess
from twintrack.inference.resample import Range
from twintrack.inference.roi import Roi, dilated_roi
from twintrack.inference.tiles import TileMeter, count_tiles, member_logits
from twintrack.progress import CancelToken, Progress, no_progress, part
from twintrack.volume import Volume

if TYPE_CHECKING:
    import torch

__all__ = ["LONGEST_ORGAN_MM", "PLAUSIBLE_ORGAN_ML", "localize"]

PLAUSIBLE_ORGAN_ML = (5.0, 1000.0)
"""A pancreas, with its tumour, smaller or larger than this is taken for a false finding: the gland has 40 to 100 mL, an
atrophic one a third of that."""

LONGEST_ORGAN_MM = 220.0
"""A finding that reaches further along an axis is scattered over the body: the gland is 120 to 180 mm long."""

COMPONENT_FRACTION = 0.1
"""Parts of the organ smaller than this fraction of the largest one are dropped. Not the largest part alone is kept: a
tumour that the organ label leaves out can cut the pancreas in two, and both parts must stay in the region."""

_SLAB = 16  # slices a time, so that logits on the CT grid never exist for the whole volume

_log = logging.getLogger(__name__)


def localize(
    ct: Volume,
    bundle: Bundle,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    component_fraction: float = COMPONENT_FRACTION,
) -> Roi:
    """Find the organ with the bundle's coarse model and return the dilated region of interest.

    Logits (averaged over coarse members, nnU-Net's way) are resampled linearly to the CT grid, the largest wins; parts
    that are much smaller than the largest part are dropped; the rest is dilated by the bundle's margin.

    Parameters
    ----------
    ct : Volume
        HU, LPS-oriented.
    bundle : Bundle
        The model.
    device : str
        See `twintrack.inference.device.select_device`.
    progress, cancel
        Called, and checked, for every tile.
    component_fraction : float
        Connected parts below this fraction of the largest one are dropped: 0 keeps all, 1 the largest alone.

    Raises
    ------
    RoiError
        If no organ, or none of a plausible size, is found.
    Cancelled
        Within one tile of `cancel`.
    """
    cancel = cancel or CancelToken()
    cancel.check()
    target = select_device(device)
    stage = open_stage(bundle, "coarse")
    progress(0.0, "Preparing the CT")
    z, y, x = ct.geometry.spacing_mm[::-1]
    case = preprocess(ct.array, (z, y, x), stage)
    folds = bundle.folds["coarse"]
    tiles = count_tiles(case.data.shape[1:], stage.patch) * len(folds)
    meter = TileMeter(tiles, "Looking for the pancreas", part(progress, 0.1, 0.9), cancel)
    # Logits are averaged here, as nnU-Net averages folds; dividing by their number would not change which one wins.
    logits = functools.reduce(operator.iadd, member_logits(case.data, stage, folds, target, meter))
    cancel.check()
    progress(0.9, "Marking the region of interest")
    organ, offset = _organ_mask(case, logits, stage, bundle.organ_labels)
    organ = _main_parts(organ, component_fraction)
    organ_ml = float(np.count_nonzero(organ)) * ct.geometry.voxel_ml
    longest_mm = _longest_mm(organ, (z, y, x))
    if not PLAUSIBLE_ORGAN_ML[0] <= organ_ml <= PLAUSIBLE_ORGAN_ML[1] or longest_mm > LONGEST_ORGAN_MM:
        raise RoiError(
            f"stage 1 found no pancreas in this CT (what it marked has {organ_ml:.1f} mL and reaches over "
            f"{longest_mm:.0f} mm); check that it is a contrast CT of the upper abdomen, or give the region with --roi "
            "i0,i1,j0,j1,k0,k1"
        )
    cancel.check()
    roi = dilated_roi(organ, offset, ct.geometry, bundle.roi_margin_mm, organ_ml)
    _log.info("organ of %.1f mL, region from %s to %s", organ_ml, roi.start, roi.stop)
    progress(1.0, "Region of interest found")
    return roi


def _organ_mask(
    case: Preprocessed, logits: torch.Tensor, stage: Stage, names: tuple[str, ...]
) -> tuple[NDArray[np.bool_], tuple[int, int, int]]:
    """Return the organ on a part of the CT grid, bool (z, y, x), and where that part starts."""
    import torch

    channels = [stage.channels[name] for name in names]
    regions = bool(stage.labels.has_regions)
    # Interpolated logits of the organ can win only where the organ beats the background at a neighbouring voxel.
    rival = torch.zeros_like(logits[0]) if regions else logits[0]
    inside = _bounds((logits[channels].amax(dim=0) > rival).numpy())
    if inside is None:
        return np.zeros((1, 1, 1), dtype=bool), (0, 0, 0)
    (z0, z1), rows, columns = case.window_touched(inside)
    slabs = []
    for start in range(z0, z1, _SLAB):
        values = case.to_grid(logits, ((start, min(start + _SLAB, z1)), rows, columns))
        if regions:
            slabs.append((values[channels] > 0).any(dim=0).numpy())
        else:
            slabs.append(torch.isin(values.argmax(dim=0), torch.tensor(channels)).numpy())
    if not slabs:
        return np.zeros((1, 1, 1), dtype=bool), (0, 0, 0)
    return np.concatenate(slabs), (z0, rows[0], columns[0])


def _bounds(mask: NDArray[np.bool_]) -> tuple[Range, Range, Range] | None:
    from scipy import ndimage

    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    a, b, c = ((int(s.start), int(s.stop)) for s in found[0])
    return (a, b, c)


def _longest_mm(organ: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Return the longest edge of the organ's box; 0 where there is none."""
    bounds = _bounds(organ)
    if bounds is None:
        return 0.0
    return max((stop - start) * step for (start, stop), step in zip(bounds, spacing_zyx_mm, strict=True))


def _main_parts(organ: NDArray[np.bool_], fraction: float) -> NDArray[np.bool_]:
    """Keep the connected parts (26 neighbours) of at least `fraction` of the largest one's voxels."""
    from scipy import ndimage

    parts, count = ndimage.label(organ, structure=np.ones((3, 3, 3), dtype=bool))
    if count < 2:
        return organ
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: NDArray[np.bool_] = (sizes > 0) & (sizes >= fraction * sizes.max())
    return kept[parts]
