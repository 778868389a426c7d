"""DICOM-SEG objects of others: each segment as a mask, with its name and code.

Binary objects and label maps are read where their pixels are stored as they are; a fractional one is no mask.

References
----------
DICOM PS3.3, A.51 and C.8.20 (segmentation); PS3.5, 8.1.1 (bits are packed from the lowest on).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.elements import (
    BeyondLimit,
    Broken,
    FileElements,
    Limits,
    Wanted,
    read_elements,
    read_pixel_bytes,
)
from twintrack.dicom.read.headers import PREAMBLE_BYTES, is_dicom_input, open_plain, parse_errors, quiet_parser
from twintrack.errors import InputError
from twintrack.system.capacity import check_memory
from twintrack.volume import Geometry, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["SEGMENTATION_STORAGE", "CodedSegment", "is_segmentation", "read_segmentation"]

SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes: binary or fractional segmentation, and label map."""

RTSTRUCT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
"""Transfer syntaxes of pixels that are stored as they are, little endian."""

LIMITS = Limits(depth=12, elements=2_000_000, frames=100_000, value_bytes=1 << 20)
"""What a segmentation's header may hold: some twenty elements a frame, and frames of each segment."""

SOME_VESSEL = ("59820001", "51114001", "29092000")
"""Codes of SNOMED CT of a blood vessel, an artery, a vein."""

BACKGROUND = ("DCM", "125040")
"""Code of what is no structure; label maps describe it as a segment, of whatever number."""

PLACE_TOLERANCE = 0.01
"""Frames this part of the distance between two frames off their grid are on it."""

SAME_LEVEL_MM = 0.01
"""Frames that lie closer than this show one slice."""

PLANE_TOLERANCE, PARALLEL = 0.1, 1 - 1e-6
"""Frames this part of its slice distance off an image's slices lie on them; cosine of normals that are parallel."""


@dataclass(frozen=True)
class CodedSegment:
    """A segment of a DICOM-SEG.

    Attributes
    ----------
    number : int
        Segment number, from 1.
    name : str
        Segment label.
    codes : tuple of tuple of str
        Scheme and value of the property type and of the anatomic region, as far as they are coded.
    mask : Volume
        Bool, (z, y, x), on the grid of all frames of the object.
    """

    number: int
    name: str
    codes: tuple[tuple[str, str], ...]
    mask: Volume


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM object that holds masks or contours; by its header alone."""
    return path.is_file() and is_dicom_input(path) and _sop_class(path) in (*SEGMENTATION_STORAGE, RTSTRUCT_STORAGE)


def read_segmentation(path: Path, image: Geometry | None = None) -> tuple[CodedSegment, ...]:
    """Read the segments of a DICOM-SEG.

    Parameters
    ----------
    path : Path
        The file.
    image : Geometry, optional
        Of the image that it was drawn on, as far as that is known. Writers leave out frames that hold nothing, and the
        distance between slices need not be stated: then two frames far apart tell nothing of it, and the image does.

    Raises
    ------
    InputError
        If the file is none, damaged, compressed, holds fractions, or its frames lie on no regular grid.
    """
    try:
        with quiet_parser(), open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            found = _elements(file, size, _wanted())
            _check_kind(path, found)
            grid, places = _grid(path, found.dataset, image)
            frames = _frames(path, file, size, found, grid)
            _check_whole(path, found.dataset, frames)
            return _segments(path, found.dataset, grid, places, frames)
    except BeyondLimit as error:
        raise InputError(
            f"has {error.what}, more than a segmentation has; export it again", code="dicom-too-large", path=path
        ) from error
    except Broken as error:
        raise InputError("a damaged DICOM segmentation; export it again", code="dicom-damaged", path=path) from error
    except parse_errors() as error:
        raise InputError("a damaged DICOM segmentation; export it again", code="dicom-damaged", path=path) from error
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); check its permissions", code="file-unreadable", path=path
        ) from error


def _sop_class(path: Path) -> str:
    try:
        with quiet_parser(), open_plain(path) as file:
            found = _elements(file, os.fstat(file.fileno()).st_size, {0x00080016: None})
            return str(found.dataset.get("SOPClassUID") or "")
    except (BeyondLimit, Broken, OSError):
        return ""
    except parse_errors():
        return ""


def _elements(file: Any, size: int, wanted: Wanted) -> FileElements:
    file.seek(PREAMBLE_BYTES)
    marked = file.read(4) == b"DICM"
    file.seek(0)
    return read_elements(file, size, wanted, limits=LIMITS, marked=marked)


@lru_cache(maxsize=1)
def _wanted() -> Wanted:
    from pydicom.datadict import tag_for_keyword

    def tags(*keywords: str, **sequences: Wanted) -> Wanted:
        flat = {int(tag_for_keyword(keyword) or 0): None for keyword in keywords}
        return flat | {int(tag_for_keyword(keyword) or 0): inside for keyword, inside in sequences.items()}

    code = tags("CodeValue", "CodingSchemeDesignator")
    groups = tags(
        PlanePositionSequence=tags("ImagePositionPatient"),
        PlaneOrientationSequence=tags("ImageOrientationPatient"),
        PixelMeasuresSequence=tags("PixelSpacing", "SpacingBetweenSlices", "SliceThickness"),
        SegmentIdentificationSequence=tags("ReferencedSegmentNumber"),
    )
    return tags(
        *("SpecificCharacterSet", "SOPClassUID", "SegmentationType", "Rows", "Columns", "NumberOfFrames"),
        *("BitsAllocated", "SamplesPerPixel", "PixelRepresentation", "MaximumFractionalValue"),
        SegmentSequence=tags(
            *("SegmentNumber", "SegmentLabel"),
            SegmentedPropertyTypeCodeSequence=code,
            AnatomicRegionSequence=code,
        ),
        SharedFunctionalGroupsSequence=groups,
        PerFrameFunctionalGroupsSequence=groups,
    )


def _check_kind(path: Path, found: FileElements) -> None:
    dataset = found.dataset
    kind, syntax = str(dataset.get("SOPClassUID") or ""), str(found.meta.get("TransferSyntaxUID") or "")
    if kind == RTSTRUCT_STORAGE:
        raise InputError(
            "an RTSTRUCT holds contours, not voxels; load it with its CT in 3D Slicer (extension SlicerRT), "
            "export the segmentation as .seg.nrrd, and give that",
            code="contours-not-voxels",
            path=path,
        )
    if kind not in SEGMENTATION_STORAGE:
        raise InputError(
            "not a DICOM segmentation; give a mask as NIfTI, NRRD, MHA or DICOM-SEG",
            code="not-a-segmentation",
            path=path,
        )
    if syntax and syntax not in NATIVE:
        raise InputError(
            "its pixels are compressed, which is not read here; store it uncompressed",
            code="pixels-unsupported",
            path=path,
        )


def _check_whole(path: Path, dataset: Dataset, frames: NDArray[np.uint8]) -> None:
    """Refuse fractions; some writers store masks as 0 and the largest fraction."""
    if str(dataset.get("SegmentationType") or "BINARY") != "FRACTIONAL":
        return
    largest = _number(dataset, "MaximumFractionalValue") or 255
    if not bool(((frames == 0) | (frames == largest)).all()):
        raise InputError(
            "a fractional segmentation is not a mask; export a binary one", code="segmentation-fractional", path=path
        )


def _number(dataset: Dataset, keyword: str) -> int:
    try:
        return int(dataset.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


def _grid(path: Path, dataset: Dataset, image: Geometry | None) -> tuple[Geometry, NDArray[np.int64]]:
    """Return the grid of all frames, and the number of the slice on which each lies."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    if len(per_frame) != max(_number(dataset, "NumberOfFrames"), 1):
        raise InputError(
            f"describes {len(per_frame)} of its frames; export it again", code="segmentation-frames", path=path
        )

    def numbers(frame: Any, sequence: str, keyword: str, count: int) -> tuple[float, ...]:
        for group in (frame, shared):
            items = None if group is None else group.get(sequence)
            value = items[0].get(keyword) if items else None
            if value is not None:
                found = tuple(float(number) for number in np.atleast_1d(np.asarray(value, dtype=float)))
                if len(found) == count and bool(np.isfinite(found).all()):
                    return found
        raise InputError(f"a frame lacks {keyword}; export it again", code="segmentation-frames", path=path)

    first = per_frame[0]
    row = np.asarray(numbers(first, "PlaneOrientationSequence", "ImageOrientationPatient", 6))
    rows_mm, columns_mm = numbers(first, "PixelMeasuresSequence", "PixelSpacing", 2)
    x, y = row[:3], row[3:]
    normal = np.cross(x, y)
    origins = np.array([numbers(frame, "PlanePositionSequence", "ImagePositionPatient", 3) for frame in per_frame])
    along = origins @ normal
    across = origins - np.outer(along, normal)
    if np.abs(across - across[0]).max() > PLACE_TOLERANCE * min(rows_mm, columns_mm):
        raise InputError(
            "its frames are shifted against each other; resample it to a regular grid", code="frames-shifted", path=path
        )
    levels = _levels(along)

    def stated(keyword: str) -> float:
        try:
            return abs(numbers(first, "PixelMeasuresSequence", keyword, 1)[0])
        except InputError:
            return 0.0

    of_image = _slice_distance(image, normal, levels)
    step = _step(levels, stated("SpacingBetweenSlices"), stated("SliceThickness"), of_image)
    if not _fits(levels, step):
        raise InputError(
            "its frames lie at uneven distances; resample it to a regular grid", code="frames-uneven", path=path
        )
    steps = (along - levels[0]) / step
    places = np.rint(steps).astype(np.int64)
    size = (_number(dataset, "Columns"), _number(dataset, "Rows"), int(places.max()) + 1)
    if min(size) < 1:
        raise InputError(
            f"states a size of {size[0]} x {size[1]} pixels; export it again", code="segmentation-frames", path=path
        )
    check_memory(size, 8, "the segmentation")
    start = origins[int(np.argmin(along))]
    direction = tuple(np.column_stack((x, y, normal)).ravel().tolist())
    origin = cast(tuple[float, float, float], tuple(start.tolist()))
    return Geometry(size, (columns_mm, rows_mm, step), origin, direction), places


def _levels(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where frames lie, rising; frames of several segments lie at one level, but for rounding."""
    levels = np.sort(along)
    return levels[np.diff(levels, prepend=-np.inf) > SAME_LEVEL_MM]


def _fits(levels: NDArray[np.float64], step: float) -> bool:
    """Whether frames lie at whole multiples of a distance."""
    steps = (levels - levels[0]) / step
    return bool(np.abs(steps - np.rint(steps)).max() <= PLACE_TOLERANCE * max(1.0, float(np.abs(steps).max())))


def _step(levels: NDArray[np.float64], stated: float, thick: float, of_image: float) -> float:
    """Return the distance between slices, in mm; the last three numbers are 0 where they are not known.

    What is stated counts where the frames lie so, because it is often the thickness instead. Else frames at even
    distances tell it, then the image, on whose slices they lie.
    """
    if stated and _fits(levels, stated):
        return stated
    gaps = np.diff(levels)
    if len(gaps) > 1 and _fits(levels, float(gaps[0])) and bool((np.abs(gaps - gaps[0]) < 0.5 * gaps[0]).all()):
        return float(gaps[0])
    return of_image or (float(gaps.min()) if len(gaps) else thick or 1.0)


def _slice_distance(image: Geometry | None, normal: NDArray[np.float64], levels: NDArray[np.float64]) -> float:
    """Return the distance of an image's slices if the frames lie on them, else 0."""
    if image is None:
        return 0.0
    along = np.abs(image.direction_matrix.T @ normal)
    axis = int(along.argmax())
    step = image.spacing_mm[axis]
    places = (levels - np.asarray(image.origin_mm) @ normal) / step
    on_slices = along[axis] >= PARALLEL and np.abs(places - np.rint(places)).max() <= PLANE_TOLERANCE
    return step if on_slices else 0.0


def _frames(path: Path, file: Any, size: int, found: FileElements, grid: Geometry) -> NDArray[np.uint8]:
    """Return the frames as they are stored, (frame, y, x): bits as 0 and 1, or labels."""
    bits = _number(found.dataset, "BitsAllocated")
    count = max(_number(found.dataset, "NumberOfFrames"), 1)
    pixels = count * prod(grid.size[:2])
    needed = {1: -(-pixels // 8), 8: pixels, 16: 2 * pixels}.get(bits)
    if needed is None or found.pixels is None or found.pixels.length is None:
        raise InputError(
            "does not store pixels of 1, 8 or 16 bits; export it again", code="pixels-unsupported", path=path
        )
    if found.pixels.length < needed:
        raise InputError(
            f"is cut off, {found.pixels.length:,} of {needed:,} bytes of pixels; copy it again",
            code="pixels-cut-off",
            path=path,
        )
    check_memory((grid.size[0], grid.size[1], count), 2, "the segmentation")
    file.seek(0)
    content = read_pixel_bytes(file, size, found.pixels, needed=needed, little_endian=True)
    shape = (count, grid.size[1], grid.size[0])
    if bits == 1:
        return np.unpackbits(np.frombuffer(content, np.uint8), count=pixels, bitorder="little").reshape(shape)
    return np.frombuffer(content, np.uint8 if bits == 8 else "<u2").reshape(shape)


def _segments(
    path: Path, dataset: Dataset, grid: Geometry, places: NDArray[np.int64], frames: NDArray[np.uint8]
) -> tuple[CodedSegment, ...]:
    is_label_map = str(dataset.get("SegmentationType") or "") == "LABELMAP"
    owners = None if is_label_map else _owners(path, dataset)
    segments = []
    for item in dataset.get("SegmentSequence") or []:
        number = _number(item, "SegmentNumber")
        if number < 1 or BACKGROUND in _listed(item, "SegmentedPropertyTypeCodeSequence"):
            continue
        mask = np.zeros(grid.shape, dtype=bool)
        for frame, place in enumerate(places.tolist()):
            if is_label_map:
                mask[place] |= frames[frame] == number
            elif owners is not None and owners[frame] == number:
                mask[place] |= frames[frame] != 0
        name = " ".join(str(item.get("SegmentLabel") or "").split())
        segments.append(CodedSegment(number, name, _codes(item), Volume(mask, grid)))
    if not segments:
        raise InputError("describes no segment; export it again", code="segmentation-segments", path=path)
    if owners is not None and not set(owners) <= {segment.number for segment in segments}:
        raise InputError(
            "has frames of segments that it does not describe; export it again", code="segmentation-segments", path=path
        )
    return tuple(segments)


def _owners(path: Path, dataset: Dataset) -> list[int]:
    owners = []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    for frame in dataset.get("PerFrameFunctionalGroupsSequence") or []:
        items = frame.get("SegmentIdentificationSequence") or (shared or {}).get("SegmentIdentificationSequence")
        if not items:
            raise InputError(
                "a frame does not say which segment it belongs to; export it again",
                code="segmentation-segments",
                path=path,
            )
        owners.append(_number(items[0], "ReferencedSegmentNumber"))
    return owners


def _codes(item: Dataset) -> tuple[tuple[str, str], ...]:
    """Return the codes that say what a segment is: its type, or the region of one that is just some vessel."""
    types = _listed(item, "SegmentedPropertyTypeCodeSequence")
    if all(value in SOME_VESSEL for _, value in types):
        types += _listed(item, "AnatomicRegionSequence")
    return tuple(types)


def _listed(item: Dataset, keyword: str) -> list[tuple[str, str]]:
    """Return scheme and value of the codes of a sequence."""
    sequence = item.get(keyword) or []
    return [(str(code.get("CodingSchemeDesignator") or ""), str(code.get("CodeValue") or "")) for code in sequence]
