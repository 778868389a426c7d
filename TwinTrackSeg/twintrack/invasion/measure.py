"""From a probability map and a vessel map to the contact of every vessel, for all thresholds at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.imaging.plane_contact import PLANE_AXES, REACH, Box, plane_contact_curves_deg
from twintrack.invasion.contact import DEFAULT_CONTACT_MM
from twintrack.invasion.coverage import SearchedRegion
from twintrack.invasion.gap import gaps_mm, wall_points
from twintrack.invasion.geometry import FLOOR
from twintrack.invasion.resectability import DEFAULT_RULES, check_rules, contact_pattern
from twintrack.invasion.result import InvasionResult, VesselInvasion
from twintrack.invasion.summary import absent_vessel, summarize, too_little, unsearched_vessel
from twintrack.invasion.vessel_parts import VesselPart, in_lps, of_values, vessel_parts
from twintrack.invasion.wall import VesselWall
from twintrack.invasion.wall_pieces import measure_wall
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.settings import checked_contact_mm
from twintrack.system.threads import in_order
from twintrack.volume import Volume

__all__ = [
    "DEFAULT_CONTACT_MM",
    "DEFAULT_THRESHOLDS",
    "check_names",
    "check_probability",
    "checked_labels",
    "checked_thresholds",
    "measure_invasion",
    "measure_vessels",
    "protocol_degrees",
]

DEFAULT_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""0.05, 0.10 ... 0.95."""

logger = logging.getLogger(__name__)


def measure_invasion(
    probability: Volume,
    vessels: Volume,
    names: Mapping[str, int],
    *,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    contact_mm: float = DEFAULT_CONTACT_MM,
    rules: str = DEFAULT_RULES,
    searched: Volume | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> InvasionResult:
    """Measure how far the tumour wraps around each vessel.

    Parameters
    ----------
    probability : Volume
        Expected fraction of raters who mark a voxel as tumour, in [0, 1].
    vessels : Volume
        Label map; labels without a name are ignored. On another grid in the same place it is resampled, with a
        warning in the result.
    names : mapping of str to int
        Vessel names and their label values. Where portal vein and superior mesenteric vein are both there and touch
        each other, they are measured as one vessel too, ``PORTA_SMV``.
    thresholds : sequence of float
        Probability levels of the curves, rising, in (0, 1).
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches the vessel; in
        `twintrack.settings.CONTACT_MM_RANGE`.
    rules : str
        The rule table for the pattern of all vessels, one of `twintrack.invasion.rule_names`.
    searched : Volume, optional
        Not 0 where tumour was looked for, on the map's grid. A vessel without contact of which too little was searched
        is not assessed: the map's 0 elsewhere says nothing. Everywhere, if not given.
    threads : int
        Vessels measured at a time.
    progress, cancel
        Reported to and checked once a vessel.

    Returns
    -------
    InvasionResult
        Its `to_json` gives ``invasion.json``. What could not be measured is None, with a reason.

    Raises
    ------
    InputError
        If the volumes do not lie in the same place or a value is not allowed.
    """
    levels = checked_thresholds(thresholds)
    contact_mm = checked_contact_mm(contact_mm)
    check_rules(rules)
    check_probability(probability)
    check_names(names)
    vessels, warning = fit_labels(checked_labels(vessels), probability.geometry, "the vessel map")
    measured = measure_vessels(
        probability,
        vessels,
        names,
        levels,
        contact_mm,
        searched=searched,
        threads=threads,
        progress=progress,
        cancel=cancel,
    )
    walls: dict[str, VesselWall | None] = {
        name: vessel.wall if vessel.category is not None else None for name, vessel in measured.items()
    }
    partly = frozenset(name for name, vessel in measured.items() if too_little(vessel.coverage))
    warnings = () if warning is None else (warning,)
    return InvasionResult(tuple(levels), contact_mm, measured, contact_pattern(walls, rules, partly=partly), warnings)


def measure_vessels(
    probability: Volume,
    vessels: Volume,
    names: Mapping[str, int],
    levels: list[float],
    contact_mm: float,
    *,
    searched: Volume | None = None,
    contact_only: bool = False,
    threads: int = 1,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> dict[str, VesselInvasion]:
    """Measure each vessel of a label map that lies on the map's grid.

    Parameters
    ----------
    probability, vessels, names, levels, contact_mm, searched, threads, progress, cancel
        As in `measure_invasion`, and checked.
    contact_only : bool
        Whether the degrees of the protocol and the gaps are left out.

    Raises
    ------
    InputError
        If the searched region lies on another grid.
    """
    if searched is not None and not searched.geometry.same_grid(probability.geometry):
        raise InputError("the region that was searched does not lie on the map's grid", code="grid-differs")
    probability, vessels = in_lps(probability), in_lps(vessels)
    region = None if searched is None else SearchedRegion(probability, in_lps(searched).array)
    parts = vessel_parts(vessels, names)
    measured: dict[str, VesselInvasion] = {}

    def measure(part: VesselPart) -> VesselInvasion:
        return _measure_vessel(probability, vessels, part, levels, contact_mm, region, contact_only)

    results = in_order(measure, parts, threads=threads, cost=lambda part: part.extent, cancel=cancel)
    for number, part in enumerate(parts):
        progress(number / len(parts), f"measuring contact with {part.name}")
        measured[part.name] = next(results)
        logger.debug("%s: %s, notes %s", part.name, measured[part.name].category, measured[part.name].notes)
    progress(1.0, "measured vessel contact")
    return measured


def _measure_vessel(
    probability: Volume,
    vessels: Volume,
    part: VesselPart,
    levels: list[float],
    contact_mm: float,
    region: SearchedRegion | None,
    contact_only: bool,
) -> VesselInvasion:
    """Measure one vessel in its own box."""
    box = part.box
    if box is None:
        return absent_vessel(len(levels))
    mask = of_values(vessels.array[box], part.values)
    searched = None if region is None else region.share(mask, box)
    if searched == 0:
        return unsearched_vessel(len(levels))
    outermost, coverage = None, None if region is None else 1.0
    if region is not None and not region.holds(box, contact_mm):
        outermost = wall_points(mask, np.asarray(probability.geometry.spacing_mm[::-1]))
        coverage = region.coverage(outermost, box, contact_mm)
    floor = min(FLOOR, levels[0])
    found = measure_wall(probability, mask, box, contact_mm, floor, ends=part.ends, level_only=contact_only)
    if contact_only:
        unknown = (None,) * len(levels)
        return summarize(found, levels, {}, unknown, contact_mm, searched=searched, coverage=coverage)
    outer = _with_margin(box, vessels.array.shape)
    protocol = protocol_degrees(probability.array[outer], of_values(vessels.array[outer], part.values), levels)
    gaps = gaps_mm(probability, mask, box, levels, wall=outermost)
    return summarize(found, levels, protocol, gaps, contact_mm, searched=searched, coverage=coverage)


def _with_margin(box: Box, shape: tuple[int, ...]) -> Box:
    z, y, x = (slice(max(s.start - REACH, 0), min(s.stop + REACH, n)) for s, n in zip(box, shape, strict=True))
    return z, y, x


def protocol_degrees(
    probability: NDArray[np.generic], vessel: NDArray[np.bool_], thresholds: Sequence[float]
) -> dict[str, list[float]]:
    """Return the largest degrees over the axial, coronal and sagittal slices for each threshold.

    The arrays are (z, y, x) in LPS order: axial slices have constant z (array axis 0), coronal ones constant y
    (axis 1), sagittal ones constant x (axis 2). See `twintrack.imaging.plane_contact` for the count and its traps.
    """
    degrees = plane_contact_curves_deg(probability, vessel, thresholds)
    return {plane: [float(value) for value in degrees[axis]] for plane, axis in PLANE_AXES.items()}


RANGE_TOLERANCE = 1e-5
"""Rounding allowed beyond 0 and 1."""


def check_probability(probability: Volume) -> None:
    """Refuse a map that holds anything but probabilities."""
    low, high = float(np.min(probability.array)), float(np.max(probability.array))
    if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
        raise InputError(
            f"the probability map must hold numbers from 0 to 1, got {low:g} to {high:g}", code="probability-range"
        )


def checked_labels(vessels: Volume) -> Volume:
    """Return the vessel map as whole numbers."""
    if vessels.array.dtype.kind == "i" and int(vessels.array.min(initial=0)) < 0:
        raise InputError(
            "the vessel map holds negative values, as an image does; give labels, which begin at 0", code="not-labels"
        )
    if vessels.array.dtype.kind in "bui":
        return vessels
    if any(not np.array_equal(part, np.rint(part)) for part in vessels.array):
        raise InputError(
            "the vessel map must hold whole-number labels; give a label map, not an image", code="not-labels"
        )
    return vessels.with_array(vessels.array.astype(np.int32))


def check_names(names: Mapping[str, int]) -> None:
    """Refuse label values that cannot name a vessel."""
    if not names:
        raise InputError(
            "no vessel is named; give at least one name and label value, for example SMA=5", code="vessel-names-missing"
        )
    for name, value in names.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(
                f"vessel {name}: its label value must be a whole number from 1, got {value!r}", code="vessel-label"
            )
    if len(set(names.values())) < len(names):
        raise InputError(
            f"two vessels have the same label value: {dict(names)}; give each its own", code="vessels-share-label"
        )


def checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    """Return the thresholds as rising floats in (0, 1)."""
    levels = [float(level) for level in thresholds]
    if not levels or not all(0 < level < 1 for level in levels) or np.any(np.diff(levels) <= 0):
        raise InputError(f"thresholds must rise and lie between 0 and 1, got {levels}", code="thresholds-order")
    return levels
