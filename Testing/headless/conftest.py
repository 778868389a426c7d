"""Tiny nnU-Net results folders with random weights, laid out as nnU-Net's own training leaves them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COARSE_LABELS = {"background": 0, "pancreas": 1}
FINE_LABELS = {"background": 0, "tumor": 1, "pancreas": 2, "portal vein": 3, "sma": 4}
REGION_LABELS = {"background": 0, "gland": [1, 2], "tumor": [2]}

INTENSITIES = {
    "max": 3025.0,
    "mean": 40.0,
    "median": 59.0,
    "min": -1099.0,
    "percentile_00_5": -150.0,
    "percentile_99_5": 250.0,
    "std": 90.0,
}

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def make_plans(**changes: Any) -> dict[str, Any]:
    """Return plans of a three-stage network of 4, 8 and 16 features; `changes` go into its configuration."""
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 32, 32],
        "median_image_size_in_voxels": [20.0, 40.0, 40.0],
        "spacing": [3.0, 1.5, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1, "force_separate_z": False},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [4, 8, 16],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
                "n_conv_per_stage": [1, 1, 1],
                "n_conv_per_stage_decoder": [1, 1],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    configuration.update(changes)
    return copy.deepcopy(
        {
            "dataset_name": "Dataset999_Tiny",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "experiment_planner_used": "ExperimentPlanner",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
            "configurations": {"3d_fullres": configuration},
        }
    )


def make_dataset(labels: dict[str, Any]) -> dict[str, Any]:
    """Return a ``dataset.json`` for one CT channel."""
    dataset: dict[str, Any] = {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(value, list) for value in labels.values()):
        dataset["regions_class_order"] = list(range(1, len(labels)))
    return dataset


def save_checkpoint(path: Path, plans: dict[str, Any], dataset: dict[str, Any], seed: int) -> None:
    """Write a checkpoint with all that nnU-Net's trainer keeps in one, its numpy values included."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    torch.manual_seed(seed)
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        LabelManager(dataset["labels"], dataset.get("regions_class_order")).num_segmentation_heads,
        deep_supervision=True,
    )
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    path.parent.mkdir(parents=True)
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99).state_dict(),
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.3), np.float32(0.4)], "dice_per_class": [np.arange(3.0)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer_Custom",
        "inference_allowed_mirroring_axes": (0, 2),
    }
    torch.save(checkpoint, path)


@pytest.fixture(scope="session")
def tiny_plans() -> Callable[..., dict[str, Any]]:
    """`make_plans`."""
    return make_plans


@pytest.fixture(scope="session")
def tiny_dataset() -> Callable[..., dict[str, Any]]:
    """`make_dataset`."""
    return make_dataset


MakeResults = Callable[..., Path]


@pytest.fixture(scope="session")
def make_results(tmp_path_factory: pytest.TempPathFactory) -> MakeResults:
    """Return a function that writes a results folder: plans, dataset and one checkpoint a fold."""

    def make(labels: dict[str, Any], *, folds: int = 1, seed: int = 0, plans: dict[str, Any] | None = None) -> Path:
        folder = tmp_path_factory.mktemp("results") / "nnUNetTrainer_Custom__nnUNetPlans__3d_fullres"
        folder.mkdir()
        plans = plans or make_plans()
        dataset = make_dataset(labels)
        (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
        (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
        for fold in range(folds):
            save_checkpoint(folder / f"fold_{fold}" / "checkpoint_final.pth", plans, dataset, seed + fold)
        return folder

    return make


@pytest.fixture(scope="session")
def coarse_results(make_results: MakeResults) -> Path:
    """A coarse model of pancreas against background."""
    spacing = {"spacing": [3.0, 2.0, 2.0]}
    return make_results(COARSE_LABELS, plans=make_plans(**spacing), seed=10)


@pytest.fixture(scope="session")
def fine_results(make_results: MakeResults) -> Path:
    """A fine model with three folds and five exclusive labels."""
    return make_results(FINE_LABELS, folds=3, seed=20)


@pytest.fixture(scope="session")
def region_results(make_results: MakeResults) -> Path:
    """A fine model with two folds whose two classes overlap (sigmoid outputs)."""
    return make_results(REGION_LABELS, folds=2, seed=30)


MakeBundle = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bundle(coarse_results: Path, fine_results: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """Return a function that makes a bundle of the tiny models; keywords go where `create_bundle` takes them."""

    def make(
        *,
        coarse: Path = coarse_results,
        fine: Path = fine_results,
        out: Path | None = None,
        folds: tuple[str, ...] = ("0", "1", "2"),
        coarse_folds: tuple[str, ...] = ("0",),
        checkpoint: str = "checkpoint_final.pth",
        calibrator: Path | None = None,
        half: bool = False,
        **card: Any,
    ) -> Path:
        from twintrack.studies.make_bundle.create import BundleCard, StageSource, create_bundle

        about = {"name": "tiny", "license": "CC0-1.0", "vessel_labels": {"SMA": "sma", "PORTA": "portal vein"}, **card}
        return create_bundle(
            StageSource(coarse, coarse_folds),
            StageSource(fine, folds, checkpoint),
            BundleCard(**about),
            out=out or tmp_path_factory.mktemp("bundle") / "tiny",
            calibrator=calibrator,
            half=half,
        )

    return make


@pytest.fixture(scope="session")
def bundle_folder(make_bundle: MakeBundle) -> Path:
    """The tiny bundle; tests that alter it take a copy."""
    return make_bundle()


@pytest.fixture(scope="session")
def plain_bundle(make_bundle: MakeBundle) -> Path:
    """The tiny bundle without vessels: a run takes a second.

    What random networks take for vessels winds through the whole region; measuring and drawing it takes ten times as
    long as all the rest of a run.
    """
    return make_bundle(vessel_labels={})
