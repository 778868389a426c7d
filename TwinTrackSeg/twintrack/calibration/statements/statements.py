"""Fitted statements: from levels of the score to the fractions of raters who would say so.

The paper's idea, calibrating a voxel's score to the fraction of raters who mark it, applied to what a person reads. A
voxelwise calibrated map mixes the raters' disagreement with the network's doubt, and thresholding it gives no rater.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements.families import Family
from twintrack.calibration.statements.monotone import logistic, logit
from twintrack.calibration.statements.table import ANGLES_DEG, StatementKey, artery_share, key_to_json
from twintrack.errors import InputError

__all__ = ["FAR_CLASSES", "Fitted", "LevelMap", "Statements", "VesselStatement"]

FAR_CLASSES = 3
"""Vessels without contact at any level, by their distance from the lowest one: up to 3 mm, up to 10 mm, beyond."""

LEVEL_MARGIN = 0.02
"""A level this far above the highest one of the calibration cases is beyond them."""

Reals = NDArray[np.float64]

_ANGLE = np.asarray(ANGLES_DEG, dtype=float)
_STEP_DEG = float(ANGLES_DEG[1])


@dataclass(frozen=True)
class LevelMap:
    """A logistic map from the level of one kind of statement to the fraction of raters who make it.

    Attributes
    ----------
    numbers : tuple of float
        Offset and slope on the logit of the level.
    """

    numbers: tuple[float, float]

    def __call__(self, level: NDArray[np.floating] | float) -> Reals:
        """Return the fraction at a level in [0, 1]."""
        return logistic(self.numbers[0] + self.numbers[1] * logit(level))


@dataclass(frozen=True)
class Fitted:
    """What a fit on some cases gives.

    Attributes
    ----------
    family : Family
        The map for vessels with contact at some level.
    scatter_deg : float
        How far, as a standard deviation, raters' angles scatter about where the level of their fraction lies: a curve
        of levels can fall within a few degrees, and raters' angles do not.
    far : tuple of float
        Fraction of raters who see contact where the score shows none, for each of the `FAR_CLASSES`.
    others : mapping of str to LevelMap
        By the kind of statement.
    """

    family: Family
    scatter_deg: float
    far: tuple[float, ...]
    others: Mapping[str, LevelMap]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the fit."""
        return {
            **self.family.to_json(),
            "scatter_deg": self.scatter_deg,
            "far": list(self.far),
            "others": {kind: list(one.numbers) for kind, one in self.others.items()},
        }

    def fractions(self, levels: Reals, far: NDArray[np.integer], artery: Reals) -> Reals:
        """Return the fraction of raters over each of `ANGLES_DEG`: (n, angle) for levels (n, angle).

        `far` are classes (n,), `artery` is as in `VesselRows`.
        """
        found = scattered(self.family.fractions(levels, artery), self.scatter_deg)
        nothing = levels[:, 0] <= 0
        if nothing.any():
            chance = np.asarray(self.far)[far[nothing]]
            # Those who see contact where the score shows none see little of it.
            found[nothing] = chance[:, None] * np.maximum(1 - _ANGLE / 90.0, 0.0)
        return found


def scattered(fractions: Reals, scatter_deg: float) -> Reals:
    """Return fractions (n, angle) for angles that scatter by `scatter_deg`; who sees no contact at all stays so."""
    if scatter_deg <= 0:
        return fractions
    from scipy.ndimage import gaussian_filter1d

    found = fractions.copy()
    found[:, 1:] = gaussian_filter1d(fractions[:, 1:], scatter_deg / _STEP_DEG, axis=1, mode="nearest")
    return np.asarray(np.minimum.accumulate(found, axis=1))


@dataclass(frozen=True)
class VesselStatement:
    """What is said of the raters' readings of one vessel.

    Attributes
    ----------
    fraction_over : tuple of float
        Fraction of raters whose contact angle exceeds each of `ANGLES_DEG`.
    p_contact, p_encased : float
        Fraction with any contact, and with more than 180 degrees.
    expected_angle_deg, angle_median_deg, angle_p10_deg, angle_p90_deg : float
        Mean, and percentiles for one more rater of this kind: 8 of 10 further raters lie between the last two.
    p_contact_interval, p_encased_interval, expected_angle_deg_interval : tuple of float or None
        Over the choice of the calibration cases.
    beyond : float or None
        The highest level of the calibration cases, if the vessel's is above: the fractions are those at that level.
    """

    fraction_over: tuple[float, ...]
    p_contact: float
    p_encased: float
    expected_angle_deg: float
    angle_median_deg: float
    angle_p10_deg: float
    angle_p90_deg: float
    p_contact_interval: tuple[float, float] | None = None
    p_encased_interval: tuple[float, float] | None = None
    expected_angle_deg_interval: tuple[float, float] | None = None
    beyond: float | None = None


@dataclass(frozen=True)
class Statements:
    """Calibrated statements, and what they hold for.

    Attributes
    ----------
    key : StatementKey
        Networks, source of the vessels and contact distance.
    cases, informative, raters : int
        Calibration cases, those with a vessel whose level of contact is above 0.05, and most raters of a case.
    fitted : Fitted
        The maps.
    highest : float
        Highest level of contact in the calibration cases.
    resampled : tuple of Fitted
        The same fit on resamples of the cases.
    level : float
        Nominal coverage of the intervals.
    compared : mapping of str to tuple of float
        Held-out loss of each family and its standard error, the difference to the least one over cases.
    rater_names : tuple of str
        Names of the raters; empty where they are not known.
    warnings : tuple of str
        Why the statements may not be trusted.
    """

    key: StatementKey
    cases: int
    informative: int
    raters: int
    fitted: Fitted
    highest: float
    resampled: tuple[Fitted, ...] = ()
    level: float = 0.95
    compared: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rater_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f'"level" must lie between 0 and 1, got {self.level}', code="statements-value")
        if len(self.fitted.far) != FAR_CLASSES or not all(0 <= value <= 1 for value in self.fitted.far):
            raise InputError(f'"far" must be {FAR_CLASSES} fractions', code="statements-value")

    def to_json(self) -> dict[str, Any]:
        """Return the part ``statements`` of ``calibrator.json``; `StatementsModel` reads it."""
        return {
            **key_to_json(self.key),
            "angles_deg": list(ANGLES_DEG),
            "cases": self.cases,
            "informative_cases": self.informative,
            "raters": self.raters,
            "rater_names": list(self.rater_names),
            "highest_level": self.highest,
            "family": self.fitted.family.name,
            "fitted": self.fitted.to_json(),
            "interval_level": self.level,
            "resampled": [one.to_json() for one in self.resampled],
            "compared": {name: list(values) for name, values in self.compared.items()},
            "warnings": list(self.warnings),
        }

    @property
    def least(self) -> float:
        """The smallest fraction that is told: so few cases do not show that no rater, or every one, says so."""
        return 0.5 / (self.informative + 1)

    def vessel(self, name: str, levels: tuple[float, ...], far: int, most: float = 1.0) -> VesselStatement:
        """Return the statement of one vessel.

        Parameters
        ----------
        name : str
            Of the vessel: veins and arteries may have maps of their own.
        levels : tuple of float
            Level of the score at which each of `ANGLES_DEG` is exceeded.
        far : int
            See `twintrack.calibration.statements.table.VesselCounts`.
        most : float
            Fraction of raters who mark any tumour: no more can see contact.
        """
        beyond = levels[0] > self.highest + LEVEL_MARGIN
        table = np.minimum(np.asarray(levels), self.highest)[None] if beyond else np.asarray(levels)[None]
        artery = np.array([artery_share(name)])
        middle, *drawn = (
            self._bounded(np.minimum(fit.fractions(table, np.array([far]), artery), most))[0]
            for fit in (self.fitted, *self.resampled)
        )
        encased = ANGLES_DEG.index(180)
        return VesselStatement(
            fraction_over=tuple(middle.tolist()),
            p_contact=float(middle[0]),
            p_encased=float(middle[encased]),
            expected_angle_deg=_mean_deg(middle),
            angle_median_deg=_angle_at_deg(middle, 0.5),
            angle_p10_deg=_angle_at_deg(middle, 0.9),
            angle_p90_deg=_angle_at_deg(middle, 0.1),
            p_contact_interval=self._interval(middle[0], [one[0] for one in drawn]),
            p_encased_interval=self._interval(middle[encased], [one[encased] for one in drawn]),
            expected_angle_deg_interval=self._angle_interval_deg(middle, drawn),
            beyond=self.highest if beyond else None,
        )

    def other(self, kind: str, level: NDArray[np.floating] | float) -> Reals | None:
        """Return the fraction of raters who make a further statement, at its level; None if that was not fitted."""
        found = self.fitted.others.get(kind)
        return None if found is None else self._bounded(found(level))

    def _bounded(self, fractions: Reals) -> Reals:
        return np.asarray(np.clip(fractions, self.least, 1 - self.least))

    def _interval(self, middle: float, drawn: list[float]) -> tuple[float, float] | None:
        """Return the interval of a fraction, wider than the resamples are, which a few cases spread too little."""
        if not drawn:
            return None
        center, spread = _plain_logit(middle), _plain_logit(np.asarray(drawn))
        low, high = np.quantile(spread, [(1 - self.level) / 2, (1 + self.level) / 2]) - center
        low, high = center + self._widening * min(low, 0.0), center + self._widening * max(high, 0.0)
        low, high = logistic(np.array([low, high])).tolist()
        # What is told of so few cases as the least, or as the most, may be none or all.
        edge = self.least * (1 + 1e-6)
        return 0.0 if low <= edge else low, 1.0 if high >= 1 - edge else high

    def _angle_interval_deg(self, middle: Reals, drawn: list[Reals]) -> tuple[float, float] | None:
        interval = self._interval(_mean_deg(middle) / 360.0, [_mean_deg(one) / 360.0 for one in drawn])
        return None if interval is None else (360.0 * interval[0], 360.0 * interval[1])

    @property
    def _widening(self) -> float:
        """How much wider Student's distribution is than the normal one, and the scatter of a sample of all cases."""
        from scipy.special import ndtri, stdtrit

        cases = max(self.informative, 2)
        upper = (1 + self.level) / 2
        return float(stdtrit(cases - 1, upper) / ndtri(upper) * np.sqrt(cases / (cases - 1)))


def _plain_logit(value: NDArray[np.floating] | float) -> Reals:
    bounded = np.clip(np.asarray(value, dtype=float), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _mean_deg(fraction_over: Reals) -> float:
    """Return the mean angle: the integral of the fraction over all angles; beyond the last one it stays."""
    trapezoids = (fraction_over[1:] + fraction_over[:-1]).sum() / 2
    return float(_STEP_DEG * (trapezoids + fraction_over[-1]))


def _angle_at_deg(fraction_over: Reals, share: float) -> float:
    """Return the least angle that at most `share` of the raters exceed."""
    if fraction_over[0] <= share:
        return 0.0
    if fraction_over[-1] > share:
        return 360.0
    # The fractions fall; np.interp wants rising places.
    return float(np.interp(-share, -fraction_over, _ANGLE))
