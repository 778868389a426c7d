"""How far the map, and the fractions that people read, depend on what runs the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gpu_check.forward import full_float32
from gpu_check.inputs import SEED, Model, box_in_the_middle
from twintrack.errors import RoiError
from twintrack.inference import NetworkStore
from twintrack.inference.execution import Execution, Precision
from twintrack.inference.openvino import openvino_present
from twintrack.phantom import make_phantom
from twintrack.pipeline import Segmentation, segment
from twintrack.settings import SegmentSettings
from twintrack.volume import Volume

__all__ = ["FRACTIONS_AGREE", "agreement_rows", "fractions", "phantoms"]

FRACTIONS_AGREE = 0.02
"""Largest difference of a fraction of readers that is none."""

REFERENCE = "torch CPU"


def agreement_rows(
    model: Model, cts: Iterable[tuple[str, Volume]], device: str, left_s: Callable[[], float]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each engine against torch on the CPU, and one for each case and engine.

    Each engine segments each CT (name, HU) as the product does, with stage 1, skipping and calibration.
    """
    stores = _stores(device, model)
    cases: list[dict[str, Any]] = []
    for case, ct in cts:
        if left_s() <= 0:
            break
        reference = _segmented(ct, model, REFERENCE, stores[REFERENCE])
        for name, store in stores.items():
            if name != REFERENCE:
                found = _segmented(ct, model, name, store)
                cases.append({"engine": name, "case": case} | _compared(reference, found))
    rows = [_row(name, [case for case in cases if case["engine"] == name]) for name in (*ENGINES[1:],)]
    return rows, cases


HALF = "half precision, emulated"
ENGINES = (REFERENCE, "OpenVINO", "GPU", "GPU, float32", HALF)


def _stores(device: str, model: Model) -> dict[str, NetworkStore]:
    stores = {REFERENCE: NetworkStore("cpu", "torch")}
    if openvino_present():
        stores["OpenVINO"] = NetworkStore("cpu", "openvino")
    if device == "cuda":
        stores["GPU"] = NetworkStore("cuda", "torch")
        stores["GPU, float32"] = NetworkStore(
            "cuda", "torch", execution=replace(Execution(), precision=Precision.FLOAT32)
        )
    else:
        stores[HALF] = NetworkStore("cpu", "torch")
        stores[HALF].load_all(model.bundle)
        for member in stores[HALF]._members.values():
            _round_to_half(member.network.module)
    return stores


def _round_to_half(module: torch.nn.Module) -> None:
    """Let a network on the CPU round as a card in half precision: weights, input, and the output of every layer.

    Sums stay float32, as in a card's matrix units; in which order a card adds is not known here.
    """
    layers = (torch.nn.Conv3d, torch.nn.ConvTranspose3d, torch.nn.InstanceNorm3d, torch.nn.LeakyReLU)
    for part in module.modules():
        if isinstance(part, layers[:2]):
            for parameter in part.parameters():
                parameter.data = parameter.data.half().float()
        if isinstance(part, layers):
            part.register_forward_hook(lambda _part, _input, output: output.half().float())
    module.register_forward_pre_hook(lambda _part, inputs: tuple(each.half().float() for each in inputs))


def _segmented(ct: Volume, model: Model, name: str, store: NetworkStore) -> Segmentation:
    backend = "openvino" if name == "OpenVINO" else "torch"
    settings = SegmentSettings(
        device="cuda" if name.startswith("GPU") else "cpu",
        backend=backend,
        calibrate=model.bundle.calibrator_path is not None,
    )
    with full_float32() if "float32" in name else nullcontext():
        try:
            return segment(ct, model.bundle, settings, store=store)
        except RoiError:  # of a network that knows no pancreas
            box = box_in_the_middle(ct.geometry, model.box_mm)
            edges = tuple(edge for pair in zip(box.start, box.stop, strict=True) for edge in pair)
            return segment(ct, model.bundle, replace(settings, roi=edges), store=store)


def phantoms(count: int) -> Iterator[tuple[str, Volume]]:
    """Yield the name and the CT of phantoms that nothing was trained, calibrated or tested on."""
    for seed in range(SEED, SEED + count):
        yield str(seed), make_phantom(seed).ct


def _compared(reference: Segmentation, found: Segmentation) -> dict[str, Any]:
    difference = np.abs(reference.probability.array.astype(np.float64) - found.probability.array)
    read, expected = (dict(fractions(each.invasion.to_json() if each.invasion else {})) for each in (found, reference))
    both = [key for key in expected if key in read]
    changes = [abs(read[key] - expected[key]) for key in both]
    looked = np.maximum(reference.probability.array, found.probability.array) > 0
    return {
        "p_max": float(difference.max()),
        "p_mean": float(difference[looked].mean()) if looked.any() else 0.0,
        "score_max": float(np.abs(reference.score.array - found.score.array).max()),
        "labels_differ": int(np.count_nonzero(reference.labels.array != found.labels.array)),
        "fractions": len(both),
        "fraction_max": max(changes, default=0.0),
        "beyond": sum(change > FRACTIONS_AGREE for change in changes),
        "told_by_one": len(set(read) ^ set(expected)),
        "worst": max(both, key=lambda key: abs(read[key] - expected[key]), default=""),
        "notes": list(found.engine["notes"]),
    }


def fractions(invasion: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each fraction of readers that the content of an ``invasion.json`` states of a vessel, with its name."""
    for vessel, content in invasion.get("vessels", {}).items():
        for key in ("p_contact", "p_encased"):
            if content.get(key) is not None:
                yield f"{vessel} {key}", float(content[key])
        for angle, value in zip(invasion["fraction_angles_deg"], content.get("fraction_over") or (), strict=False):
            yield f"{vessel} over {angle} degrees", float(value)
        for category, value in (content.get("category_probability") or {}).items():
            yield f"{vessel} {category}", float(value)


def _row(name: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"engine": name, "cases": len(cases)}
    keys = ("p_max", "p_mean", "score_max", "labels_differ", "fractions", "fraction_max", "beyond", "told_by_one")
    if not cases:
        return row | dict.fromkeys((*keys, "worst"))
    worst = max(cases, key=lambda case: case["fraction_max"])
    row |= {key: max(case[key] for case in cases) for key in ("p_max", "score_max", "fraction_max")}
    row["p_mean"] = float(np.mean([case["p_mean"] for case in cases]))
    row |= {key: sum(case[key] for case in cases) for key in ("labels_differ", "fractions", "beyond", "told_by_one")}
    row["worst"] = f"{worst['case']}: {worst['worst']}"
    return row
