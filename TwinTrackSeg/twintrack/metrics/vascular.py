"""Vascular involvement: how far the degrees of vessel contact predicted lie from those that the raters drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import grown
from twintrack.imaging.plane_contact import REACH, plane_contact_curves_deg, plane_contact_deg
from twintrack.metrics.agreement import THRESHOLDS
from twintrack.metrics.gaussians import Gaussian, gaussian_distance_deg, protocol_distance_deg
from twintrack.metrics.symmetric_contact import symmetric_contact_deg

__all__ = ["VesselContact", "vessel_contacts"]


@dataclass(frozen=True)
class VesselContact:
    """Degrees of contact with one vessel; row ``a`` of an array holds the slices perpendicular to array axis ``a``.

    Attributes
    ----------
    raters, thresholds : numpy.ndarray
        float64 (3, rater) and (3, threshold): as the protocol counts, for the raters' masks and the prediction above
        each of `THRESHOLDS`.
    symmetric_raters, symmetric_thresholds : numpy.ndarray
        The same by `symmetric_contact_deg`.
    """

    raters: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    symmetric_raters: NDArray[np.float64]
    symmetric_thresholds: NDArray[np.float64]

    @property
    def protocol_distance_deg(self) -> float:
        """The protocol's value of the vessel: mean distance over the three planes."""
        planes = zip(self.raters, self.thresholds, strict=True)
        return float(np.mean([protocol_distance_deg(Gaussian.of(r), Gaussian.of(t)) for r, t in planes]))

    @property
    def corrected_distance_deg(self) -> float:
        """The same with symmetric contact counts and the exact distance of the two normal distributions."""
        planes = zip(self.symmetric_raters, self.symmetric_thresholds, strict=True)
        return float(np.mean([gaussian_distance_deg(Gaussian.of(r), Gaussian.of(t)) for r, t in planes]))


def vessel_contacts(
    probability: NDArray[np.floating],
    masks: Sequence[NDArray[np.generic]],
    vessels: NDArray[np.integer],
    names: Mapping[str, int],
) -> dict[str, VesselContact]:
    """Measure every named vessel; one that is absent has 0 degrees.

    Voxels of the vessel map with a value that is not in `names` are no vessel (the challenge's code takes some of them
    for part of every vessel's outline).

    Parameters
    ----------
    probability : numpy.ndarray
        (z, y, x) map in [0, 1].
    masks : sequence of numpy.ndarray
        (z, y, x) mask of every rater; values other than 0 are tumour.
    vessels : numpy.ndarray
        (z, y, x) label map.
    names : mapping
        Value of each vessel in `vessels`.
    """
    from scipy import ndimage

    found = ndimage.find_objects(vessels, max_label=max(names.values(), default=0))
    return {name: _measure(probability, masks, vessels, value, found[value - 1]) for name, value in names.items()}


def _measure(
    probability: NDArray[np.floating],
    masks: Sequence[NDArray[np.generic]],
    vessels: NDArray[np.integer],
    value: int,
    box: tuple[slice, ...] | None,
) -> VesselContact:
    if box is None:
        raters, thresholds = np.zeros((3, len(masks))), np.zeros((3, len(THRESHOLDS)))
        return VesselContact(raters, thresholds, raters.copy(), thresholds.copy())
    near = grown(box, REACH, REACH, vessels.shape)
    vessel = vessels[near] == value
    drawn = [mask[near] != 0 for mask in masks]
    exact = probability[near].astype(np.float64)
    raters = np.stack([plane_contact_deg(mask, vessel) for mask in drawn], axis=1)
    thresholds = plane_contact_curves_deg(exact, vessel, THRESHOLDS)
    symmetric = symmetric_contact_deg([*drawn, *(exact > threshold for threshold in THRESHOLDS)], vessel)
    return VesselContact(raters, thresholds, symmetric[:, : len(masks)], symmetric[:, len(masks) :])
