"""Tile by tile, the logits are those of nnU-Net's own predictor; between tiles the user can stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, Cancelled
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import (
    Stage,
    build_network,
    check_weights,
    load_member,
    nnunet_managers,
    open_stage,
)
from twintrack.inference.preprocess import preprocess
from twintrack.inference.sliding_window import Canvas, member_logits, sliding_logits
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.volume import Volume

pytestmark = pytest.mark.network

MakeCt = Callable[..., Volume]


def meter(total: int = 1) -> TileMeter:
    return TileMeter(total, "Testing", no_progress, CancelToken())


def logits_of(
    stage: Stage, fold: str, data: np.ndarray, counter: TileMeter | None = None, batch: int = 1
) -> np.ndarray:
    """Predict every tile with one member, by torch."""
    canvas = Canvas.of(data, stage)
    member = load_member(stage, fold)
    logits, covered = sliding_logits(member, canvas, canvas.tiles, stage, counter or meter(), batch=batch)
    assert covered.all()
    return logits


def nnunets_logits(stage: Stage, data: np.ndarray, mirror_axes: tuple[int, ...] | None) -> np.ndarray:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    member = load_member(stage, "1")
    predictor = nnUNetPredictor(use_mirroring=mirror_axes is not None, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        member.network.module, *nnunet_managers(stage), None, stage.dataset, "nnUNetTrainer", mirror_axes
    )
    return predictor.predict_sliding_window_return_logits(torch.from_numpy(data)).float().numpy()


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


SIZES = {"several tiles": (70, 50, 30), "one tile": (32, 32, 16), "smaller than the patch": (20, 41, 9)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mirror", [False, True])
def test_logits_are_those_of_nnunets_predictor(
    make_ct: MakeCt, fine: Stage, float32_sums: None, size: str, mirror: bool
) -> None:
    stage = dataclasses.replace(fine, mirroring=mirror)
    ct = make_ct(SIZES[size])
    data = preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage).data
    assert load_member(stage, "1").mirror_axes == ((0, 2) if mirror else ())
    ours = logits_of(stage, "1", data)
    theirs = nnunets_logits(stage, data, (0, 2) if mirror else None)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (5, *data.shape[1:])
    assert relative_difference(ours, theirs) < 1e-5


def test_inside_nnunets_own_half_precision_sums_differ_by_float16_rounding_only(make_ct: MakeCt, fine: Stage) -> None:
    ct = make_ct((70, 50, 30))
    data = preprocess(ct.array, ct.geometry.spacing_mm[::-1], fine).data
    ours = logits_of(fine, "1", data)
    theirs = nnunets_logits(fine, data, None)
    # At the volume's rim the Gaussian weight is too small for float16 and nnU-Net's own sums lose their digits there.
    inside = (slice(None), *(slice(n // 4, -n // 4) for n in fine.patch))
    assert relative_difference(ours[inside], theirs[inside]) < 4e-3


def test_regions_have_one_channel_each_and_agree_with_nnunet(
    make_ct: MakeCt, make_bundle: Callable[..., Path], region_results: Path, tmp_path: Path, float32_sums: None
) -> None:
    folder = make_bundle(fine=region_results, folds=("0", "1"), vessel_labels={}, out=tmp_path / "regions")
    stage = open_stage(Bundle.open(folder), "fine")
    ct = make_ct((50, 33, 20))
    data = preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage).data
    ours = logits_of(stage, "1", data)
    assert ours.shape[0] == stage.heads == 2
    assert relative_difference(ours, nnunets_logits(stage, data, None)) < 1e-5


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_members_share_the_preprocessed_data_without_changing_it(
    make_ct: MakeCt, bundle: Bundle, fine: Stage, backend: str
) -> None:
    canvas = Canvas.of(preprocess(make_ct((40, 33, 20)).array, (3.0, 1.5, 1.5), fine).data, fine)
    before = canvas.data.copy()
    store = NetworkStore("cpu", backend)

    def predict(fold: str) -> np.ndarray:
        return member_logits(canvas, canvas.tiles, bundle, fine, "fine", fold, store, meter())[0]

    together = [predict(fold) for fold in ("0", "1", "2")]
    assert np.array_equal(canvas.data, before)
    assert np.array_equal(together[2], predict("2"))
    assert not np.allclose(together[0], together[1])


def test_tiles_predicted_together_give_what_they_give_alone(make_ct: MakeCt, fine: Stage) -> None:
    data = preprocess(make_ct((70, 50, 30)).array, (3.0, 1.5, 1.5), fine).data
    assert relative_difference(logits_of(fine, "1", data, batch=4), logits_of(fine, "1", data)) < 1e-5


def test_only_the_tiles_asked_for_are_covered(make_ct: MakeCt, fine: Stage) -> None:
    data = preprocess(make_ct((70, 50, 30)).array, (3.0, 1.5, 1.5), fine).data
    canvas = Canvas.of(data, fine)
    member = load_member(fine, "0")
    logits, covered = sliding_logits(member, canvas, canvas.tiles[:1], fine, meter())
    expected = np.zeros(data.shape[1:], dtype=bool)
    expected[canvas.tiles[0]] = True
    assert np.array_equal(covered, expected)
    assert not logits[:, ~covered].any()
    alone = member.network(canvas.data[None][(slice(None), slice(None), *canvas.tiles[0])])[0]
    np.testing.assert_allclose(logits[:, covered].reshape(alone.shape), alone, rtol=1e-5, atol=1e-5)


def test_half_precision_weights_are_used_as_float32(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with Bundle.open(make_bundle(half=True, out=tmp_path / "half")) as bundle:
        network = load_member(open_stage(bundle, "fine"), "0").network.module
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not network.training


def test_progress_counts_every_tile_and_ends_at_one(make_ct: MakeCt, fine: Stage) -> None:
    data = preprocess(make_ct((60, 40, 20)).array, (3.0, 1.5, 1.5), fine).data
    fractions: list[float] = []
    tiles = 2 * len(Canvas.of(data, fine).tiles)
    counter = TileMeter(tiles, "Testing", lambda fraction, _: fractions.append(fraction), CancelToken())
    for fold in ("0", "1"):
        logits_of(fine, fold, data, counter)
    assert fractions == pytest.approx([(n + 1) / tiles for n in range(tiles)])


@pytest.mark.parametrize("mirror", [False, True])
def test_cancelling_stops_before_the_next_pass_through_a_network(make_ct: MakeCt, fine: Stage, mirror: bool) -> None:
    stage = dataclasses.replace(fine, mirroring=mirror)
    data = preprocess(make_ct((60, 40, 20)).array, (3.0, 1.5, 1.5), stage).data
    canvas = Canvas.of(data, stage)
    cancel = CancelToken()
    member = load_member(stage, "0")
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 2:
            cancel.cancel()

    member.network.module.register_forward_hook(count)
    with pytest.raises(Cancelled):
        sliding_logits(member, canvas, canvas.tiles, stage, TileMeter(9, "Testing", no_progress, cancel))
    assert passes == 2


def test_weights_that_do_not_fit_the_plans_are_named(
    make_bundle: Callable[..., Path], coarse_results: Path, tmp_path: Path
) -> None:
    folder = make_bundle(
        fine=coarse_results, folds=("0",), tumor_weights={"pancreas": 1.0}, vessel_labels={}, out=tmp_path / "b"
    )
    with Bundle.open(folder) as bundle:
        check_weights(bundle)
        stage = open_stage(bundle, "fine")
        stage.configuration["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 12]
        with raises_error(BundleError, "weights-misfit", "fold_0", "plans.json"):
            load_member(stage, "0")


def test_a_network_that_cannot_be_built_is_a_bundle_error(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with Bundle.open(make_bundle(out=tmp_path / "b")) as bundle:
        stage = open_stage(bundle, "fine")
        stage.configuration["architecture"]["arch_kwargs"]["nonlin_kwargs"] = {"alpha": 1.0}
        with raises_error(BundleError, "network-not-built"):
            build_network(stage)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_values_that_are_not_finite_are_noticed(make_ct: MakeCt, bundle: Bundle, fine: Stage, backend: str) -> None:
    data = preprocess(make_ct((32, 32, 16)).array, (3.0, 1.5, 1.5), fine).data
    data[0, 0, 0, 0] = np.inf
    canvas = Canvas.of(data, fine)
    store = NetworkStore("cpu", backend)
    with raises_error(BundleError, "values-not-finite", "fold_0"):
        member_logits(canvas, canvas.tiles, bundle, fine, "fine", "0", store, meter())
