"""Label maps of others, in every form that people have them: with names inside or beside, or bare numbers.

NIfTI with a table of labels in its extensions, 3D Slicer's ``.seg.nrrd``, DICOM-SEG, a plain label map.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.segmentation import is_segmentation, read_segmentation
from twintrack.errors import InputError, locating
from twintrack.io.nifti import nifti_label_names
from twintrack.io.nrrd import nrrd_segments
from twintrack.io.volumes import read_stored
from twintrack.io.voxel_file import read_voxels, shown
from twintrack.labels import JOINT_VEIN, is_joint_vein, vessel_of_segment
from twintrack.system.json_file import read_json
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = [
    "LabelMap",
    "Part",
    "is_other_structure",
    "is_tumor",
    "is_tumor_name",
    "listed",
    "named_in_result",
    "numbers_only",
    "read_label_map",
    "unique_values",
    "vessel_of",
]

TUMOR_NAMES = frozenset(
    ("tumor", "tumour", "pdac", "pdac lesion", "lesion", "neoplasm", "primary neoplasm", "tumor pdac")
)
"""Whole names, in small letters, of the part of a segmentation that is the tumour."""

OTHER_STRUCTURES = frozenset(
    (
        *("pancreas", "liver", "spleen", "kidney", "stomach", "duodenum", "gallbladder", "colon", "duct", "body"),
        *("aorta", "vein", "artery", "veins", "arteries", "vessel", "vessels", "bone", "lung", "node", "cyst"),
        *("background", "???"),
    )
)
"""Words of a name that is no tumour's."""

ROUNDING = 1e-3
"""Labels that a scaling or a transform left this close to a whole number are that number."""

MOST_LISTED, MOST_LETTERS = 12, 120
"""Values or names that a sentence lists, and how long they may be together."""


@dataclass(frozen=True)
class Part:
    """One structure of a label map.

    Attributes
    ----------
    name : str
        What the file calls it; empty where it says nothing.
    value : int
        Of its voxels in its layer.
    layer : int
        Which layer of the map holds it.
    codes : tuple of tuple of str
        Scheme and value of coded concepts that say what it is.
    """

    name: str
    value: int
    layer: int = 0
    codes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LabelMap:
    """What a file of labels holds.

    Attributes
    ----------
    layers : tuple of Volume
        Whole numbers, (z, y, x), 0 where there is nothing; several where structures may overlap.
    parts : tuple of Part
        The structures that the file names; empty for bare numbers.
    notes : tuple of str
        What a user must be told about where it lies.
    """

    layers: tuple[Volume, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def mask(self, part: Part) -> Volume:
        """Return a structure as uint8, 0 and 1."""
        layer = self.layers[part.layer]
        return layer.with_array((layer.array == part.value).view(np.uint8))

    @cached_property
    def values(self) -> tuple[int, ...]:
        """All values other than 0, rising."""
        return tuple(
            sorted({int(value) for layer in self.layers for value in unique_values(layer.array) if value != 0})
        )


def read_label_map(path: str | Path, image: Geometry | None = None) -> LabelMap:
    """Read a label map with the names that it holds.

    Parameters
    ----------
    path : path
        The file.
    image : Geometry, optional
        Of the image that it was drawn on: see `read_segmentation`.

    Raises
    ------
    InputError
        If the file cannot be read, or its values are no labels: not whole numbers, or negative.
    """
    path = Path(path)
    if not is_there(path):
        raise InputError("no such file", code="file-missing", path=path)
    if is_segmentation(path):
        return _from_segmentation(path, image)
    lower = path.name.lower()
    if lower.endswith((".nrrd", ".nhdr")):
        return _from_nrrd(path)
    stored = read_stored(path, labels=True)
    labels = _whole(stored.volume, path)
    names: dict[str, int] = {}
    if lower.endswith((".nii", ".nii.gz")):
        with locating(path=path):
            names = nifti_label_names(path)
    names = names or _names_in_result(path)
    return LabelMap((labels,), tuple(Part(name, value) for name, value in names.items()), stored.notes)


def _from_segmentation(path: Path, image: Geometry | None) -> LabelMap:
    segments = read_segmentation(path, image)
    layers: list[NDArray[np.int32]] = []
    parts = []
    for segment in segments:
        inside = segment.mask.array
        place = next((n for n, layer in enumerate(layers) if not bool((layer[inside] != 0).any())), len(layers))
        if place == len(layers):
            layers.append(np.zeros(inside.shape, np.int32))
        layers[place][inside] = segment.number
        parts.append(Part(segment.name, segment.number, place, segment.codes))
    grid = segments[0].mask.geometry
    return LabelMap(tuple(Volume(layer, grid) for layer in layers), tuple(parts))


def _from_nrrd(path: Path) -> LabelMap:
    with locating(path=path):
        layout, segments = nrrd_segments(path)
    parts = tuple(Part(one.name, one.value, one.layer, (one.code,) if any(one.code) else ()) for one in segments)
    if layout.layers == 1:
        stored = read_stored(path, labels=True)
        return LabelMap((_whole(stored.volume, path),), parts, stored.notes)
    with locating(path=path):
        array = read_voxels(path, layout)
    layers = [Volume(np.ascontiguousarray(array[..., number]), layout.geometry) for number in range(layout.layers)]
    return LabelMap(tuple(_whole(layer, path) for layer in layers), parts)


def _whole(volume: Volume, path: Path) -> Volume:
    """Refuse what cannot be labels."""
    array = volume.array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not bool((np.abs(array - whole) <= ROUNDING).all()):
            raise InputError(
                "holds values between whole numbers, as a map or an image does; give labels",
                code="not-labels",
                path=path,
            )
        if float(np.abs(array).max(initial=0)) >= 2**31:
            raise InputError("holds values that are not labels; give labels", code="not-labels", path=path)
        array = whole.astype(np.int32)
    if array.dtype.kind == "i" and int(array.min(initial=0)) < 0:
        raise InputError(
            "holds negative values, as an image does; give labels, which begin at 0", code="not-labels", path=path
        )
    if int(array.max(initial=0)) >= 2**31:
        raise InputError("holds values that are not labels; give labels", code="not-labels", path=path)
    return volume.with_array(array)


def _names_in_result(path: Path) -> dict[str, int]:
    """Return the names that an older version of this program wrote beside its segmentation; empty elsewhere."""
    return named_in_result(path, "labels") if path.name.lower() == "segmentation.nii.gz" else {}


def named_in_result(path: Path, field: str) -> dict[str, int]:
    """Return the value of each name in a field of the ``result.json`` beside a file; empty where there is none."""
    document = path.with_name("result.json")
    if not document.is_file():
        return {}
    try:
        content = read_json(document)
        names = content[field].items()
        return {str(name): int(value) for name, value in names if isinstance(value, int) and value > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def numbers_only(parts: Iterable[Part]) -> bool:
    """Whether parts are called by numbers or by words for any label alone, as programs do where nobody named them."""
    plain = {part.name.lower().removeprefix("segment").removeprefix("label").strip(" _-.") for part in parts}
    return all(not name or name.isdecimal() for name in plain)


def vessel_of(part: Part) -> str | None:
    """Return which vessel a part is; for portal vein and superior mesenteric vein in one there are only names."""
    return JOINT_VEIN if is_joint_vein(part.name) else vessel_of_segment(part.name, part.codes)


def is_tumor_name(name: str) -> bool:
    """Whether a part of a segmentation is called tumour."""
    return " ".join(_words(name)) in TUMOR_NAMES


def is_other_structure(name: str) -> bool:
    """Whether a name is that of an organ or of anything else that no reader of tumours draws; not of every one."""
    return bool(OTHER_STRUCTURES & set(_words(name)))


def _words(name: str) -> list[str]:
    return name.lower().replace("_", " ").split()


def is_tumor(part: Part) -> bool:
    """Whether a part is called as a tumour is."""
    return is_tumor_name(part.name)


def unique_values(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the values of labels, slice by slice: quicker and smaller than sorting them all."""
    found: set[int] = set()
    for part in array:
        labelled = part[part != 0]  # most of a slice is not
        found.update(np.unique(labelled).tolist())
        if labelled.size < part.size:
            found.add(0)
    return np.array(sorted(found), np.int64)


def listed(names: Iterable[str]) -> str:
    """Write some of many names."""
    texts = [shown(name) if not name.isdecimal() else name for name in names]
    count, length = 0, 0
    while count < min(len(texts), MOST_LISTED) and (count == 0 or length + len(texts[count]) <= MOST_LETTERS):
        length += len(texts[count]) + 2
        count += 1
    more = len(texts) - count
    return ", ".join(texts[:count]) + (f" and {more} more" if more > 0 else "")
