"""Phantoms are repeatable, varied, and their true mean human response is what their readers really do."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError
from twintrack.io.volumes import read_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom import LABELS, lesions_of, make_phantom, write_cohort
from twintrack.phantom.lesion import LesionField, draw_lesion, draw_second_lesion, joint_field
from twintrack.phantom.raters import RaterModel, draw_false_mark, draw_rater, expected_false_marks, expected_response
from twintrack.phantom.shapes import Tube, smooth_noise
from twintrack.progress.callbacks import CancelToken

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case():
    return make_phantom(3, raters=4)


def test_the_same_seed_gives_the_same_case(case):
    again = make_phantom(3, raters=2)
    assert np.array_equal(again.ct.array, case.ct.array)
    assert np.array_equal(again.annotations[1].array, case.annotations[1].array)
    assert np.array_equal(again.true_mhr.array, case.true_mhr.array)


@pytest.fixture(scope="module")
def other():
    return make_phantom(1000, raters=1)


def test_another_seed_gives_another_patient(case, other):
    assert other.lesion != case.lesion
    assert other.ct.geometry != case.ct.geometry


def test_the_median_outline_holds_the_drawn_volume_outside_the_lumens(case):
    drawn = np.count_nonzero(case.anatomy.array == LABELS["tumor"]) * case.ct.geometry.voxel_ml
    assert drawn == pytest.approx(case.lesion.volume_ml, abs=2 * case.ct.geometry.voxel_ml)


def test_no_reader_marks_a_lumen_and_the_truth_is_zero_there(case):
    lumen = case.vessels.array > 0
    assert lumen.any()
    assert case.true_mhr.array[lumen].max() == 0
    assert all(mask.array[lumen].max() == 0 for mask in case.annotations)


def test_every_vessel_is_there_and_brighter_than_the_gland(case):
    gland = case.ct.array[case.anatomy.array == LABELS["pancreas"]].mean()
    for value in VESSEL_VALUES.values():
        assert case.ct.array[case.vessels.array == value].mean() > gland + 15


def test_the_tumor_is_darker_than_the_gland_and_fades_into_it(other):
    mhr, gland, hu = other.true_mhr.array, other.anatomy.array == LABELS["pancreas"], other.ct.array
    core = hu[mhr > 0.95].mean()
    margin = hu[gland & (mhr > 0.1) & (mhr < 0.5)].mean()
    healthy = hu[gland & (mhr < 0.001)].mean()
    assert core + 5 < margin < healthy - 3


def test_sites_sizes_and_contacts_vary_over_seeds():
    lesions = [draw_lesion(np.random.default_rng(seed)) for seed in range(300)]
    assert {lesion.site for lesion in lesions} == {"head", "body", "tail"}
    volumes = np.array([lesion.volume_ml for lesion in lesions])
    assert volumes.min() < 3
    assert volumes.max() > 30
    assert 2 <= volumes.min() <= volumes.max() <= 40
    assert {lesion.shift == 0 for lesion in lesions} == {True, False}


def flat_field(depth_mm: float) -> tuple[LesionField, np.ndarray]:
    """A field that is `depth_mm` deep everywhere, with a fade of 2 mm, and where readers may mark."""
    shape = (12, 12, 12)
    field = LesionField(np.full(shape, depth_mm, np.float32), np.full(shape, 2.0, np.float32), (5.0,))
    return field, np.ones(shape, bool)


@pytest.mark.parametrize("depth_mm", [-2.2, 0.0, 1.1, 3.3])
def test_the_share_of_many_readers_is_the_expected_response(depth_mm):
    model = RaterModel(stop_early=0.0, overlook=0.1)
    field, allowed = flat_field(depth_mm)
    rng = np.random.default_rng(8)
    readers = 1500
    share = sum(draw_rater(rng, field, allowed, (2, 2, 2), model)[6, 6, 6] for _ in range(readers)) / readers
    expected = expected_response(field, allowed, model)[6, 6, 6]
    from scipy.stats import norm

    assert expected == pytest.approx(0.9 * norm.cdf(depth_mm / 2.2), abs=1e-5)  # spread 1.1 times a fade of 2 mm
    assert share == pytest.approx(expected, abs=4 * np.sqrt(0.25 / readers))


def test_readers_who_stop_early_lower_the_response_only_near_the_ends():
    field, allowed = flat_field(30.0)
    model = RaterModel(stop_early=0.4, stop_part=0.25, overlook=0.0)
    response = expected_response(field, allowed, model)[:, 0, 0]
    assert response[[0, -1]] == pytest.approx([0.8, 0.8])  # half of the 40 % stop at this end, all lose its last slice
    assert response[5:7] == pytest.approx([1.0, 1.0])
    rng = np.random.default_rng(5)
    lowest = np.mean([draw_rater(rng, field, allowed, (2, 2, 2), model)[0, 0, 0] for _ in range(1500)])
    assert lowest == pytest.approx(0.8, abs=0.05)


@pytest.fixture(scope="module")
def healthy():
    return make_phantom(3, raters=4, lesions=0)


@pytest.fixture(scope="module")
def two():
    return make_phantom(3, raters=4, lesions=2)


def test_the_healthy_patient_is_the_same_one_without_the_tumor(case, healthy):
    assert healthy.lesions == ()
    assert healthy.lesion is None
    assert not (healthy.anatomy.array == LABELS["tumor"]).any()
    assert np.array_equal(healthy.vessels.array, case.vessels.array)
    far = case.true_mhr.array == 0
    assert np.abs(healthy.ct.array.astype(int) - case.ct.array)[far].max() <= 1  # rounding of the last tumour tail
    core = (case.true_mhr.array > 0.95) & (healthy.anatomy.array == LABELS["pancreas"])
    assert healthy.ct.array[core].mean() > case.ct.array[core].mean() + 20


def test_two_lesions_lie_apart_and_the_first_is_the_one_drawn_alone(case, two):
    from scipy import ndimage

    assert len(two.lesions) == 2
    assert two.lesions[0] == case.lesion
    assert two.lesion is None
    sizes = np.bincount(ndimage.label(two.true_mhr.array > 0.5)[0].ravel())[1:]
    # The early stops and misses take at most 17 % of the response: 0.5 is at or inside the median outline.
    assert sorted(sizes)[-2] * two.ct.geometry.voxel_ml > 0.5 * min(lesion.volume_ml for lesion in two.lesions)
    drawn = np.count_nonzero(two.anatomy.array == LABELS["tumor"]) * two.ct.geometry.voxel_ml
    assert drawn == pytest.approx(sum(lesion.volume_ml for lesion in two.lesions), rel=0.02)


def test_second_lesions_keep_their_distance():
    rng = np.random.default_rng(4)
    for _ in range(50):
        first = draw_lesion(rng)
        second = draw_second_lesion(rng, first)
        between = np.linalg.norm(np.subtract(first.center_mm, second.center_mm))
        assert between > max(first.radii_mm) + max(second.radii_mm)
        assert 0.2 <= second.volume_ml <= 10


def test_each_of_two_lesions_is_overlooked_on_its_own_and_the_response_stays_exact():
    from scipy.stats import norm

    model = RaterModel(stop_early=0.0, overlook=0.2)
    depth = np.full((2, 12, 12, 12), -3.0, np.float32)
    depth[0, :, :, :6], depth[1, :, :, 6:] = 2.2, 1.1
    fade = np.full((12, 12, 12), 2.0, np.float32)
    field = joint_field([LesionField(part, fade, (volume,)) for part, volume in zip(depth, (5.0, 1.0), strict=True)])
    allowed = np.ones(fade.shape, bool)
    rng = np.random.default_rng(2)
    readers = 1500
    masks = [draw_rater(rng, field, allowed, (2, 2, 2), model) for _ in range(readers)]
    expected = expected_response(field, allowed, model)
    for row, depth_mm in ((2, 2.2), (9, 1.1)):
        assert expected[6, 6, row] == pytest.approx(0.8 * norm.cdf(depth_mm / 2.2), abs=1e-5)
        share = np.mean([mask[6, 6, row] for mask in masks])
        assert share == pytest.approx(expected[6, 6, row], abs=4 * np.sqrt(0.25 / readers))
    deep = replace(field, depth_mm=np.full_like(field.depth_mm, 30.0))
    masks = [draw_rater(rng, deep, allowed, (2, 2, 2), model) for _ in range(readers)]
    missed = np.array([[not mask[..., :6].any(), not mask[..., 6:].any()] for mask in masks])
    assert missed.mean(axis=0) == pytest.approx([0.2, 0.2], abs=4 * np.sqrt(0.16 / readers))
    assert missed.all(axis=1).mean() == pytest.approx(0.04, abs=4 * np.sqrt(0.04 / readers))


def test_readers_of_a_healthy_patient_rarely_mark_a_small_ball_as_often_as_expected(healthy):
    model = RaterModel(false_mark=0.3, false_mark_mm=4.0)
    gland = np.zeros((14, 14, 14), bool)
    gland[5:9, 5:9, 5:9] = True
    allowed = np.ones(gland.shape, bool)
    allowed[:6] = False
    expected = expected_false_marks(gland, allowed, (2, 2, 2), model)
    rng = np.random.default_rng(9)
    readers = 3000
    masks = [draw_false_mark(rng, gland, allowed, (2, 2, 2), model) for _ in range(readers)]
    share = np.mean(masks, axis=0)
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.3 * 0.7 / readers)
    assert share.sum() == pytest.approx(expected.sum(), rel=0.1)
    assert not expected[:6].any()
    assert 0 < healthy.true_mhr.array.max() < RaterModel().false_mark


def test_the_number_of_lesions_follows_the_share_of_healthy_cases():
    counts = np.bincount([lesions_of(seed, 0.4) for seed in range(4000)], minlength=3) / 4000
    assert counts == pytest.approx([0.4, 0.6 * 0.8, 0.6 * 0.2], abs=0.03)
    assert {lesions_of(seed, 0.0) for seed in range(100)} == {1}
    assert {lesions_of(seed, 1.0) for seed in range(100)} == {0}


def test_a_generous_reader_draws_more_than_a_tight_one(case):
    tight, generous = make_phantom(3, raters=2, tendencies=(-1.0, 1.0)).annotations
    assert generous.array.sum() > 1.1 * tight.array.sum()


def test_noise_has_unit_variance_and_the_given_correlation():
    noise = smooth_noise(np.random.default_rng(0), (64, 64, 64), 4.0, (2.0, 2.0, 4.0))
    assert noise.std() == pytest.approx(1.0, abs=0.1)
    # Filtered white noise is correlated as exp(-d^2 / (4 s^2)): along x, 3 voxels are 6 mm.
    assert np.mean(noise[..., :-3] * noise[..., 3:]) == pytest.approx(np.exp(-36 / 64), abs=0.1)


def test_the_depth_in_a_straight_tube_is_the_distance_to_its_wall():
    tube = Tube(np.array([[0.0, 0, 0], [0, 0, 20]]), np.array([5.0, 5.0]))
    points = np.array([[0, 0, 10], [4, 0, 10], [7, 0, 10], [0, 90, 10]], dtype=np.float32)
    assert tube.depth(points) == pytest.approx([5, 1, -2, -12], abs=0.3)  # the centre line is sampled every 0.5 mm


def test_a_cohort_has_readable_files_and_says_how_many_lesions_each_case_has(tmp_path):
    seed = next(s for s in range(1000) if (lesions_of(s, 0.5), lesions_of(s + 1, 0.5)) == (2, 0))
    manifest = write_cohort(tmp_path / "out put", cases=2, raters=2, seed=seed, healthy=0.5)
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == [f"phantom_{seed:05d}", f"phantom_{seed + 1:05d}"]
    for row, lesions in zip(rows, (2, 0), strict=True):
        truth = json.loads((manifest.parent / row["case"] / "truth.json").read_text())
        assert int(row["lesions"]) == len(truth["lesions"]) == lesions
        assert "lesion" not in truth
    cells = {column: cell for column, cell in rows[0].items() if column not in ("case", "lesions")}
    first = {column: read_volume(manifest.parent / cell) for column, cell in cells.items()}
    assert set(first) == {"image", "vessels", "anatomy", "true_mhr", "annotation_1", "annotation_2"}
    assert all(volume.geometry.same_grid(first["image"].geometry) for volume in first.values())
    assert np.array_equal(first["image"].array, make_phantom(seed, raters=1, lesions=2).ct.array)


@pytest.mark.parametrize("split", [(2, 1), (1, 1, 1), (3, 0, -1)])
def test_a_split_that_is_none_of_the_cases_is_refused(tmp_path, split):
    with raises_error(InputError, "phantom-split", "train, calibration, test", "2"):
        write_cohort(tmp_path / "out", cases=2, raters=1, seed=0, split=split)
    assert not (tmp_path / "out").exists()


def test_a_cancelled_cohort_stops_between_cases(tmp_path):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        write_cohort(tmp_path, cases=2, raters=1, seed=0, cancel=cancel)
    assert not (tmp_path / "manifest.csv").exists()


@pytest.mark.parametrize(("seed", "raters"), [(-1, 5), (0, 0)])
def test_impossible_requests_are_refused(seed, raters):
    with raises_error(InputError, "phantom-number"):
        make_phantom(seed, raters=raters)


def test_impossible_numbers_of_lesions_are_refused(tmp_path):
    with raises_error(InputError, "phantom-number"):
        make_phantom(0, lesions=3)
    with raises_error(InputError, "phantom-number"):
        write_cohort(tmp_path / "out", cases=1, raters=1, seed=0, healthy=1.5)
