"""What a network was trained on, in numbers: intensities, voxel spacings and image sizes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.rater_entries import RaterMember
from twintrack.errors import BundleError, InputError

__all__ = ["INTENSITIES", "Fingerprint", "MinMedianMax", "networks_sha256", "plans_intensities"]

INTENSITIES = ("mean", "std", "percentile_00_5", "percentile_99_5")
"""What nnU-Net measures of the training voxels inside labels, and normalizes a CT with; in HU."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class MinMedianMax:
    """Smallest, median and largest value of each axis (z, y, x) over the training images."""

    smallest: Triple
    median: Triple
    largest: Triple


@dataclass(frozen=True)
class Fingerprint:
    """Numbers of the training images of one stage.

    Attributes
    ----------
    intensities_hu : mapping of str to float
        The values of `INTENSITIES`.
    cases : int or None
        Number of training images; None when only the plans were at hand.
    spacing_zyx_mm, size_zyx : MinMedianMax or None
        Voxel spacing in mm and size in voxels, in array order (z, y, x); for a fine model of cropped images.
    """

    intensities_hu: Mapping[str, float]
    cases: int | None = None
    spacing_zyx_mm: MinMedianMax | None = None
    size_zyx: MinMedianMax | None = None

    @classmethod
    def from_training(cls, plans: Mapping[str, Any], measured: Mapping[str, Any] | None, where: str) -> Fingerprint:
        """Take the numbers from checked plans and, where it is at hand, from nnU-Net's ``dataset_fingerprint.json``.

        Parameters
        ----------
        plans : mapping
            Content of ``plans.json``.
        measured : mapping or None
            Content of ``dataset_fingerprint.json``.
        where : str
            The latter file, for messages.

        Raises
        ------
        InputError
            If `measured` is not such a file.
        """
        intensities = {key: float(plans_intensities(plans)[key]) for key in INTENSITIES}
        if measured is None:
            return cls(intensities)
        spacings = _rows(measured, "spacings", where)
        sizes = _rows(measured, "shapes_after_crop", where)
        return cls(intensities, len(spacings), _min_median_max(spacings), _min_median_max(sizes))

    @classmethod
    def from_json(cls, entry: object, where: str) -> Fingerprint:
        """Read one stage's entry of ``bundle.json``.

        Raises
        ------
        BundleError
            Names the part that is wrong.
        """
        entry = _table(entry, where)
        intensities = _table(entry.get("intensities_hu"), f"{where}, 'intensities_hu'")
        if not all(_finite(intensities.get(key)) for key in INTENSITIES):
            raise BundleError(
                f"'intensities_hu' needs the numbers {', '.join(INTENSITIES)}", code="fingerprint-malformed", path=where
            )
        cases = entry.get("cases")
        if cases is not None and (not isinstance(cases, int) or isinstance(cases, bool) or not 1 <= cases < 1e12):
            raise BundleError(
                f"'cases' must be a number of images or null, got {cases!r}", code="fingerprint-malformed", path=where
            )
        spreads = {key: _read_values(entry.get(key), f"{where}, {key!r}") for key in ("spacing_zyx_mm", "size_zyx")}
        return cls({key: float(intensities[key]) for key in INTENSITIES}, cases, **spreads)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``bundle.json``."""
        entry: dict[str, Any] = {"intensities_hu": dict(self.intensities_hu), "cases": self.cases}
        for key in ("spacing_zyx_mm", "size_zyx"):
            values_of: MinMedianMax | None = getattr(self, key)
            entry[key] = None if values_of is None else {name: list(value) for name, value in vars(values_of).items()}
        return entry


def networks_sha256(
    *,
    files: Mapping[str, str],
    folds: Mapping[str, Sequence[str]],
    configurations: Mapping[str, str],
    tumor_weights: Mapping[str, float],
    vessel_labels: Mapping[str, str],
    rater_members: Sequence[RaterMember],
    pooling: str,
    mirroring: bool,
    slices: bool = False,
) -> str:
    """Return one hash of the networks, their plans and labels, and how their outputs become a score.

    It stays the same when a bundle's calibrator, name or description changes.

    Parameters
    ----------
    files : mapping of str to str
        SHA-256 of every file of the bundle.
    folds, configurations : mapping
        By stage.
    tumor_weights, vessel_labels, rater_members, pooling, mirroring, slices
        As in `twintrack.bundle.model_bundle.Bundle`. Which networks are one rater's decides the score; who that is does
        not, and is no part of the hash.
    """
    content: dict[str, Any] = {
        "files": {name: digest for name, digest in files.items() if name.split("/")[0] in folds},
        "folds": {stage: list(names) for stage, names in folds.items()},
        "configuration": dict(configurations),
        "tumor_labels": list(tumor_weights),
        "vessel_labels": dict(vessel_labels),
        "pooling": pooling,
        "mirroring": mirroring,
    }
    # What a bundle of schema 1 cannot say comes in only where it is said, so that the hashes of those stay.
    if any(weight != 1 for weight in tumor_weights.values()):
        content["tumor_weights"] = dict(tumor_weights)
    groups = sorted(sorted(rater.members) for rater in rater_members if rater.members)
    if groups:
        content["rater_members"] = groups
    if slices:
        content["slices"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plans_intensities(plans: Mapping[str, Any]) -> Any:
    """Return what ``plans.json``, old format or new, says of the training intensities of channel 0; None if nothing."""
    table = plans.get("foreground_intensity_properties_per_channel")
    if table is None:
        table = plans.get("foreground_intensity_properties_by_modality")
    return table.get("0") if isinstance(table, dict) else None


def _rows(measured: Mapping[str, Any], key: str, where: str) -> NDArray[np.float64]:
    try:
        rows = np.array(measured.get(key), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.empty(0)
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows) or not (np.isfinite(rows) & (rows > 0)).all():
        raise InputError(
            f"{key!r} must list three positive numbers for each image; give nnU-Net's dataset_fingerprint.json",
            code="fingerprint-malformed",
            path=where,
        )
    return rows


def _min_median_max(rows: NDArray[np.float64]) -> MinMedianMax:
    columns = (rows.min(axis=0), np.median(rows, axis=0), rows.max(axis=0))
    smallest, median, largest = (_triple(np.round(column, 6).tolist()) for column in columns)
    return MinMedianMax(smallest, median, largest)


def _read_values(entry: object, where: str) -> MinMedianMax | None:
    if entry is None:
        return None
    table = _table(entry, where)
    values = [table.get(key) for key in ("smallest", "median", "largest")]
    for value in values:
        if not isinstance(value, list) or len(value) != 3 or not all(_finite(v) and v > 0 for v in value):
            raise BundleError(
                f"smallest, median and largest must be three positive numbers, got {value!r}",
                code="fingerprint-malformed",
                path=where,
            )
    smallest, median, largest = (_triple(value) for value in values)
    return MinMedianMax(smallest, median, largest)


def _triple(values: Any) -> Triple:
    a, b, c = (float(value) for value in values)
    return (a, b, c)


def _table(entry: object, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise BundleError(f"must be a table, got {entry!r}", code="fingerprint-malformed", path=where)
    return entry


def _finite(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < 1e12  # type: ignore[arg-type]
