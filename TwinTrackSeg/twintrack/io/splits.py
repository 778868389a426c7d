"""The splits of a manifest: which cases train, which calibrate and which test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from twintrack.errors import InputError
from twintrack.io.manifest import ManifestRow

__all__ = ["SPLITS", "rows_by_split"]

SPLITS = ("train", "calibration", "test")
"""What the column ``split`` may say; each command takes the cases that it is for."""


def rows_by_split(rows: Iterable[ManifestRow]) -> dict[str, tuple[ManifestRow, ...]]:
    """Return the rows of each split, in the manifest's order; the manifest was read with ``image`` and ``split``.

    A patient is what the column ``patient`` says, word for word; an empty cell is a patient of its own.

    Raises
    ------
    InputError
        If a split is unknown, or an image or a patient is in two of them; both rows are named.
    """
    found: dict[str, list[ManifestRow]] = {split: [] for split in SPLITS}
    images: dict[Path, ManifestRow] = {}
    patients: dict[str, ManifestRow] = {}
    for row in rows:
        split, image = row.cells["split"], row.files["image"]
        if split not in found:
            raise InputError(
                f"the split must be one of {', '.join(SPLITS)}, got {split!r}", code="split-unknown", where=row.where
            )
        other = images.setdefault(image.resolve(), row)
        if other.cells["split"] != split:
            raise InputError(
                f"is also in the split {other.cells['split']} ({other.where}); keep an image in one split",
                code="case-used-twice",
                path=image,
                where=row.where,
            )
        other = patients.setdefault(normalize("NFC", row.cells["patient"]), row) if "patient" in row.cells else row
        if other.cells["split"] != split:
            raise InputError(
                f"the patient is also in the split {other.cells['split']} ({other.where}); keep all cases of a patient "
                "in one split",
                code="patient-in-two-splits",
                where=row.where,
            )
        found[split].append(row)
    return {split: tuple(those) for split, those in found.items()}
