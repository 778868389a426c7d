"""How far the members of an ensemble differ in what they say of each vessel.

Each member has its own tumour and its own vessels. The same map read against two outlines of a vessel can give very
different angles, so the range over members says more of a reading than the number alone. It is no interval of
confidence: members of one ensemble saw much the same cases and err together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from twintrack.invasion.measure import measure_vessels
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.result import InvasionResult, MemberRange, VesselInvasion
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Volume

__all__ = ["member_range", "with_member_range"]

MOST_SECTIONS = 600
"""30 cm of vessel near one tumour are noise, which takes long to measure and means nothing."""

LEAST_CONTACT = 0.05
"""Vessels that the map of all members touches at no higher level than this are not measured again for each."""


def with_member_range(
    found: InvasionResult,
    members: Iterable[tuple[Volume, Volume]],
    names: Mapping[str, int],
    *,
    searched: Volume | None = None,
    threads: int = 1,
    cancel: CancelToken | None = None,
) -> InvasionResult:
    """Measure contact for each member of an ensemble, and put the ranges beside the numbers.

    Only vessels that the tumour comes near are measured again: those with contact at a level above `LEAST_CONTACT`.

    Parameters
    ----------
    found : InvasionResult
        Measured on the map of all members.
    members : iterable of (Volume, Volume)
        Probability map in [0, 1] and vessel label map of each member, taken one after the other; the same vessels each
        time where they were given and not predicted. The calibrator of a bundle was fitted on the score that all
        members give together, and a single member's score is more extreme: put through the same calibrator, it is a
        probability only roughly.
    names : mapping of str to int
        Vessel names and their label values.
    searched : Volume, optional
        See `twintrack.invasion.measure_invasion`.
    threads : int
        Vessels measured at a time.
    cancel : CancelToken, optional
        Checked once a vessel and member.

    Returns
    -------
    InvasionResult
        `found` with `VesselInvasion.member_range` where there are two members or more.
    """
    near = {name: value for name, value in names.items() if _worth(found.vessels[name])}
    if not near:
        return found
    measured = [
        measure_vessels(
            probability,
            vessels,
            near,
            [CATEGORY_THRESHOLD],
            found.contact_mm,
            searched=searched,
            contact_only=True,
            threads=threads,
            cancel=cancel,
        )
        for probability, vessels in members
    ]
    # A member that predicts one of two veins alone has not both together.
    ranges = {name: member_range([vessels[name] for vessels in measured if name in vessels]) for name in found.vessels}
    vessels = {name: replace(vessel, member_range=ranges.get(name)) for name, vessel in found.vessels.items()}
    return replace(found, vessels=vessels)


def _worth(vessel: VesselInvasion) -> bool:
    """Tell whether a vessel is one that the tumour comes near, and no noise."""
    sections = 0 if vessel.wall is None else len(vessel.wall.level)
    return (vessel.level_contact or 0.0) > LEAST_CONTACT and sections <= MOST_SECTIONS


def member_range(members: Sequence[VesselInvasion]) -> MemberRange | None:
    """Return the range over what the members say of one vessel, each measured at level 0.5 alone.

    A member in which a number could not be measured, for instance because it predicts no such vessel, has no part in
    that number's range. None if there are not two members in which contact could be measured.
    """
    contact = [vessel.level_contact for vessel in members if vessel.level_contact is not None]
    if len(contact) < 2:
        return None
    return MemberRange(
        angle_deg=_range([vessel.angle_deg[0] for vessel in members]),
        level_contact=(min(contact), max(contact)),
        level_encased=_range([vessel.level_encased for vessel in members]),
        members=len(contact),
    )


def _range(values: Sequence[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if len(known) > 1 else None
