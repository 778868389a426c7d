from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch
from twintrack.calibration.score_axis import cell_of
from twintrack.errors import InputError

SHAPE = (2, 3, 4)


def random_case(seed: int, raters: int = 3):
    random = np.random.default_rng(seed)
    score = random.random(SHAPE).astype(np.float32)
    score[random.random(SHAPE) < 0.3] = 0
    return score, [(random.random(SHAPE) < 0.4).astype(np.uint8) for _ in range(raters)]


def assert_same(one: ScoreSketch, other: ScoreSketch) -> None:
    assert one.cases == other.cases
    for name in ("counts", "rater_counts", "rater_positives"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("missed_mhr", "score_sums", "mhr_sums"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-14, err_msg=name)


def test_sums_of_a_case_are_those_of_its_voxels_above_zero():
    score, masks = random_case(1)
    sketch = ScoreSketch.of_case(score, masks)
    mhr = np.mean(masks, axis=0)
    inside = score > 0
    assert sketch.voxels == inside.sum()
    assert sketch.score_sums.sum() == pytest.approx(score[inside].sum(dtype=float), rel=1e-14)
    assert sketch.mhr_sums.sum() == pytest.approx(mhr[inside].sum(), rel=1e-14)
    assert sketch.missed_mhr == pytest.approx(mhr[~inside].sum(), abs=1e-12)
    for rater, mask in enumerate(masks):
        assert sketch.rater_positives[rater].sum() == mask[inside].sum()
    cell = cell_of(score[inside][:1])[0]
    assert sketch.counts[cell] == np.sum(cell_of(score[inside]) == cell)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.permutations(range(5)), st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_merging_is_the_same_in_any_order_and_grouping(order, raters):
    cases = [ScoreSketch.of_case(*random_case(seed, raters[seed])) for seed in range(5)]
    straight = sum(cases, ScoreSketch.empty())
    a, b, c, d, e = (cases[number] for number in order)
    assert_same(straight, (a + (b + c)) + (d + e))


def test_empty_is_the_neutral_element_and_adding_leaves_its_operands_alone():
    one, other = (ScoreSketch.of_case(*random_case(seed)) for seed in (1, 2))
    before = one.counts.copy()
    assert_same(ScoreSketch.empty() + one, one)
    assert_same(one + ScoreSketch.empty(), one)
    _ = one + other
    np.testing.assert_array_equal(one.counts, before)


def test_adding_in_place_equals_adding_sketches():
    sketch = ScoreSketch.empty()
    assert sketch.add(*random_case(1)) is sketch
    sketch.add(*random_case(2))
    assert_same(sketch, ScoreSketch.of_case(*random_case(1)) + ScoreSketch.of_case(*random_case(2)))


def test_the_mhr_of_a_case_is_the_mean_of_the_raters_present():
    score, (first, second, _) = random_case(3)
    sketch = ScoreSketch.of_case(score, [first, None, second])
    inside = score > 0
    assert sketch.mhr_sums.sum() == pytest.approx((first[inside].sum() + second[inside].sum()) / 2)
    assert sketch.rater_names == ("1", "3")
    np.testing.assert_array_equal(sketch.rater_counts[1], sketch.counts)


def test_a_rater_who_saw_no_tumor_counts_as_an_opinion():
    score, (first, *_) = random_case(4)
    alone = ScoreSketch.of_case(score, [first])
    with_empty = ScoreSketch.of_case(score, [first, np.zeros_like(first)])
    np.testing.assert_allclose(with_empty.mhr_sums, alone.mhr_sums / 2)


def test_a_roi_mask_narrows_the_domain_and_never_adds_zeros():
    score, masks = random_case(5)
    domain = np.zeros(SHAPE, bool)
    domain[0] = True
    assert ScoreSketch.of_case(score, masks, domain).voxels == (score[0] > 0).sum()


def test_bad_cases_are_refused_with_the_reason():
    score, masks = random_case(6)
    bad = score.copy()
    bad[0, 0, 0] = np.nan
    with raises_error(InputError, "probability-range"):
        ScoreSketch.of_case(bad, masks)
    with raises_error(InputError, "probability-range"):
        ScoreSketch.of_case(score + 1, masks)
    with raises_error(InputError, "mask-not-binary"):
        ScoreSketch.of_case(score, [masks[0], masks[1] * 2])
    with raises_error(InputError, "grid-differs"):
        ScoreSketch.of_case(score, [masks[0][:1]])
    with raises_error(InputError, "grid-differs", "ROI"):
        ScoreSketch.of_case(score, masks, np.ones((1, 1, 1), bool))
    with raises_error(InputError, "no-annotation"):
        ScoreSketch.of_case(score, [None, None])


def test_raters_are_added_by_their_names_and_never_by_their_places():
    score, (a, b, c) = random_case(7)
    one = ScoreSketch.of_case(score, {"B": b, "A": a})
    other = ScoreSketch.of_case(score[::-1], {"C": c, "A": b})
    for total in (one + other, other + one):
        assert total.rater_names == ("A", "B", "C")
        inside, turned = score > 0, score[::-1] > 0
        expected = [a[inside].sum() + b[turned].sum(), b[inside].sum(), c[turned].sum()]
        assert total.rater_positives.sum(axis=1).tolist() == expected
        assert total.rater_counts.sum(axis=1).tolist() == [2 * inside.sum(), inside.sum(), inside.sum()]
        table = total.units.table(total.rater_names)
        np.testing.assert_array_equal(table[:, 3::2].sum(axis=(0, 2)), expected)
        assert [total.units.drawn_by(name) for name in "ABCD"] == [2, 1, 1, 0]


def test_the_numbers_do_not_depend_on_the_raters_names_and_a_rater_0_is_one_as_any_other():
    score, masks = random_case(8)
    by_position = ScoreSketch.of_case(score, masks)
    for names in ("012", "123", "ABC"):
        named = ScoreSketch.of_case(score, dict(zip(names, masks, strict=True)))
        assert named.rater_names == tuple(names)
        assert_same(named, by_position)
        assert named.case_keys == by_position.case_keys
    assert ScoreSketch.of_case(score, dict(enumerate(masks))).rater_names == ("0", "1", "2")


@pytest.mark.slow
def test_names_that_look_alike_and_too_many_names_are_refused_when_sketches_are_added():
    score, (mask, *_) = random_case(9)
    with raises_error(InputError, "raters-alike", "'01'", "'1'"):
        ScoreSketch.of_case(score, {"1": mask}) + ScoreSketch.of_case(score, {"01": mask})
    total = ScoreSketch.of_case(score, {f"R{number}": mask for number in range(100)})
    with raises_error(InputError, "too-many-raters", "100"):
        total + ScoreSketch.of_case(score, {"one more": mask})


def test_cases_in_which_two_raters_marked_the_very_same_voxels_are_counted():
    score, (mask, other, _) = random_case(10)
    empty = np.zeros_like(mask)
    alike = ScoreSketch.of_case(score, {"A": mask, "B": mask, "C": mask})
    apart = ScoreSketch.of_case(score, {"A": mask, "B": other, "C": empty, "D": empty})
    assert (alike + apart).alike_cases == 1


def test_values_that_rounding_left_outside_of_0_and_1_are_taken_as_those():
    score, masks = random_case(11)
    near = np.where(score == 0, -1e-7, score).astype(np.float32)
    near[0, 0, 0], score[0, 0, 0] = 1.0000001, 1
    assert_same(ScoreSketch.of_case(near, masks), ScoreSketch.of_case(score, masks))
