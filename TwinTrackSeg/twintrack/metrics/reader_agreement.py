"""How well readers agree on the contact of vessels: on the angle, and on the category.

References
----------
P. E. Shrout, J. L. Fleiss, Psychol. Bull. 86 (1979) 420, doi:10.1037/0033-2909.86.2.420, and K. O. McGraw, S. P. Wong,
Psychol. Methods 1 (1996) 30, doi:10.1037/1082-989X.1.1.30 (intraclass correlation); J. Cohen, Psychol. Bull. 70 (1968)
213, doi:10.1037/h0026256 (weighted kappa); K. Krippendorff, Computing Krippendorff's alpha-reliability, 2011.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.raters import name_order

__all__ = [
    "CATEGORIES",
    "ContactReading",
    "PairAgreement",
    "ReaderAgreement",
    "intraclass_correlation",
    "krippendorff_alpha",
    "reader_agreement",
    "weighted_kappa",
]

CATEGORIES = ("none", "abutment", "encasement")
"""Contact categories from least to most."""

FEWEST_ITEMS = 3
"""Vessels that two readers must both have read; fewer say nothing about their agreement."""


@dataclass(frozen=True)
class ContactReading:
    """What one reader's outline says of one vessel of one case.

    Attributes
    ----------
    case, vessel, rater : str
        Whose it is.
    angle_deg : float or None
        Contact angle from 0 to 360; None where it could not be measured.
    category : str or None
        One of the categories; None where it could not be told.
    """

    case: str
    vessel: str
    rater: str
    angle_deg: float | None
    category: str | None


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of two readers, or of all of them together, over the vessels that they have read.

    Attributes
    ----------
    raters : tuple of str
        The readers.
    angles : int
        Vessels that have an angle by every one of them.
    icc : float or None
        Intraclass correlation of the angle, ICC(A,1): absolute agreement of single readings, two-way random. None with
        fewer than `FEWEST_ITEMS` vessels, or if all angles are the same.
    mean_gap_deg : float or None
        Mean absolute difference of the angles of two of the readers, degrees.
    categories : int
        Vessels that have a category by at least two of them.
    kappa : float or None
        Cohen's kappa of the category with quadratic weights; None for more than two readers, with fewer than
        `FEWEST_ITEMS` vessels, or if all categories are the same.
    alpha : float or None
        Krippendorff's alpha of the category, ordinal; None with too few vessels, or if all categories are the same.
    """

    raters: tuple[str, ...]
    angles: int
    icc: float | None
    mean_gap_deg: float | None
    categories: int
    kappa: float | None
    alpha: float | None


@dataclass(frozen=True)
class ReaderAgreement:
    """Agreement of all readers of a study.

    Attributes
    ----------
    pairs : tuple of PairAgreement
        Each two readers, in the order of their names.
    together : PairAgreement
        All readers; the angle over the vessels that all of them have read, the category over those with two readings.
    """

    pairs: tuple[PairAgreement, ...]
    together: PairAgreement

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {"pairs": [_json(pair) for pair in self.pairs], "together": _json(self.together)}


def reader_agreement(
    readings: Iterable[ContactReading], *, categories: Sequence[str] = CATEGORIES
) -> ReaderAgreement | None:
    """Compare the readers of a study, pair by pair and all together; a vessel of a case is one item.

    Vessels of one case are not independent of each other, so no interval is given here.

    Parameters
    ----------
    readings : iterable of ContactReading
        One for each case, vessel and reader; a reader may lack any.
    categories : sequence of str
        The categories in their order.

    Returns
    -------
    ReaderAgreement or None
        None with fewer than two readers.

    Raises
    ------
    InputError
        If a reader has two readings of a vessel, or a category or an angle is none.
    """
    angles, ranks, raters = _tables(readings, list(categories))
    if len(raters) < 2:
        return None
    pairs = [
        _agreement(tuple(raters[place] for place in pair), angles[:, pair], ranks[:, pair], len(categories))
        for pair in (list(two) for two in combinations(range(len(raters)), 2))
    ]
    return ReaderAgreement(tuple(pairs), _agreement(tuple(raters), angles, ranks, len(categories)))


def intraclass_correlation(values: NDArray[np.float64]) -> float | None:
    r"""Return ICC(A,1), which Shrout and Fleiss call ICC(2,1), of float64 (item, reader) without gaps.

    .. math:: \frac{MS_R - MS_E}{MS_R + (k - 1) MS_E + k (MS_C - MS_E) / n}

    with the mean squares of the :math:`n` items, of the :math:`k` readers and of the rest. Unlike a correlation it
    falls if one reader's angles are larger throughout. None if all values are the same.
    """
    items, readers = values.shape
    if items < FEWEST_ITEMS or readers < 2 or np.ptp(values) == 0:
        return None
    of_items, of_readers, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    between = readers * float(((of_items - mean) ** 2).sum()) / (items - 1)
    columns = items * float(((of_readers - mean) ** 2).sum()) / (readers - 1)
    rest = values - of_items[:, None] - of_readers + mean
    error = float((rest**2).sum()) / ((items - 1) * (readers - 1))
    total = between + (readers - 1) * error + readers * (columns - error) / items
    return None if total <= 0 else (between - error) / total


def weighted_kappa(one: Sequence[int], other: Sequence[int], *, categories: int) -> float | None:
    """Return Cohen's kappa with quadratic weights of two readers' ranks; None if all are the same category."""
    if len(one) < FEWEST_ITEMS or len({*one, *other}) < 2:
        return None
    counts = np.zeros((categories, categories))
    np.add.at(counts, (np.asarray(one), np.asarray(other)), 1.0)
    expected = np.outer(counts.sum(axis=0), counts.sum(axis=1)) / len(one)
    rank = np.arange(categories)
    weights = (rank[:, None] - rank) ** 2
    return float(1.0 - (weights * counts).sum() / (weights * expected).sum())


def krippendorff_alpha(ranks: NDArray[np.float64], *, categories: int) -> float | None:
    r"""Return Krippendorff's alpha, ordinal, of float64 (item, reader) ranks from 0, NaN where a reader has none.

    One less the observed over the expected disagreement of the values that can be paired within items. The distance of
    two ranks is the square of the number of values between them, half of those at the ends included.

    Returns
    -------
    float or None
        None if fewer than `FEWEST_ITEMS` items have two values, or all values are the same.
    """
    present = np.isfinite(ranks)
    paired = present.sum(axis=1) >= 2
    if np.count_nonzero(paired) < FEWEST_ITEMS:
        return None
    counts = np.stack([((ranks == rank) & present).sum(axis=1) for rank in range(categories)], axis=1)[paired]
    readers = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(categories)
    coincidences = (pairs / (readers - 1)[:, None, None]).sum(axis=0)
    totals = coincidences.sum(axis=1)
    if np.count_nonzero(totals) < 2:
        return None
    middle = np.cumsum(totals) - totals / 2
    distance = (middle[:, None] - middle) ** 2
    expected = np.outer(totals, totals) - np.diag(totals)
    number = totals.sum()
    return float(1 - (number - 1) * (coincidences * distance).sum() / (expected * distance).sum())


def _agreement(
    raters: tuple[str, ...], angles: NDArray[np.float64], ranks: NDArray[np.float64], categories: int
) -> PairAgreement:
    """Return the statistics of some readers from their columns of (item, reader)."""
    whole = angles[np.isfinite(angles).all(axis=1)]
    enough = len(whole) >= FEWEST_ITEMS
    gaps = [np.abs(whole[:, a] - whole[:, b]).mean() for a, b in combinations(range(len(raters)), 2)] if enough else []
    read = ranks[np.isfinite(ranks).sum(axis=1) >= 2]
    kappa = None
    if len(raters) == 2:
        one, other = (column.astype(int).tolist() for column in read.T)
        kappa = weighted_kappa(one, other, categories=categories)
    return PairAgreement(
        raters=raters,
        angles=len(whole),
        icc=intraclass_correlation(whole),
        mean_gap_deg=float(np.mean(gaps)) if gaps else None,
        categories=len(read),
        kappa=kappa,
        alpha=krippendorff_alpha(read, categories=categories),
    )


def _tables(
    readings: Iterable[ContactReading], categories: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return angles and ranks of categories as float64 (item, reader), NaN where there is none, and the readers."""
    found: dict[tuple[str, str], dict[str, ContactReading]] = {}
    for reading in readings:
        where = f"{reading.case}, {reading.vessel}, rater {reading.rater}"
        item = found.setdefault((reading.case, reading.vessel), {})
        if reading.rater in item:
            raise InputError(
                "has two readings; give one for each case, vessel and rater", code="reading-twice", where=where
            )
        if reading.category is not None and reading.category not in categories:
            raise InputError(
                f"the category must be one of {', '.join(categories)}, got {reading.category!r}",
                code="reading-category",
                where=where,
            )
        if reading.angle_deg is not None and not 0 <= reading.angle_deg <= 360:
            raise InputError(
                f"the angle must lie between 0 and 360 degrees, got {reading.angle_deg}",
                code="reading-angle",
                where=where,
            )
        item[reading.rater] = reading
    raters = sorted({rater for item in found.values() for rater in item}, key=name_order)
    angles, ranks = np.full((2, len(found), len(raters)), np.nan)
    for row, item in enumerate(found.values()):
        for rater, reading in item.items():
            column = raters.index(rater)
            if reading.angle_deg is not None:
                angles[row, column] = reading.angle_deg
            if reading.category is not None:
                ranks[row, column] = categories.index(reading.category)
    return angles, ranks, raters


def _json(pair: PairAgreement) -> dict[str, Any]:
    return asdict(pair) | {"raters": list(pair.raters)}
