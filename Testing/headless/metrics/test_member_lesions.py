"""Lesions grouped over the members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from twintrack.metrics.detection import CandidatePool, LesionCandidate, detection_ece
from twintrack.metrics.member_lesions import MemberLesion, group_lesions, grouped_candidates

SHAPE = (4, 12, 30)


def block(start: int, stop: int, value: float = 1.0) -> NDArray[np.float32]:
    made = np.zeros(SHAPE, np.float32)
    made[:, 2:10, start:stop] = value
    return made


def test_five_members_of_whom_the_first_is_silent() -> None:
    maps = [block(0, 0)] + [block(5, 15)] * 4
    (found,) = grouped_candidates(maps, {"A": block(5, 15), "B": block(0, 0)}, voxel_ml=0.01)
    assert found.confidence == pytest.approx(0.8)
    assert found.matched == {"A": True, "B": False}


def test_the_order_of_the_members_does_not_matter() -> None:
    maps = [block(5, 15, 0.9), block(6, 16, 0.7), block(20, 28, 0.6), block(5, 14, 0.8), block(0, 0)]
    random = np.random.default_rng(0)
    expected = [(1.5 + 0.9) / 5, 0.6 / 5]
    for _ in range(5):
        order = random.permutation(5)
        found = grouped_candidates([maps[place] for place in order], {"A": block(5, 15)}, voxel_ml=0.01)
        assert [one.confidence for one in found] == pytest.approx(expected, abs=1e-6)
        assert [one.matched["A"] for one in found] == [True, False]


def test_two_lesions_of_one_member_never_share_a_group() -> None:
    same = block(5, 15) > 0
    lesions = [MemberLesion(0, 0.9, same), MemberLesion(0, 0.8, same), MemberLesion(1, 0.7, same)]
    found = group_lesions(lesions, members=2)
    assert [confidence for confidence, _ in found] == pytest.approx([(0.9 + 0.7) / 2, 0.4])


def test_lesions_that_overlap_by_half_or_less_stay_apart() -> None:
    # 5 of 15 columns in common: 1/3.
    apart = group_lesions([MemberLesion(0, 0.9, block(0, 10) > 0), MemberLesion(1, 0.9, block(5, 15) > 0)], members=2)
    assert len(apart) == 2
    joined = group_lesions([MemberLesion(0, 0.9, block(0, 10) > 0), MemberLesion(1, 0.9, block(2, 12) > 0)], members=2)
    assert len(joined) == 1


def test_a_drawn_lesion_is_matched_once() -> None:
    maps = [block(5, 15, 0.9), block(9, 19, 0.6)]
    found = grouped_candidates(maps, {"A": block(6, 16)}, voxel_ml=0.01)
    assert len(found) == 2
    assert [one.matched["A"] for one in found] == [True, False]


@pytest.mark.parametrize(("confidence", "right", "error"), [(0.7, 7, 0.0), (0.9, 5, 0.4)])
def test_the_detection_error_of_ten_lesions(confidence: float, right: int, error: float) -> None:
    pool = CandidatePool()
    pool.add([LesionCandidate(confidence, {"A": number < right}) for number in range(10)])
    gaps, counts = pool.sums(slice(0, 1), ["A"])
    assert float(detection_ece(gaps.sum(axis=0), counts.sum(axis=0))) == pytest.approx(error)
