"""The kinds of map from the levels of one vessel to the fractions of raters, for all contact angles together.

Each gives, for a vessel with levels t(theta), the fraction of raters whose own contact angle exceeds theta. Which one
is taken is decided in `twintrack.calibration.statements.fit`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements.monotone import Knots, isotonic_knots, logistic, logit
from twintrack.calibration.statements.table import ANGLES_DEG
from twintrack.errors import InputError

__all__ = [
    "FAMILIES",
    "AngleLogistic",
    "AngleMaps",
    "Family",
    "NumberFamily",
    "SingleMap",
    "TwoIsotonic",
    "TwoLogistic",
    "VeinsAndArteries",
    "VesselRows",
]

ASKED_DEG = (0, 180)
"""Angles that a person asks for: their Brier scores count beside the angle's CRPS in every fit."""

STEEPEST, FLATTEST = 12.0, 0.05
"""Range of a logistic map's slope: it must rise."""

Reals = NDArray[np.float64]

_ANGLE = np.asarray(ANGLES_DEG, dtype=float)


@dataclass(frozen=True)
class VesselRows:
    """Vessels to fit on, all with contact at some level.

    Attributes
    ----------
    levels, fractions : numpy.ndarray
        Level, and fraction of raters who exceed each of `ANGLES_DEG`; shape (n, angle).
    case : numpy.ndarray of int
        Number of each vessel's case; shape (n,).
    weight : numpy.ndarray
        Weight of each vessel: the vessels of a case share the weight 1; shape (n,).
    artery : numpy.ndarray
        See `twintrack.calibration.statements.table.artery_share`; shape (n,).
    """

    levels: Reals
    fractions: Reals
    case: NDArray[np.int64]
    weight: Reals
    artery: Reals

    @property
    def each(self) -> Reals:
        """Weight of each angle of each vessel in a fit: CRPS of the angle plus Brier at `ASKED_DEG`; (n, angle)."""
        return np.asarray(self.weight[:, None] * angle_weights())

    def losses(self, fractions: Reals) -> Reals:
        """Return the loss of each vessel, weighted, for predicted fractions (n, angle)."""
        return np.asarray((self.each * (fractions - self.fractions) ** 2).sum(axis=1))

    def shrunk(self, fractions: Reals, share: float) -> VesselRows:
        """Return the vessels with their fractions mixed with others (n, angle), which weigh `share` times as much."""
        return replace(self, fractions=(self.fractions + share * fractions) / (1 + share))

    def weighted(self, weight: Reals) -> VesselRows:
        """Return the same vessels with other weights."""
        return replace(self, weight=weight)

    def some(self, rows: NDArray[np.bool_]) -> VesselRows:
        """Return some of the vessels."""
        return VesselRows(
            self.levels[rows], self.fractions[rows], self.case[rows], self.weight[rows], self.artery[rows]
        )


def angle_weights() -> Reals:
    """Return the weight of each of `ANGLES_DEG` in the loss."""
    weights = np.full(len(ANGLES_DEG), 1 / len(ANGLES_DEG))
    weights[[ANGLES_DEG.index(angle) for angle in ASKED_DEG]] += 1.0
    return weights


class Family(ABC):
    """A fitted map."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, rows: VesselRows) -> Family:
        """Fit the map by least squares, with the weights of `VesselRows.each`."""

    @abstractmethod
    def fractions(self, levels: Reals, artery: Reals) -> Reals:
        """Return the fraction of raters over each of `ANGLES_DEG`, never rising.

        `levels` are (n, angle), `artery` as in `VesselRows`; a family that tells veins and arteries alike ignores it.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""

    @classmethod
    @abstractmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Family:
        """Read what `to_json` gave, of which the kinds of values are checked; `InputError` if it is no such map."""


def _falling(fractions: Reals) -> Reals:
    return np.asarray(np.minimum.accumulate(fractions, axis=1))


@dataclass(frozen=True)
class NumberFamily(Family):
    """A map given by a few numbers, fitted with a slight ridge to `PRIOR`."""

    numbers: tuple[float, ...]

    PRIOR: ClassVar[tuple[float, ...]]
    SLOPES: ClassVar[tuple[int, ...]]
    RIDGE: ClassVar[float] = 0.01

    @classmethod
    def fit(cls, rows: VesselRows) -> Family:
        """Fit the map."""
        from scipy.optimize import minimize

        center = np.asarray(cls.PRIOR)
        inputs, each = cls.inputs(rows.levels, rows.artery), rows.each

        def loss(numbers: Reals) -> tuple[float, Reals]:
            fractions, slopes = cls.values(numbers, inputs)
            off = fractions - rows.fractions
            pull = numbers - center
            gradient = np.array([float((2 * each * off * slope).sum()) for slope in slopes])
            return float((each * off**2).sum() + cls.RIDGE * (pull**2).sum()), gradient + 2 * cls.RIDGE * pull

        bounds = [(FLATTEST, STEEPEST) if n in cls.SLOPES else (-30.0, 30.0) for n in range(len(center))]
        found = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(tuple(float(number) for number in found.x))

    def fractions(self, levels: Reals, artery: Reals) -> Reals:
        """Return the fractions."""
        return _falling(type(self).values(np.asarray(self.numbers), type(self).inputs(levels, artery))[0])

    @classmethod
    @abstractmethod
    def inputs(cls, levels: Reals, artery: Reals) -> Any:
        """Return what the numbers are applied to."""

    @classmethod
    @abstractmethod
    def values(cls, numbers: Reals, inputs: Any) -> tuple[Reals, list[Reals]]:
        """Return the fractions and their derivative by each number."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Family:
        """Read what `to_json` gave."""
        numbers = stored.get("numbers") or ()
        if len(numbers) != len(cls.PRIOR):
            raise InputError(f'"numbers" of {cls.name} must be {len(cls.PRIOR)} numbers', code="statements-model")
        if any(not FLATTEST <= numbers[n] <= STEEPEST for n in cls.SLOPES):
            raise InputError(f'"numbers" of {cls.name} must rise with the level', code="statements-model")
        return cls(tuple(numbers))


@dataclass(frozen=True)
class TwoLogistic(NumberFamily):
    """Contact by its level, and each angle among those who see contact by the ratio of both levels: four numbers.

    P(> theta) = g0(t(0)) x g1(t(theta) / t(0)), with g0 and g1 logistic in the logit of what they take.
    """

    name = "two-logistic"
    PRIOR = (0.0, 1.5, 0.5, 1.0)
    SLOPES = (1, 3)

    @classmethod
    def inputs(cls, levels: Reals, artery: Reals) -> tuple[Reals, Reals]:  # noqa: ARG003
        """Return the logits that the numbers are applied to."""
        return logit(levels[:, :1]), logit(levels / np.maximum(levels[:, :1], 1e-9))

    @classmethod
    def values(cls, numbers: Reals, inputs: tuple[Reals, Reals]) -> tuple[Reals, list[Reals]]:
        """Return fractions and derivatives."""
        contact, ratio = inputs
        g0 = logistic(numbers[0] + numbers[1] * contact)
        g1 = logistic(numbers[2] + numbers[3] * ratio)
        g1[:, 0] = 1.0
        slope0 = g0 * (1 - g0) * g1
        slope1 = g0 * g1 * (1 - g1)
        return g0 * g1, [slope0, slope0 * contact, slope1, slope1 * ratio]


@dataclass(frozen=True)
class AngleLogistic(NumberFamily):
    """Every angle by its own level: offset and slope of a logistic map at 0 and at 360 degrees, linear between them.

    P(> theta) is logistic in the logit of t(theta). At one level the fraction rises with the angle: a network is less
    sure of the far end of an arc than raters are.
    """

    name = "angle-logistic"
    PRIOR = (0.0, 1.5, 1.0, 1.0)
    SLOPES = (1, 3)

    @classmethod
    def inputs(cls, levels: Reals, artery: Reals) -> Reals:  # noqa: ARG003
        """Return the logits that the numbers are applied to."""
        return logit(levels)

    @classmethod
    def values(cls, numbers: Reals, inputs: Reals) -> tuple[Reals, list[Reals]]:
        """Return fractions and derivatives."""
        last = _ANGLE / 360.0
        first = 1 - last
        offset, slope = numbers[0] * first + numbers[2] * last, numbers[1] * first + numbers[3] * last
        fractions = logistic(offset + slope * inputs)
        steep = fractions * (1 - fractions)
        return fractions, [steep * first, steep * first * inputs, steep * last, steep * last * inputs]


@dataclass(frozen=True)
class VeinsAndArteries(NumberFamily):
    """As `AngleLogistic`, with an offset of its own for arteries, again linear from 0 to 360 degrees: six numbers.

    At one level more raters see contact with an artery than with a vein: the network, which is surer of large vessels,
    gives fat around a thin artery a lower score.
    """

    name = "veins-and-arteries"
    PRIOR = (*AngleLogistic.PRIOR, 0.0, 0.0)
    SLOPES = AngleLogistic.SLOPES

    @classmethod
    def inputs(cls, levels: Reals, artery: Reals) -> tuple[Reals, Reals]:
        """Return the logits that the numbers are applied to, and who is an artery."""
        return logit(levels), artery[:, None]

    @classmethod
    def values(cls, numbers: Reals, inputs: tuple[Reals, Reals]) -> tuple[Reals, list[Reals]]:
        """Return fractions and derivatives."""
        place, artery = inputs
        last = _ANGLE / 360.0
        first = 1 - last
        offset, slope = numbers[0] * first + numbers[2] * last, numbers[1] * first + numbers[3] * last
        fractions = logistic(offset + artery * (numbers[4] * first + numbers[5] * last) + slope * place)
        steep = fractions * (1 - fractions)
        own = [steep * first, steep * first * place, steep * last, steep * last * place]
        return fractions, [*own, steep * first * artery, steep * last * artery]


@dataclass(frozen=True)
class TableFamily(Family):
    """Isotonic maps."""

    maps: tuple[Knots, ...]

    COUNT: ClassVar[int]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"maps": [{"at": list(one.at), "value": list(one.value)} for one in self.maps]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Family:
        """Read what `to_json` gave."""
        maps = stored.get("maps") or ()
        if len(maps) != cls.COUNT:
            raise InputError(f'"maps" of {cls.name} must be {cls.COUNT} maps', code="statements-model")
        return cls(tuple(_knots(**one) for one in maps))


@dataclass(frozen=True)
class SingleMap(TableFamily):
    """One isotonic map of the level for all angles: what thresholding a voxelwise calibrated map amounts to."""

    name = "single"
    COUNT = 1

    @classmethod
    def fit(cls, rows: VesselRows) -> Family:
        """Fit the map."""
        case = np.repeat(rows.case, len(ANGLES_DEG))
        return cls((isotonic_knots(rows.levels.ravel(), rows.fractions.ravel(), rows.each.ravel(), case),))

    def fractions(self, levels: Reals, artery: Reals) -> Reals:  # noqa: ARG002
        """Return the fractions."""
        return _falling(self.maps[0](levels))


@dataclass(frozen=True)
class TwoIsotonic(TableFamily):
    """As `TwoLogistic`, with two isotonic maps."""

    name = "two-isotonic"
    COUNT = 2

    @classmethod
    def fit(cls, rows: VesselRows) -> Family:
        """Fit the map."""
        contact = isotonic_knots(rows.levels[:, 0], rows.fractions[:, 0], rows.each[:, 0], rows.case)
        g0 = np.maximum(contact(rows.levels[:, :1]), 1e-3)
        ratio = _ratio(rows.levels)[:, 1:]
        share = np.clip(rows.fractions[:, 1:] / g0, 0.0, 1.0)
        weight = rows.each[:, 1:] * g0**2
        case = np.repeat(rows.case, ratio.shape[1])
        return cls((contact, isotonic_knots(ratio.ravel(), share.ravel(), weight.ravel(), case)))

    def fractions(self, levels: Reals, artery: Reals) -> Reals:  # noqa: ARG002
        """Return the fractions."""
        further = self.maps[1](_ratio(levels))
        further[:, 0] = 1.0
        return _falling(self.maps[0](levels[:, :1]) * further)


@dataclass(frozen=True)
class AngleMaps(TableFamily):
    """An isotonic map at each of 0, 90, 180 and 270 degrees, in between a mixture of both neighbours."""

    name = "angle-maps"
    AT_DEG = (0, 90, 180, 270)
    COUNT = 4

    @classmethod
    def fit(cls, rows: VesselRows) -> Family:
        """Fit the map."""
        columns = [ANGLES_DEG.index(angle) for angle in cls.AT_DEG]
        return cls(
            tuple(isotonic_knots(rows.levels[:, n], rows.fractions[:, n], rows.weight, rows.case) for n in columns)
        )

    def fractions(self, levels: Reals, artery: Reals) -> Reals:  # noqa: ARG002
        """Return the fractions."""
        values = np.stack([one(levels) for one in self.maps])
        place = np.clip(_ANGLE / 90.0, 0.0, 3.0)
        lower = np.minimum(place.astype(int), 2)
        share, column = place - lower, np.arange(len(_ANGLE))
        return _falling((1 - share) * values[lower, :, column].T + share * values[lower + 1, :, column].T)


FAMILIES: tuple[type[Family], ...] = (AngleLogistic, TwoLogistic, VeinsAndArteries, SingleMap, TwoIsotonic, AngleMaps)
"""Simplest first."""


def _ratio(levels: Reals) -> Reals:
    return np.asarray(levels / np.maximum(levels[:, :1], 1e-9))


def _knots(at: Sequence[float], value: Sequence[float]) -> Knots:
    if len(at) != len(value) or not at:
        raise InputError('"at" and "value" of a map must have the same length', code="statements-model")
    if any(b <= a for a, b in pairwise(at)):
        raise InputError('"at" of a map must rise', code="statements-model")
    if any(b < a for a, b in pairwise(value)):
        raise InputError('"value" of a map must never fall', code="statements-model")
    return Knots(tuple(at), tuple(value))
