"""Maps that know vessels by class alone, arteries and veins, perhaps with the aorta and organs: read to be named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twintrack.errors import InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.label_maps import LabelMap, Part, listed, read_label_map, vessel_of
from twintrack.io.vessel_maps import mask_files
from twintrack.io.voxel_file import shown
from twintrack.labels import STRUCTURES, VESSEL_VALUES, VESSELS_OF_CLASSES, structure_of
from twintrack.volume import Geometry, Volume

__all__ = ["VesselClasses", "are_classes", "read_vessel_classes"]


@dataclass(frozen=True)
class VesselClasses:
    """What vessels can be named from.

    Attributes
    ----------
    labels : Volume
        uint8, (z, y, x).
    names : dict of str to int
        Value of each structure of `twintrack.labels.STRUCTURES` that it holds.
    """

    labels: Volume
    names: dict[str, int]


def are_classes(names: Iterable[str]) -> bool:
    """Whether names are those of vessel classes, and none of a vessel that would have to be found in them.

    Examples
    --------
    >>> are_classes(["ARTERIES", "VEINS", "AORTA"]), are_classes(["ARTERIES", "SMA"]), are_classes(["AORTA"])
    (True, False, False)
    """
    known = {structure_of(name) or name.upper() for name in names}
    return bool(known & VESSELS_OF_CLASSES) and not known & (set(VESSEL_VALUES) - {"AORTA"})


def read_vessel_classes(
    path: str | Path, given: Mapping[str, int | str] | None = None, image: Geometry | None = None
) -> VesselClasses | None:
    """Read a map of vessel classes; None where nothing says that it is one, or it names the vessels themselves.

    Parameters
    ----------
    path : path
        Label map, DICOM-SEG, or a folder with a mask for each structure.
    given : mapping, optional
        Value, or name in the file, of each structure: of `twintrack.labels.STRUCTURES`, or what people call them.
    image : Geometry, optional
        Of the image that it was drawn on: see `twintrack.dicom.read.segmentation.read_segmentation`.

    Raises
    ------
    InputError
        If the map cannot be read, or does not hold what was given.
    """
    path = Path(path)
    if given and not are_classes(given):
        return None
    if path.is_dir():
        return _from_folder(path, given, image)
    found = read_label_map(path, image)
    parts = _given_parts(found, given, path) if given else _known_parts(found.parts)
    if not are_classes(parts):
        return None
    labels = np.zeros(found.layers[0].array.shape, np.uint8)
    for name in sorted(parts, key=lambda name: STRUCTURES[name], reverse=True):  # what comes first in the list wins
        part = parts[name]
        labels[found.layers[part.layer].array == part.value] = STRUCTURES[name]
    names = {name: STRUCTURES[name] for name in parts}
    if not any(bool((labels == names[name]).any()) for name in VESSELS_OF_CLASSES & set(names)):
        raise InputError(
            f"names {', '.join(sorted(names))} but holds no voxel of a vessel; it holds the values "
            f"{listed(map(str, found.values)) or 'none'}",
            code="vessels-not-found",
            path=path,
        )
    return VesselClasses(found.layers[0].with_array(labels), names)


def _known_parts(parts: Iterable[Part]) -> dict[str, Part]:
    """Return the parts that are structures by their names; none where a vessel itself is named."""
    known: dict[str, Part] = {}
    for part in parts:
        vessel = vessel_of(part)
        if vessel is not None and vessel != "AORTA":
            return {}
        name = vessel or structure_of(part.name)
        if name is not None:
            known.setdefault(name, part)
    return known


def _given_parts(found: LabelMap, given: Mapping[str, int | str], path: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for called, which in given.items():
        name = structure_of(called)
        if name is None:
            continue  # measured by nobody, named by nobody
        alike = [
            part
            for part in found.parts
            if part.value == which or (isinstance(which, str) and part.name.casefold() == which.strip().casefold())
        ]
        if isinstance(which, int) and not alike:
            alike = [Part(name, which)]
        if len(alike) != 1:
            raise InputError(
                f"has {len(alike) or 'no'} part called {shown(str(which))} for {name}; it holds "
                f"{listed(part.name for part in found.parts) or listed(map(str, found.values))}",
                code="vessel-names-ambiguous",
                path=path,
            )
        parts[name] = alike[0]
    return parts


def _from_folder(folder: Path, given: Mapping[str, int | str] | None, image: Geometry | None) -> VesselClasses | None:
    """Read a folder of masks, each named after its structure, as TotalSegmentator writes them."""
    files = mask_files(folder)
    if given:
        stems = {stem.casefold(): path for stem, path in files.items()}
        wanted = {
            name: stems[str(which).casefold()]
            for called, which in given.items()
            if (name := structure_of(called)) is not None and str(which).casefold() in stems
        }
    else:
        parts = _known_parts(Part(stem, number) for number, stem in enumerate(files))
        wanted = {name: files[part.name] for name, part in parts.items()}
    if not are_classes(wanted):
        return None
    grid: Geometry | None = None
    labels = np.zeros((0, 0, 0), np.uint8)
    for name in sorted(wanted, key=lambda name: STRUCTURES[name], reverse=True):
        read = read_label_map(wanted[name], image)
        mask = read.layers[0].with_array((read.layers[0].array != 0).astype(np.uint8))
        if grid is None:
            grid, labels = mask.geometry, np.zeros(mask.array.shape, np.uint8)
        fitted, warning = fit_labels(mask, grid, f"{name} ({wanted[name].name})")
        if warning is not None:
            raise InputError(
                "lies on another grid than the other masks; resample it", code="grid-differs", path=wanted[name]
            )
        labels[fitted.array != 0] = STRUCTURES[name]
    assert grid is not None
    return VesselClasses(Volume(labels, grid), {name: STRUCTURES[name] for name in wanted})
