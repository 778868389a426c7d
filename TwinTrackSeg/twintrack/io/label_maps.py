"""Masks and label maps of others, in every form that people have them: with names inside or beside, or bare numbers.

NIfTI with a table of labels in its extensions, 3D Slicer's ``.seg.nrrd``, DICOM-SEG, a plain label map, a folder of
masks. One part of a file is chosen by its name or number: ``FILE#NAME``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.segmentation import is_segmentation, read_segmentation
from twintrack.errors import InputError, locating
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.nifti import nifti_label_names
from twintrack.io.nrrd import nrrd_segments
from twintrack.io.volumes import FILE_ENDINGS, read_stored
from twintrack.io.voxel_file import read_voxels, shown
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS, VESSEL_VALUES, is_joint_vein, vessel_of_segment
from twintrack.system.json_file import read_json
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = [
    "LabelMap",
    "Part",
    "VesselMap",
    "file_of",
    "is_other_structure",
    "is_tumour_name",
    "read_label_map",
    "read_mask",
    "read_vessel_map",
    "whole_vessels",
]

TUMOUR_NAMES = frozenset(
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

MOST_VALUES = 200
"""An image has more values than that, a label map of all organs about 120."""

ROUNDING = 1e-3
"""Labels that a scaling or a transform left this close to a whole number are that number."""

MOST_LISTED, MOST_LETTERS = 12, 120
"""Values or names that a sentence lists, and how long they may be together."""

MOST_OVERLAP = 0.03
"""Largest share of a vessel that may be another one too; where it is, the first of the two has it."""

COVERED = (
    "the vessel map: no voxel belongs both to its tumour and to a vessel, so that vessels may lack what the tumour "
    "covers of them; give whole vessels, such as the vessels.nii.gz of a result"
)
"""Said of a map whose contact may read too low."""

MOST_FILES = 2000
"""Files of a folder of masks."""


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
        return layer.with_array((layer.array == part.value).astype(np.uint8))

    @property
    def values(self) -> tuple[int, ...]:
        """All values other than 0, rising."""
        return tuple(sorted({int(value) for layer in self.layers for value in _unique(layer.array) if value != 0}))


@dataclass(frozen=True)
class VesselMap:
    """Vessels by name.

    Attributes
    ----------
    labels : Volume
        int32, (z, y, x).
    names : dict of str to int
        Value of each vessel in `labels`.
    named_by : str
        ``option``, ``file`` or ``folder``: who says which value is which vessel.
    notes : tuple of str
        What was left out.
    """

    labels: Volume
    names: dict[str, int]
    named_by: str
    notes: tuple[str, ...] = ()


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


def read_mask(path: str | Path, grid: Geometry, what: str) -> tuple[Volume, tuple[str, ...]]:
    """Read a mask onto the grid of its case: uint8, 0 and 1, (z, y, x); with what was done to it.

    Any one value other than 0 is the mask's, 255 and 2 too. Of a file with several structures the one that is called
    tumour is taken, or the one that stands after ``#`` in `path`, by name or number.

    Parameters
    ----------
    path : path
        The file; ``FILE#NAME`` or ``FILE#VALUE`` for a part of it.
    grid : Geometry
        Of the case.
    what : str
        What it is, for messages.

    Raises
    ------
    InputError
        If it cannot be read, does not say which of its structures is meant, or lies elsewhere.
    """
    file, chosen = _chosen(Path(path))
    found = read_label_map(file, grid)
    mask = _one_structure(found, chosen, file, what)
    with locating(path=file):
        placed, warning = fit_labels(mask, grid, what)
    return placed, tuple(f"{file}: {note}" for note in (*found.notes, *(() if warning is None else (warning,))))


def read_vessel_map(
    path: str | Path,
    given: Mapping[str, int | str] | None = None,
    default: Mapping[str, int] | None = None,
    image: Geometry | None = None,
) -> VesselMap:
    """Read vessels with their names: those given, else those in the file or of the folder's files; never numbers alone.

    Parameters
    ----------
    path : path
        Label map, DICOM-SEG, or a folder with a mask for each vessel.
    given : mapping, optional
        Value, or name in the file, of each vessel.
    default : mapping, optional
        Values where nothing else says which is which: for columns of manifests, whose numbering is agreed.
    image : Geometry, optional
        Of the image that it was drawn on: see `read_segmentation`.

    Raises
    ------
    InputError
        If nothing says which value is which vessel, no wanted vessel is there, or the file is no label map.
    """
    path = Path(path)
    if given:
        known = (*VESSEL_VALUES, JOINT_VEIN)
        given = {name.upper() if name.upper() in known else name: which for name, which in given.items()}
    if path.is_dir():
        return _from_folder(path, given, image)
    whole = whole_vessels(path, given)
    if whole != path:
        note = f"the vessel map: {whole.name} read in place of {path.name}, in which the tumour covers the vessels"
        read = read_vessel_map(whole, given, default, image)
        return replace(read, notes=(note, *read.notes))
    found = read_label_map(path, image)
    read = _vessels_of(found, path, given, default)
    return replace(read, notes=(*read.notes, *(f"the vessel map: {note}" for note in found.notes)))


def _vessels_of(
    found: LabelMap, path: Path, given: Mapping[str, int | str] | None, default: Mapping[str, int] | None
) -> VesselMap:
    """Take the vessels that are named by the user, by the file, or by agreement."""
    if given:
        return _named(found, given, path)
    wanted = _wanted(found.parts, path)
    if wanted:
        if not any(bool((found.layers[part.layer].array == part.value).any()) for part in wanted.values()):
            raise InputError(
                f"names {', '.join(wanted)} but holds no voxel of any; give the map of the vessels",
                code="vessels-not-found",
                path=path,
            )
        return _combined(found, wanted, path, "file")
    if found.parts and not _numbers_only(found.parts):
        raise InputError(
            f"holds none of {', '.join(VESSEL_VALUES)}, but {_listed(part.name for part in found.parts)}; say "
            "which is which with --vessel-names",
            code="vessels-not-found",
            path=path,
        )
    if default is not None:
        return _named(found, dict(default), path)
    if not found.values:
        raise InputError(
            "holds no label other than 0; give the map of the vessels", code="vessels-not-found", path=path
        )
    raise InputError(
        f"does not say which value is which vessel; it holds the values "
        f"{_listed(map(str, found.values))}. Give "
        "--vessel-names, e.g. AORTA=52",
        code="vessel-names-missing",
        path=path,
    )


def whole_vessels(path: Path, given: Mapping[str, int | str] | None = None) -> Path:
    """Return the file with the whole vessels of a result where its segmentation was given, in which the tumour wins.

    Parameters
    ----------
    path : path
        Any vessel map; it is returned as it is unless it is a result's segmentation with such a file beside it.
    given : mapping, optional
        What the user says which vessel is which; values are those of the given file, which is then kept.
    """
    whole = path.with_name("vessels.nii.gz")
    by_value = any(isinstance(which, int) for which in (given or {}).values())
    if by_value or path.name.lower() != "segmentation.nii.gz" or not whole.is_file():
        return path
    # Another program's file may have that name beside an older result, which does not state it.
    return whole if _named_in_result(path, "vessel_values") else path


def _names_in_result(path: Path) -> dict[str, int]:
    """Return the names that an older version of this program wrote beside its segmentation; empty elsewhere."""
    return _named_in_result(path, "labels") if path.name.lower() == "segmentation.nii.gz" else {}


def _named_in_result(path: Path, field: str) -> dict[str, int]:
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


def _numbers_only(parts: Iterable[Part]) -> bool:
    """Whether parts are called by numbers or by words for any label alone, as programs do where nobody named them."""
    plain = {part.name.lower().removeprefix("segment").removeprefix("label").strip(" _-.") for part in parts}
    return all(not name or name.isdecimal() for name in plain)


def _named(found: LabelMap, given: Mapping[str, int | str], path: Path) -> VesselMap:
    """Take the vessels that somebody named."""
    wanted: dict[str, Part] = {}
    for vessel, which in given.items():
        if isinstance(which, int):
            # Where a file describes its parts, a number is one of theirs; else it is a value, there or not.
            alike = [part for part in found.parts if part.value == which]
            if len(found.layers) > 1 and len(alike) != 1:
                held = _listed(part.name or str(part.value) for part in found.parts)
                raise InputError(
                    f"has {len(alike)} segments of the value {which}; give the name of {vessel}, one of {held}",
                    code="vessel-names-ambiguous",
                    path=path,
                )
            wanted[vessel] = alike[0] if len(alike) == 1 else Part(vessel, which)
            _check_called(vessel, wanted[vessel], path)
            continue
        alike = [part for part in found.parts if part.name.strip().casefold() == which.strip().casefold()]
        if len(alike) != 1:
            there = _listed(part.name for part in found.parts) if found.parts else "no names"
            count = "no part" if not alike else f"{len(alike)} parts"
            raise InputError(
                f"has {count} called {shown(which)} for {vessel}; it holds {there}",
                code="vessel-names-ambiguous",
                path=path,
            )
        wanted[vessel] = alike[0]
    values = {value for layer in found.layers for value in _unique(layer.array).tolist()}
    if not values & {part.value for part in wanted.values()}:
        named = ", ".join(f"{vessel}={which}" for vessel, which in given.items())
        raise InputError(
            f"holds none of the vessels {named}; it holds the values "
            f"{_listed(map(str, found.values)) or 'none'}; "
            "give --vessel-names",
            code="vessels-not-found",
            path=path,
        )
    return _combined(found, wanted, path, "option")


def _check_called(vessel: str, part: Part, path: Path) -> None:
    """Refuse a number whose structure the file itself calls something else than that vessel."""
    own = _vessel_of(part)
    if vessel in VESSEL_VALUES and own != vessel and not _numbers_only([part]):
        raise InputError(
            f"calls its value {part.value} {shown(part.name)}, not {vessel}; if it is meant, give the name: "
            f"--vessel-names {vessel}={part.name}",
            code="vessel-name-differs",
            path=path,
        )


def _vessel_of(part: Part) -> str | None:
    """Return which vessel a part is; for portal vein and superior mesenteric vein in one there are only names."""
    return JOINT_VEIN if is_joint_vein(part.name) else vessel_of_segment(part.name, part.codes)


def _wanted(parts: Sequence[Part], path: Path) -> dict[str, Part]:
    """Return the parts that are vessels by their own names or codes."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        vessel = _vessel_of(part)
        if vessel is not None:
            found.setdefault(vessel, []).append(part)
    for vessel, alike in found.items():
        if len(alike) > 1:
            raise InputError(
                f"holds {len(alike)} parts that could be {vessel}: "
                f"{_listed(part.name for part in alike)}; choose "
                f"with --vessel-names {vessel}=NAME",
                code="vessel-names-ambiguous",
                path=path,
            )
    if all(part in found for part in JOINT_VEIN_PARTS):
        found.pop(JOINT_VEIN, None)  # it is measured of the two where they meet
    return {vessel: found[vessel][0] for vessel in (*VESSEL_VALUES, JOINT_VEIN) if vessel in found}


def _combined(found: LabelMap, wanted: Mapping[str, Part], path: Path, named_by: str) -> VesselMap:
    """Put the wanted vessels into one map; tell what has no name."""
    unnamed = [value for value in found.values if value not in {part.value for part in wanted.values()}]
    if len(found.layers) == 1:
        if len(unnamed) > MOST_VALUES:
            raise InputError(
                f"holds {len(found.values)} different values, as an image does and no map of vessels; give a label map",
                code="not-labels",
                path=path,
            )
        labels = found.layers[0].with_array(found.layers[0].array.astype(np.int32, copy=False))
        names = {vessel: part.value for vessel, part in wanted.items()}
        _refuse_shared(names, path)
        others = _others(found.parts, wanted.values())
        known = {part.value for part in found.parts}
        unnamed = [value for value in unnamed if value not in known]
        notes: tuple[str, ...] = (f"the vessel map: not measured: {_listed(others)}",) if others else ()
        tumours = [part.value for part in found.parts if _is_tumour(part)]
        if tumours and bool(np.isin(labels.array, tumours).any()):
            notes += (COVERED,)
        if unnamed:
            notes += (f"the vessel map: values without a name, not measured: {_listed(map(str, unnamed))}",)
        return VesselMap(labels, names, named_by, notes)
    masks = {vessel: found.mask(part) for vessel, part in wanted.items()}
    others = _others(found.parts, wanted.values())
    return _joined(masks, path, named_by, (f"the vessel map: not measured: {_listed(others)}",) if others else ())


def _others(parts: Iterable[Part], wanted: Iterable[Part]) -> list[str]:
    """Return the names of parts that are not wanted; nobody takes a tumour for a vessel."""
    named = {part.name for part in wanted}
    return [part.name for part in parts if part.name not in named and not _is_tumour(part)]


def is_tumour_name(name: str) -> bool:
    """Whether a part of a segmentation is called tumour."""
    return " ".join(_words(name)) in TUMOUR_NAMES


def is_other_structure(name: str) -> bool:
    """Whether a name is that of an organ or of anything else that no reader of tumours draws; not of every one."""
    return bool(OTHER_STRUCTURES & set(_words(name)))


def _words(name: str) -> list[str]:
    return name.lower().replace("_", " ").split()


def _is_tumour(part: Part) -> bool:
    return is_tumour_name(part.name)


def _joined(masks: Mapping[str, Volume], path: Path, named_by: str, notes: tuple[str, ...] = ()) -> VesselMap:
    """Join masks on one grid; the first of two that share a voxel has it, and they may share few."""
    first = next(iter(masks.values()))
    labels = np.zeros(first.array.shape, dtype=np.int32)
    names: dict[str, int] = {}
    for vessel, mask in masks.items():
        inside = mask.array != 0
        taken = inside & (labels != 0)
        count, shared = int(np.count_nonzero(inside)), int(np.count_nonzero(taken))
        if shared > MOST_OVERLAP * max(count, 1):
            other = next(name for name, value in names.items() if bool((labels[taken] == value).any()))
            raise InputError(
                f"{vessel} and {other} share {shared:,} of the {count:,} voxels of {vessel}; a voxel "
                "can belong to "
                "one vessel only",
                code="vessels-overlap",
                path=path,
            )
        names[vessel] = VESSEL_VALUES.get(vessel) or 100 + len(names)
        labels[inside & (labels == 0)] = names[vessel]
    return VesselMap(Volume(labels, first.geometry), names, named_by, notes)


def _refuse_shared(names: Mapping[str, int], path: Path) -> None:
    for vessel, value in names.items():
        for other, its in names.items():
            if other != vessel and its == value:
                raise InputError(
                    f"{vessel} and {other} have the same value {value}; give each its own",
                    code="vessels-share-label",
                    path=path,
                )


def _from_folder(folder: Path, given: Mapping[str, int | str] | None, image: Geometry | None) -> VesselMap:
    """Read a folder with a mask for each vessel, named by its file, as TotalSegmentator writes them."""
    files: dict[str, Path] = {}
    for number, path in enumerate(sorted(folder.iterdir())):
        if number > MOST_FILES:
            raise InputError(
                f"holds more than {MOST_FILES:,} files; give a folder of masks", code="too-many-files", path=folder
            )
        ending = next((end for end in reversed(FILE_ENDINGS) if path.name.lower().endswith(end)), None)
        if ending is not None and not path.name.startswith("."):
            if not path.is_file():
                raise InputError(
                    "is not a file, or a link to nothing; remove it or give the mask",
                    code="not-a-regular-file",
                    path=path,
                )
            stem = path.name[: -len(ending)].removesuffix(".seg")
            if stem.casefold() in {name.casefold() for name in files}:
                raise InputError(f"holds two files called {shown(stem)}; keep one", code="files-same-name", path=folder)
            files[stem] = path
    if not files:
        raise InputError(
            "holds no masks; give a label map, or a folder with a file for each vessel",
            code="folder-empty",
            path=folder,
        )
    wanted: dict[str, Path] = {}
    if given:
        by_name = {stem.casefold(): path for stem, path in files.items()}
        for vessel, which in given.items():
            if not isinstance(which, str) or which.strip().casefold() not in by_name:
                raise InputError(
                    f"has no mask {which} for {vessel}; in a folder of masks name a file, one of {_listed(files)}",
                    code="vessels-not-found",
                    path=folder,
                )
            wanted[vessel] = by_name[which.strip().casefold()]
    else:
        parts = [Part(stem, number) for number, stem in enumerate(files)]
        wanted = {vessel: files[part.name] for vessel, part in _wanted(parts, folder).items()}
    if not wanted:
        raise InputError(
            f"holds no file named after one of {', '.join(VESSEL_VALUES)}, but {_listed(files)}; say "
            "which is "
            "which with --vessel-names",
            code="vessels-not-found",
            path=folder,
        )
    masks: dict[str, Volume] = {}
    grid: Geometry | None = None
    for vessel, path in wanted.items():
        read = read_label_map(path, image)
        mask = _vessel_mask(read, path, vessel) if not given else _one_value(read, path, vessel)
        grid = grid or mask.geometry
        placed, warning = fit_labels(mask, grid, f"{vessel} ({path.name})")
        if warning is not None:
            raise InputError(
                f"lies on another grid than {next(iter(wanted.values())).name}; resample it",
                code="grid-differs",
                path=path,
            )
        masks[vessel] = placed
    if not any(bool(mask.array.any()) for mask in masks.values()):
        raise InputError(
            f"the masks of {', '.join(masks)} are empty; give masks of the vessels",
            code="vessels-not-found",
            path=folder,
        )
    others = [stem for stem, path in files.items() if path not in wanted.values()]
    notes = (f"the vessel map: not measured: {_listed(others)}",) if others else ()
    return _joined(masks, folder, "option" if given else "folder", notes)


def _one_structure(found: LabelMap, chosen: str | None, path: Path, what: str) -> Volume:
    """Return the one structure that is meant, as 0 and 1: by its name where the file has names, never by chance."""
    if chosen is not None:
        return _by_choice(found, chosen, path)
    tumours = [part for part in found.parts if _is_tumour(part)]
    if len(tumours) == 1:
        return found.mask(tumours[0])  # also one that was not drawn
    values, named = found.values, not _numbers_only(found.parts)
    if not named and len(found.layers) == 1 and len(values) <= 1:
        return found.layers[0].with_array((found.layers[0].array != 0).astype(np.uint8))
    if len(found.parts) == 1 and set(values) <= {found.parts[0].value} and not _is_other(found.parts[0]):
        return found.mask(found.parts[0])
    if found.parts:
        held = _listed(part.name or str(part.value) for part in found.parts)
    else:
        held = f"the values {_listed(map(str, values))}"
    example = (found.parts[0].name or found.parts[0].value) if found.parts else values[0]
    raise InputError(
        f"{what} is one of {held}, none called tumour; say which one: {path.name}#{example}",
        code="structure-not-chosen",
        path=path,
    )


def _one_value(found: LabelMap, path: Path, what: str) -> Volume:
    """Return the only structure of a file that somebody named, whatever the file calls it."""
    if len(found.layers) > 1 or len(found.values) > 1:
        raise InputError(
            f"holds more than one structure, so it is not {what} alone; give one mask a file",
            code="several-structures",
            path=path,
        )
    return found.layers[0].with_array((found.layers[0].array != 0).astype(np.uint8))


def _is_other(part: Part) -> bool:
    """Whether the file itself says that a part is something else than a tumour."""
    return _vessel_of(part) is not None or is_other_structure(part.name)


def _vessel_mask(found: LabelMap, path: Path, vessel: str) -> Volume:
    """Return the mask of a file that is named after a vessel, unless it says inside that it is something else."""
    for part in found.parts:
        inside = _vessel_of(part)
        if inside == vessel or (len(found.parts) == 1 and inside is None and _numbers_only([part])):
            return found.mask(part)
    if _numbers_only(found.parts) and len(found.layers) == 1 and len(found.values) <= 1:
        return found.layers[0].with_array((found.layers[0].array != 0).astype(np.uint8))
    held = _listed(part.name or str(part.value) for part in found.parts) or _listed(map(str, found.values))
    raise InputError(
        f"is taken for {vessel}, but holds {held}; give one mask a file, or --vessel-names",
        code="several-structures",
        path=path,
    )


def _by_choice(found: LabelMap, chosen: str, path: Path) -> Volume:
    alike = [part for part in found.parts if part.name.strip().casefold() == chosen.strip().casefold()]
    if not alike and chosen.isdecimal() and len(chosen) < 10:
        if len(found.layers) == 1:
            alike = [Part("", int(chosen))] if int(chosen) in found.values else []
        else:
            alike = [part for part in found.parts if part.value == int(chosen)]
    if len(alike) != 1:
        held = _listed([part.name for part in found.parts if part.name] or map(str, found.values))
        count = "no part" if not alike else f"{len(alike)} parts"
        raise InputError(
            f"has {count} called {shown(chosen)}; it holds {held or 'nothing'}", code="structure-unknown", path=path
        )
    return found.mask(alike[0])


def file_of(path: Path) -> Path:
    """Return the file of ``FILE#PART``, or of a path without a part."""
    return _chosen(path)[0]


def _chosen(path: Path) -> tuple[Path, str | None]:
    """Divide ``FILE#PART`` where the file is there, unless a file has that whole name; a part may hold any sign."""
    text = str(path)
    if "#" not in text or is_there(path):
        return path, None
    for place, sign in enumerate(text):
        if sign == "#" and is_there(Path(text[:place])) and Path(text[:place]).is_file():
            return Path(text[:place]), text[place + 1 :]
    if "#" not in path.name:
        return path, None
    name, _, part = path.name.partition("#")
    return path.with_name(name), part


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


def _unique(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the values of labels, slice by slice: quicker and smaller than sorting them all."""
    found: set[int] = set()
    for part in array:
        found.update(np.unique(part).tolist())
    return np.array(sorted(found), np.int64)


def _listed(names: Iterable[str]) -> str:
    """Write some of many names."""
    texts = [shown(name) if not name.isdecimal() else name for name in names]
    count, length = 0, 0
    while count < min(len(texts), MOST_LISTED) and (count == 0 or length + len(texts[count]) <= MOST_LETTERS):
        length += len(texts[count]) + 2
        count += 1
    more = len(texts) - count
    return ", ".join(texts[:count]) + (f" and {more} more" if more > 0 else "")
