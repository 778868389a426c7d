"""Stage 1: nnU-Net's organ, the margin around it, and an honest answer when there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from expected_errors import raises_error
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import Cancelled, InputError, RoiError
from twintrack.inference.devices import select_device
from twintrack.inference.localize import localize, predict_organ
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import load_member, nnunet_managers, open_stage
from twintrack.inference.organ import main_parts
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.volume import Volume

pytestmark = pytest.mark.network

MakeCt = Callable[..., Volume]


def nnunets_segmentation(ct: Volume, bundle: Bundle) -> np.ndarray:
    """Predict and export the coarse model with nnU-Net's own functions."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    stage = open_stage(bundle, "coarse")
    plans, configuration = nnunet_managers(stage)
    data, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        ct.array[None], None, {"spacing": list(ct.geometry.spacing_mm[::-1])}, plans, configuration, {}
    )
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    members = [load_member(stage, fold) for fold in bundle.folds["coarse"]]
    modules = [member.network.module for member in members]
    parameters = [module.state_dict() for module in modules]
    predictor.manual_initialization(modules[0], plans, configuration, parameters, stage.dataset, "nnUNetTrainer", None)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    result = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, plans.get_label_manager(stage.dataset), properties, num_threads_torch=1
    )
    return np.asarray(result)


def biased(results: Path, target: Path, bias: list[float]) -> Path:
    """Copy a results folder; its last layer favours classes by `bias`."""
    import shutil

    shutil.copytree(results, target)
    path = target / "fold_0" / "checkpoint_final.pth"
    checkpoint = read_checkpoint(path, foreign=True)
    last = max(name for name in checkpoint["network_weights"] if name.startswith("decoder.seg_layers"))
    prefix = last.rsplit(".", 1)[0]
    checkpoint["network_weights"][f"{prefix}.weight"].zero_()
    checkpoint["network_weights"][f"{prefix}.bias"][:] = torch.tensor(bias)
    torch.save(checkpoint, path)
    return target


@pytest.mark.parametrize(
    ("size", "spacing_mm"),
    [((60, 50, 40), (1.0, 1.0, 1.5)), ((90, 80, 20), (0.75, 0.75, 2.0)), ((33, 30, 25), (3.0, 3.0, 3.0))],
)
def test_without_margin_the_region_is_nnunets_own_organ(
    make_ct: MakeCt,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    float32_sums: None,
    size: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> None:
    ct = make_ct(size, spacing_mm)
    ct.array[:2] = 0
    with Bundle.open(make_bundle(roi_margin_mm=0, out=tmp_path / "b")) as bundle:
        roi = localize(ct, bundle, store=NetworkStore("cpu", "torch"), component_fraction=0.0)
        expected = nnunets_segmentation(ct, bundle) == 1
    found = roi.paste(roi.mask, ct.geometry)
    assert 0.05 < expected.mean() < 0.95  # the random network does say something
    assert np.array_equal(found, expected)
    assert roi.organ_ml == pytest.approx(expected.sum() * ct.geometry.voxel_ml)
    assert roi.source == "auto"


def test_several_coarse_members_are_averaged_as_nnunet_averages_folds(
    make_ct: MakeCt, make_bundle: Callable[..., Path], fine_results: Path, tmp_path: Path, float32_sums: None
) -> None:
    ct = make_ct((40, 36, 30), (1.5, 1.5, 3.0), seed=3)
    values: dict[str, Any] = {"coarse": fine_results, "coarse_folds": ("0", "2"), "organ_labels": ("pancreas", "tumor")}
    with Bundle.open(make_bundle(**values, roi_margin_mm=0, out=tmp_path / "b")) as bundle:
        roi = localize(ct, bundle, store=NetworkStore("cpu", "torch"), component_fraction=0.0)
        expected = np.isin(nnunets_segmentation(ct, bundle), [1, 2])
    assert np.array_equal(roi.paste(roi.mask, ct.geometry), expected)


def test_a_coarse_model_of_regions_takes_every_voxel_above_one_half(
    make_ct: MakeCt, make_bundle: Callable[..., Path], region_results: Path, tmp_path: Path, float32_sums: None
) -> None:
    ct = make_ct((40, 36, 30), (1.0, 1.5, 3.0), seed=4)
    with Bundle.open(
        make_bundle(coarse=region_results, organ_labels=("gland", "tumor"), roi_margin_mm=0, out=tmp_path / "b")
    ) as bundle:
        roi = localize(ct, bundle, store=NetworkStore("cpu", "torch"), component_fraction=0.0)
        expected = nnunets_segmentation(ct, bundle) > 0
    assert np.array_equal(roi.paste(roi.mask, ct.geometry), expected)


def test_the_margin_reaches_every_voxel_within_it_and_none_beyond(
    make_ct: MakeCt, make_bundle: Any, tmp_path: Path
) -> None:
    ct = make_ct((60, 50, 30), (1.0, 1.0, 1.5))
    with Bundle.open(make_bundle(roi_margin_mm=0, out=tmp_path / "none")) as bundle:
        organ = localize(ct, bundle, store=NetworkStore("cpu", "torch"))
    with Bundle.open(make_bundle(roi_margin_mm=4.5, out=tmp_path / "some")) as bundle:
        wide = localize(ct, bundle, store=NetworkStore("cpu", "torch"))
    outside = ~organ.paste(organ.mask, ct.geometry)
    distance = ndimage.distance_transform_edt(outside, sampling=ct.geometry.spacing_mm[::-1])
    assert np.array_equal(wide.paste(wide.mask, ct.geometry), distance <= 4.5 + 1e-6)


def test_a_least_probability_widens_the_region_but_not_what_is_believed(
    make_ct: MakeCt, make_bundle: Any, tmp_path: Path
) -> None:
    ct = make_ct((60, 50, 30), (1.0, 1.0, 1.5))
    store = NetworkStore("cpu", "torch")
    with Bundle.open(make_bundle(roi_margin_mm=0, roi_component_fraction=0, out=tmp_path / "b")) as bundle:
        rois = {least: localize(ct, bundle, store=store, organ_probability=least) for least in (None, 0.2, 0.9, 0.9999)}
        found = predict_organ(ct, bundle, store, progress=no_progress, cancel=CancelToken())
    organ = found.organ(0.2)
    on_card = dataclasses.replace(found, logits=torch.from_numpy(found.logits))
    for least in (None, 0.2):
        here, there = found.organ(least), on_card.organ(least)
        assert here.offset == there.offset
        assert np.array_equal(here.mask, there.mask)
    likeliest, wide, narrow, none = (roi.paste(roi.mask, ct.geometry) for roi in rois.values())
    assert np.count_nonzero(organ.mask) == np.count_nonzero(wide)
    assert wide[likeliest].all()
    assert likeliest[narrow].all()
    assert wide.sum() > likeliest.sum() > narrow.sum() > 0
    assert np.array_equal(none, likeliest)  # nowhere that probable: what is likeliest
    assert len({roi.organ_ml for roi in rois.values()}) == 1


def test_a_low_probability_does_not_make_an_organ_of_nothing(
    make_ct: MakeCt, make_bundle: Any, coarse_results: Path, tmp_path: Path
) -> None:
    # Everywhere the organ has a probability of 0.12, which is not the likeliest.
    results = biased(coarse_results, tmp_path / "t__p__3d_fullres", [1.0, -1.0])
    ct = make_ct((60, 50, 30), (1.0, 1.0, 1.5))
    with (
        Bundle.open(make_bundle(coarse=results, roi_probability=0.1, out=tmp_path / "b")) as bundle,
        raises_error(RoiError, "no-pancreas"),
    ):
        localize(ct, bundle, device="cpu")


def test_a_ct_without_the_organ_is_answered_with_the_way_out(
    make_ct: MakeCt, make_bundle: Any, coarse_results: Path, tmp_path: Path
) -> None:
    results = biased(coarse_results, tmp_path / "t__p__3d_fullres", [5.0, -5.0])
    with (
        Bundle.open(make_bundle(coarse=results, out=tmp_path / "b")) as bundle,
        raises_error(RoiError, "no-pancreas", "CT", "--roi", "i0", "i1", "j0", "j1", "k0", "k1"),
    ):
        localize(make_ct((40, 40, 20)), bundle, device="cpu")


def test_an_organ_of_an_impossible_size_is_not_believed(
    make_ct: MakeCt, make_bundle: Any, coarse_results: Path, tmp_path: Path
) -> None:
    results = biased(coarse_results, tmp_path / "t__p__3d_fullres", [-5.0, 5.0])  # everything is pancreas
    with Bundle.open(make_bundle(coarse=results, out=tmp_path / "b")) as bundle:
        with raises_error(RoiError, "no-pancreas", "4.9"):
            localize(make_ct((20, 20, 12), (1.0, 1.0, 1.02)), bundle, device="cpu")
        with raises_error(RoiError, "no-pancreas", "1100.0"):
            localize(make_ct((10, 10, 11), (10.0, 10.0, 10.0)), bundle, device="cpu")
        with raises_error(RoiError, "no-pancreas", "221"):
            localize(make_ct((10, 10, 13), (5.0, 5.0, 17.0)), bundle, device="cpu")
        roi = localize(make_ct((20, 20, 14), (1.0, 1.0, 1.0)), bundle, device="cpu")
    assert roi.organ_ml == pytest.approx(5.6)
    assert roi.mask.all()


def test_small_parts_are_dropped_and_a_pancreas_cut_in_two_is_kept() -> None:
    organ = np.zeros((4, 10, 30), dtype=bool)
    organ[:, :5, :5] = True  # 100 voxels
    organ[:, 5:, 20:24] = True  # 80 voxels
    organ[0, 9, 10:18] = True  # 8 voxels
    organ[0, 0, 29] = True
    kept = {fraction: int(main_parts(organ, fraction).sum()) for fraction in (0.0, 0.05, 0.1, 1.0)}
    assert kept == {0.0: 189, 0.05: 188, 0.1: 180, 1.0: 100}


def test_parts_that_touch_at_a_corner_are_one() -> None:
    organ = np.zeros((2, 2, 2), dtype=bool)
    organ[0, 0, 0] = organ[1, 1, 1] = True
    assert main_parts(organ, 1.0).sum() == 2


def test_progress_never_goes_back_and_ends_at_one(make_ct: MakeCt, bundle: Bundle) -> None:
    told: list[tuple[float, str]] = []
    localize(make_ct((60, 50, 40), (1.0, 1.0, 1.5)), bundle, device="cpu", progress=lambda f, m: told.append((f, m)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert all(message for _, message in told)


def test_cancelling_before_and_during_stage_one(make_ct: MakeCt, bundle: Bundle) -> None:
    cancel = CancelToken()
    tiles = 0

    def stop_at_the_second_tile(_: float, message: str) -> None:
        nonlocal tiles
        tiles += "tile" in message
        if tiles == 2:
            cancel.cancel()

    ct = make_ct((140, 120, 60), (1.0, 1.0, 1.5))
    with pytest.raises(Cancelled):
        localize(ct, bundle, store=NetworkStore("cpu", "torch"), progress=stop_at_the_second_tile, cancel=cancel)
    assert tiles == 2
    with pytest.raises(Cancelled):
        localize(ct, bundle, store=NetworkStore("cpu", "torch"), cancel=cancel)


def test_devices_that_are_unknown_or_absent_are_input_errors() -> None:
    assert select_device("cpu") == "cpu"
    assert select_device("auto") in ("cpu", "cuda", "mps")
    with raises_error(InputError, "device-unknown", "'tpu'"):
        select_device("tpu")
    absent = "cuda" if not torch.cuda.is_available() else "mps"
    if not (absent == "mps" and torch.backends.mps.is_available()):
        with raises_error(InputError, "device-unusable", absent):
            select_device(absent)
