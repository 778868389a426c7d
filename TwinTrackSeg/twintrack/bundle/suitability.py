"""Is this CT one that the bundle can be trusted with? What speaks against it is said beside the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twintrack.bundle.fingerprint import Fingerprint
from twintrack.bundle.model_bundle import Bundle
from twintrack.imaging.ct_features import Contrast, contrast_of, features_of
from twintrack.volume import Volume

__all__ = ["Suitability", "assess"]

SPACING_FACTOR = 2.0
"""A voxel edge this many times outside the range of the training images is named."""

NETWORK_SPACING_FACTOR = 3.0
"""The same against the spacing that the networks work at, for bundles that know no range."""

AXES = ("slice", "row", "column")


@dataclass(frozen=True)
class Suitability:
    """What was measured of the CT, and what speaks against it.

    Attributes
    ----------
    features : mapping of str to float
        See `twintrack.imaging.ct_features.FEATURES`.
    outside : tuple of str
        In words, what is unlike the CTs that the bundle was made with.
    contrast : Contrast or None
        Brightness of the vessels, where they are known.
    compared : bool
        Whether the bundle says what its CTs looked like.
    """

    features: Mapping[str, float]
    outside: tuple[str, ...]
    contrast: Contrast | None
    compared: bool
    warnings: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        warnings = []
        if self.outside:
            warnings.append(
                "This CT is unlike those that the model was made with, and its result may be wrong without looking so: "
                + "; ".join(self.outside)
                + "."
            )
        if self.contrast is not None and self.contrast.unenhanced:
            warnings.append(
                "The vessels are not brighter than without contrast medium; tumour and vessel contact cannot be judged "
                "on such a CT."
            )
        if self.contrast is not None and self.contrast.phase == "arterial":
            warnings.append(
                f"The arteries are far brighter than the veins ({self.contrast.arteries_hu:.0f} and "
                f"{self.contrast.veins_hu:.0f} HU), as in an early arterial phase; tumour and contact with veins are "
                "read from a pancreatic or portal venous phase."
            )
        object.__setattr__(self, "warnings", tuple(warnings))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object in ``result.json``."""
        return {
            "compared": self.compared,
            "features": {name: round(float(value), 4) for name, value in self.features.items()},
            "outside": list(self.outside),
            "contrast": None if self.contrast is None else self.contrast.to_json(),
        }


def assess(
    ct: Volume,
    bundle: Bundle,
    vessels: Volume | None = None,
    names: Mapping[str, int] | None = None,
    *,
    disagreement_ml: float | None = None,
) -> Suitability:
    """Compare a CT with what its bundle declares.

    Parameters
    ----------
    ct : Volume
        HU, LPS-oriented.
    bundle : Bundle
        Its ``inputs``, or else its fingerprints and the networks' spacing, are compared.
    vessels : Volume, optional
        Labels on the CT's grid, given or predicted.
    names : mapping of str to int, optional
        Value of each vessel.
    disagreement_ml : float, optional
        Of the ensemble on this CT: see `twintrack.inference.EnsembleResult`.
    """
    features = features_of(ct) | ({} if disagreement_ml is None else {"disagreement_ml": disagreement_ml})
    outside = () if bundle.inputs is None else bundle.inputs.outside(features)
    if bundle.inputs is None or "slice_mm" not in bundle.inputs.ranges:
        outside = _spacing_outside(ct, bundle) + outside
    contrast = None if vessels is None else contrast_of(ct, vessels, names or {})
    return Suitability(features, outside, contrast, bundle.inputs is not None or bool(bundle.fingerprints))


def _spacing_outside(ct: Volume, bundle: Bundle) -> tuple[str, ...]:
    """Compare the voxel edges alone, for a bundle that does not say what its CTs looked like."""
    known: Fingerprint | None = bundle.fingerprints.get("coarse")
    if known is not None and known.spacing_zyx_mm is not None:
        low, high, factor = known.spacing_zyx_mm.smallest, known.spacing_zyx_mm.largest, SPACING_FACTOR
    else:
        spacing = bundle.describe()["stages"]["fine"]["spacing_mm"]
        low, high, factor = (0.0, 0.0, 0.0), spacing, NETWORK_SPACING_FACTOR
    found = []
    for axis, mm, least, most in zip(AXES, ct.geometry.spacing_mm[::-1], low, high, strict=True):
        if not least / max(factor, 1.0) <= mm <= most * factor:
            found.append(f"{axis} spacing {mm:.3g} mm (model: {most:.3g} mm)")
    return tuple(found)
