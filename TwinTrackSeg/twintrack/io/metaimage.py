"""Headers of MetaImage files, with their voxels (.mha) or apart from them (.mhd).

References
----------
https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from twintrack.errors import InputError
from twintrack.io.file_grid import ROUNDING, FileGrid, check_spacing, grid_of, mm_of_unit, no_spacing
from twintrack.io.text_header import LINES, files_of_pattern, floats, integers, size_of, text_of
from twintrack.io.voxel_file import HEADER_BYTES, Encoding, Layout, head_of, shown
from twintrack.volume import DIRECTION_TOLERANCE, Geometry, check_kind

__all__ = ["metaimage_layout"]

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

_LAST = "ElementDataFile"

_LINE = re.compile(r"\s*([^=:\s]+)\s*[=:]\s*(.*?)\s*")


def metaimage_layout(path: Path) -> Layout:
    """Return what the header of a MetaImage file says.

    Raises
    ------
    InputError
        If it is no such header, or not of a volume; without naming the file.
    """
    head, _ = head_of(path, HEADER_BYTES)
    fields, listed, end = _fields(head)
    (dimensions,) = integers(_needed(fields, "NDims"), "NDims", 1)
    (values,) = integers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels", 1)
    check_kind(dimensions, values)
    size = size_of(integers(_needed(fields, "DimSize"), "DimSize", 3))
    code = _TYPES.get(_needed(fields, "ElementType"))
    if code is None:
        raise InputError(
            f"holds voxels of type {shown(fields['ElementType'])}; save it as integers or floats", code="voxel-type"
        )
    if not _truth(fields, "BinaryData", otherwise=True):
        raise InputError(
            "holds voxels written as text, which is not read; save it with compression", code="voxels-as-text"
        )
    big = _truth(fields, "BinaryDataByteOrderMSB" if "BinaryDataByteOrderMSB" in fields else "ElementByteOrderMSB")
    files = _files(fields[_LAST], listed, size[2])
    (skip,) = integers(fields.get("HeaderSize", "0"), "HeaderSize", 1)
    encoding, compressed_bytes = Encoding.RAW, None
    if _truth(fields, "CompressedData"):
        encoding = Encoding.ZLIB
        # Where it is missing, the stream's own end and checksum must do.
        (stated,) = integers(fields.get("CompressedDataSize", "0"), "CompressedDataSize", 1)
        compressed_bytes = stated if stated > 0 else None
    if skip < -1 or skip > HEADER_BYTES or (skip and (encoding is not Encoding.RAW or (skip > 0 and not files))):
        raise InputError(
            f"states a 'HeaderSize' of {skip}, which is not understood here; export it again", code="header-malformed"
        )
    if encoding is not Encoding.RAW and len(files) > 1:
        raise InputError(
            "holds compressed voxels in several files, which is not read; export it as one file",
            code="voxels-in-several-files",
        )
    geometry, grid, notes = _geometry(fields, size)
    return Layout(
        geometry,
        np.dtype((">" if big else "<") + code),
        encoding,
        files,
        start=None if skip < 0 else skip if files else end,
        compressed_bytes=compressed_bytes,
        grid=grid,
        notes=notes,
    )


def _fields(head: bytes) -> tuple[dict[str, str], list[str], int]:
    """Return the fields, the lines after the last one if that is ``LIST``, and where the voxels begin otherwise."""
    broken = InputError(
        "cannot be read as an image; the file may be damaged or of another kind (expected: MetaImage)",
        code="not-an-image",
    )
    fields: dict[str, str] = {}
    start = 0
    for _ in range(LINES):
        end = head.find(b"\n", start)
        end = len(head) if end < 0 else end
        line, start = text_of(head[start:end]), end + 1
        if not line.strip() and start < len(head):
            continue
        found = _LINE.fullmatch(line) if len(line) < HEADER_BYTES // 16 else None
        if found is None:
            raise broken
        name, value = found.groups()
        if name in fields:
            raise InputError(f"states {shown(name)} twice; export it again", code="header-malformed")
        fields[name] = value
        if name == _LAST:
            if not value:
                raise broken
            listed = text_of(head[start:]).splitlines() if value.split()[0] == "LIST" else []
            return fields, [rest.strip() for rest in listed if rest.strip()], start
    raise InputError(f"has a header of more than {LINES:,} lines; export it again", code="header-too-large")


def _needed(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"has a header without '{name}'; export it again", code="header-malformed")
    return fields[name]


def _truth(fields: dict[str, str], name: str, *, otherwise: bool = False) -> bool:
    """Return a field that is true or false."""
    value = fields.get(name)
    if value is None:
        return otherwise
    return value[:1] in ("T", "t", "1")


def _files(named: str, listed: list[str], slices: int) -> tuple[str, ...]:
    """Return the files of the voxels: none for the header's own, one, or one a slice."""
    words = named.split()
    if named.upper() == "LOCAL":
        return ()
    if words[0] == "LIST":
        if words[1:] not in ([], ["2"], ["2D"]):
            raise InputError(
                f"names its files in a way that is not understood ({shown(named)}); export it as one file",
                code="voxel-files",
            )
        files = tuple(listed)
    elif "%" in named and len(words) in (3, 4):
        first, last, step = integers(" ".join([*words[1:], "1"][:3]), _LAST, 3)
        files = files_of_pattern(words[0], first, last, step)
    else:
        return (named,)
    if len(files) != slices:
        raise InputError(f"names {len(files)} files for {slices} slices; copy or export it again", code="voxel-files")
    return files


def _geometry(fields: dict[str, str], size: tuple[int, int, int]) -> tuple[Geometry, FileGrid | None, tuple[str, ...]]:
    """Return the grid in LPS, and the way to an upright one; each row of the matrix is the direction of an axis."""
    if "ElementSpacing" not in fields and "ElementSize" not in fields:
        raise no_spacing("'ElementSpacing'")
    mm = mm_of_unit(fields.get("DistanceUnits", ""))
    spacing = np.array(_first(fields, ("ElementSpacing", "ElementSize"), (1.0, 1.0, 1.0))) * mm
    origin = np.array(_first(fields, ("Offset", "Position", "Origin"), (0.0, 0.0, 0.0))) * mm
    rows = _first(fields, ("TransformMatrix", "Rotation", "Orientation"), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    matrix = np.array(rows).reshape(3, 3).T * np.where(spacing < 0, -1.0, 1.0)  # negative: its axis is turned round
    spacing = np.abs(spacing)
    check_spacing(spacing)
    dots = matrix.T @ matrix
    if np.abs(dots - np.diag(np.diag(dots))).max() > ROUNDING and np.allclose(
        np.diag(dots), 1, atol=DIRECTION_TOLERANCE
    ):
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix * spacing, origin
        return grid_of(size, affine)
    i, j, k = spacing.tolist()
    x, y, z = origin.tolist()
    return Geometry(size, (i, j, k), (x, y, z), tuple(matrix.ravel().tolist())), None, ()


def _first(fields: dict[str, str], names: tuple[str, ...], otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """Return the numbers of the first of these fields that is there."""
    for name in names:
        if name in fields:
            return floats(fields[name], name, len(otherwise))
    return otherwise
