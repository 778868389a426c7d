"""Whose slices are in a series, and of which passes over the patient: a CT is one pass over one patient in one study.

Anonymisers and archives put the slices of several under one SeriesInstanceUID. Who the patients are is compared and
never told.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.headers import Header, time_of_day_s
from twintrack.errors import InputError

__all__ = ["check_one_patient", "one_acquisition"]

PAUSE_S = 5.0
"""Between two passes over the patient at least this long passes; slices of one pass follow each other faster."""

LEAST_SLICES = 3
"""Passes that are told apart by time alone have at least so many slices each."""

MOST_LISTED = 8

Groups = dict[int, list[Header]]


def check_one_patient(place: Path, slices: Sequence[Header]) -> None:
    """Refuse slices of several patients, or of several studies.

    Raises
    ------
    InputError
        Says how many, and none of their names or numbers.
    """
    for what, known in (
        ("patients", {header.patient for header in slices}),
        ("studies", {header.text("StudyInstanceUID") for header in slices}),
    ):
        count = len(known - {""})
        if count > 1:
            raise InputError(
                f"holds slices of {count} {what} under one series UID, as a faulty anonymization leaves them; "
                "export each CT anew from the archive",
                code="patients-mixed",
                path=place,
            )


def one_acquisition(place: Path, slices: list[Header], acquisition: int | None) -> list[Header]:
    """Return the slices of one pass over the patient.

    Acquisitions that follow each other along the patient are one CT; those that overlap are several phases or passes.
    They are told apart by AcquisitionNumber or, where that is the same, by pauses in AcquisitionTime, in whose order
    they are then numbered from 1.

    Parameters
    ----------
    place : Path
        For messages.
    slices : list of Header
        Of one series.
    acquisition : int or None
        Number of the acquisition that is meant.

    Raises
    ------
    InputError
        If there are several and none is chosen, or there is none of that number; the sentence lists them.
    """
    groups = _by_number(slices) if len(_by_number(slices)) > 1 else _by_time(slices)
    if acquisition is not None:
        groups = groups if len(groups) > 1 else _by_number(slices)
        if acquisition not in groups:
            raise InputError(
                f"has no acquisition {acquisition}; it has {_listed(groups)}", code="acquisition-unknown", path=place
            )
        return groups[acquisition]
    if len(groups) > 1 and len(slices) > 1 and _overlap(groups):
        raise InputError(
            f"holds {len(groups)} acquisitions over the same part of the patient ({_listed(groups)}), such as "
            "phases of contrast or repeated passes; choose one with --acquisition N, or in a manifest's column "
            "acquisition",
            code="several-acquisitions",
            path=place,
        )
    return slices


def _by_number(slices: Sequence[Header]) -> Groups:
    groups: Groups = {}
    for header in slices:
        groups.setdefault(header.whole_number("AcquisitionNumber"), []).append(header)
    return dict(sorted(groups.items()))


def _by_time(slices: Sequence[Header]) -> Groups:
    """Return passes that pauses divide; all slices as one where not all state a time, or a pass has too few slices."""
    timed = [(time, header) for header in slices if (time := time_of_day_s(header.text("AcquisitionTime"))) is not None]
    if len(timed) < len(slices):
        return {1: list(slices)}
    timed.sort(key=lambda pair: pair[0])
    groups: Groups = {1: []}
    before = timed[0][0]
    for time, header in timed:
        if time - before > PAUSE_S:
            groups[len(groups) + 1] = []
        groups[len(groups)].append(header)
        before = time
    return groups if min(map(len, groups.values())) >= LEAST_SLICES else {1: list(slices)}


def _along(slices: Sequence[Header]) -> NDArray[np.float64] | None:
    """Return where slices lie along the normal of the first one, in mm; None where they do not say."""
    try:
        axes = np.array(slices[0].numbers("ImageOrientationPatient", 6)).reshape(2, 3)
        positions = np.array([header.numbers("ImagePositionPatient", 3) for header in slices])
    except InputError:
        return None  # said of the slice itself where it is put in its place
    along: NDArray[np.float64] = positions @ np.cross(axes[0], axes[1])
    return along


def _overlap(groups: Groups) -> bool:
    """Whether two acquisitions share a part of the patient."""
    ranges = []
    for members in groups.values():
        along = _along(members)
        if along is None:
            return False
        ranges.append((float(along.min()), float(along.max())))
    ranges.sort()
    return any(after[0] < before[1] or after == before for before, after in itertools.pairwise(ranges))


def _listed(groups: Groups) -> str:
    """Describe acquisitions by what tells them apart."""
    times = {
        number: [time for member in members if (time := time_of_day_s(member.text("AcquisitionTime"))) is not None]
        for number, members in groups.items()
    }
    begin = min((min(own) for own in times.values() if own), default=None)
    parts = []
    for number, members in list(groups.items())[:MOST_LISTED]:
        along, description = _along(members), members[0].text("SeriesDescription")
        words = [f"{len(members)} slice{'s' * (len(members) > 1)}"]
        if along is not None:
            words.append(f"{along.min():.1f} to {along.max():.1f} mm")
        if begin is not None and times[number] and len(groups) > 1:
            words.append(f"{min(times[number]) - begin:.0f} s after the first")
        if description and len({member[0].text("SeriesDescription") for member in groups.values()}) > 1:
            words.append(f"'{description}'")
        parts.append(f"{number}: {', '.join(words)}")
    more = len(groups) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
