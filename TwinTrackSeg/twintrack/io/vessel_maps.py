"""Which value is which vessel: told by the user, the file, or the names of a folder's files, never by numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twintrack.errors import InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.label_maps import (
    LabelMap,
    Part,
    is_tumor,
    listed,
    named_in_result,
    numbers_only,
    read_label_map,
    unique_values,
    vessel_of,
)
from twintrack.io.volumes import FILE_ENDINGS
from twintrack.io.voxel_file import shown
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS, VESSEL_VALUES
from twintrack.volume import Geometry, Volume

__all__ = ["VesselMap", "mask_files", "read_vessel_map", "whole_vessels"]

MOST_VALUES = 200
"""An image has more values than that, a label map of all organs about 120."""

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
    if found.parts and not numbers_only(found.parts):
        raise InputError(
            f"holds none of {', '.join(VESSEL_VALUES)}, but {listed(part.name for part in found.parts)}; say "
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
        f"{listed(map(str, found.values))}. Give "
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
    return whole if named_in_result(path, "vessel_values") else path


def _named(found: LabelMap, given: Mapping[str, int | str], path: Path) -> VesselMap:
    """Take the vessels that somebody named."""
    wanted: dict[str, Part] = {}
    for vessel, which in given.items():
        if isinstance(which, int):
            # Where a file describes its parts, a number is one of theirs; else it is a value, there or not.
            alike = [part for part in found.parts if part.value == which]
            if len(found.layers) > 1 and len(alike) != 1:
                held = listed(part.name or str(part.value) for part in found.parts)
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
            there = listed(part.name for part in found.parts) if found.parts else "no names"
            count = "no part" if not alike else f"{len(alike)} parts"
            raise InputError(
                f"has {count} called {shown(which)} for {vessel}; it holds {there}",
                code="vessel-names-ambiguous",
                path=path,
            )
        wanted[vessel] = alike[0]
    values = {value for layer in found.layers for value in unique_values(layer.array).tolist()}
    if not values & {part.value for part in wanted.values()}:
        named = ", ".join(f"{vessel}={which}" for vessel, which in given.items())
        raise InputError(
            f"holds none of the vessels {named}; it holds the values "
            f"{listed(map(str, found.values)) or 'none'}; "
            "give --vessel-names",
            code="vessels-not-found",
            path=path,
        )
    return _combined(found, wanted, path, "option")


def _check_called(vessel: str, part: Part, path: Path) -> None:
    """Refuse a number whose structure the file itself calls something else than that vessel."""
    own = vessel_of(part)
    if vessel in VESSEL_VALUES and own != vessel and not numbers_only([part]):
        raise InputError(
            f"calls its value {part.value} {shown(part.name)}, not {vessel}; if it is meant, give the name: "
            f"--vessel-names {vessel}={part.name}",
            code="vessel-name-differs",
            path=path,
        )


def _wanted(parts: Sequence[Part], path: Path) -> dict[str, Part]:
    """Return the parts that are vessels by their own names or codes."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        vessel = vessel_of(part)
        if vessel is not None:
            found.setdefault(vessel, []).append(part)
    for vessel, alike in found.items():
        if len(alike) > 1:
            raise InputError(
                f"holds {len(alike)} parts that could be {vessel}: "
                f"{listed(part.name for part in alike)}; choose "
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
        notes: tuple[str, ...] = (f"the vessel map: not measured: {listed(others)}",) if others else ()
        tumors = [part.value for part in found.parts if is_tumor(part)]
        if tumors and bool(np.isin(labels.array, tumors).any()):
            notes += (COVERED,)
        if unnamed:
            notes += (f"the vessel map: values without a name, not measured: {listed(map(str, unnamed))}",)
        return VesselMap(labels, names, named_by, notes)
    masks = {vessel: found.mask(part) for vessel, part in wanted.items()}
    others = _others(found.parts, wanted.values())
    return _joined(masks, path, named_by, (f"the vessel map: not measured: {listed(others)}",) if others else ())


def _others(parts: Iterable[Part], wanted: Iterable[Part]) -> list[str]:
    """Return the names of parts that are not wanted; nobody takes a tumour for a vessel."""
    named = {part.name for part in wanted}
    return [part.name for part in parts if part.name not in named and not is_tumor(part)]


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
    files = mask_files(folder)
    wanted = _vessel_files(files, given, folder)
    masks: dict[str, Volume] = {}
    grid: Geometry | None = None
    for vessel, path in wanted.items():
        read = read_label_map(path, image)
        mask = _vessel_mask(read, path, vessel) if not given else _one_value(read, path, vessel)
        grid = grid or mask.geometry
        masks[vessel], warning = fit_labels(mask, grid, f"{vessel} ({path.name})")
        if warning is not None:
            raise InputError(
                f"lies on another grid than {next(iter(wanted.values())).name}; resample it",
                code="grid-differs",
                path=path,
            )
    if not any(bool(mask.array.any()) for mask in masks.values()):
        raise InputError(
            f"the masks of {', '.join(masks)} are empty; give masks of the vessels",
            code="vessels-not-found",
            path=folder,
        )
    others = [stem for stem, path in files.items() if path not in wanted.values()]
    notes = (f"the vessel map: not measured: {listed(others)}",) if others else ()
    return _joined(masks, folder, "option" if given else "folder", notes)


def mask_files(folder: Path) -> dict[str, Path]:
    """Return the volume files of a folder by their names without ending."""
    files: dict[str, Path] = {}
    for number, path in enumerate(sorted(folder.iterdir())):
        if number > MOST_FILES:
            raise InputError(
                f"holds more than {MOST_FILES:,} files; give a folder of masks", code="too-many-files", path=folder
            )
        ending = next((end for end in reversed(FILE_ENDINGS) if path.name.lower().endswith(end)), None)
        if ending is None or path.name.startswith("."):
            continue
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
    return files


def _vessel_files(files: Mapping[str, Path], given: Mapping[str, int | str] | None, folder: Path) -> dict[str, Path]:
    """Return the file of each vessel: the given one, or the one that is named after it."""
    if not given:
        parts = [Part(stem, number) for number, stem in enumerate(files)]
        named = {vessel: files[part.name] for vessel, part in _wanted(parts, folder).items()}
        if not named:
            raise InputError(
                f"holds no file named after one of {', '.join(VESSEL_VALUES)}, but {listed(files)}; say which is which "
                "with --vessel-names",
                code="vessels-not-found",
                path=folder,
            )
        return named
    by_name = {stem.casefold(): path for stem, path in files.items()}
    wanted: dict[str, Path] = {}
    for vessel, which in given.items():
        if not isinstance(which, str) or which.strip().casefold() not in by_name:
            raise InputError(
                f"has no mask {which} for {vessel}; in a folder of masks name a file, one of {listed(files)}",
                code="vessels-not-found",
                path=folder,
            )
        wanted[vessel] = by_name[which.strip().casefold()]
    return wanted


def _one_value(found: LabelMap, path: Path, what: str) -> Volume:
    """Return the only structure of a file that somebody named, whatever the file calls it."""
    if len(found.layers) > 1 or len(found.values) > 1:
        raise InputError(
            f"holds more than one structure, so it is not {what} alone; give one mask a file",
            code="several-structures",
            path=path,
        )
    return found.layers[0].with_array((found.layers[0].array != 0).astype(np.uint8))


def _vessel_mask(found: LabelMap, path: Path, vessel: str) -> Volume:
    """Return the mask of a file that is named after a vessel, unless it says inside that it is something else."""
    for part in found.parts:
        inside = vessel_of(part)
        if inside == vessel or (len(found.parts) == 1 and inside is None and numbers_only([part])):
            return found.mask(part)
    if numbers_only(found.parts) and len(found.layers) == 1 and len(found.values) <= 1:
        return found.layers[0].with_array((found.layers[0].array != 0).astype(np.uint8))
    held = listed(part.name or str(part.value) for part in found.parts) or listed(map(str, found.values))
    raise InputError(
        f"is taken for {vessel}, but holds {held}; give one mask a file, or --vessel-names",
        code="several-structures",
        path=path,
    )
