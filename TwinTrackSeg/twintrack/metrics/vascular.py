"""Vascular involvement: how far the degrees of vessel contact predicted lie from those that the raters drew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.boxes import grown, label_boxes
from twintrack.imaging.plane_contact import REACH, VesselEdges, plane_contact_curves_deg, plane_contact_deg
from twintrack.metrics.agreement import THRESHOLDS

__all__ = [
    "Gaussian",
    "VesselContact",
    "gaussian_distance_deg",
    "protocol_distance_deg",
    "symmetric_contact_deg",
    "vessel_contacts",
]


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
    found = label_boxes(vessels, max(names.values(), default=0))
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
    edges = VesselEdges.of(vessels[near] == value)
    drawn = [mask[near] != 0 for mask in masks]
    return VesselContact(
        raters=np.stack([plane_contact_deg(mask, edges) for mask in drawn], axis=1),
        thresholds=plane_contact_curves_deg(probability[near], edges, THRESHOLDS),
        symmetric_raters=np.concatenate([symmetric_contact_deg(mask, edges, [0.5]) for mask in drawn], axis=1),
        symmetric_thresholds=symmetric_contact_deg(probability[near], edges, THRESHOLDS),
    )


BESIDE = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0))
"""Rows and columns from a pixel to its eight neighbours."""


SMALLEST_WIDTH_DEG = 1e-6
"""The protocol adds it to every standard deviation."""

GRID_POINTS = 1000
"""The protocol samples the densities at these many points from 0 to 360 degrees."""

ZERO = 1e-8
"""Densities and spreads up to this count as zero."""

FARTHEST_DEG = 360.0

NO_OVERLAP = 40.0
"""Means this many times farther apart than the deviations: the exact distance is that of the means, to the last bit."""


@dataclass(frozen=True)
class Gaussian:
    """Mean and population standard deviation of some degrees."""

    mean_deg: float
    deviation_deg: float

    @classmethod
    def of(cls, degrees: Sequence[float] | NDArray[np.float64]) -> Gaussian:
        """Fit to values; an empty mask or an absent vessel has given 0 degrees, a value as any other."""
        return cls(float(np.mean(degrees)), float(np.std(degrees)))


def protocol_distance_deg(raters: Gaussian, predicted: Gaussian) -> float:
    """Return the protocol's distance of two distributions in one plane.

    Both densities (1e-6 added to the deviations) are sampled at 1000 points from 0 to 360 degrees. In this order:

    1. both vanish on all points: 0;
    2. only the raters' vanishes: ``sum(x q)`` (not divided by ``sum(q)``) if ``q`` has no spread around it, else 360;
    3. only the prediction's vanishes: the raters' mean on the points if they have no spread there, else 360;
    4. otherwise the 1-Wasserstein distance of the two sampled densities, each scaled to the sum 1.

    A consequence to know: where all raters give the same degrees, their density is as narrow as 1e-6 and is seen only
    if it sits on one of the points. So raters at 90 degrees and a prediction at 210 have the distance 0, while 90
    and 120 have 360. Degrees beyond 360 vanish in the same way. `gaussian_distance_deg` has none of this.

    References
    ----------
    M. Riera-Marín et al., CURVAS-PDACVI challenge, 2025, https://curvas-pdacvi.grand-challenge.org.
    """
    x = np.linspace(0.0, FARTHEST_DEG, GRID_POINTS)
    g, q = _density(raters, x), _density(predicted, x)
    no_g, no_q = bool((g <= ZERO).all()), bool((q <= ZERO).all())
    if no_g and no_q:
        return 0.0
    if no_g:
        return _spike_or_farthest(x, q, float((x * q).sum()))
    if no_q:
        return _spike_or_farthest(x, g, float((x * g).sum() / g.sum()))
    gap = np.cumsum(g / g.sum() - q / q.sum())
    return float(np.abs(gap[:-1]).sum() * (x[1] - x[0]))


def gaussian_distance_deg(one: Gaussian, other: Gaussian) -> float:
    r"""Return the exact 1-Wasserstein distance of two normal distributions.

    Their quantile functions differ by :math:`a + b Z` with the difference of the means :math:`a`, of the deviations
    :math:`b` and a standard normal :math:`Z`, so the distance is the mean of a folded normal distribution:

    .. math:: E|a + b Z| = |b| \sqrt{2 / \pi}\, e^{-a^2 / 2 b^2} + a\, \mathrm{erf}(a / (|b| \sqrt 2))

    References
    ----------
    S. S. Vallender, Theory Probab. Appl. 18 (1974) 784, doi:10.1137/1118101 (distance from the quantile functions);
    F. C. Leone, L. S. Nelson, R. B. Nottingham, Technometrics 3 (1961) 543, doi:10.1080/00401706.1961.10489974.
    """
    a, b = one.mean_deg - other.mean_deg, abs(one.deviation_deg - other.deviation_deg)
    if abs(a) > NO_OVERLAP * b:
        return abs(a)
    ratio = a / b if b > 0 else 0.0
    return b * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + a * math.erf(ratio / math.sqrt(2))


def _density(gaussian: Gaussian, x: NDArray[np.float64]) -> NDArray[np.float64]:
    width = gaussian.deviation_deg + SMALLEST_WIDTH_DEG
    density: NDArray[np.float64] = np.exp(-(((x - gaussian.mean_deg) / width) ** 2) / 2)
    return density / (math.sqrt(2 * math.pi) * width)


def _spike_or_farthest(x: NDArray[np.float64], density: NDArray[np.float64], mean_deg: float) -> float:
    """Return `mean_deg` if the density has no spread around it, else 360."""
    spread_deg = math.sqrt(float(((x - mean_deg) ** 2 * density).sum() / density.sum()))
    return mean_deg if spread_deg <= ZERO else FARTHEST_DEG


def symmetric_contact_deg(
    probability: NDArray[np.generic], vessel: VesselEdges, thresholds: Sequence[float]
) -> NDArray[np.float64]:
    """Return the largest contact over the slices of each plane, for the tumours ``probability > threshold``.

    The protocol's count (`twintrack.imaging.plane_contact`) looks for tumour to the right and below but not to the left
    and above, may count a pixel four times, and exceeds 360 degrees. Here a pixel of the vessel's edge is in contact if
    it lies in the tumour dilated by the 4-neighbour cross, or any of its eight neighbours outside the vessel does; the
    degrees are 360 times the fraction of edge pixels in contact. Mirroring the slice changes nothing.

    Parameters
    ----------
    probability : numpy.ndarray
        Map (z, y, x) in [0, 1], or a mask.
    vessel : VesselEdges
        Of a mask of the same shape; the vessel should keep two voxels from the crop's border unless it is the volume's.
    thresholds : sequence of float
        Rising levels in [0, 1].

    Returns
    -------
    numpy.ndarray
        Degrees (3, threshold); row ``a`` holds the slices perpendicular to array axis ``a``.
    """
    rising = np.asarray(thresholds, dtype=np.float64)
    degrees = np.zeros((3, len(rising)))
    values = vessel.around(probability)
    for axis, plane in enumerate(vessel.planes):
        touching = plane.passed(values, rising)
        for row, column in BESIDE:
            inside = plane.of(vessel.vessel, row, column)
            touching = np.maximum(touching, np.where(inside, 0, plane.passed(values, rising, row, column)))
        degrees[axis] = plane.largest_deg(plane.counts(touching, len(rising)))
    return degrees
