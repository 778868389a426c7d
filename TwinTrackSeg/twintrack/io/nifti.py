"""Headers of NIfTI-1 files.

References
----------
https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.io.voxel_file import GZIP, Encoding, Layout, head_of, shown
from twintrack.system.private_folder import PrivateFolder
from twintrack.volume import Geometry, check_kind

__all__ = ["name_labels", "nifti_label_names", "nifti_layout"]

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

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""numpy's name for each code of a voxel's type."""

_VALUES = {32: 2, 128: 3, 1792: 2, 2048: 2, 2304: 4}
"""How many values a voxel has with the codes of complex numbers and colours."""

_VECTORS = (1005, 1007)
"""Intents that make the fifth axis a voxel's vector or matrix."""

_PLACE = ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern", "qoffset", "srow")
"""Fields that say where the grid lies."""

_MOST_EXTENSIONS = 1 << 20
"""Most bytes of extensions in which names are looked for; TotalSegmentator's table of 117 labels has 20 kB."""

_LABEL = re.compile(
    r"<Label\b[^<>]{0,400}?\bKey=\"([0-9]{1,9})\"[^<>]{0,400}>\s*(?:<!\[CDATA\[(.{0,400}?)\]\]>|([^<>]{0,400}))\s*</Label>"
)

_UNKNOWN = 0
"""Code of an extension of no stated kind, as TotalSegmentator's is; nibabel cannot read those of caret's code."""

_SINGLE_FILE = b"n+1"

_MOST_BEFORE_VOXELS = 64 << 20
"""Most bytes of header and extensions."""


def nifti_layout(path: Path) -> Layout:
    """Return what the header of a NIfTI-1 file says.

    Raises
    ------
    InputError
        If it is no such header, or not of a volume; without naming the file.
    """
    head, compressed = head_of(path, _HEADER.itemsize, unpacked=True)
    header, order = _parsed(head)
    dims = [int(n) for n in header["dim"]]
    # Axes of one voxel beyond the third do not count.
    count = next((axis for axis in range(dims[0], 3, -1) if dims[axis] != 1), min(dims[0], 3))
    values = _VALUES.get(int(header["datatype"]), 1)
    if int(header["intent_code"]) in _VECTORS and dims[0] > 3:
        count, values = 4 if dims[4] > 1 else 3, dims[5] if dims[0] > 4 else 1
    check_kind(count, values)
    if int(header["datatype"]) not in _TYPES:
        raise InputError(f"holds voxels of type {int(header['datatype'])}, which is none of NIfTI's numbers")
    size = (dims[1], dims[2], dims[3])
    if min(size) < 1:
        raise InputError(f"states a size of {size[0]} x {size[1]} x {size[2]} voxels; export it again")
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _MOST_BEFORE_VOXELS:
        raise InputError(f"states that its voxels begin at byte {offset:g}; export it again")
    slope, intercept = _scale(header)
    return Layout(
        _geometry(header, size),
        np.dtype(order + _TYPES[int(header["datatype"])]),
        Encoding.GZIP if compressed else Encoding.RAW,
        skip=max(int(offset), _HEADER.itemsize),
        slope=slope,
        intercept=intercept,
    )


def nifti_label_names(path: Path) -> dict[str, int]:
    """Return the names that a label map holds in its extensions, with their values; empty where there are none.

    They are written as a table of labels in XML (``<Label Key="52">``), as caret and TotalSegmentator do it.

    Raises
    ------
    InputError
        If two values have one name, or it is no NIfTI file.
    """
    head, compressed = head_of(path, _HEADER.itemsize, unpacked=True)
    header, _ = _parsed(head)
    end = min(int(header["vox_offset"]), _HEADER.itemsize + _MOST_EXTENSIONS)
    if end <= _HEADER.itemsize + 12:
        return {}
    content, _ = head_of(path, end, unpacked=compressed)
    names: dict[str, int] = {}
    for found in _LABEL.finditer(content[_HEADER.itemsize + 4 :].decode("utf-8", "replace")):
        name = (found[2] if found[2] is not None else unescape(found[3])).strip()
        if name and int(found[1]) > 0 and names.setdefault(name, int(found[1])) != int(found[1]):
            raise InputError(f"gives the name {shown(name)} to two values; give names with --vessel-names")
    return names


def name_labels(path: Path, names: Mapping[str, int]) -> None:
    """Write the names of its values into a NIfTI file that was just written, as an extension in the XML of caret.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    rows = "".join(
        f'<Label Key="{value}" Red="1" Green="1" Blue="1" Alpha="1"><![CDATA[{name.replace("]]>", "")}]]></Label>'
        for name, value in names.items()
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0"><LabelTable>'
        f"{rows}</LabelTable><VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
    ).encode()
    length = -(-(len(xml) + 8) // 16) * 16
    extension = struct.pack("<2i", length, _UNKNOWN) + xml.ljust(length - 8, b"\0")
    content = path.read_bytes()
    compressed = content.startswith(GZIP)
    content = gzip.decompress(content) if compressed else content
    start = int(_parsed(content[: _HEADER.itemsize])[0]["vox_offset"])
    head = bytearray(content[: _HEADER.itemsize])
    struct.pack_into("<f", head, _HEADER.fields["vox_offset"][1], 352 + length)  # type: ignore[index]
    named = bytes(head) + b"\1\0\0\0" + extension + content[start:]
    path.write_bytes(gzip.compress(named, compresslevel=6, mtime=0) if compressed else named)


def _parsed(head: bytes) -> tuple[Any, str]:
    """Return the header with its byte order."""
    if len(head) == _HEADER.itemsize:
        for order, dtype in (("<", _HEADER), (">", _HEADER.newbyteorder(">"))):
            header = np.frombuffer(head, dtype)[0]
            if header["sizeof_hdr"] == _HEADER.itemsize and 1 <= header["dim"][0] <= 7:
                if header["magic"] == _SINGLE_FILE:
                    return header, order
                break
    raise InputError(
        "cannot be read as an image; the file may be damaged or of another kind (expected: NIfTI-1 in one file)"
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


def _geometry(header: Any, size: tuple[int, int, int]) -> Geometry:
    """Return the grid as ITK places it, between whose rules for sform and qform and all others nobody agrees.

    ITK gets a file that is made here, of eight voxels, with the numbers that place the grid and nothing else of the
    stranger's; those that are not finite count as 0, as they do in ITK.
    """
    import SimpleITK as sitk

    small = np.zeros((), _HEADER)
    small["sizeof_hdr"], small["magic"], small["vox_offset"] = _HEADER.itemsize, _SINGLE_FILE, 352
    small["dim"], small["datatype"], small["bitpix"] = (3, 2, 2, 2, 1, 1, 1, 1), 2, 8
    for field in _PLACE:
        value = header[field]
        small[field] = np.where(np.isfinite(value), value, 0)
    with _scratch() as folder:
        path = folder / "grid.nii"
        try:
            path.write_bytes(small.tobytes() + bytes(4 + 8))
        except OSError as error:
            raise _no_scratch(error) from error
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError("cannot be read here: the name of the folder for temporary files is no UTF-8") from error
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings would name the small file
        try:
            image = sitk.ReadImage(str(path), imageIO="NiftiImageIO")
        except RuntimeError as error:
            raise InputError(
                "states axes that are not perpendicular, or none; resample it to a regular grid first"
            ) from error
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    return Geometry(size, image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _scratch() -> PrivateFolder:
    try:
        return PrivateFolder()
    except OSError as error:
        raise _no_scratch(error) from error


def _no_scratch(error: OSError) -> InputError:
    return InputError(f"needs a temporary file to be read ({error.strerror}); make room there, or set TMPDIR")
