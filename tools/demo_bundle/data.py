"""Phantoms as nnU-Net training data: raw volumes, plans of a small network, preprocessed cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.io.volumes import write_volume
from twintrack.phantom import LABELS, PhantomCase, make_phantom
from twintrack.training.presets import StageSettings, TrainingImages, make_plans
from twintrack.volume import Geometry, Volume

DATASETS = {"coarse": "Dataset801_PhantomCoarse", "fine": "Dataset802_PhantomFine"}
STAGE_LABELS: dict[str, dict[str, int]] = {"coarse": {"background": 0, "pancreas": 1}, "fine": LABELS}


def write_raw_case(seed: int, config: dict[str, Any], raw: Path, tendency: float) -> None:
    """Write one phantom as a training case of both stages (skipped when already there)."""
    name = f"phantom_{seed:05d}"
    done = raw / DATASETS["fine"] / "labelsTr" / f"{name}.nii.gz"
    if done.exists():
        return
    # One reader with a fixed, generous hand draws all training tumours, as single-rater training data are in practice.
    case = make_phantom(seed, raters=1, tendencies=(tendency,))
    fine = _with_reader(case)
    coarse = np.isin(fine, (LABELS["pancreas"], LABELS["tumor"])).astype(np.uint8)
    box = _training_box(coarse > 0, case.ct.geometry, config["crop_margin_mm"], np.random.default_rng([seed, 9]))
    for stage, labels, where in (("coarse", coarse, None), ("fine", fine, box)):
        folder = raw / DATASETS[stage]
        image, truth = case.ct, case.ct.with_array(labels)
        if where is not None:
            image, truth = _cropped(image, where), _cropped(truth, where)
        for kind, volume, file in (("imagesTr", image, f"{name}_0000"), ("labelsTr", truth, name)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_volume(volume, folder / kind / f"{file}.nii.gz")


def prepare_stage(stage: str, config: dict[str, Any], raw: Path, preprocessed: Path) -> dict[str, Any]:
    """Fingerprint, plan and preprocess one stage with nnU-Net's own code; return the plans."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    source, target = raw / DATASETS[stage], preprocessed / DATASETS[stage]
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (source / "labelsTr").glob("*.nii.gz"))
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": STAGE_LABELS[stage],
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    intensities: list[np.ndarray] = []
    for name in names:
        image, _ = SimpleITKIO().read_images([str(source / "imagesTr" / f"{name}_0000.nii.gz")])
        labels, _ = SimpleITKIO().read_seg(str(source / "labelsTr" / f"{name}.nii.gz"))
        found, _ = DatasetFingerprintExtractor.collect_foreground_intensities(labels, image, num_samples=20000)
        intensities.append(found[0])
    plans = _plans(stage, config[stage], np.concatenate(intensities))
    _save(target / "dataset.json", dataset)
    _save(
        target / "dataset_fingerprint.json",
        {"foreground_intensity_properties_per_channel": plans["foreground_intensity_properties_per_channel"]},
    )
    _save(target / "splits_final.json", _splits(names, config))
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    folder = target / configuration.data_identifier
    folder.mkdir(exist_ok=True)
    preprocessor = DefaultPreprocessor(verbose=False)
    for name in names:
        if not (folder / f"{name}.b2nd").exists():
            images = [str(source / "imagesTr" / f"{name}_0000.nii.gz")]
            labels = str(source / "labelsTr" / f"{name}.nii.gz")
            preprocessor.run_case_save(str(folder / name), images, labels, manager, configuration, dataset)
    _save(target / "nnUNetPlans.json", plans)
    return plans


def _with_reader(case: PhantomCase) -> np.ndarray:
    """Replace the median tumour of the anatomy map by what the training reader drew."""
    anatomy = case.anatomy.array.copy()
    anatomy[anatomy == LABELS["tumor"]] = LABELS["pancreas"]
    anatomy[case.annotations[0].array > 0] = LABELS["tumor"]
    return anatomy


def _training_box(
    mask: np.ndarray, geometry: Geometry, margin_mm: list[float], rng: np.random.Generator
) -> tuple[slice, slice, slice]:
    """Box (z, y, x) around the gland with a margin drawn per side, as stage 2 will see it."""
    slices = []
    for axis, step in zip(range(3), reversed(geometry.spacing_mm), strict=True):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = (int(rng.uniform(*margin_mm) / step) for _ in range(2))
        slices.append(slice(max(0, int(hit[0]) - low), min(mask.shape[axis], int(hit[-1]) + 1 + high)))
    return slices[0], slices[1], slices[2]


def _cropped(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    start = [part.start for part in reversed(box)]
    array = np.ascontiguousarray(volume.array[box])
    origin = volume.geometry.to_lps_mm(np.asarray(start))
    geometry = Geometry(array.shape[::-1], volume.geometry.spacing_mm, tuple(origin.tolist()))
    return Volume(array, geometry)


def _plans(stage: str, settings: dict[str, Any], intensities: np.ndarray) -> dict[str, Any]:
    """nnU-Net plans of a small plain U-Net with one 3-D configuration."""
    numbers = StageSettings(
        settings["epochs"],
        settings["iterations_per_epoch"],
        settings["batch_size"],
        tuple(settings["spacing_zyx_mm"]),
        tuple(settings["patch_size"]),
        tuple(settings["features"]),
    )
    images = TrainingImages(intensities, [numbers.patch_size], [numbers.spacing_mm])
    return make_plans(numbers, images, {}) | {"dataset_name": DATASETS[stage]}


def _splits(names: list[str], config: dict[str, Any]) -> list[dict[str, list[str]]]:
    """One split per member: each leaves out other cases, all members see most of the data."""
    count = config["validation_cases"]
    splits = []
    for fold in range(config["split_folds"]):
        held_out = names[fold * count : (fold + 1) * count]
        splits.append({"train": [name for name in names if name not in held_out], "val": held_out})
    return splits


def _save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
