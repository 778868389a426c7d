"""The mask of one structure: a file that holds it alone or names it, or a part of a file, ``FILE#NAME``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twintrack.errors import InputError, locating
from twintrack.imaging.label_grid import fit_labels
from twintrack.io.label_maps import (
    LabelMap,
    Part,
    is_other_structure,
    is_tumor,
    listed,
    numbers_only,
    read_label_map,
    vessel_of,
)
from twintrack.io.voxel_file import shown
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = ["file_of", "read_mask"]


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


def _one_structure(found: LabelMap, chosen: str | None, path: Path, what: str) -> Volume:
    """Return the one structure that is meant, as 0 and 1: by its name where the file has names, never by chance."""
    if chosen is not None:
        return _by_choice(found, chosen, path)
    tumors = [part for part in found.parts if is_tumor(part)]
    if len(tumors) == 1:
        return found.mask(tumors[0])  # also one that was not drawn
    values, named = found.values, not numbers_only(found.parts)
    if not named and len(found.layers) == 1 and len(values) <= 1:
        return found.layers[0].with_array((found.layers[0].array != 0).view(np.uint8))
    if len(found.parts) == 1 and set(values) <= {found.parts[0].value} and not _is_other(found.parts[0]):
        return found.mask(found.parts[0])
    if found.parts:
        held = listed(part.name or str(part.value) for part in found.parts)
    else:
        held = f"the values {listed(map(str, values))}"
    example = (found.parts[0].name or found.parts[0].value) if found.parts else values[0]
    raise InputError(
        f"{what} is one of {held}, none called tumour; say which one: {path.name}#{example}",
        code="structure-not-chosen",
        path=path,
    )


def _is_other(part: Part) -> bool:
    """Whether the file itself says that a part is something else than a tumour."""
    return vessel_of(part) is not None or is_other_structure(part.name)


def _by_choice(found: LabelMap, chosen: str, path: Path) -> Volume:
    alike = [part for part in found.parts if part.name.strip().casefold() == chosen.strip().casefold()]
    if not alike and chosen.isdecimal() and len(chosen) < 10:
        if len(found.layers) == 1:
            alike = [Part("", int(chosen))] if int(chosen) in found.values else []
        else:
            alike = [part for part in found.parts if part.value == int(chosen)]
    if len(alike) != 1:
        held = listed([part.name for part in found.parts if part.name] or map(str, found.values))
        count = "no part" if not alike else f"{len(alike)} parts"
        raise InputError(
            f"has {count} called {shown(chosen)}; it holds {held or 'nothing'}", code="structure-unknown", path=path
        )
    return found.mask(alike[0])
