"""Normal distributions of contact degrees, and two distances between them: the protocol's and the exact one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gaussian", "gaussian_distance_deg", "protocol_distance_deg"]

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
