"""Identifiers that follow from what an object is, so that the same object made again is no second one.

A series is told by the CT series it was made from, the bundle, the program's version and the settings; an instance also
by its content. Who sends a result twice, from another process or machine, sends the same objects, and an archive keeps
one of each. An outline that was edited by hand is another instance in the same series.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twintrack import __version__
from twintrack.dicom.read.headers import items_of
from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.references import source_uids
from twintrack.dicom.write.source import IDENTITY

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["derived_uid", "name_instance", "series_uid", "tracking_uid"]

UUID_VERSION, UUID_VARIANT = 8, 0b10
"""RFC 9562: a UUID whose bits the application chooses; under 2.25 a UID holds a UUID as a decimal number."""

TIME_VRS = ("DA", "TM", "DT")
"""When an object was made does not make it another one."""

FLOAT_FORMATS = {"FL": "<f", "FD": "<d"}
"""As they are stored: a number that was read again must count as the one that was written."""


def derived_uid(*parts: str) -> str:
    """Return the UID, ``2.25.`` and 39 digits at most, that belongs to `parts`."""
    digest = hashlib.sha256(json.dumps(["twintrack", *parts]).encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | UUID_VERSION << 76
    number = number & ~(0b11 << 62) | UUID_VARIANT << 62
    return f"2.25.{number}"


def series_uid(series: DicomSeries, bundle_sha256: str, settings: Mapping[str, Any], number: int) -> str:
    """Return the SeriesInstanceUID of the objects of one kind that a run makes of `series`.

    Parameters
    ----------
    series : DicomSeries
        The CT series that was segmented.
    bundle_sha256, settings
        What segmented it, and the JSON values by which the run differs from others.
    number : int
        SeriesNumber, which tells the kinds of objects apart.
    """
    study, source, _ = source_uids(series)
    stated = json.dumps(dict(settings), sort_keys=True)
    return derived_uid("series", study, source, bundle_sha256, __version__, stated, str(number))


def tracking_uid(of_series: str, name: str) -> str:
    """Return the TrackingUID of segment or measurement `name`: the same in all instances of the series `of_series`."""
    return derived_uid("tracking", of_series, name)


def name_instance(dataset: Dataset) -> None:
    """Give a complete object the SOPInstanceUID that belongs to its series and content.

    Time stamps do not count, nor do patient and study: an archive that corrects a name does not make other objects.
    """
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(sequence) or ():
            item.DimensionOrganizationUID = derived_uid("dimensions", str(dataset.SeriesInstanceUID))
    digest = hashlib.sha256()
    for part in _content(dataset, without=frozenset((*IDENTITY, "SOPInstanceUID"))):
        digest.update(part)
    dataset.SOPInstanceUID = derived_uid("instance", str(dataset.SeriesInstanceUID), digest.hexdigest())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _content(dataset: Dataset, without: frozenset[str] = frozenset()) -> Iterator[bytes]:
    """Yield tag, length and value of each element, in the order of tags, so that no two contents give the same."""
    for element in dataset:
        if element.VR in TIME_VRS or element.keyword in without:
            continue
        yield struct.pack("<L", int(element.tag))
        if element.VR == "SQ":
            yield struct.pack("<Q", len(element.value))
            for item in element.value:
                yield b"("
                yield from _content(item)
                yield b")"
            continue
        value = _stored(element)
        yield struct.pack("<Q", len(value))
        yield value


def _stored(element: DataElement) -> bytes:
    """Return the value in a form that writing and reading does not change."""
    value: Any = element.value
    if isinstance(value, bytes):
        return value if len(value) % 2 == 0 else value + b"\0"
    values = [] if value is None else items_of(value)
    if element.VR in FLOAT_FORMATS:
        return b"".join(struct.pack(FLOAT_FORMATS[element.VR], item) for item in values)
    return "\\".join(str(item).strip() for item in values).encode()
