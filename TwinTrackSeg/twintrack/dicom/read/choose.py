"""Choose the one series that is meant among the images of a folder or an archive."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from twintrack.dicom.read.headers import Header
from twintrack.errors import InputError

__all__ = ["choose_series", "list_series"]

logger = logging.getLogger(__name__)


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
        if series_uid not in every:
            raise InputError(
                f"{place}: holds no series with the UID '{series_uid}'; it holds {_names(list(every.values()))}"
            )
        return _slices(every[series_uid])
    candidates = {uid: _slices(members) for uid, members in every.items() if _lies_in_space(members)} or every
    if len(candidates) > 1 and preferred_uid in candidates:
        return candidates[str(preferred_uid)]
    if len(candidates) > 1:
        raise InputError(
            f"{place}: holds {len(candidates)} series ({_names(list(candidates.values()))}); "
            "choose one by its UID (--series-uid UID), or give one file of it"
        )
    chosen = next(iter(candidates.values()))
    if len(chosen) < len(images):
        logger.info("passed over %d images that are scouts or reports", len(images) - len(chosen))
    return chosen


def list_series(images: Sequence[Header]) -> dict[str, list[Header]]:
    """Return the images of each series by its UID, in the order of their first files."""
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(header.series_uid, []).append(header)
    return series


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
    return "; ".join(_series_name(members) for members in series)


def _series_name(members: Sequence[Header]) -> str:
    """Name a series by what a user can look up; never by its patient."""
    first = members[0]
    description = first.text("SeriesDescription") or "no description"
    kind = first.text("Modality") or "unknown modality"
    return f"{first.series_uid or 'no UID'} '{description}', {kind}, {len(members)} file{'s' * (len(members) > 1)}"
