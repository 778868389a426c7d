"""Lesion candidates and their calibration on blocks whose overlaps are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.detection import CandidatePool, LesionCandidate, detection_ece, find_candidates

SHAPE = (4, 10, 40)


def block(start: int, stop: int) -> np.ndarray:
    """Return a mask of 40 voxels for each unit of length."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[:, :, start:stop] = 1
    return mask


def candidates(p, *masks, voxel_ml: float = 0.01) -> tuple[LesionCandidate, ...]:
    return find_candidates(np.asarray(p), {str(n): mask for n, mask in enumerate(masks, start=1)}, voxel_ml)


def test_a_candidate_matches_every_rater_whose_lesion_it_overlaps_by_more_than_half():
    # Union 8: overlap 5, 4 and 0.
    (found,) = candidates(0.7 * block(0, 5), block(0, 8), block(1, 9), block(20, 25))
    assert found.confidence == pytest.approx(0.7)
    assert found.matched == {"1": True, "2": False, "3": False}


def test_an_overlap_of_exactly_half_is_no_match_so_that_two_candidates_never_share_a_lesion():
    drawn = block(0, 8)
    (found,) = candidates(0.9 * block(0, 4), drawn)
    assert not found.matched["1"]
    one, other = candidates(0.9 * block(0, 3) + 0.8 * block(4, 8), drawn)
    assert (one.matched["1"], other.matched["1"]) == (False, False)


def test_the_outline_lies_at_half_of_the_peak_of_each_candidate():
    p = np.where(block(0, 4), 0.4, 0.15 * block(0, 10)) + np.where(block(20, 24), 1.0, 0.49 * block(20, 30))
    faint, bright = candidates(p, block(0, 4) + block(20, 24))
    assert (faint.confidence, bright.confidence) == (0.4, 1.0)
    assert faint.matched == bright.matched == {"1": True}
    (wide,) = candidates(np.where(block(0, 4), 0.4, 0.2 * block(0, 10)), block(0, 10))
    assert wide.matched == {"1": True}


def test_what_lies_at_or_below_the_lowest_threshold_is_no_candidate_and_noise_neither():
    assert candidates(0.1 * block(0, 9), block(0, 9)) == ()
    assert candidates(0.9 * block(0, 1), block(0, 1), voxel_ml=0.002) == ()
    assert len(candidates(0.9 * block(0, 1), block(0, 1), voxel_ml=0.0025)) == 1


def test_a_candidate_is_compared_with_each_connected_lesion_and_not_with_their_union():
    (found,) = candidates(0.9 * block(0, 4), block(0, 4) + block(10, 30))
    assert found.matched == {"1": True}


def test_an_empty_rater_matches_nothing():
    (found,) = candidates(0.9 * block(0, 4), block(0, 0))
    assert found.matched == {"1": False}


def error(*found: LesionCandidate, raters=("1", "2")) -> float:
    (value,) = detection_ece(*pooled(found).sums(slice(0, 1), raters))
    return float(value)


def pooled(*cases: tuple[LesionCandidate, ...]) -> CandidatePool:
    pool = CandidatePool()
    for case in cases:
        pool.add(case)
    return pool


def test_confidence_equal_to_the_precision_in_every_bin_is_no_error():
    four = [LesionCandidate(0.75, {"1": number != 0}) for number in range(4)]
    two = [LesionCandidate(0.5, {"1": number == 0}) for number in range(2)]
    assert error(*four, *two, raters=("1",)) == pytest.approx(0)


def test_errors_are_weighted_by_candidates_and_averaged_over_raters():
    found = (
        LesionCandidate(0.95, {"1": True, "2": False}),
        LesionCandidate(1.0, {"1": True, "2": False}),
        LesionCandidate(0.3, {"1": False, "2": True}),
    )
    first = (abs(1.95 - 2) + 0.3) / 3
    second = (1.95 + 0.7) / 3
    assert error(*found) == pytest.approx((first + second) / 2)


def test_a_rater_who_did_not_draw_a_case_has_no_say_in_it():
    found = (LesionCandidate(0.8, {"1": True}), LesionCandidate(0.6, {"1": True, "2": False}))
    assert error(*found) == pytest.approx(((0.2 + 0.4) / 2 + 0.6) / 2)


def test_without_a_candidate_the_error_is_undefined():
    assert np.isnan(error())


def test_sums_of_cases_give_the_error_of_all_candidates_together():
    one, other = LesionCandidate(0.9, {"1": True, "2": True}), LesionCandidate(0.9, {"1": False, "2": True})
    gaps, counts = pooled((one,), (other,)).sums(slice(0, 2), ("1", "2"))
    together = detection_ece(gaps.sum(axis=0), counts.sum(axis=0))
    assert together == pytest.approx(error(one, other)) == pytest.approx((0.4 + 0.1) / 2)


def test_any_cases_of_a_pool_have_the_sums_that_they_have_alone():
    random = np.random.default_rng(4)
    cases = [
        tuple(
            LesionCandidate(float(random.random()), {rater: bool(random.random() < 0.5) for rater in raters})
            for _ in range(random.integers(0, 4))
        )
        for raters in ["13", "3", "123", "2", "12", "31"]
    ]
    pool, raters = pooled(*cases), ["1", "2", "3"]
    assert (pool.cases, pool.candidates) == (6, sum(map(len, cases)))
    assert pool.raters == raters
    for part in (slice(0, 6), slice(1, 4), slice(5, 6)):
        gaps, counts = pool.sums(part, raters)
        for case, gap, count in zip(cases[part], gaps, counts, strict=True):
            for place, rater in enumerate(raters):
                seen = [one for one in case if rater in one.matched]
                assert count[place] == len(seen)
                assert gap[place].sum() == pytest.approx(sum(one.confidence - one.matched[rater] for one in seen))
