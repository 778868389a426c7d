"""Stock nnU-Net on the same weights, region and tiles: its `nnUNetPredictor`, and the way around it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_check.inputs import Model, box_in_the_middle, clock
from twintrack.inference import NetworkStore, score_ensemble
from twintrack.inference.arrays import to_device
from twintrack.inference.nnunet_model import Stage, load_member, nnunet_managers, open_stage
from twintrack.inference.preprocess import preprocess
from twintrack.inference.sliding_window import Canvas, member_logits
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.volume import Volume

__all__ = ["against_stock"]


def against_stock(model: Model, ct: Volume, device: str, export_s: float) -> dict[str, Any]:
    """Return the seconds of both, warm, over a box in the middle of the CT, all members.

    ``tiles_s`` is from preprocessed data to logits, each where it has them: ours on the card, stock's before and after
    each member in main memory. The whole is preprocessing, tiles and all class probabilities on
    the CT's voxels; resampling those, on the processor's cores as nnU-Net does it, is stopped after `export_s`, and
    what was reached then is a lower bound.
    """
    box = box_in_the_middle(ct.geometry, model.box_mm)
    crop = np.ascontiguousarray(ct.array[box.slices])
    spacing = ct.geometry.spacing_mm[::-1]
    stage = open_stage(model.bundle, "fine")
    data = preprocess(crop, spacing, stage).data
    ours_s, ours = _ours(model, stage, data, device)
    theirs_s, theirs, tiles = _theirs(model, stage, data, device)
    store = NetworkStore(device, "auto")
    for _ in range(2):
        whole_s, _ = clock(device, lambda: score_ensemble(ct, box, model.bundle, store=store, skip_below=0))
    prepared_s, properties = _prepared(stage, crop, spacing)
    exported_s, complete = _exported(stage, theirs, properties, export_s)
    stock_s = prepared_s + theirs_s + exported_s
    return {
        "model": model.name,
        "region": " x ".join(map(str, box.shape[::-1])),
        "members": len(model.bundle.folds["fine"]),
        "tiles_a_member": tiles,
        "ours_tiles_s": ours_s,
        "stock_tiles_s": theirs_s,
        "tiles_ratio": theirs_s / ours_s,
        "ours_whole_s": whole_s,
        "stock_prepare_s": prepared_s,
        "stock_export_s": exported_s,
        "stock_whole_s": stock_s,
        "stock_export_complete": complete,
        "whole_ratio": stock_s / whole_s,
        "largest_difference_of_logits": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
    }


def _ours(model: Model, stage: Stage, data: np.ndarray, device: str) -> tuple[float, np.ndarray]:
    store = NetworkStore(device, "auto")
    canvas = Canvas.of(to_device(data, device), stage)
    meter = TileMeter(1, "Measuring", no_progress, CancelToken())

    def predict() -> Any:
        total: Any = None
        for fold in model.bundle.folds["fine"]:
            logits = member_logits(canvas, canvas.tiles, model.bundle, stage, "fine", fold, store, meter)[0]
            total = logits if total is None else total + logits
        return total / len(model.bundle.folds["fine"])

    clock(device, predict)
    seconds, mean = min((clock(device, predict) for _ in range(2)), key=lambda run: run[0])
    return seconds, mean if isinstance(mean, np.ndarray) else mean.cpu().numpy()


def _theirs(model: Model, stage: Stage, data: np.ndarray, device: str) -> tuple[float, np.ndarray, int]:
    """Return what nnU-Net's predictor takes for the mean of the members' logits, that mean, and its tiles."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    modules = [load_member(stage, fold).network.module for fold in model.bundle.folds["fine"]]
    predictor = nnUNetPredictor(
        use_mirroring=stage.mirroring,
        perform_everything_on_device=device == "cuda",
        device=torch.device(device),
        allow_tqdm=False,
    )
    axes = load_member(stage, model.bundle.folds["fine"][0]).mirror_axes or None
    weights = [module.state_dict() for module in modules]
    predictor.manual_initialization(
        modules[0],
        *nnunet_managers(stage),
        [{k: v.clone() for k, v in each.items()} for each in weights],
        stage.dataset,
        "nnUNetTrainer",
        axes if stage.mirroring else None,
    )
    tensor = torch.from_numpy(np.ascontiguousarray(data))

    def predict() -> torch.Tensor:
        return predictor.predict_logits_from_preprocessed_data(tensor)

    clock(device, predict)
    seconds, mean = min((clock(device, predict) for _ in range(2)), key=lambda run: run[0])
    padded = [max(size, patch) for size, patch in zip(data.shape[1:], stage.patch, strict=True)]
    return seconds, mean.float().numpy(), len(predictor._internal_get_sliding_window_slicers(tuple(padded)))


def _prepared(stage: Stage, crop: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, dict[str, Any]]:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    start = time.perf_counter()
    _, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        crop[None], None, {"spacing": list(spacing)}, *nnunet_managers(stage), stage.dataset
    )
    return time.perf_counter() - start, properties


def _exported(stage: Stage, logits: np.ndarray, properties: dict[str, Any], limit_s: float) -> tuple[float, bool]:
    """Bring logits to the CT's voxels as probabilities, in a process of its own that can be stopped."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "logits.npy"
        np.save(path, logits)
        context = multiprocessing.get_context("spawn")  # a fork of a process that uses a card cannot
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_export, args=(stage, path, properties, sender), daemon=True)
        process.start()
        ready = receiver.poll(60) and receiver.recv() == "begins"
        start = time.perf_counter()
        complete = bool(ready and receiver.poll(max(limit_s, 1)))
        seconds = receiver.recv() if complete else time.perf_counter() - start
        process.terminate()
        process.join()
        return float(seconds), complete


def _export(stage: Stage, path: Path, properties: dict[str, Any], sender: Any) -> None:
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    logits = torch.from_numpy(np.load(path))
    plans, configuration = nnunet_managers(stage)
    labels = plans.get_label_manager(stage.dataset)
    sender.send("begins")
    start = time.perf_counter()
    convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        plans,
        configuration,
        labels,
        properties,
        return_probabilities=True,
        num_threads_torch=os.cpu_count() or 1,
    )
    sender.send(time.perf_counter() - start)
