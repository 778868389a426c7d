"""The way from a CT in memory to the map, and `segment` with a loaded model: seconds by stage, memory, waiting."""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from gpu_check.inputs import Model, clock, find_region, wait
from twintrack.calibration import read_calibrator
from twintrack.inference import NetworkStore, Roi, localize, score_ensemble
from twintrack.inference.execution import Execution
from twintrack.inference.loaded_model import LoadedModel
from twintrack.inference.nnunet_model import open_stage
from twintrack.inference.preprocess import Preprocessed, preprocess
from twintrack.inference.sliding_window import Canvas, member_logits
from twintrack.inference.tiling import TileMeter
from twintrack.pipeline import segment
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.settings import SegmentSettings
from twintrack.volume import Volume

__all__ = ["host_peak_mb", "segment_twice", "synchronizations", "whole_rows", "whole_stages", "whole_ways"]

# The functions of these modules are wrapped to take the time; a package's name may be that of its function.
STAGE_1, STAGE_2 = (importlib.import_module(f"twintrack.inference.{name}") for name in ("localize", "ensemble"))


def whole_ways() -> dict[str, Execution]:
    """Return the ways to run the whole: as the product does, without each part of it, and plain."""
    names = ("prepare_on_card", "label_on_card", "events", "graph", "benchmark", "channels_last")
    without = {f"without {name}": replace(Execution(), **{name: False}) for name in names}
    sizes = {f"batch {batch}": replace(Execution(), batch=batch) for batch in (1, 2, 8)}
    once = {"as in one run (cold_s counts)": Execution().once()}
    return {"as the product": Execution(), "plain": Execution.plain(), **once, **without, **sizes}


def whole_rows(
    model: Model, ct: Volume, device: str, ways: dict[str, Execution], left_s: Callable[[], float]
) -> list[dict[str, Any]]:
    """Return a row for each way: the second run of three at least, CT in memory to map."""
    rows = []
    for name, execution in ways.items():
        keys = ("map_s", "localize_s", "ensemble_s", "calibrate_s", "networks_s", "networks_share", "cold_s", "tiles")
        row: dict[str, Any] = {"model": model.name, "way": name} | dict.fromkeys((*keys, "peak_mb", "reserved_mb"))
        rows.append(row)
        if left_s() <= 0 or (device != "cuda" and name != "as the product"):
            continue
        store = NetworkStore(device, "auto", execution=execution)
        region, found = find_region(ct, model, store)
        cold = _run(model, ct, device, store, region, found)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        warm = min((_run(model, ct, device, store, region, found) for _ in range(2)), key=lambda run: run["map_s"])
        row |= warm | {"cold_s": cold["map_s"]}
        if device == "cuda":
            row["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
            row["reserved_mb"] = torch.cuda.max_memory_reserved() / 2**20
            del store
            torch.cuda.empty_cache()
    return rows


def whole_stages(model: Model, ct: Volume, device: str) -> list[dict[str, Any]]:
    """Return the seconds of each stage of a warm run in which the device is waited for at every border."""
    store = NetworkStore(device, "auto")
    region, found = find_region(ct, model, store)
    _run(model, ct, device, store, region, found)
    with _timers(device) as seconds:
        run = _run(model, ct, device, store, region, found)
    seconds["calibration, and all else"] = run["map_s"] - sum(seconds.values())
    each_s, _ = clock(device, lambda: score_ensemble(ct, region, model.bundle, store=store, keep_each=True))
    seconds["(the ensemble with each member's own maps, as segment wants it)"] = each_s
    return [{"model": model.name, "stage": name, "seconds": value} for name, value in seconds.items()]


def segment_twice(model: Model, ct: Volume, device: str) -> list[dict[str, Any]]:
    """Return the stages of `segment` in a loaded model: the first run, and the two after it."""
    loaded = LoadedModel(model.bundle)
    settings = SegmentSettings(device=device, calibrate=model.bundle.calibrator_path is not None)
    store = loaded.store(settings)
    region, found = find_region(ct, model, store)
    if not found:
        box = tuple(edge for pair in zip(region.start, region.stop, strict=True) for edge in pair)
        settings = replace(settings, roi=box)
    rows = []
    for name in ("first", "warm", "warm again"):
        seconds, result = clock(device, lambda: segment(ct, model.bundle, settings, store=store))
        rows.append({"model": model.name, "run": name, "seconds": seconds} | result.seconds)
    return rows


def synchronizations(model: Model, ct: Volume, device: str) -> dict[str, Any]:
    """Count how often the host waits for the card in one member, by torch's own account, and its tiles."""
    store = NetworkStore(device, "auto")
    stage = open_stage(model.bundle, "fine")
    region, _ = find_region(ct, model, store)
    crop = ct.array[region.slices]
    case = preprocess(crop, ct.geometry.spacing_mm[::-1], stage, device=store.prepares_on)
    canvas, fold = Canvas.of(case.data, stage), model.bundle.folds["fine"][0]
    meter = TileMeter(2 * len(canvas.tiles), "Counting", no_progress, CancelToken())
    arguments = (canvas, canvas.tiles, model.bundle, stage, "fine", fold, store, meter)
    member_logits(*arguments)  # makes what is made once
    if device != "cuda":
        return {"model": model.name, "waits": None, "tiles": len(canvas.tiles)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            member_logits(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchroniz" in str(warning.message) for warning in told)
    return {"model": model.name, "waits": waits, "tiles": len(canvas.tiles)}


def _run(model: Model, ct: Volume, device: str, store: NetworkStore, region: Roi, find: bool) -> dict[str, Any]:
    """Take a CT in memory to the map once; stage 1 is run, and its region taken, if it finds one."""
    begun = time.perf_counter()
    with _networks() as networks:
        if find:
            localize_s, region = clock(device, lambda: localize(ct, model.bundle, store=store))
        else:
            predict = STAGE_1.predict_organ
            localize_s, _ = clock(
                device,
                lambda: predict(ct, model.bundle, store, progress=no_progress, cancel=CancelToken()).organ(None),
            )
        ensemble_s, scored = clock(device, lambda: score_ensemble(ct, region, model.bundle, store=store))
    path = model.bundle.calibrator_path
    calibrator = None if path is None else read_calibrator(path)
    calibrate_s, _ = clock(device, lambda: calibrator(scored.score) if calibrator else scored.score)
    whole = localize_s + ensemble_s + calibrate_s
    return {
        "map_s": whole,
        "localize_s": localize_s,
        "ensemble_s": ensemble_s,
        "calibrate_s": calibrate_s,
        "networks_s": networks[0],
        "networks_share": networks[0] / whole,
        "tiles": scored.tiles,
        "region": " x ".join(str(b - a) for a, b in zip(region.start, region.stop, strict=True)),
        "clock_s": time.perf_counter() - begun,
        "notes": list(scored.notes),
    }


@contextmanager
def _networks() -> Iterator[list[float]]:
    """Add up the seconds in the networks of both stages."""
    seconds = [0.0]

    def counted(plain: Any) -> Any:
        def call(*arguments: Any) -> Any:
            meter = arguments[-1]
            before = meter.network_s
            found = plain(*arguments)
            seconds[0] += meter.network_s - before
            return found

        return call

    with _replaced([(stage, "member_logits", counted(stage.member_logits)) for stage in (STAGE_1, STAGE_2)]):
        yield seconds


@contextmanager
def _timers(device: str) -> Iterator[dict[str, float]]:
    """Take the seconds of each stage without those of the stages inside it."""
    seconds: dict[str, float] = {}
    inside: list[float] = []

    def timed(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            wait(device)
            start = time.perf_counter()
            inside.append(0.0)
            found = function(*arguments, **options)
            wait(device)
            took = time.perf_counter() - start
            seconds[name] = seconds.get(name, 0.0) + took - inside.pop()
            if inside:
                inside[-1] += took
            return found

        return call

    places = [
        (STAGE_1, "preprocess", "prepare the CT"),
        (STAGE_2, "preprocess_region", "prepare the region"),
        (STAGE_1, "member_logits", "stage 1: tiles"),
        (STAGE_2, "member_logits", "ensemble: tiles"),
        (STAGE_2, "_pool", "ensemble: pool"),
        (STAGE_2, "vessel_map", "vessels"),
        (STAGE_1, "predict_organ", "stage 1: the rest"),
        (STAGE_1, "_organ", "stage 1: organ"),
        (STAGE_1, "dilated_roi", "stage 1: region"),
        (Preprocessed, "to_grid", "to the CT's grid"),
    ]
    with _replaced([(place, name, timed(title, getattr(place, name))) for place, name, title in places]):
        yield seconds


@contextmanager
def _replaced(places: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(place, name, getattr(place, name)) for place, name, _ in places]
    try:
        for place, name, new in places:
            setattr(place, name, new)
        yield
    finally:
        for place, name, old in reversed(before):
            setattr(place, name, old)


def host_peak_mb() -> float | None:
    """Return the largest main memory of this process so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
