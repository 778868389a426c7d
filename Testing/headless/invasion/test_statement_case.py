"""One calibration case: every statement is counted among the raters as their own masks have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from twintrack.calibration.statements import ANGLES_DEG
from twintrack.calibration.statements.table import ANY_TUMOR, LESION, VOLUME
from twintrack.invasion import score_levels
from twintrack.invasion.statement_case import statement_case
from twintrack.invasion.statements import pattern_kind
from twintrack.volume import Volume

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1}
RATERS_DEG = {"A": 0, "B": 60, "C": 150, "D": 240}


@pytest.fixture(scope="module")
def tubes(tube: TubeMaker) -> dict[int, Any]:
    return {angle: tube(radius_mm=5.0, angle_deg=angle, spacing_mm=(1.0, 1.0, 1.0)) for angle in RATERS_DEG.values()}


@pytest.fixture(scope="module")
def case(tubes: dict[int, Any]) -> Any:
    masks = {
        rater: tubes[angle].probability.with_array((tubes[angle].probability.array >= 0.5).astype(np.uint8))
        for rater, angle in RATERS_DEG.items()
    }
    score = tubes[150].probability.with_array((0.7 * tubes[150].probability.array).astype(np.float32))
    levels = score_levels(score, tubes[150].vessel, NAMES, contact_mm=1.9)
    return statement_case(score, levels, masks, tubes[150].vessel, NAMES, contact_mm=1.9), score, masks


@pytest.mark.slow
def test_raters_are_counted_over_each_angle(case: Any) -> None:
    counts = dict(zip(ANGLES_DEG, case[0].vessels["SMA"].counts, strict=True))
    assert [counts[angle] for angle in (0, 30, 100, 180, 300)] == [3, 3, 2, 1, 0]
    assert case[0].vessels["SMA"].raters == 4
    assert case[0].vessels["SMA"].levels[0] == pytest.approx(0.7, abs=0.02)


def test_raters_are_counted_for_each_pattern(case: Any) -> None:
    told = case[0].others
    worst = told[pattern_kind("nccn", "arterial encasement or aortic contact")][0]
    contact = told[pattern_kind("nccn", "arterial abutment, venous encasement or caval contact")][0]
    ninety = told[pattern_kind("dpcg", "artery over 90 degrees or vein over 270 degrees")][0]
    assert (worst.count, contact.count, ninety.count, worst.raters) == (1, 3, 2, 4)
    assert worst.level < 0.3 < contact.level
    assert contact.level == pytest.approx(0.7, abs=0.02)


def test_an_empty_mask_is_a_reading_without_tumor(case: Any) -> None:
    (told,) = case[0].others[ANY_TUMOR]
    assert (told.count, told.raters, told.level) == (3, 4, pytest.approx(0.7))


def test_raters_who_mark_more_than_a_volume_are_counted(case: Any) -> None:
    found, score, masks = case
    sizes = [int((mask.array > 0).sum()) for mask in masks.values()]
    for entry in found.others[VOLUME]:
        voxels = int((score.array >= np.float32(entry.level)).sum())
        assert entry.count == sum(size > voxels for size in sizes)
    assert [entry.level for entry in found.others[VOLUME]] == sorted(entry.level for entry in found.others[VOLUME])


@pytest.mark.slow
def test_a_lesion_that_no_rater_marked_counts_none(case: Any) -> None:
    _, score, masks = case
    array = score.array.copy()
    array[:5, :5, :5] = 0.9
    more = Volume(array, score.geometry)
    levels: dict[str, Any] = {}
    found = statement_case(
        more, levels, masks, score.with_array(np.ones(array.shape, dtype=np.uint8)), NAMES, contact_mm=1.9
    )
    apart = {entry.level: entry.count for entry in found.others[LESION]}
    assert apart[0.9] == 0
    assert max(count for level, count in apart.items() if level < 0.8) == 3
    assert found.vessels == {}
