from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch, fit_calibrator
from twintrack.calibration.fit import equal_mass_bins
from twintrack.calibration.score_axis import cell_of
from twintrack.errors import InputError


def sketch_of(score, *masks) -> ScoreSketch:
    return ScoreSketch.of_case(np.asarray(score, np.float32), [np.asarray(mask, np.uint8) for mask in masks])


def simulated(voxels: int, raters: int, curve, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    score = random.random(voxels).astype(np.float32)
    return score, [(random.random(voxels) < curve(score)).astype(np.uint8) for _ in range(raters)]


@pytest.fixture(scope="module")
def noisy() -> ScoreSketch:
    """Three raters with a curve that rises and falls, so that violators must be pooled."""
    return sketch_of(*_flatten(simulated(20_000, 3, lambda s: 0.5 + 0.4 * np.sin(5 * s))))


def _flatten(case):
    score, masks = case
    return score, *masks


def test_the_fit_equals_scikit_learn_on_the_same_bins(noisy):
    binned = equal_mass_bins(noisy, 50)
    reference = IsotonicRegression().fit(binned.score, binned.mhr, sample_weight=binned.counts)
    calibrator = fit_calibrator(noisy, bins=50)
    np.testing.assert_allclose(calibrator.knots_y, reference.predict(binned.score), atol=1e-12, rtol=0)
    probe = np.random.default_rng(1).uniform(0.05, 0.95, 1000).astype(np.float32)
    np.testing.assert_allclose(calibrator(probe), reference.predict(probe), atol=1e-6)
    assert len(set(calibrator.knots_y)) < 50, "the case must need pooling"


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(5, 200))
def test_every_fit_is_monotone_within_zero_and_one_and_keeps_the_ranking(seed, bins, voxels):
    random = np.random.default_rng(seed)
    score = np.round(random.random(voxels), random.integers(1, 6)).astype(np.float32)
    masks = [random.integers(0, 2, voxels) for _ in range(3)]
    score[0], masks[0][0] = 0.5, 1
    for options in ({"target": "mhr"}, {"target": "single-rater", "rater": "1"}, {"target": "hard-label"}):
        calibrator = fit_calibrator(sketch_of(score, *masks), bins=bins, **options)
        mapped = calibrator(np.linspace(0, 1, 2001, dtype=np.float32))
        assert np.all(np.diff(mapped) >= 0)
        assert mapped.min() >= 0
        assert mapped.max() <= 1


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([0.001, 0.2, 0.200001, 0.4, 0.6, 0.8, 1.0]), min_size=1, max_size=300), st.integers(2, 9)
)
def test_equal_scores_never_fall_into_different_bins(values, bins):
    score = np.array(values, np.float32)
    binned = equal_mass_bins(sketch_of(score, np.zeros(score.size)), bins)
    bounds = np.searchsorted(np.sort(score), np.concatenate([[0], binned.score]))  # means lie inside their bins
    assert binned.counts.sum() == score.size
    assert len(binned.counts) <= bins
    assert np.all(np.diff(binned.score) > 0)
    edges = np.cumsum(binned.counts)[:-1]
    ordered = np.sort(score)
    assert np.all(cell_of(ordered[edges - 1]) < cell_of(ordered[edges]))
    assert bounds[0] == 0


def test_bins_of_a_smooth_score_have_equal_mass():
    score = (np.arange(100_000) + 0.5) / 100_000
    counts = equal_mass_bins(sketch_of(score, np.zeros(score.size)), 40).counts
    assert len(counts) == 40
    np.testing.assert_allclose(counts, 2500, atol=15)  # half of the widest cell holds 6 voxels


def test_a_heavy_atom_near_zero_takes_one_bin_and_the_others_share_the_rest_equally():
    rest = (np.arange(9_900) + 0.5) / 9_900 * 0.9 + 0.05
    atom = np.geomspace(1e-30, 1e-5, 1_000_000)
    counts = equal_mass_bins(sketch_of(np.concatenate([rest, atom]), np.zeros(1_009_900)), 100).counts
    assert counts[0] == 1_000_000
    assert len(counts) == 100
    np.testing.assert_allclose(counts[1:], 100, atol=2)


def test_a_heavy_atom_at_one_does_not_swallow_the_scores_below_it():
    score = np.concatenate([np.linspace(0.1, 0.9, 100), np.ones(10_000)])
    binned = equal_mass_bins(sketch_of(score, np.zeros(score.size)), 10)
    assert binned.counts[-1] == 10_000
    assert binned.score[-1] == 1.0


@pytest.mark.parametrize("curve", [lambda s: s**2, lambda s: 0.9 * np.sqrt(s), lambda s: 0.1 + 0.6 * s])
def test_a_known_calibration_curve_is_recovered(curve):
    voxels, raters, bins = 200_000, 5, 50
    calibrator = fit_calibrator(sketch_of(*_flatten(simulated(voxels, raters, curve))), bins=bins)
    probe = np.linspace(0.02, 0.98, 500).astype(np.float32)
    spread = np.sqrt(0.25 / (voxels / bins * raters))  # largest standard deviation of a bin's mean
    np.testing.assert_allclose(calibrator(probe), curve(probe), atol=5 * spread + 0.003)


def test_the_fit_does_not_depend_on_the_order_of_merging():
    parts = [sketch_of(*_flatten(simulated(3000, 3, lambda s: s, seed))) for seed in range(4)]
    one = fit_calibrator(parts[0] + parts[1] + parts[2] + parts[3], bins=30)
    other = fit_calibrator((parts[3] + parts[1]) + (parts[2] + parts[0]), bins=30)
    assert one.bin_counts == other.bin_counts
    np.testing.assert_allclose(one.knots_x, other.knots_x, rtol=1e-14)
    np.testing.assert_allclose(one.knots_y, other.knots_y, rtol=1e-12)


def test_single_rater_equals_the_mhr_fit_on_that_rater_alone():
    score, masks = simulated(5000, 3, lambda s: s)
    chosen = fit_calibrator(sketch_of(score, *masks), target="single-rater", rater="2", bins=40)
    alone = fit_calibrator(sketch_of(score, masks[1]), bins=40)
    np.testing.assert_allclose(chosen.knots_y, alone.knots_y, atol=1e-12)
    assert (chosen.rater, chosen.target, chosen.rater_names) == ("2", "single-rater", ("1", "2", "3"))


def test_hard_label_is_the_average_of_the_single_rater_maps(noisy):
    probe = np.linspace(0, 1, 777, dtype=np.float32)
    single = [fit_calibrator(noisy, target="single-rater", rater=str(r), bins=30)(probe) for r in (1, 2, 3)]
    hard = fit_calibrator(noisy, target="hard-label", bins=30)(probe)
    np.testing.assert_allclose(hard, np.mean(single, axis=0), atol=1e-6)


def test_hard_label_equals_mhr_where_no_rater_needs_pooling():
    score = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 10)
    masks = [(np.tile(np.arange(10), 5) < np.repeat([0, 2, 4, 6, 8 + r], 10)).astype(int) for r in range(2)]
    sketch = sketch_of(score, *masks)
    mhr, hard = (fit_calibrator(sketch, target=target, bins=5) for target in ("mhr", "hard-label"))
    np.testing.assert_allclose(hard.knots_y, mhr.knots_y, atol=1e-12)
    np.testing.assert_allclose(mhr.knots_y, [0, 0.2, 0.4, 0.6, 0.85], atol=1e-12)


def test_hard_label_differs_from_mhr_where_one_rater_needs_pooling():
    score = np.repeat([0.2, 0.8], 10)
    falls = np.repeat([1, 0], 10) * (np.tile(np.arange(10), 2) < 6)  # 0.6 then 0: pooled to 0.3
    rises = np.repeat([0, 1], 10)
    sketch = sketch_of(score, falls, rises)
    np.testing.assert_allclose(fit_calibrator(sketch, bins=2).knots_y, [0.3, 0.5], atol=1e-12)
    np.testing.assert_allclose(fit_calibrator(sketch, target="hard-label", bins=2).knots_y, [0.15, 0.65], atol=1e-12)


def test_a_rater_is_fitted_only_on_the_cases_this_rater_drew():
    drawn = ScoreSketch.of_case(np.float32([0.2, 0.8]), [np.array([0, 1]), np.array([0, 1])])
    absent = ScoreSketch.of_case(np.float32([0.2, 0.5, 0.8]), [np.array([0, 1, 0]), None])
    calibrator = fit_calibrator(drawn + absent, target="single-rater", rater="2", bins=3)
    np.testing.assert_allclose(calibrator.knots_x, [0.2, 0.5, 0.8], atol=1e-7)
    np.testing.assert_allclose(calibrator.knots_y, [0, 0.5, 1], atol=1e-6)  # the unseen bin is interpolated


def test_a_fit_on_too_little_says_so():
    score, masks = simulated(400, 3, lambda s: s)
    warnings = " | ".join(
        fit_calibrator(
            sketch_of(np.append(score, np.zeros(9)), *(np.append(m, np.ones(9)) for m in masks)), bins=5
        ).warnings
    )
    for words in ("1 case only", "tumour voxels only", "5 bins of the calibrator lie above score 0.05", "has score 0"):
        assert words in warnings


def test_a_fit_on_enough_has_no_warnings():
    enough = sum(
        (sketch_of(*_flatten(simulated(5000, 3, lambda s: s, seed))) for seed in range(12)), ScoreSketch.empty()
    )
    assert fit_calibrator(enough).warnings == ()


def test_a_rater_who_drew_few_of_many_cases_is_warned_of_where_fitted_alone():
    cases = [simulated(5000, 2, lambda s: s, seed) for seed in range(12)]
    sketches = [
        ScoreSketch.of_case(score, [first, second if number < 3 else None, None])
        for number, (score, (first, second)) in enumerate(cases)
    ]
    enough = sum(sketches, ScoreSketch.empty())
    warned = ("rater 2 drew 3 calibration cases only; at least 10 are advised",)
    assert fit_calibrator(enough).warnings == ()
    assert fit_calibrator(enough, target="single-rater", rater="1").warnings == ()
    assert fit_calibrator(enough, target="single-rater", rater="2").warnings == warned
    assert fit_calibrator(enough, target="hard-label").warnings == warned


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"target": "majority"}, ("calibration-target",)),
        ({"bins": 1}, ("too-few-bins",)),
        ({"target": "single-rater"}, ("calibration-rater",)),
        ({"rater": "1"}, ("calibration-rater",)),
        ({"target": "single-rater", "rater": "4"}, ("rater-unknown", "'4'")),
        ({"target": "single-rater", "rater": "01"}, ("rater-unknown", "'01'", "'1'")),
        ({"target": "single-rater", "rater": 0}, ("rater-unknown", "'0'")),
    ],
)
def test_wrong_options_are_refused(noisy, options, error):
    with raises_error(InputError, *error):
        fit_calibrator(noisy, **options)


def test_nothing_to_fit_on_is_refused():
    with raises_error(InputError, "score-empty"):
        fit_calibrator(ScoreSketch.empty())
    with raises_error(InputError, "no-tumour-marked"):
        fit_calibrator(sketch_of([0.5, 0.7], [0, 0]))
    with raises_error(InputError, "no-tumour-marked"):
        fit_calibrator(sketch_of([0.5, 0.7], [0, 1], [0, 0]), target="single-rater", rater="2")


def spread_case(voxels: int, share: float, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    score = random.random(voxels).astype(np.float32)
    return score, [random.random(voxels) < share * score]


def test_a_large_case_outweighs_a_small_one_by_voxels_but_not_by_cases():
    cases = [spread_case(40_000, 0.2, 0), spread_case(4_000, 1.0, 1)]
    probe = np.float32([0.5])
    mapped = {}
    for weighting in ("voxel", "case"):
        sketches = [ScoreSketch.of_case(*case, weighting=weighting) for case in cases]
        calibrator = fit_calibrator(sketches[0] + sketches[1], bins=20)
        assert (calibrator.weighting, calibrator.voxels) == (weighting, 44_000)
        assert sum(calibrator.bin_counts) == 44_000
        mapped[weighting] = float(calibrator(probe)[0])
    assert mapped["voxel"] == pytest.approx(0.5 * (0.2 * 10 + 1.0) / 11, abs=0.02)
    assert mapped["case"] == pytest.approx(0.5 * (0.2 + 1.0) / 2, abs=0.03)


def test_cases_of_one_size_weigh_the_same_either_way():
    cases = [spread_case(3000, share, seed) for seed, share in enumerate((0.3, 0.6, 0.9))]
    by_voxel, by_case = (
        sum((ScoreSketch.of_case(*case, weighting=weighting) for case in cases), ScoreSketch.empty(weighting=weighting))
        for weighting in ("voxel", "case")
    )
    np.testing.assert_allclose(
        fit_calibrator(by_case, bins=20).knots_y, fit_calibrator(by_voxel, bins=20).knots_y, atol=1e-9
    )


def test_exact_zeros_are_left_out_by_default_and_one_atom_when_all_voxels_are_fitted():
    score = np.concatenate([np.zeros(900), np.linspace(0.1, 1, 100)]).astype(np.float32)
    mask = np.concatenate([np.arange(900) % 90 == 0, score[900:] > 0.15])
    roi = fit_calibrator(ScoreSketch.of_case(score, [mask]), bins=10)
    everything = fit_calibrator(ScoreSketch.of_case(score, [mask], domain="all"), bins=10)
    assert (roi.voxels, roi.domain) == (100, "score > 0")
    assert (everything.voxels, everything.domain) == (1000, "all voxels")
    assert (everything.knots_x[0], everything.bin_counts[0]) == (0.0, 900)
    assert everything.knots_y[0] == pytest.approx(1 / 90)
    assert roi(np.float32([0]))[0] == 0
    assert everything(np.float32([0]))[0] == pytest.approx(1 / 90)


@pytest.mark.parametrize("options", [{"domain": "liver"}, {"weighting": "age"}])
def test_unknown_domains_and_weights_are_refused(options):
    with raises_error(InputError, f"calibration-{next(iter(options))}"):
        ScoreSketch.empty(**options)


def test_sketches_of_different_domains_are_not_added():
    with raises_error(InputError, "sketches-differ"):
        ScoreSketch.empty() + ScoreSketch.empty(domain="all")


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from(["voxel", "case"]))
def test_any_fit_equals_scikit_learn_to_twelve_digits(seed, bins, weighting):
    random = np.random.default_rng(seed)
    cases = []
    for _ in range(3):
        score = (random.random(random.integers(20, 400)) ** random.integers(1, 6)).astype(np.float32)
        cases.append((score, [random.random(score.size) < random.random() for _ in range(random.integers(1, 5))]))
    sketch = sum(
        (ScoreSketch.of_case(*case, weighting=weighting) for case in cases), ScoreSketch.empty(weighting=weighting)
    )
    binned = equal_mass_bins(sketch, bins)
    reference = IsotonicRegression().fit(binned.score, binned.mhr, sample_weight=binned.mass).predict(binned.score)
    np.testing.assert_allclose(fit_calibrator(sketch, bins=bins).knots_y, reference, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_map_keeps_the_ranking_of_any_two_voxels(seed):
    random = np.random.default_rng(seed)
    score = (random.random(500) ** 3).astype(np.float32)
    calibrator = fit_calibrator(sketch_of(score, random.random(500) < score, np.arange(500) < 5), bins=25)
    order = np.argsort(score, kind="stable")
    assert np.all(np.diff(calibrator(score)[order]) >= 0)


def test_a_rater_is_chosen_by_name_in_whatever_order_the_cases_have_them():
    score, masks = simulated(5000, 3, lambda s: s)
    one = ScoreSketch.of_case(score, {"zoe": masks[0], "0": masks[1]})
    other = ScoreSketch.of_case(score[::-1], {"0": masks[1][::-1], "Ann": masks[2][::-1]})
    chosen = fit_calibrator(one + other, target="single-rater", rater="0", bins=40)
    alone = fit_calibrator(sketch_of(np.tile(score, 2), np.tile(masks[1], 2)), bins=40)
    np.testing.assert_allclose(chosen.knots_y, alone.knots_y, atol=1e-12)
    assert (chosen.rater, chosen.raters, chosen.rater_names) == ("0", 3, ("0", "Ann", "zoe"))
    assert fit_calibrator(one + other, target="single-rater", rater=0, bins=40) == chosen
    with raises_error(InputError, "rater-unknown", "'ann'", "'Ann'"):
        fit_calibrator(one + other, target="single-rater", rater="ann")


def test_names_that_change_from_case_to_case_and_equal_masks_are_warned_of():
    score, (first, second) = simulated(500, 2, lambda s: s)
    cases = [ScoreSketch.of_case(score[n:], {f"p{n} A": first[n:], f"p{n} B": first[n:]}) for n in range(3)]
    warnings = fit_calibrator(sum(cases, ScoreSketch.empty()), bins=10).warnings
    assert "none of the 6 raters read more than one case; give each rater one name in all cases" in warnings
    assert any("the very same voxels in 3 calibration cases" in warning for warning in warnings)
    steady = [ScoreSketch.of_case(score[n:], {"A": first[n:], "B": second[n:]}) for n in range(3)]
    warnings = fit_calibrator(sum(steady, ScoreSketch.empty()), bins=10).warnings
    assert not any("rater" in warning for warning in warnings)
