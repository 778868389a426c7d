"""What is measured on: a CT of a clinical size, the demo bundle, and one of PANORAMA's size with random weights."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.errors import RoiError
from twintrack.inference import Roi, roi_box
from twintrack.inference.localize import localize
from twintrack.inference.network_store import NetworkStore
from twintrack.volume import Geometry, Volume

__all__ = ["Model", "box_in_the_middle", "clock", "find_region", "make_ct", "panorama_plans", "random_bundle", "wait"]

SPACING_MM = (0.75, 0.75, 1.0)
"""Of a CT of the abdomen; x, y, z."""

SEED = 45000
"""A phantom that nothing was trained, calibrated or tested on."""


@dataclass(frozen=True)
class Model:
    """A bundle to measure with, and the size of the region for it where stage 1 finds none."""

    name: str
    bundle: Bundle
    box_mm: tuple[float, float, float]


def make_ct(size: tuple[int, int, int]) -> Volume:
    """Return a phantom's CT (HU, int16) on a grid of `size` (x, y, z), with noise of its own voxels."""
    import SimpleITK as sitk

    from twintrack.phantom import make_phantom

    ct = make_phantom(SEED).ct.to_sitk()
    middle = ct.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in ct.GetSize()])
    target = sitk.Image(size, sitk.sitkInt16)
    target.SetSpacing(SPACING_MM)
    target.SetOrigin([c - (n - 1) / 2 * s for c, n, s in zip(middle, size, SPACING_MM, strict=True)])
    fine = sitk.GetArrayFromImage(sitk.Resample(ct, target, sitk.Transform(), sitk.sitkLinear, -1000, sitk.sitkFloat32))
    fine += np.random.default_rng(SEED).standard_normal(fine.shape, dtype=np.float32) * 8
    return Volume(np.rint(fine).astype(np.int16), Geometry(size, SPACING_MM, target.GetOrigin()))


def find_region(ct: Volume, model: Model, store: NetworkStore) -> tuple[Roi, bool]:
    """Return stage 1's region, or where it finds none a box in the middle; and whether stage 1 found it."""
    try:
        return localize(ct, model.bundle, store=store), True
    except RoiError:
        return box_in_the_middle(ct.geometry, model.box_mm), False


def box_in_the_middle(geometry: Geometry, box_mm: tuple[float, float, float]) -> Roi:
    """Return a box of a size (x, y, z) in mm, as far as it lies within the CT."""
    edges: list[int] = []
    for size, step, wanted in zip(geometry.size, geometry.spacing_mm, box_mm, strict=True):
        length = min(size, max(1, round(wanted / step)))
        edges += [(size - length) // 2, (size - length) // 2 + length]
    return roi_box(geometry, edges)


def random_bundle(plans: Path | None, scratch: Path, members: int) -> Path:
    """Make a bundle with random weights by the plans in a folder, or of PANORAMA's size.

    The folder has ``plans.json`` and ``dataset.json`` of the ensemble, or those in ``fine`` and stage 1's in
    ``coarse``; where there are none of stage 1 the demo's are taken.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Testing" / "benchmarks"))
    from random_bundle import random_bundle as make

    plans = plans or panorama_plans(scratch / "plans")
    fine = plans / "fine" if (plans / "fine").is_dir() else plans
    coarse = plans / "coarse" if (plans / "coarse").is_dir() else demo_bundle_path() / "coarse"
    return make(coarse, fine, scratch / "random", members)


def panorama_plans(folder: Path) -> Path:
    """Write plans of the size of PANORAMA's published ensemble: the demo's with another patch, voxel size and depth."""
    folder.mkdir(parents=True)
    plans: dict[str, Any] = json.loads((demo_bundle_path() / "fine" / "plans.json").read_text("utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(patch_size=[48, 128, 288], spacing=[1.5, 0.747, 0.747])
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=6,
        features_per_stage=[32, 64, 128, 256, 320, 320],
        kernel_sizes=[[1, 3, 3]] + [[3, 3, 3]] * 5,
        strides=strides,
        n_conv_per_stage=[2] * 6,
        n_conv_per_stage_decoder=[2] * 5,
    )
    labels = ("background", "tumor", "veins", "arteries", "pancreas", "pancreatic duct", "common bile duct")
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {name: value for value, name in enumerate(labels)},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    return folder


def wait(device: str) -> None:
    """Wait until the card has done what it was asked for."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def clock(device: str, call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall seconds of a call, the card's work included, and its result."""
    wait(device)
    start = time.perf_counter()
    found = call()
    wait(device)
    return time.perf_counter() - start, found
