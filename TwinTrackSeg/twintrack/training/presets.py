"""How large the networks are and how long they learn: numbers of the presets, and the plans that nnU-Net reads."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "CONFIGURATION",
    "PRESETS",
    "Preset",
    "StageSettings",
    "TrainingImages",
    "make_plans",
    "nnunet_folders",
    "training_bytes",
]

CONFIGURATION = "3d_fullres"
"""Name of the one configuration in the plans."""

DATASET = "Dataset001_Raters"

PLANNED_BYTES = 8e9
"""Memory for which nnU-Net's planner chooses patch and network."""

OUTPUT_COPIES = 4
"""Copies of the network's outputs that a loss makes: probabilities, their logarithm, and the target."""

Triple = tuple[float, float, float]


class Preset(str, Enum):
    """Sizes on offer."""

    TINY = "tiny"
    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True)
class StageSettings:
    """Numbers of one stage's networks.

    Attributes
    ----------
    epochs, iterations : int
        Length of the training: epochs, and steps of one.
    batch_size : int
        Patches of a step.
    spacing_mm : tuple of float or None
        Voxels of the network, (z, y, x); None: as nnU-Net's planner decides, with all that follows.
    patch_size : tuple of int
        Voxels that the network sees at once, (z, y, x).
    features : tuple of int
        Channels of each resolution.
    thin_start : bool
        Whether the finest resolution looks within slices alone and only once: a third of the time.
    rate : float or None
        AdamW's first learning rate; None: nnU-Net's own optimizer and rate. Within a thousand steps AdamW learns small
        classes that nnU-Net's optimizer does not reach.
    """

    epochs: int
    iterations: int
    batch_size: int = 2
    spacing_mm: Triple | None = None
    patch_size: tuple[int, int, int] = (128, 128, 128)
    features: tuple[int, ...] = ()
    thin_start: bool = False
    rate: float | None = 2e-3


@dataclass(frozen=True)
class PresetSettings:
    """Numbers of a preset.

    Attributes
    ----------
    fine, coarse : StageSettings
        By stage.
    members : int
        Networks of the ensemble, unless the user says how many; of each rater one.
    """

    fine: StageSettings
    coarse: StageSettings
    members: int


_COARSE = StageSettings(
    epochs=12, iterations=50, spacing_mm=(5.0, 4.0, 4.0), patch_size=(32, 64, 64), features=(8, 16, 32, 64)
)

PRESETS: Mapping[Preset, PresetSettings] = {
    Preset.TINY: PresetSettings(
        StageSettings(
            epochs=25,
            iterations=20,
            spacing_mm=(3.0, 2.0, 2.0),
            patch_size=(16, 64, 64),
            features=(8, 16, 32),
            thin_start=True,
            rate=4e-3,
        ),
        StageSettings(
            epochs=15,
            iterations=20,
            spacing_mm=(6.0, 5.0, 5.0),
            patch_size=(32, 48, 64),
            features=(8, 16, 32),
            thin_start=True,
            rate=4e-3,
        ),
        members=1,
    ),
    Preset.SMALL: PresetSettings(
        StageSettings(
            epochs=40, iterations=50, spacing_mm=(2.0, 1.6, 1.6), patch_size=(24, 64, 64), features=(8, 16, 32, 64)
        ),
        _COARSE,
        members=3,
    ),
    Preset.FULL: PresetSettings(
        StageSettings(epochs=200, iterations=250, rate=None),
        StageSettings(
            epochs=60,
            iterations=100,
            spacing_mm=(5.0, 4.0, 4.0),
            patch_size=(48, 96, 96),
            features=(16, 32, 64, 128),
        ),
        members=3,
    ),
}


@dataclass(frozen=True)
class TrainingImages:
    """What is measured of the training images of a stage.

    Attributes
    ----------
    intensities_hu : numpy.ndarray
        Sample of the voxels inside labels.
    shapes, spacings_mm : sequence of tuple
        Of each image, (z, y, x).
    """

    intensities_hu: np.ndarray
    shapes: Sequence[tuple[int, ...]]
    spacings_mm: Sequence[Triple]

    def fingerprint(self) -> dict[str, Any]:
        """Return nnU-Net's ``dataset_fingerprint.json``."""
        values = self.intensities_hu
        low, median, high = (float(np.percentile(values, q)) for q in (0.5, 50, 99.5))
        properties = {
            "max": float(values.max()),
            "mean": float(values.mean()),
            "median": median,
            "min": float(values.min()),
            "percentile_00_5": low,
            "percentile_99_5": high,
            "std": float(values.std()),
        }
        return {
            "foreground_intensity_properties_per_channel": {"0": properties},
            "median_relative_size_after_cropping": 1.0,
            "shapes_after_crop": [[int(n) for n in shape] for shape in self.shapes],
            "spacings": [[float(mm) for mm in spacing] for spacing in self.spacings_mm],
        }


def make_plans(settings: StageSettings, images: TrainingImages, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return nnU-Net plans of one 3-D configuration: a small plain U-Net, or what nnU-Net's own planner decides."""
    if settings.spacing_mm is None:
        return _planned(images, dataset)
    shape = np.median(images.shapes, axis=0).round().astype(int).tolist()
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": np.median(images.spacings_mm, axis=0).tolist(),
        "original_median_shape_after_transp": shape,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": images.fingerprint()[
            "foreground_intensity_properties_per_channel"
        ],
        "configurations": {CONFIGURATION: _configuration(settings)},
    }


def _configuration(settings: StageSettings) -> dict[str, Any]:
    resampling = {"order_z": 0, "force_separate_z": None}
    patch = list(settings.patch_size)
    return {
        "data_identifier": f"nnUNetPlans_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": settings.batch_size,
        "patch_size": patch,
        "median_image_size_in_voxels": patch,
        "spacing": list(settings.spacing_mm or ()),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3} | resampling,
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1} | resampling,
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1} | resampling,
        "architecture": _architecture(settings),
        "batch_dice": True,
    }


def _architecture(settings: StageSettings) -> dict[str, Any]:
    stages = len(settings.features)
    thin = settings.thin_start
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(settings.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1 if thin else 3, 3, 3]] + [[3, 3, 3]] * (stages - 1),
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [1 if thin else 2] + [2] * (stages - 1),
            "n_conv_per_stage_decoder": [1 if thin else 2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _planned(images: TrainingImages, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Let nnU-Net's planner decide spacing, patch, batch and network, from the fingerprint alone."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    listed = {str(number): {"images": ["-"], "label": "-"} for number in range(len(images.shapes))}
    described = {**dataset, "numTraining": len(listed), "dataset": listed}
    described["overwrite_image_reader_writer"] = "SimpleITKIO"
    with tempfile.TemporaryDirectory() as scratch, nnunet_folders(Path(scratch), processes=1):
        raw, preprocessed = (Path(scratch) / name / DATASET for name in ("raw", "preprocessed"))
        for place, files in (
            (raw, {"dataset.json": described}),
            (preprocessed, {"dataset_fingerprint.json": images.fingerprint()}),
        ):
            place.mkdir(parents=True)
            for name, content in files.items():
                (place / name).write_text(json.dumps(content), encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()):
            plans = ExperimentPlanner(DATASET).plan_experiment()
    plans["configurations"] = {CONFIGURATION: plans["configurations"][CONFIGURATION]}
    return json.loads(json.dumps(plans))


@contextlib.contextmanager
def nnunet_folders(folder: Path, *, processes: int = 0) -> Iterator[None]:
    """Let nnU-Net's variables name places in a folder, and give its augmentation no other process, within the block.

    Its planner takes the number of `processes` for one of threads, of which there must be one.
    """
    wanted = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    wanted |= {"nnUNet_n_proc_DA": str(processes), "nnUNet_compile": "f"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def training_bytes(settings: StageSettings, channels: int) -> float:
    """Return about how much memory a training step takes: what each convolution gives, three times, by batch.

    An output is kept before and after its normalization, and a gradient comes back. Measured with the preset tiny:
    see ADR 47.
    """
    if settings.spacing_mm is None:
        return PLANNED_BYTES
    voxels = prod(settings.patch_size)
    total = float(channels * voxels * OUTPUT_COPIES)
    for number, features in enumerate(settings.features):
        total += 5 * features * voxels / 8**number  # two convolutions down, the concatenation and two convolutions up
    return 3 * 4 * settings.batch_size * total
