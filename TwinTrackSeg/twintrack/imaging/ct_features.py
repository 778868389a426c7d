"""Whether a CT looks like those that a bundle was made with: grid, field of view, tissues and contrast in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import BundleError
from twintrack.volume import Volume

__all__ = ["FEATURES", "Contrast", "InputRange", "contrast_of", "features_of"]

BODY_HU = -300
"""Air and lung lie below, the body above."""

FAT_HU = (-150, -30)
SOFT_HU = (-30, 250)
DENSE_HU = 500
"""Tissue classes of a CT: fat and soft tissue in these ranges, bone and metal from `DENSE_HU`."""

MOST_VOXELS = 4_000_000
"""Of a larger CT, voxels at regular distances are looked at."""

LARGEST = 1e12
"""No number of a CT comes near it."""

LEAST_VOXELS = 30
"""A vessel of fewer voxels says nothing about contrast."""

FILLED_VEINS_HU = 100.0
"""Portal vein and SMV above this hold contrast medium: they have 120 HU and more in the pancreatic phase."""

UNENHANCED_HU = 90
"""Blood without contrast medium has 30 to 60 HU, and more than this in every phase after contrast medium."""


@dataclass(frozen=True)
class _Feature:
    """How a number is called, and how far outside the range it may be: a fixed part and a share of the value."""

    words: str
    slack: float = 0.0
    share: float = 0.0


FEATURES: dict[str, _Feature] = {
    "voxel_mm": _Feature("pixel spacing in mm", share=0.3),
    "slice_mm": _Feature("slice spacing in mm", share=0.3),
    "width_mm": _Feature("width of the image in mm", share=0.3),
    "depth_mm": _Feature("depth of the image in mm", share=0.3),
    "height_mm": _Feature("height of the image in mm", share=0.3),
    "body_share": _Feature("share of the image that is body", slack=0.15),
    "fat_share": _Feature("share of fat in the body", slack=0.1),
    "dense_share": _Feature("share of bone in the body", slack=0.03),
    "soft_median_hu": _Feature("median of soft tissue in HU", slack=15.0),
    "soft_p95_hu": _Feature("95th percentile of soft tissue in HU", slack=25.0),
    "disagreement_ml": _Feature("volume on which the networks disagree in mL", share=0.5),
}
"""What is compared, in the order of the warning. The last is not the CT's but the ensemble's on it."""


@dataclass(frozen=True)
class InputRange:
    """Smallest and largest value of each feature over the CTs that a bundle was made with.

    Attributes
    ----------
    ranges : mapping of str to tuple of float
        Low and high by the names of `FEATURES`; names that are missing, here or of a CT, are not compared.
    cases : int
        Number of CTs.
    """

    ranges: Mapping[str, tuple[float, float]]
    cases: int

    @classmethod
    def over(cls, features: Iterable[Mapping[str, float]]) -> InputRange:
        """Return the range of several CTs' features."""
        rows = list(features)
        return cls(
            {
                name: (round(min(row[name] for row in rows), 4), round(max(row[name] for row in rows), 4))
                for name in FEATURES
                if all(name in row for row in rows)
            },
            len(rows),
        )

    def joined(self, other: InputRange) -> InputRange:
        """Return this range with the names of `other` added."""
        return InputRange({**self.ranges, **other.ranges}, self.cases)

    @classmethod
    def from_json(cls, entry: object, where: str) -> InputRange:
        """Read the entry ``inputs`` of ``bundle.json``.

        Raises
        ------
        BundleError
            If it is malformed.
        """
        ranges = entry.get("ranges") if isinstance(entry, dict) else None
        cases = entry.get("cases") if isinstance(entry, dict) else None
        if not isinstance(ranges, dict) or not set(ranges) <= set(FEATURES):
            raise BundleError(
                f"'inputs' must hold 'ranges' with some of {', '.join(FEATURES)}",
                code="fingerprint-malformed",
                path=where,
            )
        if not isinstance(cases, int) or isinstance(cases, bool) or not 1 <= cases < LARGEST:
            raise BundleError(
                f"'inputs' must hold 'cases', a number of CTs, got {cases!r}", code="fingerprint-malformed", path=where
            )
        for name, pair in ranges.items():
            if not isinstance(pair, list) or len(pair) != 2 or not all(_finite(v) for v in pair) or pair[0] > pair[1]:
                raise BundleError(
                    f"the range of {name!r} in 'inputs' must be [low, high], got {pair!r}",
                    code="fingerprint-malformed",
                    path=where,
                )
        return cls({name: (float(low), float(high)) for name, (low, high) in ranges.items()}, cases)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``bundle.json``."""
        return {"cases": self.cases, "ranges": {name: list(pair) for name, pair in self.ranges.items()}}

    def outside(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Return in words what lies outside: further than half the range, and the feature's slack, from the range."""
        found = []
        for name, feature in FEATURES.items():
            if name not in self.ranges or name not in features:
                continue
            (low, high), value = self.ranges[name], features[name]
            margin = 0.5 * (high - low) + feature.slack
            if not low * (1 - feature.share) - margin <= value <= high * (1 + feature.share) + margin:
                found.append(f"{feature.words} {value:.3g} (training: {low:.3g} to {high:.3g})")
        return tuple(found)


def features_of(ct: Volume) -> dict[str, float]:
    """Measure a CT (HU, LPS-oriented); the numbers are those of `FEATURES` but for the disagreement."""
    x, y, z = ct.geometry.spacing_mm
    width, depth, height = (n * mm for n, mm in zip(ct.geometry.size, ct.geometry.spacing_mm, strict=True))
    values = _sample(ct.array)
    body = values[values > BODY_HU]
    soft = body[(body >= SOFT_HU[0]) & (body < SOFT_HU[1])]
    return {
        "voxel_mm": max(x, y),
        "slice_mm": z,
        "width_mm": width,
        "depth_mm": depth,
        "height_mm": height,
        "body_share": len(body) / max(1, len(values)),
        "fat_share": np.count_nonzero((body >= FAT_HU[0]) & (body < FAT_HU[1])) / max(1, len(body)),
        "dense_share": np.count_nonzero(body >= DENSE_HU) / max(1, len(body)),
        "soft_median_hu": float(np.median(soft)) if len(soft) else 0.0,
        "soft_p95_hu": float(np.percentile(soft, 95)) if len(soft) else 0.0,
    }


@dataclass(frozen=True)
class Contrast:
    """How bright the vessels are.

    Attributes
    ----------
    arteries_hu, veins_hu : float or None
        Median over the arteries and over the veins; None where too few voxels are known.
    """

    arteries_hu: float | None
    veins_hu: float | None

    @property
    def unenhanced(self) -> bool:
        """Whether all vessels that are known are as dark as blood without contrast medium."""
        known = [value for value in (self.arteries_hu, self.veins_hu) if value is not None]
        return bool(known) and max(known) < UNENHANCED_HU

    @property
    def phase(self) -> str:
        """What the brightness suggests: an estimate, not a statement about the protocol."""
        arteries, veins = self.arteries_hu, self.veins_hu
        if self.unenhanced:
            return "unenhanced"
        if arteries is None or veins is None:
            return "unknown"
        if arteries > 2 * veins and veins < FILLED_VEINS_HU:
            return "arterial"
        return "pancreatic" if arteries > 1.25 * veins else "portal venous"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object in ``result.json``."""
        return {"arteries_hu": self.arteries_hu, "veins_hu": self.veins_hu, "phase_estimate": self.phase}


def contrast_of(ct: Volume, vessels: Volume, names: Mapping[str, int]) -> Contrast:
    """Measure the brightness of the vessels.

    Parameters
    ----------
    ct : Volume
        HU.
    vessels : Volume
        Labels on the same grid.
    names : mapping of str to int
        Value of each vessel.
    """

    def median(*wanted: str) -> float | None:
        values = [names[name] for name in wanted if name in names]
        hu = ct.array[np.isin(vessels.array, values)]
        return float(np.median(hu)) if len(hu) >= LEAST_VOXELS else None

    return Contrast(median("AORTA", "CELIAC", "SMA"), median("PORTA", "SMV"))


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    step = max(1, int(np.ceil((array.size / MOST_VOXELS) ** (1 / 3))))
    return array[::step, ::step, ::step].ravel()


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
