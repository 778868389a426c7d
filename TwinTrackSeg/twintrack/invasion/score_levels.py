"""At which levels of the pooled score the tumour would touch each vessel how far around: what statements rest on.

The map of a bundle is a function of the score, with ties where the calibrator is flat and a top where it ends. Levels
of the score have neither, and stay what they are when a new calibrator is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements.table import ANGLES_DEG
from twintrack.errors import InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.imaging.plane_contact import Box
from twintrack.invasion.coverage import LEAST_COVERAGE, SearchedRegion
from twintrack.invasion.gap import FAR_MM, gaps_mm, wall_points
from twintrack.invasion.geometry import FLOOR
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.vessel_parts import VesselPart, in_lps, of_values, vessel_parts
from twintrack.invasion.wall import VesselWall
from twintrack.invasion.wall_pieces import MeasuredVessel, measure_wall
from twintrack.progress.callbacks import CancelToken
from twintrack.system.threads import in_order
from twintrack.volume import Volume

__all__ = ["LOWEST_LEVEL", "RaterContact", "ScoreLevels", "rater_contact", "rater_contacts", "score_levels"]

FAR_FROM_MM = (3.0, 10.0)
"""Distances that part vessels without contact at any level."""

HIDDEN_DEG = 0.1
"""Stands for the angle of a contact that no cross-section shows."""

LOWEST_LEVEL = FLOOR
"""Scores below this are not read: where contact is nowhere at this level, the distance from tumour is told instead."""


@dataclass(frozen=True)
class ScoreLevels:
    """What the score says of one vessel.

    Attributes
    ----------
    over : tuple of float
        Highest level of the score at which the contact angle of the worst section exceeds each of `ANGLES_DEG`; never
        rising, 0 where there is none above `LOWEST_LEVEL`. The first is the level at which there is any contact.
    gap_mm : float or None
        Distance from the vessel's wall to the nearest score of `LOWEST_LEVEL`; 0 where it touches, None where there is
        none within `twintrack.invasion.gap.FAR_MM`.
    hidden : bool
        Whether tumour touches the vessel where no cross-section can be measured: then only the first level is known.
    wall : VesselWall
        What the levels were read from.
    """

    over: tuple[float, ...]
    gap_mm: float | None
    hidden: bool
    wall: VesselWall

    @property
    def far(self) -> int:
        """How far a vessel without contact is from the lowest score: 0 up to 3 mm, 1 up to 10 mm, 2 beyond."""
        gap_mm = FAR_MM if self.gap_mm is None else self.gap_mm
        return sum(gap_mm > limit for limit in FAR_FROM_MM)


@dataclass(frozen=True)
class RaterContact:
    """What one rater's own mask says of one vessel.

    Attributes
    ----------
    angle_deg : float or None
        Contact angle of the worst section; None where the mask touches the vessel and no cross-section shows it.
    wall : VesselWall
        What the angle was read from.
    """

    angle_deg: float | None
    wall: VesselWall

    @property
    def counted_deg(self) -> float:
        """The angle as it counts among other raters': hardly any, but contact, where no cross-section shows it."""
        return HIDDEN_DEG if self.angle_deg is None else self.angle_deg


def score_levels(
    score: Volume,
    vessels: Volume,
    names: Mapping[str, int],
    *,
    contact_mm: float,
    searched: Volume | None = None,
    threads: int = 1,
    cancel: CancelToken | None = None,
) -> dict[str, ScoreLevels | None]:
    """Measure the levels of every vessel.

    Parameters
    ----------
    score : Volume
        Pooled score in [0, 1], (z, y, x).
    vessels : Volume
        Label map in the same place.
    names : mapping of str to int
        Vessel names and their label values; ``PORTA_SMV`` is added as in `twintrack.invasion.measure_invasion`.
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches.
    searched : Volume, optional
        Not 0 where tumour was looked for, on the score's grid. Everywhere, if not given.
    threads : int
        Vessels measured at a time.
    cancel : CancelToken, optional
        Checked once a vessel.

    Returns
    -------
    dict of str to ScoreLevels or None
        None for a vessel that the label map does not hold, and for one without contact of which too little was
        searched.

    Raises
    ------
    InputError
        If the volumes do not lie in the same place.
    """
    vessels, _ = fit_labels(vessels, score.geometry, "the vessel map")
    if searched is not None and not searched.geometry.same_grid(score.geometry):
        raise InputError("the region that was searched does not lie on the score's grid", code="grid-differs")
    score, vessels = in_lps(score), in_lps(vessels)
    region = None if searched is None else SearchedRegion(score, in_lps(searched).array)
    parts = vessel_parts(vessels, names)
    found: dict[str, ScoreLevels | None] = {}
    for part, mask, box, measured in _walls(score, vessels, parts, contact_mm, cancel, threads):
        over = np.array([measured.wall.level_over(angle) for angle in ANGLES_DEG])
        over[0] = max(over[0], measured.missed_level)
        over[over < LOWEST_LEVEL] = 0.0
        gap_mm: float | None = 0.0
        if over[0] == 0:
            outermost = wall_points(mask, np.asarray(score.geometry.spacing_mm[::-1]))
            looked = region is None or region.holds(box, contact_mm)
            if not looked and region is not None and region.coverage(outermost, box, contact_mm) < LEAST_COVERAGE:
                continue
            gap_mm = gaps_mm(score, mask, box, [LOWEST_LEVEL], wall=outermost)[0]
        found[part.name] = ScoreLevels(
            tuple(np.minimum.accumulate(over).tolist()), gap_mm, measured.missed_level > 0, measured.wall
        )
    return {part.name: found.get(part.name) for part in parts}


def rater_contact(
    mask: Volume, vessels: Volume, names: Mapping[str, int], *, contact_mm: float, cancel: CancelToken | None = None
) -> dict[str, RaterContact | None]:
    """Measure how far around each vessel one rater's mask reaches.

    Parameters
    ----------
    mask : Volume
        0 and 1, (z, y, x).
    vessels, names, contact_mm, cancel
        As in `score_levels`; the vessels are the reference, not a network's.

    Returns
    -------
    dict of str to RaterContact or None
        None for a vessel that the label map does not hold.
    """
    return rater_contacts([mask], vessels, names, contact_mm=contact_mm, cancel=cancel)[0]


def rater_contacts(
    masks: Sequence[Volume],
    vessels: Volume,
    names: Mapping[str, int],
    *,
    contact_mm: float,
    joint: bool = True,
    cancel: CancelToken | None = None,
) -> list[dict[str, RaterContact | None]]:
    """Do what `rater_contact` does for several masks on one grid; where the vessels lie is looked for once.

    With `joint` false, two veins that touch each other are not measured as one as well.
    """
    if not masks:
        return []
    vessels, _ = fit_labels(vessels, masks[0].geometry, "the vessel map")
    vessels = in_lps(vessels)
    parts = [part for part in vessel_parts(vessels, names) if joint or len(part.values) == 1]
    drawn = [in_lps(_of_zeros_and_ones(mask)) for mask in masks]
    contacts: list[dict[str, RaterContact | None]] = [{part.name: None for part in parts} for _ in masks]
    # One vessel after the other: what is found of its course is kept for a while.
    for part in parts:
        for field, found in zip(drawn, contacts, strict=True):
            for _, _, _, measured in _walls(field, vessels, [part], contact_mm, cancel, 1):
                angle = float(measured.wall.angles_deg(np.array([CATEGORY_THRESHOLD]))[0])
                hidden = angle == 0 and measured.missed_level >= CATEGORY_THRESHOLD
                found[part.name] = RaterContact(None if hidden else angle, measured.wall)
    return contacts


def _of_zeros_and_ones(mask: Volume) -> Volume:
    """Return a mask of 0 and 1; itself, where it is one."""
    array = mask.array
    is_one = array.dtype == bool or (array.dtype == np.uint8 and array.max(initial=0) <= 1)
    return mask if is_one else mask.with_array(array != 0)


def _walls(
    field: Volume,
    vessels: Volume,
    parts: Sequence[VesselPart],
    contact_mm: float,
    cancel: CancelToken | None,
    threads: int,
) -> Iterator[tuple[VesselPart, NDArray[np.bool_], Box, MeasuredVessel]]:
    """Yield the wall of every vessel that is there, with its mask and its box."""

    def walled(part_box: tuple[VesselPart, Box]) -> tuple[VesselPart, NDArray[np.bool_], Box, MeasuredVessel]:
        part, box = part_box
        mask = of_values(vessels.array[box], part.values)
        return part, mask, box, measure_wall(field, mask, box, contact_mm, LOWEST_LEVEL, ends=part.ends)

    there = [(part, part.box) for part in parts if part.box is not None]
    return in_order(walled, there, threads=threads, cost=lambda part_box: part_box[0].extent, cancel=cancel)
