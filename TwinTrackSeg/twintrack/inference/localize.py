"""Stage 1: find the organ in the whole CT and take the region around it."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import RoiError
from twintrack.inference.arrays import Array, like, to_device
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import open_stage
from twintrack.inference.organ import Organ, OrganLogits, longest_mm, main_parts
from twintrack.inference.preprocess import preprocess
from twintrack.inference.roi import Roi, dilated_roi
from twintrack.inference.sliding_window import Canvas, member_logits
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.volume import Volume

__all__ = ["LONGEST_ORGAN_MM", "PLAUSIBLE_ORGAN_ML", "localize", "predict_organ"]

PLAUSIBLE_ORGAN_ML = (5.0, 1000.0)
"""A pancreas, with its tumour, smaller or larger than this is taken for a false finding: the gland has 40 to 100 mL, an
atrophic one a third of that."""

LONGEST_ORGAN_MM = 220.0
"""A finding that reaches further along an axis is scattered over the body: the gland is 120 to 180 mm long."""

_log = logging.getLogger(__name__)


def localize(
    ct: Volume,
    bundle: Bundle,
    *,
    device: str = "auto",
    store: NetworkStore | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    component_fraction: float | None = None,
    organ_probability: float | None = None,
    margin_mm: float | None = None,
) -> Roi:
    """Find the organ with the bundle's coarse model and return the dilated region of interest.

    Logits are averaged over the coarse members, nnU-Net's way, and resampled linearly to the CT grid, where the largest
    wins. Parts that are much smaller than the largest part are dropped. What is left must have the size of a pancreas;
    it is dilated, or, where a least probability is given, what reaches that probability is. Not the largest part alone
    is kept: a tumour that the organ label leaves out can cut the pancreas in two, and both parts must stay in the
    region.

    Parameters
    ----------
    ct : Volume
        HU, LPS-oriented.
    bundle : Bundle
        The model.
    device : str
        See `twintrack.inference.devices.select_device`; of no meaning with a `store`.
    store : NetworkStore, optional
        Keeps the networks for the next run.
    progress, cancel
        Called, and checked, for every tile.
    component_fraction : float, optional
        Connected parts below this fraction of the largest one are dropped: 0 keeps all, 1 the largest alone. By default
        the bundle's.
    organ_probability : float, optional
        Least probability with which a voxel counts for the region; by default the bundle's, and where it has none, the
        likeliest class counts.
    margin_mm : float, optional
        Dilation; by default the bundle's.

    Raises
    ------
    RoiError
        If no organ, or none of a plausible size, is found.
    Cancelled
        Within one tile of `cancel`.
    """
    token = cancel or CancelToken()
    token.check()
    store = store or NetworkStore(device, keep=False)
    report = part(progress, 0.0, 0.9)
    found = store.with_room(lambda: predict_organ(ct, bundle, store, progress=report, cancel=token))
    token.check()
    progress(0.9, "Marking the region of interest")
    fraction = bundle.roi_component_fraction if component_fraction is None else component_fraction
    least = bundle.roi_probability if organ_probability is None else organ_probability
    organ = store.with_room(functools.partial(_organ, found, None, store))
    mask = main_parts(organ.mask, fraction)
    # Believed or not by what is likeliest: at a low probability something is found in any CT.
    organ_ml = _believable_ml(mask, ct, bundle)
    token.check()
    if least is not None:
        wider = store.with_room(functools.partial(_organ, found, least, store))
        if wider.mask.any():
            organ, mask = wider, main_parts(wider.mask, fraction)
    margin = bundle.roi_margin_mm if margin_mm is None else margin_mm
    roi = dilated_roi(mask, organ.offset, ct.geometry, margin, organ_ml, store.prepares_on)
    _log.info("organ of %.1f mL, region from %s to %s", organ_ml, roi.start, roi.stop)
    progress(1.0, "Region of interest found")
    return roi


def predict_organ(
    ct: Volume, bundle: Bundle, store: NetworkStore, *, progress: Progress, cancel: CancelToken
) -> OrganLogits:
    """Run the coarse members over the whole CT (HU, LPS-oriented)."""
    stage = open_stage(bundle, "coarse")
    progress(0.0, "Preparing the CT")
    z, y, x = ct.geometry.spacing_mm[::-1]
    folds = bundle.folds["coarse"]
    case = preprocess(ct.array, (z, y, x), stage, device=store.prepares_on, members=len(folds), note=store.note)
    canvas = Canvas.of(case.data, stage)
    meter = TileMeter(len(canvas.tiles) * len(folds), "Looking for the pancreas", part(progress, 0.1, 1.0), cancel)
    members = (member_logits(canvas, canvas.tiles, bundle, stage, "coarse", fold, store, meter)[0] for fold in folds)
    logits = functools.reduce(_added, members)
    logits /= len(folds)
    return OrganLogits(case, logits, stage, bundle.organ_labels)


def _added(total: Array, more: Array) -> Array:
    total = like(total, more)  # after a fall from the GPU, members' results lie in different places
    total += more
    return total


def _organ(found: OrganLogits, least: float | None, store: NetworkStore) -> Organ:
    """Return the organ where the networks left their logits, or in main memory once the GPU had too little."""
    return replace(found, logits=to_device(found.logits, store.sums)).organ(least)


def _believable_ml(mask: NDArray[np.bool_], ct: Volume, bundle: Bundle) -> float:
    """Return the organ's volume in mL, if it can be a pancreas."""
    organ_ml = float(np.count_nonzero(mask)) * ct.geometry.voxel_ml
    z, y, x = ct.geometry.spacing_mm[::-1]
    length_mm = longest_mm(mask, (z, y, x))
    if not PLAUSIBLE_ORGAN_ML[0] <= organ_ml <= PLAUSIBLE_ORGAN_ML[1] or length_mm > LONGEST_ORGAN_MM:
        why = (
            "the demo bundle knows synthetic phantoms only: a patient's CT needs another bundle"
            if bundle.demo
            else "check that it is a contrast CT of the upper abdomen"
        )
        raise RoiError(
            f"stage 1 found no pancreas in this CT (what it marked has {organ_ml:.1f} mL and reaches over "
            f"{length_mm:.0f} mm); {why}, or give the region with --roi i0,i1,j0,j1,k0,k1",
            code="no-pancreas",
        )
    return organ_ml
