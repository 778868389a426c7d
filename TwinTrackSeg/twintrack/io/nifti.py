"""Headers of NIfTI-1 and NIfTI-2 files, and how NIfTI-1 files are written.

References
----------
https://nifti.nimh.nih.gov/nifti-1 and https://nifti.nimh.nih.gov/nifti-2
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import struct
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.io.nifti_place import place_of
from twintrack.io.voxel_file import GZIP, Encoding, Layout, head_of, shown
from twintrack.volume import Volume, check_kind

__all__ = ["nifti_label_names", "nifti_layout", "write_nifti"]

_HEADER = np.dtype(
    {
        "names": [
            "sizeof_hdr", "dim", "intent_code", "datatype", "bitpix", "pixdim", "vox_offset", "scl_slope", "scl_inter",
            "xyzt_units", "qform_code", "sform_code", "quatern", "qoffset", "srow", "magic",
        ],
        "formats": [
            "<i4", ("<i2", 8), "<i2", "<i2", "<i2", ("<f4", 8), "<f4", "<f4", "<f4",
            "u1", "<i2", "<i2", ("<f4", 3), ("<f4", 3), ("<f4", 12), "S4",
        ],
        "offsets": [0, 40, 68, 70, 72, 76, 108, 112, 116, 123, 252, 254, 256, 268, 280, 344],
        "itemsize": 348,
    }
)  # fmt: skip
"""The fields that matter here."""

_HEADER_2 = np.dtype(
    {
        "names": [
            "sizeof_hdr", "magic", "datatype", "bitpix", "dim", "pixdim", "vox_offset", "scl_slope", "scl_inter",
            "qform_code", "sform_code", "quatern", "qoffset", "srow", "xyzt_units", "intent_code",
        ],
        "formats": [
            "<i4", "S8", "<i2", "<i2", ("<i8", 8), ("<f8", 8), "<i8", "<f8", "<f8",
            "<i4", "<i4", ("<f8", 3), ("<f8", 3), ("<f8", 12), "<i4", "<i4",
        ],
        "offsets": [0, 4, 12, 14, 16, 104, 168, 176, 184, 344, 348, 352, 376, 400, 500, 504],
        "itemsize": 540,
    }
)  # fmt: skip
"""The same of NIfTI-2."""

_LONGEST_AXIS = 100_000
"""Most voxels along an axis."""

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""numpy's name for each code of a voxel's type."""

_VALUES = {32: 2, 128: 3, 1792: 2, 2048: 2, 2304: 4}
"""How many values a voxel has with the codes of complex numbers and colours."""

_SCANNER = 1
"""Code of a place in the scanner's coordinates."""

_VECTORS = (1005, 1007)
"""Intents that make the fifth axis a voxel's vector or matrix."""

_MOST_EXTENSIONS = 1 << 20
"""Most bytes of extensions in which names are looked for; TotalSegmentator's table of 117 labels has 20 kB."""

_LABEL = re.compile(
    r"<Label\b[^<>]{0,400}?\bKey=\"([0-9]{1,9})\"[^<>]{0,400}>\s*(?:<!\[CDATA\[(.{0,400}?)\]\]>|([^<>]{0,400}))\s*</Label>"
)

_UNKNOWN = 0
"""Code of an extension of no stated kind, as TotalSegmentator's is; nibabel cannot read those of caret's code."""

_SINGLE_FILE = {348: b"n+1", 540: b"n+2\0\r\n\x1a\n"}
"""How the magic word of a header of each size begins where the voxels are in the same file."""

_TWO_FILES = (b"ni1", b"ni2")

FASTEST = 1
"""Level of packing: what the higher ones spare of a map of noise, a tenth, takes ten times as long."""

_MOST_BEFORE_VOXELS = 64 << 20
"""Most bytes of header and extensions."""


def nifti_layout(path: Path) -> Layout:
    """Return what the header of a NIfTI file says.

    Raises
    ------
    InputError
        If it is no such header, or not of a volume; without naming the file.
    """
    head, compressed = head_of(path, _HEADER_2.itemsize, unpacked=True)
    header, order = _parsed(head)
    dims = [int(n) for n in header["dim"]]
    # Axes of one voxel beyond the third do not count.
    count = next((axis for axis in range(dims[0], 3, -1) if dims[axis] != 1), min(dims[0], 3))
    values = _VALUES.get(int(header["datatype"]), 1)
    if int(header["intent_code"]) in _VECTORS and dims[0] > 3:
        count, values = 4 if dims[4] > 1 else 3, dims[5] if dims[0] > 4 else 1
    check_kind(count, values)
    if int(header["datatype"]) not in _TYPES:
        raise InputError(
            f"holds voxels of type {int(header['datatype'])}, which NIfTI does not define", code="voxel-type"
        )
    size = (dims[1], dims[2], dims[3])
    if min(size) < 1 or max(size) > _LONGEST_AXIS:
        raise InputError(
            f"states a size of {size[0]} x {size[1]} x {size[2]} voxels; export it again", code="header-malformed"
        )
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_BEFORE_VOXELS:
        raise InputError(f"states that its voxels begin at byte {offset:g}; export it again", code="header-malformed")
    slope, intercept = _scale(header)
    geometry, grid, notes = place_of(header, size)
    return Layout(
        geometry,
        np.dtype(order + _TYPES[int(header["datatype"])]),
        Encoding.GZIP if compressed else Encoding.RAW,
        skip=max(int(offset), int(header["sizeof_hdr"])),
        slope=slope,
        intercept=intercept,
        grid=grid,
        notes=notes,
    )


def nifti_label_names(path: Path) -> dict[str, int]:
    """Return the names that a label map holds in its extensions, with their values; empty where there are none.

    They are written as a table of labels in XML (``<Label Key="52">``), as caret and TotalSegmentator do it.

    Raises
    ------
    InputError
        If two values have one name, or it is no NIfTI file.
    """
    head, compressed = head_of(path, _HEADER_2.itemsize, unpacked=True)
    header, _ = _parsed(head)
    start = int(header["sizeof_hdr"])
    end = min(int(header["vox_offset"]), start + _MOST_EXTENSIONS)
    if end <= start + 12:
        return {}
    content, _ = head_of(path, end, unpacked=compressed)
    names: dict[str, int] = {}
    for found in _LABEL.finditer(content[start + 4 :].decode("utf-8", "replace")):
        name = (found[2] if found[2] is not None else unescape(found[3])).strip()
        if name and int(found[1]) > 0 and names.setdefault(name, int(found[1])) != int(found[1]):
            raise InputError(
                f"gives the name {shown(name)} to two values; give names with --vessel-names", code="names-twice"
            )
    return names


def write_nifti(
    volume: Volume,
    path: Path,
    *,
    names: Mapping[str, int] | None = None,
    affine: NDArray[np.float64] | None = None,
) -> None:
    """Write a volume to a NIfTI-1 file, in one pass; packed by gzip where the name ends with ``.gz``.

    ITK makes the header, of one voxel; the voxels are packed at the fastest level, by ISA-L where that is installed.

    Parameters
    ----------
    volume : Volume
        Any values on any grid, (z, y, x).
    path : path
        Where to. A file there is replaced.
    names : mapping of str to int, optional
        What the values are called: an extension of the header, in the XML of caret, holds it.
    affine : numpy.ndarray, optional
        4 x 4, from voxel index (i, j, k) to LPS mm; it may be sheared, and is then the file's only place.

    Raises
    ------
    OSError
        If it cannot be written.
    RuntimeError
        If ITK cannot write it.
    """
    import SimpleITK as sitk

    first = volume.array[:1, :1, :1]
    one = Volume(first, replace(volume.geometry, size=(1, 1, 1))).to_sitk()
    sitk.WriteImage(one, str(path), useCompression=True)
    written = path.read_bytes()
    packed = written.startswith(GZIP)
    head = bytearray((gzip.decompress(written) if packed else written)[: _HEADER.itemsize])
    if len(head) < _HEADER.itemsize:  # ITK says nothing of a file that it could not finish
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    at = {name: place[1] for name, place in (_HEADER.fields or {}).items()}
    struct.pack_into("<3h", head, at["dim"] + 2, *volume.geometry.size)
    if affine is not None:
        struct.pack_into("<2h", head, at["qform_code"], 0, _SCANNER)
        struct.pack_into("<12f", head, at["srow"], *(np.diag([-1, -1, 1]) @ affine[:3]).ravel())
    extension = b"\0\0\0\0" if not names else b"\1\0\0\0" + _names_extension(names)
    struct.pack_into("<f", head, at["vox_offset"], len(head) + len(extension))
    stored = np.dtype(_TYPES[int(np.frombuffer(head, _HEADER)[0]["datatype"])]).newbyteorder("<")
    with path.open("wb") as stream, _packing(stream) if packed else nullcontext(stream) as content:
        content.write(bytes(head) + extension)
        for plane in volume.array:
            content.write(np.ascontiguousarray(plane, stored).data)


def _packing(stream: BinaryIO) -> gzip.GzipFile:
    """Return a file whose content is packed into `stream`: the same bytes each time, with no name and no time."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.GzipFile("", "wb", FASTEST, stream, 0)
    return igzip.IGzipFile("", "wb", FASTEST, stream, 0)


def _names_extension(names: Mapping[str, int]) -> bytes:
    rows = "".join(
        f'<Label Key="{value}" Red="1" Green="1" Blue="1" Alpha="1"><![CDATA[{name.replace("]]>", "")}]]></Label>'
        for name, value in names.items()
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0"><LabelTable>'
        f"{rows}</LabelTable><VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
    ).encode()
    length = -(-(len(xml) + 8) // 16) * 16
    return struct.pack("<2i", length, _UNKNOWN) + xml.ljust(length - 8, b"\0")


def _parsed(head: bytes) -> tuple[Any, str]:
    """Return the header with its byte order."""
    for dtype in (_HEADER, _HEADER_2):
        if len(head) < dtype.itemsize:
            continue
        for order, ordered in (("<", dtype), (">", dtype.newbyteorder(">"))):
            header = np.frombuffer(head[: dtype.itemsize], ordered)[0]
            if header["sizeof_hdr"] != dtype.itemsize:
                continue
            magic = bytes(header["magic"])
            if magic == _SINGLE_FILE[dtype.itemsize] and 1 <= header["dim"][0] <= 7:
                return header, order
            if magic[:3] in _TWO_FILES:
                raise InputError(
                    "is the header of a NIfTI pair, whose voxels are in an .img file; convert it to one file, .nii.gz",
                    code="nifti-pair",
                )
            if magic[:3] == b"" and dtype is _HEADER:
                raise InputError(
                    "is an ANALYZE 7.5 header, which does not tell left from right; convert the original series again",
                    code="analyze-header",
                )
    raise InputError(
        "cannot be read as an image; the file may be damaged or of another kind (expected: NIfTI in one file)",
        code="not-an-image",
    )


def _scale(header: Any) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0, or one that is no number, means none."""
    slope, intercept = (
        float(value) if np.isfinite(value) else 0.0 for value in (header["scl_slope"], header["scl_inter"])
    )
    if abs(slope) < np.finfo(float).eps:
        slope = 1.0
    if abs(slope - 1.0) <= np.finfo(float).eps and abs(intercept) <= np.finfo(float).eps:
        return 1.0, 0.0
    return slope, intercept
