"""Fitting statements: families compared by leaving out cases, the band by resampling them.

References
----------
Gneiting, Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 102(477), 2007,
doi:10.1198/016214506000001437 (CRPS as the integral of Brier scores). Hastie, Tibshirani, Friedman, "The Elements of
Statistical Learning", 2nd edition, section 7.10 (one standard error).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.statements.families import FAMILIES, Family, NumberFamily, VesselRows
from twintrack.calibration.statements.monotone import FEWEST_IN_BLOCK, logistic, logit
from twintrack.calibration.statements.statements import FAR_CLASSES, Fitted, LevelMap, Statements, scattered
from twintrack.calibration.statements.table import ANY_TUMOR, LESION, StatementTable, artery_share
from twintrack.labels import JOINT_VEIN
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

__all__ = ["FEWEST_INFORMATIVE", "INFORMATIVE_LEVEL", "compare_families", "fit_statements", "lacking_cases"]

FEWEST_INFORMATIVE = 10
"""Cases with a vessel near tumour below which no statements are fitted."""

FEW_NUMBERS = 4
"""What a map may have where cases are few."""

FEWEST_FOR_TABLES = 25
"""Below this number the families of a few numbers are the only ones."""

INFORMATIVE_LEVEL = 0.05
"""A case with tumour is informative if some vessel's level of contact is above this."""

SCATTERS_DEG = (0.0, 10.0, 20.0, 30.0, 40.0)
"""Scatters of raters' angles that are compared."""

LEAST_CHANCE = 1e-3
"""Chance that is granted an angle which the fractions rule out, so that one rater does not decide."""

FOLDS = 10
RESAMPLES = 100

PRIOR_CASES = 5.0
"""How many cases the shipped statements count as when a site fits its own."""

OTHER_PRIOR = (0.0, 1.5)
OTHER_RIDGE = 0.02
"""What the map of a further statement shrinks to, and how much."""

FAR_PRIOR = (0.05, 0.01, 0.002)
"""Fractions of raters with contact where the score shows none, before any case: worth one case each."""

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class _Cases:
    """A table as arrays.

    Attributes
    ----------
    rows : VesselRows
        Vessels with contact at some level.
    far : tuple of numpy.ndarray
        Case, class and fraction of raters with contact of the others.
    others : mapping of str to tuple of numpy.ndarray
        Case, level, fraction and weight by the kind of statement.
    count : int
        Number of cases.
    """

    rows: VesselRows
    far: tuple[NDArray[np.int64], NDArray[np.int64], Reals]
    others: Mapping[str, tuple[NDArray[np.int64], Reals, Reals, Reals]]
    count: int


def lacking_cases(table: StatementTable) -> str | None:
    """Say why no statements can be fitted on a table; None if they can."""
    informative = _informative(table)
    if informative >= FEWEST_INFORMATIVE:
        return None
    return (
        f"only {informative} of {len(table.cases)} cases have a vessel near tumour; statements about vessels need "
        f"{FEWEST_INFORMATIVE}"
    )


def fit_statements(
    table: StatementTable,
    *,
    prior: Statements | None = None,
    families: Sequence[type[Family]] = FAMILIES,
    resamples: int = RESAMPLES,
    seed: int = 0,
    rater_names: tuple[str, ...] = (),
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Statements | None:
    """Fit statements on a table of cases.

    Parameters
    ----------
    table : StatementTable
        Levels and counts.
    prior : Statements, optional
        Shipped statements of the same networks, to which a site's own fit shrinks.
    families : sequence of Family
        Kinds of map to choose from, simplest first; with few cases those of a few numbers only.
    resamples, seed
        Resamples of the cases for the intervals; 0 for none.
    rater_names : tuple of str
        Recorded.
    progress, cancel
        Called, and checked, for every fit.

    Returns
    -------
    Statements or None
        None if there are too few cases: see `lacking_cases`.
    """
    if lacking_cases(table) is not None:
        return None
    cases, informative = _shrunk(_as_arrays(table), prior), _informative(table)
    compared = compare_families(table, prior=prior, families=families, cancel=cancel)
    family = _chosen(compared)
    far = FAR_PRIOR if prior is None else prior.fitted.far
    plain = _as_arrays(table)
    scatter_deg = _scatter_deg(plain, _held_out(plain, cases, family, FOLDS, cancel))
    fitted = _fit(cases, family, scatter_deg, far, np.ones(cases.count))
    drawn: list[Fitted] = []
    random = np.random.default_rng(seed)
    for number in range(resamples):
        if cancel is not None:
            cancel.check()
        progress(number / resamples, "resampling the calibration cases of the statements")
        weight = random.multinomial(cases.count, np.full(cases.count, 1 / cases.count)).astype(float)
        drawn.append(_fit(cases, family, scatter_deg, far, weight))
    most = max(vessel.raters for case in table.cases.values() for vessel in case.vessels.values())
    return Statements(
        key=table.key,
        cases=cases.count,
        informative=informative,
        raters=most,
        fitted=fitted,
        highest=float(cases.rows.levels[:, 0].max()),
        resampled=tuple(drawn),
        compared={name: (loss, error) for name, (loss, error, _) in compared.items()},
        rater_names=rater_names,
        warnings=_warnings(cases, informative),
    )


def compare_families(
    table: StatementTable,
    *,
    prior: Statements | None = None,
    families: Sequence[type[Family]] = FAMILIES,
    folds: int = FOLDS,
    cancel: CancelToken | None = None,
) -> dict[str, tuple[float, float, type[Family]]]:
    """Return the held-out loss of each family, and the standard error of its difference to the least one.

    The loss is the CRPS of the angle over 360 degrees plus the Brier scores at 0 and 180 degrees, a mean over cases.
    """
    cases = _as_arrays(table)
    if _informative(table) < FEWEST_FOR_TABLES and len(families) > 1:
        families = [f for f in families if issubclass(f, NumberFamily) and len(f.PRIOR) <= FEW_NUMBERS]
    losses: dict[str, Reals] = {}
    for family in families:
        total = np.zeros(cases.count)
        held = _held_out(cases, _shrunk(cases, prior), family, folds, cancel)
        np.add.at(total, cases.rows.case, cases.rows.losses(held))
        losses[family.name] = total
    best = min(losses, key=lambda name: float(losses[name].mean()))
    kinds = {family.name: family for family in families}
    return {
        name: (
            float(loss.mean()),
            float((loss - losses[best]).std(ddof=1) / np.sqrt(cases.count)),
            kinds[name],
        )
        for name, loss in losses.items()
    }


def _held_out(cases: _Cases, shrunk: _Cases, family: type[Family], folds: int, cancel: CancelToken | None) -> Reals:
    """Return the fractions (n, angle) that a family says of each vessel when its case takes no part in the fit."""
    fold = np.random.default_rng(0).permutation(cases.count) % min(folds, cases.count)
    told = np.zeros_like(cases.rows.fractions)
    for number in np.unique(fold):
        if cancel is not None:
            cancel.check()
        held = np.isin(cases.rows.case, np.flatnonzero(fold == number))
        told[held] = family.fit(shrunk.rows.some(~held)).fractions(cases.rows.levels[held], cases.rows.artery[held])
    return told


def _scatter_deg(cases: _Cases, told: Reals) -> float:
    """Return the smallest scatter whose logarithmic score of the raters' angles is within one error of the best.

    Brier scores hardly see how sharp the fractions fall with the angle; the score of where angles lie does.
    """
    scores = []
    whole = np.pad(cases.rows.fractions, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    for scatter in SCATTERS_DEG:
        over = np.pad(scattered(told, scatter), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
        chance = np.maximum(-np.diff(over, axis=1), LEAST_CHANCE)
        each = (-np.diff(whole, axis=1) * np.log(chance)).sum(axis=1)
        scores.append(np.bincount(cases.rows.case, cases.rows.weight * each, minlength=cases.count))
    best = max(scores, key=lambda score: float(score.mean()))
    errors = [float((score - best).std(ddof=1) / np.sqrt(cases.count)) for score in scores]
    return next(
        scatter
        for scatter, score, error in zip(SCATTERS_DEG, scores, errors, strict=True)
        if float(score.mean()) >= float(best.mean()) - error
    )


def _chosen(compared: Mapping[str, tuple[float, float, type[Family]]]) -> type[Family]:
    """Return the simplest family whose loss is within one standard error of the least."""
    least = min(loss for loss, _, _ in compared.values())
    return next(family for loss, error, family in compared.values() if loss <= least + error)


def _shrunk(cases: _Cases, prior: Statements | None) -> _Cases:
    """Mix what the raters said with what the prior says at the same levels; the prior counts as `PRIOR_CASES` cases."""
    if prior is None:
        return cases
    share = PRIOR_CASES / cases.count
    far = np.zeros(len(cases.rows.levels), dtype=np.int64)
    said = prior.fitted.fractions(cases.rows.levels, far, cases.rows.artery)
    others = {}
    for kind, (case, level, fraction, weight) in cases.others.items():
        own = prior.other(kind, level)
        mixed = fraction if own is None else (fraction + share * own) / (1 + share)
        others[kind] = (case, level, mixed, weight)
    return replace(cases, rows=cases.rows.shrunk(said, share), others=others)


def _fit(cases: _Cases, family: type[Family], scatter_deg: float, far: Sequence[float], weight: Reals) -> Fitted:
    """Fit all maps, with a weight for each case."""
    rows = cases.rows.weighted(cases.rows.weight * weight[cases.rows.case])
    maps = {
        kind: _level_map(level, fraction, share * weight[case], case)
        for kind, (case, level, fraction, share) in cases.others.items()
    }
    return Fitted(
        family.fit(rows),
        scatter_deg,
        _far(cases, far, weight),
        {kind: found for kind, found in maps.items() if found is not None},
    )


def _far(cases: _Cases, prior: Sequence[float], weight: Reals) -> tuple[float, ...]:
    """Return the fraction with contact in each class of distance; the prior counts as one case."""
    case, kind, fraction = cases.far
    found = []
    for number in range(FAR_CLASSES):
        rows = kind == number
        mass = weight[case[rows]]
        found.append(float((mass @ fraction[rows] + prior[number]) / (mass.sum() + 1.0)))
    return tuple(np.minimum.accumulate(found).tolist())


def _level_map(level: Reals, fraction: Reals, weight: Reals, case: NDArray[np.int64]) -> LevelMap | None:
    """Fit a logistic map by least squares with a ridge; None unless there are some cases on both sides of one half."""
    from scipy.optimize import minimize

    used = weight > 0
    if min(len(np.unique(case[used & side])) for side in (fraction > 0.5, fraction <= 0.5)) < FEWEST_IN_BLOCK:
        return None
    place, center = logit(level), np.asarray(OTHER_PRIOR)

    def loss(numbers: Reals) -> tuple[float, Reals]:
        found = logistic(numbers[0] + numbers[1] * place)
        off, pull = found - fraction, numbers - center
        slope = 2 * weight * off * found * (1 - found)
        gradient = np.array([slope.sum(), (slope * place).sum()]) + 2 * OTHER_RIDGE * pull
        return float((weight * off**2).sum() + OTHER_RIDGE * (pull**2).sum()), gradient

    found = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=[(-30.0, 30.0), (0.05, 12.0)])
    return LevelMap((float(found.x[0]), float(found.x[1])))


def _as_arrays(table: StatementTable) -> _Cases:
    """Return a table as arrays.

    Portal vein and SMV together are left out, as each of them is there already. So are the vessels, patterns and
    volumes of cases without tumour: what is said of those is capped by the statement that there is any tumour.
    """
    levels, fractions, place, weight, artery = [], [], [], [], []
    far: list[tuple[int, int, float]] = []
    others: dict[str, list[tuple[int, float, float, float]]] = {}
    for number, case in enumerate(table.cases.values()):
        vessels = {name: one for name, one in case.vessels.items() if name != JOINT_VEIN and case.has_tumor}
        for name, vessel in vessels.items():
            counts = np.asarray(vessel.counts) / vessel.raters
            if vessel.levels[0] > 0:
                levels.append(vessel.levels)
                fractions.append(counts)
                place.append(number)
                weight.append(1 / len(vessels))
                artery.append(artery_share(name))
            else:
                far.append((number, vessel.far, float(counts[0])))
        for kind, entries in case.others.items():
            if not case.has_tumor and kind not in (ANY_TUMOR, LESION):
                continue
            entered = others.setdefault(kind, [])
            entered += [(number, one.level, one.count / one.raters, 1 / len(entries)) for one in entries]
    rows = VesselRows(
        np.asarray(levels, dtype=float).reshape(len(levels), -1),
        np.asarray(fractions, dtype=float).reshape(len(levels), -1),
        np.asarray(place, dtype=np.int64),
        np.asarray(weight, dtype=float),
        np.asarray(artery, dtype=float),
    )
    columns = {
        kind: (np.array([entry[0] for entry in entries], dtype=np.int64), *np.array(entries, dtype=float).T[1:])
        for kind, entries in others.items()
        if entries
    }
    return _Cases(rows, _far_columns(far), columns, len(table.cases))


def _far_columns(far: list[tuple[int, int, float]]) -> tuple[NDArray[np.int64], NDArray[np.int64], Reals]:
    columns = np.array(far, dtype=float).reshape(-1, 3)
    return columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2]


def _informative(table: StatementTable) -> int:
    return sum(
        case.has_tumor and any(vessel.levels[0] > INFORMATIVE_LEVEL for vessel in case.vessels.values())
        for case in table.cases.values()
    )


def _warnings(cases: _Cases, informative: int) -> tuple[str, ...]:
    """Say why statements may not be trusted."""
    found = []
    if informative < FEWEST_FOR_TABLES:
        found.append(
            f"statements fitted on {informative} cases with a vessel near tumour; {FEWEST_FOR_TABLES} are advised"
        )
    contact, encased = (cases.rows.fractions[:, column] for column in (0, len(cases.rows.fractions[0]) // 2))
    for what, column in (("contact with", contact), ("more than 180 degrees of", encased)):
        seen = len(np.unique(cases.rows.case[column > 0.5]))
        if seen < FEWEST_IN_BLOCK:
            found.append(f"most raters see {what} a vessel in {seen} calibration cases only")
    return tuple(found)
