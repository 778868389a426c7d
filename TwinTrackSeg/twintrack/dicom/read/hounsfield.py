"""Turn stored pixel values into HU: the rescale of each slice, and padding outside of the field of view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.headers import Header, decimal
from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["AIR_HU", "stack_hu", "to_hu"]

AIR_HU = -1024
"""What lies outside of the scanner's field of view counts as air."""

TISSUE_HU = (-1000, 3071)
"""A padding value inside this range may be a true value somewhere in the body, and is not replaced."""


def to_hu(stored: NDArray[np.integer], header: Header) -> NDArray[np.generic]:
    """Return HU, (y, x): int32 where the rescale is whole-numbered, else float32.

    Parameters
    ----------
    stored : numpy.ndarray
        Stored values of one slice, (y, x).
    header : Header
        Its RescaleSlope and RescaleIntercept are used, those of the frame, and the padding.

    Raises
    ------
    InputError
        If the rescale is no number, or its slope is 0, or a table stands in its place.
    """
    if "ModalityLUTSequence" in header.dataset and header.dataset.get("RescaleIntercept") is None:
        raise InputError(
            "keeps its values in a table (ModalityLUTSequence) and not as HU; export the original series",
            code="not-hounsfield",
            path=header.place,
        )
    slope, intercept = _rescale(header, "RescaleSlope", 1.0), _rescale(header, "RescaleIntercept", 0.0)
    if slope == 0:
        raise InputError(
            "its RescaleSlope is 0, so it holds no HU; export the series again",
            code="not-hounsfield",
            path=header.place,
        )
    if slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < 2**15:
        hu: NDArray[Any] = stored.astype(np.int64) * int(slope) + int(intercept)
    else:
        hu = (stored * slope + intercept).astype(np.float32)
    padding = _padding(stored, header.dataset)
    if padding is not None:
        # Outside of what tissue can be; else a value that is padding by mistake would punch holes into the body.
        beyond = (hu < TISSUE_HU[0]) | (hu > TISSUE_HU[1])
        hu[padding & beyond] = AIR_HU
    return hu


def stack_hu(slices: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Stack slices to (z, y, x): int16 where this loses nothing, else float32."""
    limits = np.iinfo(np.int16)
    whole = all(item.dtype.kind in "iu" for item in slices)
    fits = whole and all(int(item.min()) >= limits.min and int(item.max()) <= limits.max for item in slices)
    kind = np.int16 if fits else np.float32
    stacked: NDArray[np.generic] = np.stack([item.astype(kind, copy=False) for item in slices])
    return stacked


def _rescale(header: Header, keyword: str, default: float) -> float:
    """Return one number of the rescale; `default` where the element is absent or empty."""
    value = header.dataset.get(keyword)
    if value is None or value == "":
        return default
    try:
        number = decimal(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(
            f"its {keyword} is not a number; export the series again", code="not-hounsfield", path=header.place
        )
    return number


def _padding(stored: NDArray[np.integer], dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where the stored values are padding, (y, x); None where the file states no padding value."""
    first = _stored_value(dataset, "PixelPaddingValue")
    if first is None:
        return None
    other = _stored_value(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if other is None else other))
    return (stored >= low) & (stored <= high)


def _stored_value(dataset: Dataset, keyword: str) -> int | None:
    """Return an element whose sign follows that of the pixels, though files often write it with the other one."""
    value = dataset.get(keyword)
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little") if len(value) >= 2 else None
    if not isinstance(value, int):
        return None
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    value &= 0xFFFF
    return value - 0x10000 if signed and value >= 0x8000 else value
