"""Results folders of every kind that nnU-Net's own trainer leaves become bundles at the first try."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from expected_errors import raises_error
from twintrack.bundle.checkpoints import read_checkpoint
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, InputError
from twintrack.studies.make_bundle.create import BundleCard, StageSource, check_bundle, create_bundle
from twintrack.studies.make_bundle.nnunet_results import find_results

pytestmark = pytest.mark.process

TRAINER = "nnUNetTrainer_Loss_CE_checkpoints"
LABELS = {"background": 0, "tumor": 1, "veins": 2, "pancreas": 3}

TrainAs = Callable[..., Path]


def old_format(plans: dict[str, Any]) -> dict[str, Any]:
    """The same plans as nnU-Net wrote them before 2.5, with the network spread over the configuration."""
    plans = copy.deepcopy(plans)
    configuration = plans["configurations"]["3d_fullres"]
    network = configuration.pop("architecture")["arch_kwargs"]
    return plans | {
        "configurations": {
            "3d_fullres": configuration
            | {
                "UNet_class_name": "PlainConvUNet",
                "UNet_base_num_features": network["features_per_stage"][0],
                "unet_max_num_features": 320,
                "n_conv_per_stage_encoder": network["n_conv_per_stage"],
                "n_conv_per_stage_decoder": network["n_conv_per_stage_decoder"],
                "num_pool_per_axis": [1, 2, 2],
                "pool_op_kernel_sizes": network["strides"],
                "conv_kernel_sizes": network["kernel_sizes"],
            }
        }
    }


def residual_encoder(plans: dict[str, Any]) -> dict[str, Any]:
    """The same plans as nnU-Net's residual-encoder planners write them."""
    plans = copy.deepcopy(plans)
    network = plans["configurations"]["3d_fullres"]["architecture"]
    network["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    network["arch_kwargs"]["n_blocks_per_stage"] = network["arch_kwargs"].pop("n_conv_per_stage")
    return plans | {"plans_name": "nnUNetResEncUNetMPlans", "experiment_planner_used": "nnUNetPlannerResEncM"}


@pytest.fixture
def train_as(tmp_path: Path, tiny_plans, tiny_dataset, monkeypatch: pytest.MonkeyPatch) -> TrainAs:
    """Return a function that lets nnU-Net's own trainer make a network, log an epoch and save its checkpoint."""
    import numpy as np
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
    from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerCELoss import nnUNetTrainerCELoss

    def train(
        plans: dict[str, Any] | None = None,
        *,
        base: type = nnUNetTrainerCELoss,
        name: str = TRAINER,
        labels: dict[str, Any] | None = None,
        beside: dict[str, Any] | None = None,
        folds: tuple[int | str, ...] = (0,),
        names: tuple[str, ...] = ("checkpoint_final.pth",),
    ) -> Path:
        plans, dataset = plans or tiny_plans(), tiny_dataset(labels or LABELS)
        home = tmp_path / "nnUNet_results" / plans["dataset_name"]
        folder = home / f"{name}__{plans['plans_name']}__3d_fullres"
        for fold in folds:
            given = copy.deepcopy(plans) | {"continue_training": False}
            trainer = type(name, (base,), {})(given, "3d_fullres", fold, copy.deepcopy(dataset), torch.device("cpu"))
            assert Path(trainer.output_folder) == folder / f"fold_{fold}"
            trainer.preprocessed_dataset_folder = str(preprocessed)
            trainer.initialize()
            trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
            sum(parameter.mean() for parameter in trainer.network.parameters()).backward()
            trainer.optimizer.step()
            trainer.logger.log("train_losses", np.float32(0.5), 0)
            trainer.logger.log("val_losses", np.mean([0.25, 0.5]), 0)
            trainer.logger.log("dice_per_class_or_region", [np.float64(0.1), np.float32(0.2), np.nan], 0)
            trainer.logger.log("mean_fg_dice", np.nanmean([0.1, 0.2]), 0)
            trainer._best_ema = trainer.logger.get_value("ema_fg_dice", 0)
            for file in names:
                trainer.save_checkpoint(str(folder / f"fold_{fold}" / file))
        (folder / "plans.json").write_text(json.dumps(beside or plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return folder

    preprocessed = tmp_path / "preprocessed"
    preprocessed.mkdir()
    (preprocessed / "case.b2nd").touch()
    monkeypatch.setenv("nnUNet_compile", "f")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "nnUNet_results"))
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    monkeypatch.setattr(module.nnUNetTrainer, "print_to_log_file", lambda *_, **__: None)
    return train


def bundle_of(fine: Path, coarse: Path, out: Path, *, folds: tuple[str, ...] = ("0",), **values: Any) -> Bundle:
    source = {key: values.pop(key) for key in ("checkpoint", "fingerprint") if key in values}
    card = BundleCard(name="mine", license="CC0-1.0", **values)
    return Bundle.open(create_bundle(StageSource(coarse, ("0",)), StageSource(fine, folds, **source), card, out=out))


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
@pytest.mark.parametrize("change", [None, old_format, residual_encoder])
def test_plans_of_every_format_that_the_trainer_accepts_make_a_bundle(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path, tiny_plans, change
) -> None:
    plans = change(tiny_plans()) if change else tiny_plans()
    bundle = bundle_of(train_as(plans), coarse_results, tmp_path / "bundle")
    check_bundle(bundle)
    expected = "ResidualEncoderUNet" if change is residual_encoder else "PlainConvUNet"
    assert bundle.describe()["stages"]["fine"]["architecture"] == expected


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
def test_weights_trained_with_old_plans_fit_the_same_plans_in_the_new_format(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path, tiny_plans
) -> None:
    fine = train_as(old_format(tiny_plans()), beside=tiny_plans())
    check_bundle(bundle_of(fine, coarse_results, tmp_path / "bundle"))


def test_a_model_of_regions_makes_a_bundle(train_as: TrainAs, coarse_results: Path, tmp_path: Path) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    fine = train_as(labels={"background": 0, "gland": [1, 2], "tumor": [2]}, base=nnUNetTrainer)
    check_bundle(bundle_of(fine, coarse_results, tmp_path / "bundle"))


def test_nothing_but_weights_and_mirror_axes_is_taken_from_the_trainers_checkpoint(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    fine = train_as()
    trained = read_checkpoint(fine / "fold_0/checkpoint_final.pth", foreign=True)
    assert trained["optimizer_state"]["state"]
    assert trained["logging"]["train_losses"] == [0.5]
    bundle = bundle_of(fine, coarse_results, tmp_path / "bundle", mirroring=True)
    kept = read_checkpoint(bundle.path / "fine/fold_0/checkpoint_final.pth")
    assert set(kept) == {"network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes"}
    assert kept["inference_allowed_mirroring_axes"] == (0, 1, 2)
    assert bundle.origins["fine"] == {"trainer": TRAINER, "checkpoint": "checkpoint_final.pth"}
    for name, tensor in trained["network_weights"].items():
        assert torch.equal(kept["network_weights"][name], tensor)


@pytest.mark.network
def test_a_bundles_models_are_still_results_folders_for_nnunet_itself(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    fine = train_as(base=nnUNetTrainer, name="nnUNetTrainer", folds=(0, 1))
    bundle = bundle_of(fine, coarse_results, tmp_path / "bundle", folds=("0", "1"))
    patch, logits = torch.rand(1, 1, 16, 32, 32), []
    for folder in (fine, bundle.stage_folder("fine")):
        predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0, 1), "checkpoint_final.pth")
        assert predictor.allowed_mirroring_axes == (0, 1, 2)
        for weights in predictor.list_of_parameters:
            predictor.network.load_state_dict(weights)
            with torch.inference_mode():
                logits.append(predictor.network.eval()(patch))
    assert torch.equal(logits[0], logits[2])
    assert torch.equal(logits[1], logits[3])
    assert not torch.equal(logits[0], logits[1])


def test_the_checkpoint_that_is_asked_for_is_taken(train_as: TrainAs, coarse_results: Path, tmp_path: Path) -> None:
    fine = train_as(names=("checkpoint_final.pth", "checkpoint_best.pth"))
    best = fine / "fold_0/checkpoint_best.pth"
    content = read_checkpoint(best, foreign=True)
    for tensor in content["network_weights"].values():
        tensor.fill_(0.25)
    torch.save(content, best)
    for name, wanted in (("checkpoint_best.pth", True), ("checkpoint_final.pth", False)):
        bundle = bundle_of(fine, coarse_results, tmp_path / name, checkpoint=name)
        weights = read_checkpoint(bundle.path / "fine/fold_0/checkpoint_final.pth")["network_weights"]
        assert all(bool((tensor == 0.25).all()) for tensor in weights.values()) is wanted
        assert bundle.origins["fine"]["checkpoint"] == name


def test_a_missing_fold_or_checkpoint_is_answered_with_those_that_are_there(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    fine = train_as(folds=(0, "all"), names=("checkpoint_best.pth", "checkpoint_latest.pth"))
    with raises_error(InputError, "fold-missing", "fold_3"):
        bundle_of(fine, coarse_results, tmp_path / "bundle", folds=("3",))
    with raises_error(
        InputError, "checkpoint-missing", "checkpoint_final.pth", "checkpoint_best.pth, checkpoint_latest.pth"
    ):
        bundle_of(fine, coarse_results, tmp_path / "bundle")
    with raises_error(InputError, "checkpoint-missing"):
        bundle_of(fine, coarse_results, tmp_path / "bundle", checkpoint="../fold_all/checkpoint_best.pth")
    bundle = bundle_of(fine, coarse_results, tmp_path / "all", folds=("all",), checkpoint="checkpoint_best.pth")
    assert bundle.folds["fine"] == ("all",)


def test_the_datasets_folder_will_do_and_summaries_beside_the_model_are_not_taken_for_one(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    fine = train_as()
    summary = fine / "crossval_results_folds_0_1_2_3_4"
    summary.mkdir()
    for name in ("plans.json", "dataset.json"):
        shutil.copy(fine / name, summary / name)
    shutil.copytree(summary, fine.parent / summary.name)
    (fine.parent / "inference_information.json").write_text("{}")
    assert find_results(fine.parent) == fine
    bundle = bundle_of(fine.parent, coarse_results, tmp_path / "bundle")
    assert not [name for name in bundle.files if "crossval" in name]
    shutil.copytree(fine, fine.with_name("nnUNetTrainer__nnUNetPlans__3d_lowres"))
    with raises_error(InputError, "several-models", TRAINER, "3d_lowres"):
        find_results(fine.parent)
    with raises_error(InputError, "not-nnunet-results", "v2"):
        find_results(fine / "fold_0")


def test_names_of_training_files_stay_behind(train_as: TrainAs, coarse_results: Path, tmp_path: Path) -> None:
    fine = train_as()
    dataset = json.loads((fine / "dataset.json").read_text())
    private = {"dataset": {"DOE_JOHN": {"images": ["/home/x/DOE_JOHN.nii.gz"]}}, "training": [{"image": "DOE_JOHN"}]}
    (fine / "dataset.json").write_text(json.dumps(dataset | private))
    bundle = bundle_of(fine, coarse_results, tmp_path / "bundle")
    assert bundle.read_json("fine", "dataset.json") == dataset
    assert not [path for path in bundle.path.rglob("*.json") if "DOE" in path.read_text()]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_names_from_distributed_or_compiled_training_are_unwrapped(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path, prefix: str
) -> None:
    fine = train_as()
    path = fine / "fold_0/checkpoint_final.pth"
    content = read_checkpoint(path, foreign=True)
    names = set(content["network_weights"])
    content["network_weights"] = {prefix + name: tensor for name, tensor in content["network_weights"].items()}
    torch.save(content, path)
    bundle = bundle_of(fine, coarse_results, tmp_path / "bundle")
    assert set(read_checkpoint(bundle.path / "fine/fold_0/checkpoint_final.pth")["network_weights"]) == names


def test_weights_that_do_not_fit_their_plans_are_refused_before_a_bundle_appears(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    fine = train_as()
    plans = json.loads((fine / "plans.json").read_text())
    network = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [4, 8, 32]
    (fine / "plans.json").write_text(json.dumps(plans))
    with raises_error(BundleError, "weights-misfit"):
        bundle_of(fine, coarse_results, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_mirroring_is_refused_for_networks_that_were_not_trained_for_it(
    train_as: TrainAs, coarse_results: Path, tmp_path: Path
) -> None:
    fine = train_as()
    path = fine / "fold_0/checkpoint_final.pth"
    torch.save(read_checkpoint(path, foreign=True) | {"inference_allowed_mirroring_axes": None}, path)
    with raises_error(InputError, "bundle-mirroring"):
        bundle_of(fine, coarse_results, tmp_path / "bundle", mirroring=True)
