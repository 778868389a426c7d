"""Headers of NRRD files, with their voxels or apart from them.

References
----------
http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan, prod, sqrt
from pathlib import Path
from typing import cast

import numpy as np

from twintrack.errors import InputError
from twintrack.io.file_grid import ROUNDING, FileGrid, check_spacing, grid_of, mm_of_unit, no_spacing
from twintrack.io.text_header import LINES, files_of_pattern, floats, integers, size_of, text_of
from twintrack.io.voxel_file import HEADER_BYTES, Encoding, Layout, head_of, shown
from twintrack.volume import Geometry, check_kind

__all__ = ["NrrdSegment", "nrrd_layout", "nrrd_segments"]

_MAGIC = re.compile(r"NRRD00(?:0[1-5]|\.01)")

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}

_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}

_ENCODINGS = {
    "raw": Encoding.RAW,
    "txt": Encoding.TEXT,
    "text": Encoding.TEXT,
    "ascii": Encoding.TEXT,
    "hex": Encoding.HEX,
    "gz": Encoding.GZIP,
    "gzip": Encoding.GZIP,
}

_TO_LPS = {
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
"""Signs that turn a space's axes to LPS; all other spaces count as LPS."""

_PLACES = ("domain", "space", "time", "none", "???")
"""Kinds of an axis along which voxels lie; with any other kind, it runs over the values of one voxel."""

_SPELLINGS = {
    "datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip", "axismins": "axis mins",
    "axismaxs": "axis maxs", "centerings": "centers", "blocksize": "block size", "oldmin": "old min",
    "oldmax": "old max", "sampleunits": "sample units",
}  # fmt: skip
"""Other ways to write the names of fields."""

_FIELDS = frozenset(_SPELLINGS.values()) | {
    "content", "number", "type", "dimension", "space", "space dimension", "sizes", "spacings", "thicknesses",
    "space directions", "kinds", "labels", "units", "space units", "space origin", "measurement frame", "min", "max",
    "endian", "encoding",
}  # fmt: skip
"""All fields of the format; a misspelt one could be the one that places the grid."""

Triple = tuple[float, float, float]
Place = tuple[Geometry, FileGrid | None, tuple[str, ...]]

_WORD = re.compile(r'"[^"]*"|[^\s"]+')

_VECTOR = re.compile(r"\(([^()]*)\)|(none)")

_SEGMENT = re.compile(r"Segment([0-9]{1,4})_(Name|LabelValue|Layer|Tags)")

MOST_LAYERS = 64
"""Layers of a segmentation: so many segments of Slicer's may overlap in one voxel."""

_BYTES_IN_ORDER = ("i1", "u1")


@dataclass(frozen=True)
class NrrdSegment:
    """A segment as 3D Slicer describes it in the header of a ``.seg.nrrd``.

    Attributes
    ----------
    name : str
        For people.
    value : int
        Of its voxels.
    layer : int
        Which of the values of a voxel is meant.
    code : tuple of str
        Scheme and value of the coded type; empty texts where there is none.
    """

    name: str
    value: int
    layer: int
    code: tuple[str, str] = ("", "")


def nrrd_segments(path: Path) -> tuple[Layout, tuple[NrrdSegment, ...]]:
    """Return what the header of a NRRD file says, also of one with several layers, and the segments that it describes.

    Raises
    ------
    InputError
        As `nrrd_layout`.
    """
    layout = nrrd_layout(path, layers=True)
    head, _ = head_of(path, HEADER_BYTES)
    blank = re.search(rb"\n\r?\n", head)
    described: dict[int, dict[str, str]] = {}
    for line in text_of(head[: len(head) if blank is None else blank.end()]).splitlines():
        key, is_own, value = line.partition(":=")
        if is_own and (found := _SEGMENT.fullmatch(key.strip())):
            described.setdefault(int(found[1]), {})[found[2]] = value.strip()
    segments = []
    for place, number in enumerate(sorted(described)):
        stated = described[number]
        # Before Slicer 4.11 each segment had a layer of its own.
        layer = stated.get("Layer", str(place if layout.layers > 1 else 0))
        value = stated.get("LabelValue", "1")
        if not (layer.isdecimal() and int(layer) < layout.layers and value.isdecimal() and len(value) < 10):
            raise InputError(
                f"describes a segment {number} that it does not hold; save it again in 3D Slicer",
                code="segmentation-segments",
            )
        if int(value) == 0:
            raise InputError(
                "gives a segment the value 0 of what is around it; save it again in 3D Slicer",
                code="segmentation-segments",
            )
        segments.append(NrrdSegment(stated.get("Name", ""), int(value), int(layer), _code(stated.get("Tags", ""))))
    return layout, tuple(segments)


def _code(tags: str) -> tuple[str, str]:
    """Return the type's code in a terminology entry: context ~ category ~ type ~ ..., each scheme ^ value ^ meaning."""
    for tag in tags.split("|"):
        name, _, entry = tag.partition(":")
        parts = entry.split("~")
        if name == "TerminologyEntry" and len(parts) > 2 and parts[2].count("^") >= 2:
            scheme, value, _ = parts[2].split("^", 2)
            return scheme, value
    return "", ""


def nrrd_layout(path: Path, *, layers: bool = False) -> Layout:
    """Return what the header of a NRRD file says; with `layers` a voxel may have several values on the first axis.

    Raises
    ------
    InputError
        If it is no such header, or not of a volume; without naming the file.
    """
    head, _ = head_of(path, HEADER_BYTES)
    fields, listed, end = _fields(head)
    (dimension,) = integers(_needed(fields, "dimension"), "dimension", 1)
    if not 1 <= dimension <= 16:
        raise InputError(f"states {dimension} dimensions; export it again", code="header-malformed")
    sizes = integers(_needed(fields, "sizes"), "sizes", dimension)
    axes, count = _axes_of_voxels(fields, sizes, layers=layers)
    code = _TYPE_OF.get(" ".join(_needed(fields, "type").lower().split()))
    encoding = _ENCODINGS.get(_needed(fields, "encoding").lower())
    if code is None or encoding is None:
        raise InputError(
            f"holds voxels of type {shown(fields['type'])}, encoded as {shown(fields['encoding'])}, which is not read; "
            "save it with gzip compression, as integers or floats",
            code="voxel-type",
        )
    files = _files(fields.get("data file", ""), listed)
    if files and prod(sizes) % len(files):
        raise InputError(
            f"cannot be divided into the {len(files)} files that it names; export it as one file", code="voxel-files"
        )
    (skip,) = integers(fields.get("byte skip", "0"), "byte skip", 1)
    (lines,) = integers(fields.get("line skip", "0"), "line skip", 1)
    if not (-1 if encoding is Encoding.RAW else 0) <= skip <= HEADER_BYTES or not 0 <= lines <= LINES:
        raise InputError(
            f"states {lines} lines and {skip} bytes before its voxels; export it again", code="header-malformed"
        )
    geometry, grid, notes = _geometry(fields, size_of([sizes[axis] for axis in axes]), axes, dimension)
    return Layout(
        geometry,
        np.dtype(_order(fields, code, encoding) + code),
        encoding,
        files,
        start=None if skip < 0 else 0 if files else end,
        lines=lines,
        skip=max(skip, 0),
        layers=count,
        grid=grid,
        notes=notes,
    )


def _fields(head: bytes) -> tuple[dict[str, str], list[str], int]:
    """Return the fields in small letters, the lines after ``data file: LIST``, and where the header ends."""
    broken = InputError(
        "cannot be read as an image; the file may be damaged or of another kind (expected: NRRD)", code="not-an-image"
    )
    if not _MAGIC.fullmatch(text_of(head.split(b"\n", 1)[0][:16]).rstrip("\r")):
        raise broken
    blank = re.search(rb"\n\r?\n", head)
    if blank is None and len(head) == HEADER_BYTES:
        raise InputError(f"has a header of more than {HEADER_BYTES:,} bytes; export it again", code="header-too-large")
    end = len(head) if blank is None else blank.end()
    lines = text_of(head[:end]).split("\n")[1:]
    if len(lines) > LINES:
        raise InputError(f"has a header of more than {LINES:,} lines; export it again", code="header-too-large")
    fields: dict[str, str] = {}
    for number, line in enumerate(text.rstrip("\r") for text in lines):
        if line.startswith("#") or not line:
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise broken
        if value.startswith("="):
            continue  # a key of the user's own
        name = " ".join(name.lower().split())
        name = _SPELLINGS.get(name, name)
        if name not in _FIELDS:
            raise InputError(
                f"has a field {shown(name)} in its header, which NRRD does not know; export it again",
                code="header-malformed",
            )
        if name in fields:
            raise InputError(f"states '{name}' twice; export it again", code="header-malformed")
        fields[name] = value.strip()
        if name == "data file" and fields[name].split(" ", 1)[0] == "LIST":
            return fields, [rest.strip() for rest in lines[number + 1 :] if rest.strip()], end
    if blank is None and "data file" not in fields:
        raise broken
    return fields, [], end


def _needed(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"has a header without '{name}'; export it again", code="header-malformed")
    return fields[name]


def _axes_of_voxels(fields: dict[str, str], sizes: tuple[int, ...], *, layers: bool) -> tuple[list[int], int]:
    """Return the three axes along which voxels lie, and how many values a voxel has, on an axis that comes first."""
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
    if len(kinds) != len(sizes):
        raise InputError("must state as many 'kinds' as dimensions; export it again", code="header-malformed")
    axes = [axis for axis, kind in enumerate(kinds) if kind in _PLACES]
    count = max(prod(size for axis, size in enumerate(sizes) if axis not in axes), 0)
    if layers and axes == [1, 2, 3] and 1 < count <= MOST_LAYERS:
        return axes, count
    check_kind(len(axes), count)
    return axes, 1


def _order(fields: dict[str, str], code: str, encoding: Encoding) -> str:
    """Return the byte order of the voxels."""
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is not None:
        return order
    if code in _BYTES_IN_ORDER or encoding is Encoding.TEXT:
        return "="
    raise InputError(
        "has a header without 'endian', the order of bytes (little or big); export it again", code="header-malformed"
    )


def _files(named: str, listed: list[str]) -> tuple[str, ...]:
    """Return the files of the voxels."""
    if not named:
        return ()
    words = named.split()
    if words[0] == "LIST":
        if not 1 <= len(listed) <= LINES:
            raise InputError("names no files of its voxels; export it as one file", code="voxel-files")
        return tuple(listed)
    if "%" in named and len(words) in (4, 5):
        first, last, step = integers(" ".join(words[1:4]), "data file", 3)
        return files_of_pattern(words[0], first, last, step)
    return (named,)


def _geometry(fields: dict[str, str], size: tuple[int, int, int], axes: list[int], dimension: int) -> Place:
    """Return the grid in LPS, the way to an upright one where the axes are sheared, and what to say of it."""
    signs = _TO_LPS.get(fields.get("space", "").lower(), (1, 1, 1))
    has_space = "space" in fields or "space dimension" in fields
    origin = (0.0, 0.0, 0.0)
    units = _units(fields, "space units", 3)
    if has_space and "space origin" in fields:
        stated = _vectors(fields["space origin"], "space origin", 1)[0]
        if stated is not None and not any(map(isnan, stated)):
            origin = cast(Triple, tuple(s * n * mm for s, n, mm in zip(signs, stated, units, strict=True)))
    if has_space and "space directions" in fields:
        vectors = [_vectors(fields["space directions"], "space directions", dimension)[axis] for axis in axes]
        if None in vectors:
            raise InputError(
                "states no 'space directions' for an axis of its voxels; export it again", code="header-malformed"
            )
        in_mm = [cast(Triple, tuple(n * mm for n, mm in zip(v, units, strict=True))) for v in vectors if v is not None]
        return _oblique(size, origin, in_mm, signs)
    if "spacings" not in fields:
        raise no_spacing("'space directions' and no 'spacings'")
    stated_mm = floats(fields["spacings"], "spacings", dimension)
    if any(isnan(stated_mm[axis]) for axis in axes):
        raise no_spacing("number for an axis among its 'spacings'")
    units = _units(fields, "units", dimension)
    spacing = [abs(stated_mm[axis]) * units[axis] for axis in axes]
    direction = [-1.0 if stated_mm[axis] < 0 else 1.0 for axis in axes]
    check_spacing(np.array(spacing))
    if "axis mins" in fields and not has_space:
        origin = cast(
            Triple,
            tuple(n * units[axis] for n, axis in zip(_origin_by_mins(fields, axes, dimension), axes, strict=True)),
        )
    return Geometry(size, cast(Triple, tuple(spacing)), origin, tuple(np.diag(direction).ravel().tolist())), None, ()


def _units(fields: dict[str, str], name: str, count: int) -> list[float]:
    """Return the length in mm of the unit of each axis, or 1 where the field is missing."""
    words = _WORD.findall(fields.get(name, ""))
    if not words:
        return [1.0] * count
    if len(words) != count:
        raise InputError(
            f"must state {count} words as '{name}', got {shown(fields[name])}; export it again", code="header-malformed"
        )
    return [mm_of_unit(word) if word.strip('"').lower() not in ("s", "ms", "none") else 1.0 for word in words]


def _origin_by_mins(fields: dict[str, str], axes: list[int], dimension: int) -> tuple[float, float, float]:
    """Return the centre of the first voxel from where the axes begin."""
    if "spacings" not in fields:
        raise InputError("states where its axes begin and no 'spacings'; export it again", code="header-malformed")
    least, step = (floats(fields[name], name, dimension) for name in ("axis mins", "spacings"))
    names = fields.get("centers", "").lower().split() or ["cell"] * dimension
    if len(names) != dimension:
        raise InputError("must state as many 'centers' as dimensions; export it again", code="header-malformed")
    found = [least[axis] + (0.0 if names[axis] == "node" else step[axis] / 2) for axis in axes]
    if any(map(isnan, found)):
        return (0.0, 0.0, 0.0)
    return cast(tuple[float, float, float], tuple(found))


def _oblique(size: tuple[int, int, int], origin: Triple, vectors: list[Triple], signs: tuple[int, int, int]) -> Place:
    lengths = [sqrt(x * x + y * y + z * z) for x, y, z in vectors]
    if not min(lengths) > 0:
        raise InputError("states 'space directions' without a length; export it again", code="header-malformed")
    check_spacing(np.array(lengths))
    columns = [
        [sign * n * (1 / length) for sign, n in zip(signs, vector, strict=True)]
        for vector, length in zip(vectors, lengths, strict=True)
    ]
    matrix = np.array(columns).T
    if np.abs(matrix.T @ matrix - np.eye(3)).max() > ROUNDING:
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix * lengths, origin
        return grid_of(size, affine)
    return Geometry(size, (lengths[0], lengths[1], lengths[2]), origin, tuple(matrix.ravel().tolist())), None, ()


def _vectors(text: str, field: str, count: int) -> list[tuple[float, float, float] | None]:
    """Return vectors of three numbers in brackets; None for ``none``."""
    found = list(_VECTOR.finditer(text))
    if len(found) != count or _VECTOR.sub("", text).strip():
        raise InputError(
            f"must state {count} vectors as '{field}', got {shown(text)}; export it again", code="header-malformed"
        )
    return [
        None if match[2] else cast(tuple[float, float, float], floats(match[1].replace(",", " "), field, 3))
        for match in found
    ]
