"""The cases of a training: CT, the raters' masks and what else is known, from a manifest or from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from twintrack.errors import InputError
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.label_maps import is_tumor_name, read_label_map
from twintrack.io.manifest import ManifestRow, located, read_annotations
from twintrack.io.masks import read_mask
from twintrack.io.vessel_maps import read_vessel_map
from twintrack.labels import VESSEL_VALUES, vessel_of
from twintrack.raters import name_order
from twintrack.volume import Geometry, Volume

__all__ = ["CaseVolumes", "Labels", "TrainingCase", "raters_of", "row_case"]

ORGAN_WORD = "pancreas"
"""Word in the name of a label that is the organ."""

COLUMNS = ("anatomy", "vessels", "organ")
"""Columns of a manifest beside image and masks that a training uses; each for all cases or for none."""


@dataclass(frozen=True)
class Labels:
    """A label map with the names of its values.

    Attributes
    ----------
    volume : Volume
        Whole numbers, (z, y, x); values without a name count as nothing.
    names : mapping of str to int
        Value of each structure.
    """

    volume: Volume
    names: Mapping[str, int]


@dataclass(frozen=True)
class CaseVolumes:
    """The volumes of a case, all on the CT's grid, with axes as `Volume.to_lps` turns them.

    Attributes
    ----------
    ct : Volume
        HU.
    masks : mapping of str to Volume
        Values 0 and 1, by the rater's name; who did not read the case is missing.
    anatomy : Labels or None
        What else a network shall learn; its tumour, if it has one, is not used.
    organ : Volume or None
        The organ without or with its tumour, 0 and 1; by default what the anatomy calls pancreas.
    notes : tuple of str
        What was done to masks on the way.
    """

    ct: Volume
    masks: Mapping[str, Volume]
    anatomy: Labels | None = None
    organ: Volume | None = None
    notes: tuple[str, ...] = ()

    def organ_mask(self) -> np.ndarray | None:
        """Return the organ with what most raters call tumour, boolean, (z, y, x); None where no organ is known."""
        if self.organ is not None:
            organ = self.organ.array > 0
        elif self.anatomy is not None and any(ORGAN_WORD in name.lower() for name in self.anatomy.names):
            values = [v for name, v in self.anatomy.names.items() if ORGAN_WORD in name.lower() or is_tumor_name(name)]
            organ = np.isin(self.anatomy.volume.array, values)
        else:
            return None
        return organ | (
            2 * np.sum([mask.array for mask in self.masks.values()], axis=0, dtype=np.int16) > len(self.masks)
        )


@dataclass(frozen=True)
class TrainingCase:
    """A case that is read when it is needed.

    Attributes
    ----------
    name : str
        Unique.
    read : callable
        Returns the volumes.
    raters : tuple of str
        Who read it.
    where : str
        For messages.
    content : str
        Differs whenever the volumes differ; a training that goes on is compared by it.
    """

    name: str
    read: Callable[[], CaseVolumes]
    raters: tuple[str, ...]
    where: str = ""
    content: str = field(default="", repr=False)


def raters_of(cases: Sequence[TrainingCase]) -> tuple[str, ...]:
    """Return the names of all raters in their order."""
    return tuple(sorted({rater for case in cases for rater in case.raters}, key=name_order))


def row_case(row: ManifestRow) -> TrainingCase:
    """Return the case of a manifest's row, which was read with ``image``."""
    files = {**row.files, **{f"annotation_{rater}": path for rater, path in row.annotations.items()}}
    content = "\n".join(f"{column} {path}{_stamp(path)}" for column, path in sorted(files.items()))
    return TrainingCase(row.case, lambda: _read(row), tuple(row.annotations), row.where, content)


def _stamp(path: Path) -> str:
    """Describe a file's size and last change; nothing of a folder or a part of a file."""
    if not path.is_file():
        return ""
    about = path.stat()
    return f" {about.st_size} {about.st_mtime_ns}"


def _read(row: ManifestRow) -> CaseVolumes:
    from twintrack.io.ct import load_ct

    with located(row, "image"):
        ct = load_ct(row.files["image"], row.series, row.acquisition).volume
    masks, notes = read_annotations(row, ct.geometry)
    organ = None
    if "organ" in row.files:
        with located(row, "organ"):
            organ = read_mask(row.files["organ"], ct.geometry, "organ")[0].to_lps()
    return CaseVolumes(
        ct.to_lps(), {name: mask.to_lps() for name, mask in masks.items()}, _anatomy(row, ct.geometry), organ, notes
    )


def _anatomy(row: ManifestRow, grid: Geometry) -> Labels | None:
    """Read the label maps of anatomy and vessels into one; a vessel of both is that of the vessel map."""
    found: Labels | None = None
    if "anatomy" in row.files:
        with located(row, "anatomy"):
            read = read_label_map(row.files["anatomy"], grid)
            if len(read.layers) > 1:
                raise InputError(
                    "holds structures that overlap; give a map with one label a voxel", code="labels-overlap"
                )
            placed, _ = fit_labels(read.layers[0], grid, "the anatomy")
            names = {part.name: part.value for part in read.parts if part.name and part.value}
            found = Labels(placed.to_lps(), names or {f"label_{value}": value for value in read.values})
    if "vessels" in row.files:
        with located(row, "vessels"):
            vessels = read_vessel_map(row.files["vessels"], None, VESSEL_VALUES, grid)
            placed, _ = fit_labels(vessels.labels, grid, "the vessel map")
        return _joined(found, Labels(placed.to_lps(), vessels.names))
    return found


def _joined(anatomy: Labels | None, vessels: Labels) -> Labels:
    array = np.zeros(vessels.volume.array.shape, np.int16) if anatomy is None else anatomy.volume.array.astype(np.int16)
    names = {} if anatomy is None else dict(anatomy.names)
    known = {vessel_of(name): name for name in names}
    for vessel, value in vessels.names.items():
        name = known.get(vessel, vessel.lower())
        names.setdefault(name, max(names.values(), default=1) + 1)
        array[vessels.volume.array == value] = names[name]
    return Labels(vessels.volume.with_array(array), names)
