"""Choose the one series that is meant among the images of a folder or an archive."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from twintrack.dicom.read.headers import Header
from twintrack.errors import InputError

__all__ = ["choose_series", "list_series"]

logger = logging.getLogger(__name__)

MOST_LISTED = 8
"""Series that a sentence lists."""


def choose_series(
    place: Path, images: Sequence[Header], series_uid: str | None, preferred_uid: str | None = None
) -> list[Header]:
    """Return the slices of the series `series_uid`, or of the only one that there is, or else of the preferred one.

    Scouts, screen shots and series that do not lie in space (patient protocols, dose reports) do not count as long as
    another series is there, and are never mixed into the slices of one.

    Raises
    ------
    InputError
        If there are several series to choose from, or none of that UID; the sentence lists them.
    """
    every = list_series(images)
    if series_uid is not None:
        if series_uid not in every and series_uid in (numbered := _by_number(every)):
            series_uid = numbered[series_uid]
        if series_uid not in every:
            raise InputError(
                f"holds no series with the UID '{series_uid}'; it holds {_names(list(every.values()))}",
                code="series-unknown",
                path=place,
            )
        return _slices(every[series_uid])
    candidates = {uid: _slices(members) for uid, members in every.items() if _lies_in_space(members)} or every
    if len(candidates) > 1 and preferred_uid in candidates:
        return candidates[str(preferred_uid)]
    if len(candidates) > MOST_LISTED and all(len(members) == 1 for members in candidates.values()):
        raise InputError(
            f"each of its {len(candidates)} slices has a series UID of its own, as a faulty anonymization "
            "leaves them; anonymize the original series again, with one UID for all slices",
            code="series-uids-differ",
            path=place,
        )
    if len(candidates) > 1:
        raise InputError(
            f"holds {len(candidates)} series ({_names(list(candidates.values()))}); "
            "choose one by its UID or number (--series-uid UID), or give one file of it",
            code="several-series",
            path=place,
        )
    chosen = next(iter(candidates.values()))
    if len(chosen) < len(images):
        logger.info("passed over %d images that are scouts or reports", len(images) - len(chosen))
    return chosen


def list_series(images: Sequence[Header]) -> dict[str, list[Header]]:
    """Return the images of each series by its UID, in the order of their first files.

    Where slices of several SeriesNumbers have one UID, or none, each is a series of its own: ``UID#NUMBER``.
    """
    by_uid: dict[str, list[Header]] = {}
    for header in images:
        by_uid.setdefault(header.series_uid, []).append(header)
    series: dict[str, list[Header]] = {}
    for uid, members in by_uid.items():
        numbers = {header.text("SeriesNumber") for header in members if not header.is_side_image} - {""}
        for header in members:
            mixed = len(numbers) > 1 and not header.is_side_image
            series.setdefault(f"{uid}#{header.text('SeriesNumber')}" if mixed else uid, []).append(header)
    return {uid: members for uid, members in series.items() if not _only_beside(uid, members, series)}


def _only_beside(uid: str, members: list[Header], series: dict[str, list[Header]]) -> bool:
    """Whether these are only scouts of a UID under which several series of slices lie."""
    return all(header.is_side_image for header in members) and any(other.startswith(f"{uid}#") for other in series)


def _by_number(series: dict[str, list[Header]]) -> dict[str, str]:
    """Return the UID of each series by its SeriesNumber, where no other has it."""
    numbered: dict[str, list[str]] = {}
    for uid, members in series.items():
        numbered.setdefault(members[0].text("SeriesNumber"), []).append(uid)
    return {number: uids[0] for number, uids in numbered.items() if number and len(uids) == 1}


def _slices(members: list[Header]) -> list[Header]:
    """Return the images of a series without its scouts; all of them where it is nothing but scouts."""
    return [header for header in members if not header.is_side_image] or members


def _lies_in_space(members: Sequence[Header]) -> bool:
    """Whether any image of a series is a slice at a place."""
    return any(
        not header.is_side_image
        and ("ImagePositionPatient" in header.dataset or "PerFrameFunctionalGroupsSequence" in header.dataset)
        for header in members
    )


def _names(series: Sequence[Sequence[Header]]) -> str:
    more = len(series) - MOST_LISTED
    named = "; ".join(_series_name(members) for members in series[:MOST_LISTED])
    return named + (f"; and {more} more" if more > 0 else "")


def _series_name(members: Sequence[Header]) -> str:
    """Name a series by what a user can look up; never by its patient."""
    first = members[0]
    description = first.text("SeriesDescription") or "no description"
    kind = first.text("Modality") or "unknown modality"
    number = f" number {first.text('SeriesNumber')}" if first.text("SeriesNumber") else ""
    files = f"{len(members)} file{'s' * (len(members) > 1)}"
    return f"{first.series_uid or 'no UID'} '{description}', {kind}, {files}{number}"
