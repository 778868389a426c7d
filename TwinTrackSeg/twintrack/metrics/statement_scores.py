"""How true statements about vessels are: fractions of raters that were shown, against the raters' own masks.

References
----------
Gneiting, Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 102(477), 2007,
doi:10.1198/016214506000001437 (Brier score, CRPS). Czado, Gneiting, Held, "Predictive Model Assessment for Count Data",
Biometrics 65(4), 2009, doi:10.1111/j.1541-0420.2009.01191.x (the randomised probability integral transform).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements import ANGLES_DEG

__all__ = ["BINS", "SHOWN", "VesselReading", "base_rates", "bin_table", "calibration_error", "statement_scores"]

BINS = (0.0, 0.05, 0.3, 0.5, 0.8, 1.0)
"""Edges of the bins in which shown fractions are compared with the raters."""

SHOWN = 0.02
"""Vessels are chosen by what is shown: those with a larger fraction; the others are counted as misses or not."""

MANY, MOST, FEW = 0.8, 0.6, 0.2
"""Fractions of raters above which encasement should be named, and up to which it should not."""

CONTACT, ENCASED = ANGLES_DEG.index(0), ANGLES_DEG.index(180)

Reals = NDArray[np.float64]

_ANGLE = np.asarray(ANGLES_DEG, dtype=float)
_STEP_DEG = float(ANGLES_DEG[1])


@dataclass(frozen=True)
class VesselReading:
    """What was shown of one vessel, and what its raters' own masks give.

    Attributes
    ----------
    case, vessel : str
        Which.
    fraction_over : tuple of float
        Shown fraction of raters over each of `ANGLES_DEG`.
    angles_deg : tuple of float
        Contact angle of each rater's mask with the reference vessel, 0 without contact.
    """

    case: str
    vessel: str
    fraction_over: tuple[float, ...]
    angles_deg: tuple[float, ...]

    @property
    def observed(self) -> Reals:
        """Fraction of the raters over each of `ANGLES_DEG`."""
        return np.asarray((np.asarray(self.angles_deg)[:, None] > _ANGLE).mean(axis=0))


def statement_scores(readings: Sequence[VesselReading], *, seed: int = 0) -> dict[str, Any]:
    """Score what was shown of vessels.

    Parameters
    ----------
    readings : sequence of VesselReading
        All vessels of all cases.
    seed : int
        Of the randomised probability integral transform.

    Returns
    -------
    dict
        ``contact`` and ``encased``: mean shown, mean of the raters, ``bias``, ``brier``, ``calibration_error`` over the
        vessels with more than `SHOWN`, ``missed`` (mean of the raters over the others), ``bins``; ``crps``, the
        integrated square difference of the fractions over all angles, and ``crps_one_rater``, which adds the raters'
        own spread, over 360 degrees; ``angle_bias_deg``; ``within_10_90`` (share of raters between the shown 10th and
        90th percentile, randomised); ``named`` (share of vessels that are called encased where at least 80 %, at least
        60 % and at most 20 % of the raters see it); and ``base_rate``: Brier scores and CRPS of the fraction of the
        other cases' raters for the vessel's name, which knows nothing of the case.
    """
    if not readings:
        return {"vessels": 0, "cases": 0}
    shown = np.array([one.fraction_over for one in readings])
    seen = np.array([one.observed for one in readings])
    trivial = base_rates(readings)
    near = shown[:, CONTACT] > SHOWN
    angle_bias = _mean_deg(shown[near]) - np.array([np.mean(one.angles_deg) for one in readings])[near]
    return {
        "vessels": len(readings),
        "cases": len({one.case for one in readings}),
        "contact": _of_one(shown[:, CONTACT], seen[:, CONTACT]),
        "encased": _of_one(shown[:, ENCASED], seen[:, ENCASED]),
        "crps": float(((shown - seen) ** 2).mean()),
        "crps_one_rater": float(((shown - seen) ** 2).mean() + _spread(readings)),
        "angle_bias_deg": float(angle_bias.mean()) if near.any() else None,
        "within_10_90": _within(readings, near, seed),
        "named": {
            f"at least {MANY:.0%}": _share(shown[seen[:, ENCASED] >= MANY - 1e-9, ENCASED] > 0.5),
            f"at least {MOST:.0%}": _share(shown[seen[:, ENCASED] >= MOST - 1e-9, ENCASED] > 0.5),
            f"at most {FEW:.0%}": _share(shown[seen[:, ENCASED] <= FEW + 1e-9, ENCASED] > 0.5),
        },
        "base_rate": {
            "contact_brier": _brier(trivial[:, CONTACT], seen[:, CONTACT]),
            "encased_brier": _brier(trivial[:, ENCASED], seen[:, ENCASED]),
            "crps": float(((trivial - seen) ** 2).mean()),
        },
    }


def base_rates(readings: Sequence[VesselReading], known: Sequence[VesselReading] | None = None) -> Reals:
    """Return, for each vessel, the fractions over each angle among other cases' raters for its name: (n, angle).

    `known` are the readings that the rates are taken from: all others, if not given. A name that no other case has
    gets the mean over all names.
    """
    others = list(readings if known is None else known)
    seen = np.array([one.observed for one in others])
    found = []
    for one in readings:
        rows = [n for n, other in enumerate(others) if other.case != one.case]
        same = [n for n in rows if others[n].vessel == one.vessel]
        found.append(seen[same or rows].mean(axis=0) if rows else np.full(len(ANGLES_DEG), 0.5))
    return np.array(found)


def bin_table(shown: Reals, seen: Reals) -> list[dict[str, float | int]]:
    """Return vessels, mean shown and mean of the raters in each of the `BINS` that holds any."""
    place = np.clip(np.digitize(shown, BINS, right=True) - 1, 0, len(BINS) - 2)
    return [
        {
            "from": BINS[number],
            "to": BINS[number + 1],
            "vessels": int((place == number).sum()),
            "shown": float(shown[place == number].mean()),
            "raters": float(seen[place == number].mean()),
        }
        for number in range(len(BINS) - 1)
        if (place == number).any()
    ]


def calibration_error(shown: Reals, seen: Reals) -> float:
    """Return the mean difference of shown fraction and raters over the `BINS`, weighted by their vessels."""
    rows = bin_table(shown, seen)
    return float(sum(row["vessels"] * abs(row["shown"] - row["raters"]) for row in rows) / len(shown))


def _of_one(shown: Reals, seen: Reals) -> dict[str, Any]:
    told = shown > SHOWN
    return {
        "brier": _brier(shown, seen),
        "shown_vessels": int(told.sum()),
        "shown": _mean(shown[told]),
        "raters": _mean(seen[told]),
        "bias": None if not told.any() else float((shown[told] - seen[told]).mean()),
        "calibration_error": None if not told.any() else calibration_error(shown[told], seen[told]),
        "not_shown_vessels": int((~told).sum()),
        "missed": _mean(seen[~told]),
        "bins": bin_table(shown, seen),
    }


def _brier(shown: Reals, seen: Reals) -> float:
    """Return the mean square difference of the shown fraction and the raters' fraction.

    The part of a single rater's Brier score that no statement about a fraction can lower is left out.
    """
    return float(((shown - seen) ** 2).mean())


def _spread(readings: Sequence[VesselReading]) -> float:
    """Return the part of the CRPS of single raters that even the true fractions leave."""
    seen = np.array([one.observed for one in readings])
    return float((seen * (1 - seen)).mean())


def _mean_deg(fraction_over: Reals) -> Reals:
    inner = (fraction_over[:, 1:] + fraction_over[:, :-1]).sum(axis=1) / 2
    return np.asarray(_STEP_DEG * (inner + fraction_over[:, -1]))


def pit_values(readings: Sequence[VesselReading], seed: int = 0) -> Reals:
    """Return the randomised probability integral transform of every rater's angle: uniform if statements are true."""
    random = np.random.default_rng(seed)
    found = []
    for one in readings:
        over = np.asarray(one.fraction_over)
        for angle in one.angles_deg:
            below, at = _below(over, angle)
            found.append(below + random.uniform() * (at - below))
    return np.array(found)


def _below(over: Reals, angle: float) -> tuple[float, float]:
    """Return the shown fraction of raters below an angle, and up to it: they differ at 0 and at a full turn."""
    if angle <= 0:
        return 0.0, float(1 - over[0])
    if angle >= _ANGLE[-1] + _STEP_DEG - 1e-9:
        return float(1 - over[-1]), 1.0
    here = float(1 - np.interp(angle, _ANGLE, over))
    return here, here


def _within(readings: Sequence[VesselReading], near: NDArray[np.bool_], seed: int) -> float | None:
    values = pit_values([one for one, told in zip(readings, near, strict=True) if told], seed)
    return float(((values >= 0.1) & (values <= 0.9)).mean()) if len(values) else None


def _mean(values: Reals) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(values: NDArray[np.bool_]) -> Mapping[str, float | int | None]:
    return {"vessels": len(values), "share": float(values.mean()) if len(values) else None}
