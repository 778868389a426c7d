"""From a probability map and a vessel map to the contact of every vessel, for all thresholds at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.errors import InputError
from twintrack.invasion.centreline import centre_lines
from twintrack.invasion.contact import WallContact, wall_contact
from twintrack.invasion.geometry import Neighbourhood
from twintrack.invasion.protocol import protocol_degrees
from twintrack.invasion.readers import CATEGORY_THRESHOLD, Category, ReaderView, reader_view
from twintrack.invasion.resectability import contact_pattern
from twintrack.invasion.result import InvasionResult, VesselInvasion
from twintrack.invasion.sections import Sections, cross_sections
from twintrack.plane_contact import REACH, Box, bounding_box
from twintrack.progress import CancelToken, Progress, no_progress
from twintrack.volume import Geometry, Volume

__all__ = ["DEFAULT_THRESHOLDS", "measure_invasion"]

DEFAULT_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""0.05, 0.10 ... 0.95."""

FLOOR = 0.01
"""Probability below which a voxel cannot matter: not one reader in a hundred would mark it."""

MARGIN_MM = 30.0
"""Vessel looked at beyond the tumour's box, so that the centre line does not end where the tumour does."""

EDGE_VOXELS = 2
"""Tissue kept around the vessel's box."""

PIECE_SHARE = 0.03
"""Pieces smaller than this share of the vessel's largest piece are stray voxels and are ignored."""

UNSEEN_LEVEL = 0.25
"""Tumour against the mask at a level this much above `p_contact` is noted: the cross-sections do not show it."""

RANGE_TOLERANCE = 1e-5
"""Rounding allowed beyond 0 and 1."""

NO_CONTACT = WallContact(np.zeros((0, 1)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))

logger = logging.getLogger(__name__)


def measure_invasion(
    probability: Volume,
    vessels: Volume,
    names: Mapping[str, int],
    *,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    contact_mm: float | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> InvasionResult:
    """Measure how far the tumour wraps around each vessel.

    Parameters
    ----------
    probability : Volume
        Expected fraction of readers who mark a voxel as tumour, in [0, 1].
    vessels : Volume
        Label map on the same grid; labels without a name are ignored.
    names : mapping of str to int
        Vessel names and their label values.
    thresholds : sequence of float
        Probability levels of the curves, rising, in (0, 1).
    contact_mm : float, optional
        Thickness of the layer outside the wall in which tumour counts as touching; one voxel along each direction if
        not given (see `twintrack.invasion.contact.wall_contact`).
    progress, cancel
        Reported to and checked once a vessel.

    Returns
    -------
    InvasionResult
        Its `to_json` gives ``invasion.json``.

    Raises
    ------
    InputError
        If the two volumes are not on the same grid or a value is not allowed.
    """
    levels = _checked_thresholds(thresholds)
    if contact_mm is not None and not (np.isfinite(contact_mm) and contact_mm > 0):
        raise InputError(f"contact_mm must be a positive length in mm, got {contact_mm}")
    _check_volumes(probability, vessels)
    _check_names(names)
    probability, vessels = _in_lps(probability), _in_lps(vessels)
    tumour_box = bounding_box(np.greater_equal(probability.array, min(FLOOR, levels[0])))
    measured: dict[str, VesselInvasion] = {}
    views: dict[str, ReaderView | None] = {}
    for number, (name, value) in enumerate(names.items()):
        if cancel is not None:
            cancel.check()
        progress(number / len(names), f"measuring contact with {name}")
        mask = np.asarray(vessels.array == value)
        measured[name], views[name] = _measure_vessel(probability, mask, levels, contact_mm, tumour_box)
        logger.debug("%s: %s, notes %s", name, views[name], measured[name].notes)
    progress(1.0, "measured vessel contact")
    return InvasionResult(tuple(levels), contact_mm, measured, contact_pattern(views))


def _measure_vessel(
    probability: Volume, mask: NDArray[np.bool_], levels: list[float], contact_mm: float | None, tumour_box: Box | None
) -> tuple[VesselInvasion, ReaderView | None]:
    """Measure one vessel; the view is None if it is absent."""
    box = bounding_box(mask, REACH)
    notes: list[str] = []
    contact = NO_CONTACT
    near = None
    if box is None:
        notes.append("the vessel map does not hold this vessel")
    else:
        near = _neighbourhood(probability, mask, box, tumour_box)
    if near is not None:
        contact = _contact(near, contact_mm, notes)
    curve = contact.curve(np.asarray(levels))
    view = reader_view(contact)
    full = box if box is not None else (slice(0, 1),) * 3
    vessel = VesselInvasion(
        present=box is not None,
        angle_deg=tuple(float(value) for value in curve.angle_deg),
        contact_length_mm=tuple(float(value) for value in curve.length_mm),
        expected_angle_deg=view.expected_angle_deg,
        p_contact=view.p_contact,
        p_encased=view.p_encased,
        category=view.category,
        protocol_deg=protocol_degrees(probability.array[full], mask[full], levels),
        worst_position_lps_mm=_worst_position(near, contact, view),
        notes=tuple(notes),
    )
    return vessel, view if box is not None else None


def _contact(near: Neighbourhood, contact_mm: float | None, notes: list[str]) -> WallContact:
    """Measure a vessel that the tumour comes near, and note what limits the measurement."""
    labelled, count = ndimage.label(near.vessel > 0, structure=np.ones((3, 3, 3)))
    voxels = np.bincount(labelled.ravel())[1:]
    kept = [piece for piece in range(1, count + 1) if voxels[piece - 1] >= PIECE_SHARE * voxels.max()]
    branches: list[Sections] = []
    for piece in kept:
        inside = labelled == piece
        lines = centre_lines(near, inside)
        branches += [cross_sections(near, line, inside) for line in lines]
        if lines[0].from_axis:
            notes.append(
                f"a piece of {voxels[piece - 1]} voxel(s) has no usable centre line; its longest extent was used"
            )
    if len(kept) > 1:
        notes.append(f"the vessel mask is in {len(kept)} pieces near the tumour")
    if len(kept) < count:
        notes.append(f"{count - len(kept)} stray pieces of the vessel mask were ignored")
    if np.any((near.vessel > 0) & (near.known == 0)):
        notes.append("the volume's edge cuts the vessel; contact beyond it is not known")
    contact = wall_contact(near, branches, contact_mm)
    solid = np.isin(labelled, kept)
    touching = near.probability[ndimage.binary_dilation(solid)].max(initial=0.0)
    if touching > contact.p_contact + UNSEEN_LEVEL:
        notes.append(
            f"tumour at level {touching:.2f} lies against the mask where no cross-section shows it, "
            "for instance at the vessel's end"
        )
    return contact


def _neighbourhood(
    probability: Volume, mask: NDArray[np.bool_], box: Box, tumour_box: Box | None
) -> Neighbourhood | None:
    """Cut out the vessel near the tumour; None if the tumour is nowhere near."""
    if tumour_box is None:
        return None
    margin = np.ceil(MARGIN_MM / np.asarray(probability.geometry.spacing_mm[::-1])).astype(np.int64)
    start = np.maximum([s.start for s in box], np.asarray([s.start for s in tumour_box]) - margin)
    stop = np.minimum([s.stop for s in box], np.asarray([s.stop for s in tumour_box]) + margin)
    if np.any(stop <= start) or not mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].any():
        return None
    start, stop = start - EDGE_VOXELS, stop + EDGE_VOXELS
    return Neighbourhood.cut(probability.array, mask, probability.geometry, start, stop)


def _worst_position(
    near: Neighbourhood | None, contact: WallContact, view: ReaderView
) -> tuple[float, float, float] | None:
    """Return the middle of the worst section at level 0.5, or at the highest level with contact."""
    if near is None or view.p_contact <= 0:
        return None
    level = CATEGORY_THRESHOLD if view.category is not Category.NONE else view.p_contact
    centre_mm = contact.centre_mm[contact.worst_section(level)]
    x, y, z = (float(value) for value in near.to_lps_mm(centre_mm))
    return x, y, z


def _in_lps(volume: Volume) -> Volume:
    """Return the volume in LPS order, untouched if it is so already."""
    matrix = volume.geometry.direction_matrix
    return volume if np.all(np.diag(matrix) > np.sqrt(0.5)) else volume.to_lps()


def _describe(geometry: Geometry) -> str:
    """Return size, spacing and origin for a message."""
    spacing = ", ".join(f"{value:.4g}" for value in geometry.spacing_mm)
    origin = ", ".join(f"{value:.5g}" for value in geometry.origin_mm)
    return f"size {geometry.size}, spacing ({spacing}) mm, origin ({origin}) mm"


def _check_volumes(probability: Volume, vessels: Volume) -> None:
    """Refuse maps that do not fit each other or hold impossible values."""
    if not probability.geometry.same_grid(vessels.geometry):
        raise InputError(
            "the vessel map is not on the probability map's grid; resample it to that grid with nearest-neighbour "
            f"interpolation (probability: {_describe(probability.geometry)}; vessels: {_describe(vessels.geometry)})"
        )
    low, high = float(np.min(probability.array)), float(np.max(probability.array))
    if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
        raise InputError(f"the probability map must hold numbers from 0 to 1, got {low:g} to {high:g}")
    if vessels.array.dtype.kind == "f" and not np.all(vessels.array == np.rint(vessels.array)):
        raise InputError("the vessel map must hold whole-number labels; give a label map, not an image")


def _check_names(names: Mapping[str, int]) -> None:
    """Refuse label values that cannot name a vessel."""
    if not names:
        raise InputError("no vessel is named; give at least one name and label value, for example SMA=5")
    for name, value in names.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(f"vessel {name}: its label value must be a whole number from 1, got {value!r}")
    if len(set(names.values())) < len(names):
        raise InputError(f"two vessels have the same label value: {dict(names)}; give each its own")


def _checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    """Return the thresholds as rising floats in (0, 1)."""
    levels = [float(level) for level in thresholds]
    if not levels or not all(0 < level < 1 for level in levels) or np.any(np.diff(levels) <= 0):
        raise InputError(f"thresholds must rise and lie between 0 and 1, got {levels}")
    return levels
