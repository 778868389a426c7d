"""Bundles are made from nnU-Net's results folders, complete or not at all, and never run a stranger's code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twintrack.bundle import Bundle
from twintrack.bundle_create import create_bundle
from twintrack.bundle_plans import architecture_name, check_plans, label_channels
from twintrack.bundle_weights import read_checkpoint
from twintrack.errors import BundleError, InputError, OutputError

MakeBundle = Callable[..., Path]


class Evil:
    """Unpickling this runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.marker}'",))


@pytest.fixture
def results(fine_results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fine_results, tmp_path / fine_results.name))


def change_checkpoint(folder: Path, change: Callable[[dict[str, Any]], None], fold: int = 0) -> Path:
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    checkpoint = read_checkpoint(path, foreign=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def test_weights_are_kept_bit_for_bit_and_the_optimizer_is_not(bundle_folder: Path, fine_results: Path) -> None:
    kept = read_checkpoint(bundle_folder / "fine/fold_1/checkpoint_final.pth")
    trained = read_checkpoint(fine_results / "fold_1/checkpoint_final.pth", foreign=True)
    assert set(kept) == {"network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes"}
    assert kept["network_weights"].keys() == trained["network_weights"].keys()
    for name, tensor in trained["network_weights"].items():
        assert torch.equal(kept["network_weights"][name], tensor)


def test_half_precision_halves_the_weights(make_bundle: MakeBundle, bundle_folder: Path, tmp_path: Path) -> None:
    half = make_bundle(out=tmp_path / "half", half=True)
    name = "fine/fold_0/checkpoint_final.pth"
    small, full = (read_checkpoint(folder / name)["network_weights"] for folder in (half, bundle_folder))
    assert all(tensor.dtype == torch.float16 for tensor in small.values())
    for key, tensor in full.items():
        assert torch.equal(small[key], tensor.half())

    def stored(weights: dict[str, torch.Tensor]) -> int:
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in weights.values()}.values())

    assert stored(small) * 2 == stored(full)


def test_the_encoder_that_nnunet_lists_twice_is_stored_once(bundle_folder: Path) -> None:
    weights = read_checkpoint(bundle_folder / "fine/fold_0/checkpoint_final.pth")["network_weights"]
    twins = [name for name in weights if name.startswith("decoder.encoder.")]
    assert twins
    for name in twins:
        assert weights[name].data_ptr() == weights[name.removeprefix("decoder.")].data_ptr()


def test_a_checkpoint_with_code_in_it_is_refused_by_name_and_does_nothing(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    change_checkpoint(results, lambda checkpoint: checkpoint.update(note=Evil(marker)), fold=2)
    with pytest.raises(BundleError, match=r"fold_2.*'(posix|nt)\.system'"):
        make_bundle(fine=results, out=tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bundle_checkpoint_with_code_in_it_is_refused_and_does_nothing(tmp_path: Path, legacy: bool) -> None:
    path, marker = tmp_path / "checkpoint_final.pth", tmp_path / "ran"
    torch.save(
        {"network_weights": {"a": torch.ones(1)}, "x": Evil(marker)}, path, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(BundleError, match="system"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused_and_does_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / "checkpoint_final.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"network_weights": Evil(marker)}))
    with pytest.raises(BundleError):
        read_checkpoint(path, foreign=True)
    assert not marker.exists()


def test_numpy_values_are_let_through_from_training_but_not_in_a_bundle(fine_results: Path) -> None:
    path = fine_results / "fold_0/checkpoint_final.pth"
    assert read_checkpoint(path, foreign=True)["_best_ema"] == np.float64(0.5)
    with pytest.raises(BundleError, match="numpy"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"junk" * 100, b"PK\x03\x04junk"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"checkpoint_final.pth: not a checkpoint"):
        read_checkpoint(path)


def test_weights_that_are_not_finite_or_too_large_for_half_are_refused(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    def enlarge(checkpoint: dict[str, Any]) -> None:
        next(iter(checkpoint["network_weights"].values())).fill_(1e5)

    change_checkpoint(results, enlarge)
    make_bundle(fine=results, out=tmp_path / "full")
    with pytest.raises(BundleError, match="not finite as float16"):
        make_bundle(fine=results, out=tmp_path / "half", half=True)


def test_weights_trained_with_other_plans_than_the_file_beside_them_are_refused(
    results: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    plans = json.loads((results / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 1.5, 1.5]
    (results / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(BundleError, match="spacing differ"):
        make_bundle(fine=results, out=tmp_path / "out")


def test_a_failure_leaves_nothing_behind(results: Path, make_bundle: MakeBundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(BundleError, match="fold_7"):
        make_bundle(fine=results, folds=("0", "7"), out=home / "out")
    with pytest.raises(BundleError, match="no label 'lesion'"):
        make_bundle(fine=results, tumor_labels=("lesion",), out=home / "out")
    with pytest.raises(InputError, match="no such folder"):
        make_bundle(fine=tmp_path / "nowhere", out=home / "out")
    assert list(home.iterdir()) == []


def test_an_existing_bundle_is_never_overwritten(make_bundle: MakeBundle, bundle_folder: Path) -> None:
    before = (bundle_folder / "bundle.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        make_bundle(out=bundle_folder)
    assert (bundle_folder / "bundle.json").read_bytes() == before


def test_a_bundle_can_be_written_as_a_zip(make_bundle: MakeBundle, bundle_folder: Path, tmp_path: Path) -> None:
    path = make_bundle(out=tmp_path / "tiny.zip")
    assert zipfile.is_zipfile(path)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]
    with Bundle.open(path) as bundle:
        assert bundle.describe()["stages"] == Bundle.open(bundle_folder).describe()["stages"]


def test_a_calibrator_is_taken_along_and_must_be_json(make_bundle: MakeBundle, tmp_path: Path) -> None:
    calibrator = tmp_path / "mine.json"
    calibrator.write_text('{"knots_x": [0, 1]}')
    path = Bundle.open(make_bundle(calibrator=calibrator, out=tmp_path / "with")).calibrator_path
    assert path is not None
    assert path.read_bytes() == calibrator.read_bytes()
    calibrator.write_text("no")
    with pytest.raises(InputError, match=r"mine.json"):
        make_bundle(calibrator=calibrator, out=tmp_path / "bad")


def test_a_model_of_regions_needs_exactly_one_tumour_region(
    make_bundle: MakeBundle, region_results: Path, tmp_path: Path
) -> None:
    values = {"fine": region_results, "folds": ("0", "1"), "vessel_labels": {}}
    assert Bundle.open(make_bundle(**values, out=tmp_path / "one")).members == 2
    with pytest.raises(BundleError, match="exactly one tumour region"):
        make_bundle(**values, tumor_labels=("tumor", "gland"), out=tmp_path / "two")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("network_class_name",), "os.system", "'os.system' is not supported"),
        (("network_class_name",), "x.dynamic_network_architectures.architectures.unet.PlainConvUNet", "not supported"),
        (("arch_kwargs", "conv_op"), "os.system", "'conv_op' = 'os.system' is not on the list"),
        (("arch_kwargs", "nonlin"), "torch.hub.load", "'nonlin' = 'torch.hub.load' is not on the list"),
        (("arch_kwargs", "norm_op"), "torch.nn.modules.os.system", "not on the list"),
        (("_kw_requires_import",), ["n_stages"], "'n_stages' = 3 is not on the list"),
        (("_kw_requires_import",), ["conv_op", ["nonlin"]], "not on the list"),
    ],
)
def test_plans_can_name_only_parts_that_are_on_the_list(
    results: Path, path: tuple[str, ...], value: object, words: str
) -> None:
    plans = json.loads((results / "plans.json").read_text())
    entry = plans["configurations"]["3d_fullres"]["architecture"]
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(BundleError, match=words):
        check_plans(plans, "3d_fullres", "plans.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preprocessor_name": "Mine"}, "preprocessor 'Mine'"),
        ({"resampling_fn_data": "system"}, "resampling_fn_data 'system'"),
        ({"normalization_schemes": ["Mine"]}, "normalization_schemes must be one of"),
        ({"patch_size": [64, 64]}, "a 3-D model"),
        ({"patch_size": [0, 64, 64]}, "three numbers from 1"),
        ({"spacing": [1.0, 1.0, float("nan")]}, "three lengths"),
        ({"previous_stage": "3d_lowres"}, "cascade"),
        ({"inherits_from": "3d_fullres"}, "inherits from itself"),
        ({"inherits_from": "gone"}, "no configuration 'gone'"),
    ],
)
def test_plans_that_this_engine_cannot_run_are_refused(results: Path, changes: dict[str, Any], words: str) -> None:
    plans = json.loads((results / "plans.json").read_text())
    plans["configurations"]["3d_fullres"].update(changes)
    with pytest.raises(BundleError, match=words):
        check_plans(plans, "3d_fullres", "plans.json")


def test_inherited_configurations_are_merged_with_the_childs_values_on_top(results: Path) -> None:
    plans = json.loads((results / "plans.json").read_text())
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": [8, 8, 8]}
    merged = check_plans(plans, "mine", "plans.json")
    assert merged["patch_size"] == [8, 8, 8]
    assert merged["spacing"] == [3.0, 1.5, 1.5]


@pytest.mark.parametrize("labels", [{"background": 0, "b": 2, "a": 1}, {"background": 0, "all": [1, 2], "b": [2]}])
def test_channels_are_those_of_nnunets_label_manager(labels: dict[str, Any]) -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, [1, 2])
    channels = label_channels({"labels": labels, "regions_class_order": [1, 2]})
    for name, value in labels.items():
        if manager.has_regions and value != 0:
            assert manager.foreground_regions[channels[name]] == tuple(value)
        elif not manager.has_regions:
            assert manager.all_labels[channels[name]] == value
    assert len(set(channels.values())) == manager.num_segmentation_heads


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_the_public_two_stage_models_plans_are_accepted_in_both_formats(test_data: Path, stage: str) -> None:
    plans = json.loads((test_data / "reference/panorama_plans" / stage / "plans.json").read_text())
    configuration = check_plans(plans, "3d_fullres", "plans.json")
    assert architecture_name(configuration, "plans.json") == "PlainConvUNet"
    with pytest.raises(BundleError, match="a 3-D model"):
        check_plans(plans, "2d", "plans.json")


def test_create_needs_keywords_for_everything_but_the_two_models(coarse_results: Path, fine_results: Path) -> None:
    with pytest.raises(TypeError):
        create_bundle(coarse_results, fine_results, "out")  # type: ignore[misc]
