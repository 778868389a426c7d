"""``twintrack vessels``: a map of arteries and veins in, a map of named vessels out, with evidence and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.invasion.naming import name_vessels
from twintrack.io.vessel_classes import read_vessel_classes
from twintrack.io.volumes import write_volume
from twintrack.labels import VESSELS_OF_CLASSES
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.json_file import save_json
from twintrack.system.paths import file_sha256

__all__ = ["NAMED_MAP", "NAMING", "PICTURE", "name_vessels_of_file"]

COMMAND = "vessels"

NAMED_MAP, NAMING, PICTURE = "named_vessels.nii.gz", "naming.json", "named_vessels.png"
"""Files of the folder."""


def name_vessels_of_file(
    path: str | Path, out: str | Path, names: Mapping[str, int | str] | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Name the vessels of a map that knows classes alone, and write them to a folder; return ``naming.json``.

    Parameters
    ----------
    path : path
        Label map, DICOM-SEG, or folder of masks with ``ARTERIES`` and ``VEINS``; with aorta and organs where there are.
    out : path
        Folder for `NAMED_MAP`, `NAMING` and `PICTURE`.
    names : mapping, optional
        Value of each class, or what the file calls it.
    overwrite : bool
        Whether other files at their places are replaced.

    Raises
    ------
    InputError
        If the map cannot be read, or nothing says which value is arteries and which is veins.
    OutputError
        If the folder cannot be written, or other files are in the way.
    """
    path = Path(path)
    check_output_folder(out, (NAMED_MAP, NAMING, PICTURE), command=COMMAND, inputs=[path], overwrite=overwrite)
    classes = read_vessel_classes(path, names)
    if classes is None:
        raise InputError(
            "has no arteries or veins to be named: nothing says which value they are, or its vessels have their names; "
            "give --vessel-names, e.g. VEINS=2,ARTERIES=3",
            code="vessel-classes-missing",
            path=path,
        )
    found = name_vessels(classes.labels, classes.names)
    content: dict[str, Any] = found.to_json() | {
        "source": {"name": path.name, "sha256": file_sha256(path) if path.is_file() else None},
        "classes": sorted(classes.names),
    }
    held = [value for name, value in classes.names.items() if name in VESSELS_OF_CLASSES | {"AORTA", "IVC"}]
    inside = np.isin(classes.labels.array, held)
    from twintrack.results.report.named_vessels import write_named_picture

    with atomic_folder(out, command=COMMAND, last=NAMING, inputs=[path], overwrite=overwrite) as folder:
        write_volume(found.labels, folder / NAMED_MAP, names=found.values)
        write_named_picture(found.labels, inside, content["vessels"], folder / PICTURE)
        save_json(folder / NAMING, content)
    return content
