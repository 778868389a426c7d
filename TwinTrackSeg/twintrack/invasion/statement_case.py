"""One calibration case of statements: levels of the score, and what each rater's own mask says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.calibration.statements import ANGLES_DEG, CaseStatements, LevelCount, VesselCounts
from twintrack.calibration.statements.table import ANY_TUMOR, LESION, VOLUME
from twintrack.imaging.lesions import SMALLEST_LESION_ML
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.resectability import pattern_levels, pattern_of, rule_names
from twintrack.invasion.score_levels import RaterContact, ScoreLevels, rater_contacts
from twintrack.invasion.statements import pattern_kind
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Volume

__all__ = ["VOLUME_LEVELS", "statement_case"]

VOLUME_LEVELS = tuple(np.round(1 / (1 + np.exp(-np.linspace(-4.5, 4.5, 37))), 5).tolist())
"""Levels of the score at which volumes are compared with the raters'."""

LESION_LEVELS = (0.1, 0.5)
"""Connected parts of the score at these levels are what raters may or may not have marked."""

SAME_LESION_DICE = 0.1
"""A rater has marked a lesion if one of the rater's connected parts overlaps it by this Dice coefficient."""

EVERY_NEIGHBOR = np.ones((3, 3, 3), dtype=bool)


def statement_case(
    score: Volume,
    levels: Mapping[str, ScoreLevels | None],
    masks: Mapping[str, Volume],
    vessels: Volume,
    names: Mapping[str, int],
    *,
    contact_mm: float,
    cancel: CancelToken | None = None,
) -> CaseStatements:
    """Count, for every statement that the score makes at some level, the raters who make it.

    Parameters
    ----------
    score : Volume
        Pooled score, (z, y, x).
    levels : mapping of str to ScoreLevels or None
        Of its vessels, as a run on this CT would measure them.
    masks : mapping of str to Volume
        Each rater's mask on the score's grid.
    vessels, names
        The reference vessels, which the raters' contact is measured on.
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches.
    cancel : CancelToken, optional
        Checked once a rater and vessel.

    Raises
    ------
    InputError
        If the vessels lie in another place.
    """
    contacts = rater_contacts(list(masks.values()), vessels, names, contact_mm=contact_mm, cancel=cancel)
    found = {
        name: _vessel(level, [contact[name] for contact in contacts])
        for name, level in levels.items()
        if level is not None and all(contact.get(name) is not None for contact in contacts)
    }
    others: dict[str, tuple[LevelCount, ...]] = {
        kind: (entry,) for kind, entry in _patterns({n: levels[n] for n in found}, contacts).items()
    }
    marked = [np.asarray(mask.array) != 0 for mask in masks.values()]
    others[ANY_TUMOR] = (
        LevelCount(_rounded(score.array.max()), sum(bool(mask.any()) for mask in marked), len(marked)),
    )
    others[VOLUME] = _volumes(score, marked)
    others[LESION] = _lesions(score, marked)
    return CaseStatements(found, {kind: entries for kind, entries in others.items() if entries})


def _vessel(level: ScoreLevels, contacts: list[RaterContact | None]) -> VesselCounts:
    """Count the raters over each angle; contact that no cross-section shows counts as contact of hardly an angle."""
    angles = [contact.counted_deg for contact in contacts if contact is not None]
    counts = (np.asarray(angles)[:, None] > np.asarray(ANGLES_DEG)).sum(axis=0)
    over = np.minimum.accumulate([_rounded(value) for value in level.over])
    return VesselCounts(tuple(over.tolist()), level.far, tuple(counts.tolist()), len(angles))


def _patterns(
    levels: Mapping[str, ScoreLevels | None], contacts: list[dict[str, RaterContact | None]]
) -> dict[str, LevelCount]:
    """Count the raters whose own contacts make each pattern of each rule set, or a worse one."""
    walls = {name: None if level is None else level.wall for name, level in levels.items()}
    found = {}
    for rules in rule_names():
        reached = [
            pattern_of(
                {name: None if one is None else one.wall for name, one in contact.items()}, rules, CATEGORY_THRESHOLD
            )
            for contact in contacts
        ]
        for number, (pattern, level) in enumerate(pattern_levels(walls, rules).items()):
            count = sum(one <= number for one in reached)
            found[pattern_kind(rules, pattern)] = LevelCount(_rounded(level), count, len(reached))
    return found


def _volumes(score: Volume, marked: list[NDArray[np.bool_]]) -> tuple[LevelCount, ...]:
    """Count, at each level, the raters who mark more than the score has voxels of that level."""
    sizes = np.array([np.count_nonzero(mask) for mask in marked])
    reached = np.asarray(score.array)[score.array >= VOLUME_LEVELS[0]]
    voxels = [int(np.count_nonzero(reached >= np.float32(level))) for level in VOLUME_LEVELS]
    return tuple(
        LevelCount(level, int((sizes > here).sum()), len(marked))
        for level, here in zip(VOLUME_LEVELS, voxels, strict=True)
        if here > 0
    )


def _lesions(score: Volume, marked: list[NDArray[np.bool_]]) -> tuple[LevelCount, ...]:
    """Count the raters who marked each connected part of the score."""
    parts = [ndimage.label(mask, structure=EVERY_NEIGHBOR)[0] for mask in marked]
    sizes = [np.bincount(labelled.ravel()) for labelled in parts]
    found = []
    for level in LESION_LEVELS:
        labelled, _ = ndimage.label(np.asarray(score.array) >= np.float32(level), structure=EVERY_NEIGHBOR)
        for number, box in enumerate(ndimage.find_objects(labelled), start=1):
            inside = labelled[box] == number
            size = int(np.count_nonzero(inside))
            if size * score.geometry.voxel_ml < SMALLEST_LESION_ML:
                continue
            count = sum(_overlaps(one[box][inside], own, size) for one, own in zip(parts, sizes, strict=True))
            found.append(LevelCount(_rounded(score.array[box][inside].max()), count, len(marked)))
    return tuple(found)


def _overlaps(labels: NDArray[np.integer], sizes: NDArray[np.integer], size: int) -> bool:
    """Tell whether one of a rater's parts, under a lesion of `size` voxels, overlaps it enough."""
    shared = np.bincount(labels, minlength=len(sizes))
    dice = 2 * shared[1:] / (sizes[1:] + size)
    return bool((dice >= SAME_LESION_DICE).any())


def _rounded(level: object) -> float:
    """Return a level with the digits that are kept."""
    return round(min(max(float(level), 0.0), 1.0), 5)  # type: ignore[arg-type]
