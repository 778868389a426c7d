"""What is measured of a prediction on a case: numbers, and sums that say something when pooled over cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.imaging.boxes import box_from, union
from twintrack.metrics import CandidatePool, evaluate_case
from twintrack.metrics.member_lesions import grouped_candidates
from twintrack.metrics.outline_sets import outline_set_scores, overlaps
from twintrack.metrics.rater_levels import binomial_levels, independent_levels, ranked_probability_score
from twintrack.metrics.rater_pairs_ece import pair_bins
from twintrack.metrics.toplabel_ece import corrected_box
from twintrack.volume import Volume

__all__ = ["AMBIGUOUS", "OUTLINE", "CaseTruth", "RaterPrediction", "case_scores", "level_sets"]

AMBIGUOUS = (0.1, 0.9)
"""Voxels whose true mean human response lies strictly between these are those on which raters differ."""

OUTLINE = 0.5
"""A member's own outline is where its map is above this."""


@dataclass(frozen=True)
class RaterPrediction:
    """What one way of training says of a case; arrays are (z, y, x) of the case's grid.

    Attributes
    ----------
    score : numpy.ndarray
        float32, pooled and uncalibrated, in [0, 1].
    members : tuple of numpy.ndarray
        What each network says, or each head where a network has one a rater.
    stands_for : tuple of str
        For each of `members` the rater whom it stands for; empty where they stand for nobody.
    levels : numpy.ndarray or None
        float (level, z, y, x), chance of 0 to K raters, where the networks predict it.
    personas : mapping of str to numpy.ndarray
        Each rater's map, where `members` are samples, which stand for nobody.
    """

    score: NDArray[np.float32]
    members: tuple[NDArray[np.floating], ...]
    stands_for: tuple[str, ...] = ()
    levels: NDArray[np.floating] | None = None
    personas: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members or len(self.stands_for) not in (0, len(self.members)):
            raise InputError("a prediction needs a map of each member, and a rater for all or none", code="members")

    def of_raters(self) -> dict[str, NDArray[np.float32]]:
        """Return each rater's map, the mean of the members who stand for this rater; empty where none does."""
        if self.personas:
            return dict(self.personas)
        names = dict.fromkeys(self.stands_for)
        pairs = list(zip(self.stands_for, self.members, strict=True)) if self.stands_for else []
        return {
            name: np.mean([map_ for owner, map_ in pairs if owner == name], axis=0, dtype=np.float32) for name in names
        }


@dataclass(frozen=True)
class CaseTruth:
    """What a prediction is compared with, on its grid.

    Attributes
    ----------
    annotations : mapping of str to Volume
        Masks of 0 and 1 of those raters who read the case.
    true_mhr : Volume or None
        Known of phantoms alone.
    true_raters : mapping of str to Volume
        Chance that this rater marks a voxel; known of phantoms of a panel.
    """

    annotations: Mapping[str, Volume]
    true_mhr: Volume | None = None
    true_raters: Mapping[str, Volume] = field(default_factory=dict)


def level_sets(score: NDArray[np.floating], count: int) -> list[NDArray[np.bool_]]:
    """Return `count` nested outlines of a map: above (k - 1/2) / count for k = 1 ... count.

    They are what raters who differ in nothing but how much they mark would draw, if the map is the fraction of them.
    """
    return [score > (k - 0.5) / count for k in range(1, count + 1)]


def case_scores(
    prediction: RaterPrediction, truth: CaseTruth, calibrated: NDArray[np.floating] | None = None
) -> dict[str, Any]:
    """Measure a prediction, ready for JSON.

    Parameters
    ----------
    prediction : RaterPrediction
        Its score, members and levels.
    truth : CaseTruth
        Of the same case.
    calibrated : numpy.ndarray, optional
        (z, y, x): the score after a calibrator. Given, it takes the place of the score; the members' own outlines stay,
        and the number of raters is that of raters who all mark with this probability.

    Returns
    -------
    dict
        ``values``: metrics of the case by name, None where one is not defined. ``bins``, ``bins_top``: see `pair_bins`.
        ``d_ece``: sums of the detections' gaps (bin) and their number, over raters. ``ambiguous``: sum of the absolute
        error to the true mean human response over the ambiguous voxels, and their number. ``rater_dice``: Dice score of
        the outline of each rater's map with each rater's mask, by both names; empty where no member stands for one.
    """
    p = np.asarray(prediction.score if calibrated is None else calibrated, dtype=np.float32)
    grid = next(iter(truth.annotations.values()))
    raters = list(truth.annotations)
    masks = [mask.array != 0 for mask in truth.annotations.values()]
    own = evaluate_case(grid.with_array(p), truth.annotations)
    box = corrected_box(union(box_from(mask, 1) for mask in masks), p.shape)
    inside = [mask[box] for mask in masks]
    marked = np.sum(inside, axis=0)
    levels, every = _levels(prediction, p, len(masks), calibrated is not None), (slice(None), *box)
    values: dict[str, float | None] = {
        "tdsc": own.tdsc,
        "ece": own.ece,
        "crps": own.crps,
        "brier": own.further["brier"],
        "rps": ranked_probability_score(levels[every], marked),
    }
    values |= _outlines(prediction, p, raters, masks)
    values |= _errors(prediction, p, truth)
    candidates = grouped_candidates(
        [p] if calibrated is not None else prediction.members,
        dict(zip(raters, masks, strict=True)),
        grid.geometry.voxel_ml,
    )
    pool = CandidatePool()
    pool.add(candidates)
    gaps, counts = pool.sums(slice(0, 1), pool.raters) if candidates else (np.zeros((1, 1, 10)), np.zeros((1, 1)))
    return {
        "values": values,
        "bins": pair_bins(p[box], inside).stacked().tolist(),
        "bins_top": pair_bins(p[box], inside, top_label=True).stacked().tolist(),
        "d_ece": [gaps[0].sum(axis=0).tolist(), float(counts.sum())],
        "ambiguous": _ambiguous(p, truth),
        "rater_dice": _rater_dice(prediction, raters, masks),
    }


def _levels(prediction: RaterPrediction, p: NDArray[np.float32], raters: int, calibrated: bool) -> NDArray[np.floating]:
    """Return the distribution of how many of the raters mark a voxel, as far as the prediction knows more than p."""
    if not calibrated and prediction.levels is not None and len(prediction.levels) == raters + 1:
        return prediction.levels
    maps = prediction.of_raters()
    if not calibrated and len(maps) == raters:
        return independent_levels(np.stack(list(maps.values())))
    return binomial_levels(p, raters)


def _outlines(
    prediction: RaterPrediction, p: NDArray[np.float32], raters: list[str], masks: list[NDArray[np.bool_]]
) -> dict[str, float | None]:
    """Compare the members' outlines, where there are several, and the nested ones of the map with the raters'."""
    nested = outline_set_scores(level_sets(p, len(masks)), masks)
    drawn = [map_ > OUTLINE for map_ in prediction.members]
    known = [name for name in prediction.stands_for if name in raters]
    if len(drawn) < 2:
        members = nested
    elif prediction.stands_for and len(known) == len(prediction.stands_for):
        members = outline_set_scores(drawn, masks, [raters.index(name) for name in known])
    else:
        members = outline_set_scores(drawn, masks)
    personal = members
    if prediction.personas:
        own = {name: map_ > OUTLINE for name, map_ in prediction.personas.items() if name in raters}
        personal = outline_set_scores(list(own.values()), masks, [raters.index(name) for name in own])
    return {
        "ged_v": members.ged_v,
        "ged_u": members.ged_u,
        "dice_soft": members.dice_soft,
        "dice_max": members.dice_max,
        "dice_match": members.dice_match,
        "own_dice": personal.own_dice,
        "other_dice": personal.other_dice,
        "ged_v_levels": nested.ged_v,
    }


def _errors(prediction: RaterPrediction, p: NDArray[np.float32], truth: CaseTruth) -> dict[str, float | None]:
    """Return the errors to the true response, and of each rater's map to what this rater really does."""
    found: dict[str, float | None] = {"mae": None, "mae_raters": None}
    if truth.true_mhr is not None:
        found["mae"] = float(np.abs(p - truth.true_mhr.array).mean(dtype=np.float64))
    gaps = [
        float(np.abs(map_ - truth.true_raters[name].array).mean(dtype=np.float64))
        for name, map_ in prediction.of_raters().items()
        if name in truth.true_raters
    ]
    if gaps:
        found["mae_raters"] = float(np.mean(gaps))
    return found


def _rater_dice(
    prediction: RaterPrediction, raters: list[str], masks: list[NDArray[np.bool_]]
) -> dict[str, dict[str, float]]:
    maps = prediction.of_raters()
    if not maps:
        return {}
    outlines = [map_ > OUTLINE for map_ in maps.values()]
    ours, theirs = (np.stack([one.ravel() for one in sets], axis=1) for sets in (outlines, masks))
    _, dice = overlaps(ours, theirs, np.ones(len(ours), dtype=np.int64))
    return {name: dict(zip(raters, row.tolist(), strict=True)) for name, row in zip(maps, dice, strict=True)}


def _ambiguous(p: NDArray[np.float32], truth: CaseTruth) -> list[float]:
    if truth.true_mhr is None:
        return [0.0, 0.0]
    true = truth.true_mhr.array
    where = (true > AMBIGUOUS[0]) & (true < AMBIGUOUS[1])
    return [float(np.abs(p - true)[where].sum(dtype=np.float64)), float(np.count_nonzero(where))]
