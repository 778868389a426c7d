from __future__ import annotations

import numpy as np
import pytest
from expected_errors import raises_error

from twintrack.errors import InputError
from twintrack.training import CaseVolumes, Prepared, TrainingCase, prepare_organ, prepare_tumor
from twintrack.training.losses import NOT_READ
from twintrack.training.prepare import MARGIN_MM
from twintrack.training.presets import PRESETS, Preset, StageSettings, TrainingImages, make_plans

from .small_cases import GRID, TINIEST, ball_case

pytest.importorskip("nnunetv2")


@pytest.fixture(scope="module")
def balls(tmp_path_factory) -> Prepared:
    cases = [ball_case(0), ball_case(1, ("A", "C"))]
    return prepare_tumor(cases, tmp_path_factory.mktemp("balls") / "cases", TINIEST)


def channels_of(prepared: Prepared, number: int) -> np.ndarray:
    return np.load(prepared.arrays / f"{prepared.cases[number].name}_seg.npy")


@pytest.mark.slow
def test_masks_stay_masks_one_inside_the_other(balls):
    channels = channels_of(balls, 0)
    assert channels.shape[0] == 4
    assert set(np.unique(channels[1:])) <= {-1, 0, 1}
    small, middle, large = channels[1:] == 1
    assert 0 < small.sum() < middle.sum() < large.sum()
    assert not (small & ~middle).any()
    assert not (middle & ~large).any()


def test_who_did_not_read_a_case_is_marked_in_every_voxel(balls):
    channels = channels_of(balls, 1)
    assert (channels[2] == NOT_READ).all()
    assert not (channels[[1, 3]] == NOT_READ).any()
    assert balls.cases[1].raters == ("A", "C")
    assert [case.name for case in balls.cases_of("B")] == [balls.cases[0].name]


def test_under_a_tumour_lies_the_organ(balls):
    assert balls.anatomy == ("smv", "pancreas")
    channels = channels_of(balls, 0)
    assert set(channels[0][channels[1] == 1]) == {3}  # pancreas is the second label, from 2 on
    assert (channels[0] == 2).any()


def test_patches_are_drawn_around_what_any_rater_marked_and_around_the_rest(balls):
    with np.load(balls.arrays / f"{balls.cases[0].name}.npz") as stored:
        tumor, rest = stored["tumor"], stored["rest"]
    channels = channels_of(balls, 0)
    anyone, labelled = (channels[1:] == 1).any(axis=0), channels[0] > 1
    assert anyone[tuple(tumor[:, 1:].T)].all()
    assert len(np.unique(tumor[:, 1:], axis=0)) > 0.9 * anyone.sum()
    assert labelled[tuple(rest[:, 1:].T)].all()


def test_sizes_are_what_raters_marked(balls):
    found = balls.sizes[0]
    expected = {name: ball_case(0).read().masks[name].array.sum() * GRID.voxel_ml for name in "ABC"}
    assert found == pytest.approx(expected, abs=1e-3)
    assert set(balls.sizes[1]) == {"A", "C"}


def test_a_case_is_cut_out_with_a_margin_around_the_organ(balls):
    organ = ball_case(0).read().organ_mask()
    lengths = [np.ptp(np.flatnonzero(organ.any(axis=tuple({0, 1, 2} - {axis})))) + 1 for axis in range(3)]
    cut = np.load(balls.arrays / f"{balls.cases[0].name}.npy").shape[1:]
    for axis, (length, mm) in enumerate(zip(lengths, (3.0, 2.0, 2.0), strict=True)):
        assert length <= cut[axis] <= min(GRID.shape[axis], length + 2 * MARGIN_MM[1] / mm)


def test_what_is_prepared_is_found_again_and_what_is_half_done_is_not(balls, tmp_path):
    again = Prepared.load(balls.folder)
    assert again is not None
    assert (again.cases, again.anatomy, again.plans) == (balls.cases, balls.anatomy, balls.plans)
    (tmp_path / "arrays").mkdir()
    assert Prepared.load(tmp_path) is None


def test_prepared_cases_hold_no_pickle(balls):
    for path in balls.arrays.iterdir():
        assert path.suffix in (".npy", ".npz")
        np.load(path, allow_pickle=False)


@pytest.mark.slow
def test_stage_1_learns_the_organ_with_the_majoritys_tumour(tmp_path):
    prepared = prepare_organ([ball_case(0)], tmp_path / "organs", TINIEST)
    channels = channels_of(prepared, 0)
    assert channels.shape == (2, *GRID.shape)  # the network's voxels are the case's
    assert np.array_equal(channels[1] == 1, ball_case(0).read().organ_mask())


def without_organ(marked: bool) -> TrainingCase:
    def read() -> CaseVolumes:
        whole = ball_case(0).read()
        masks = {name: mask.with_array(mask.array * marked) for name, mask in whole.masks.items()}
        return CaseVolumes(whole.ct, masks)

    return TrainingCase("bare", read, ("A", "B", "C"), where="cases.csv, line 2")


def test_without_an_organ_stage_1_is_refused(tmp_path):
    with raises_error(InputError, "organ-unknown", "--coarse", "anatomy", where="cases.csv, line 2"):
        prepare_organ([without_organ(marked=True)], tmp_path / "organs", TINIEST)


def test_where_nobody_marked_anything_there_is_nothing_to_learn(tmp_path):
    with raises_error(InputError, "no-tumour-marked"):
        prepare_tumor([without_organ(marked=False)], tmp_path / "cases", TINIEST)


@pytest.mark.parametrize("preset", [Preset.TINY, Preset.SMALL])
def test_plans_of_the_presets_are_what_a_bundle_takes(preset):
    from twintrack.bundle.nnunet_plans import check_plans

    images = TrainingImages(np.arange(100.0), [(40, 60, 60)] * 3, [(2.5, 1.5, 1.5)] * 3)
    numbers = PRESETS[preset]
    for stage in (numbers.fine, numbers.coarse):
        checked = check_plans(make_plans(stage, images, {}), "3d_fullres", "plans.json")
        assert checked["patch_size"] == list(stage.patch_size)


@pytest.mark.slow
@pytest.mark.network
def test_nnunets_own_planner_plans_the_largest_preset():
    from twintrack.bundle.nnunet_plans import check_plans
    from twintrack.training.prepare import data_labels

    images = TrainingImages(np.arange(100.0), [(60, 120, 120)] * 3, [(3.0, 0.8, 0.8)] * 3)
    stage: StageSettings = PRESETS[Preset.FULL].fine
    checked = check_plans(make_plans(stage, images, data_labels(("pancreas",))), "3d_fullres", "plans.json")
    assert checked["spacing"] == [3.0, 0.8, 0.8]
    assert checked["batch_size"] >= 2
