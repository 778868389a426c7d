"""Measure once, on a machine with an NVIDIA GPU, what the GPU path does: ``python tools/gpu_check.py``.

It takes ten minutes at most: after nine (``--minutes``) no step is begun, and what was skipped is said. The figures are
kept in a JSON file after each step. Measured are the forward of a network with each switch of
`twintrack.inference.execution.Execution` alone and with all, against a matrix product; the way from a CT in memory to
the map, by stages; `segment` with a loaded model; stock nnU-Net on the same weights and tiles; the peak of memory; and
how far maps and fractions of readers depend on what runs the networks. At the end it is said which targets are met.

Without a GPU it shows that it runs: what needs one reads "not measured".
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from gpu_check.agreement import FRACTIONS_AGREE, agreement_rows, phantoms
from gpu_check.forward import forward_rows, matrix_tflops
from gpu_check.inputs import Model, make_ct, random_bundle
from gpu_check.report import Report, Verdict, table
from gpu_check.stock import against_stock
from gpu_check.whole import host_peak_mb, segment_twice, synchronizations, whole_rows, whole_stages, whole_ways
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.inference import select_device

LARGE, DEMO = "large", "demo"
EXPORT_S = 60.0
"""How long stock nnU-Net may resample its probabilities."""


def main() -> int:
    """Measure, tell, and return 0: missed targets are a finding, not a failure of the check."""
    options = _options()
    report = Report(options.json, time.monotonic() + 60 * options.minutes)
    device = select_device(options.device)
    report.step("machine", lambda: _machine(device))
    with tempfile.TemporaryDirectory() as scratch:
        large = report.step("random weights", lambda: str(random_bundle(options.plans, Path(scratch), options.members)))
        with Bundle.open(options.bundle) as demo:
            models = [Model(DEMO, demo, options.box)]
            if large is not None:
                models.insert(0, Model(LARGE, Bundle.open(large), options.box))
            _measure(report, models, device, options)
            for model in models[:-1]:
                model.bundle.close()
    report.content["host_peak_mb"] = host_peak_mb()
    verdicts = _verdicts(report.content)
    report.content["verdicts"] = [vars(verdict) | {"word": verdict.word} for verdict in verdicts]
    report.write()
    _tell(report, verdicts)
    return 0


def _measure(report: Report, models: list[Model], device: str, options: argparse.Namespace) -> None:
    """Run the steps, those first that the targets are about."""
    on_gpu = device == "cuda"

    def left_s() -> float:
        return report.left_s

    ct = report.step("CT", lambda: make_ct(options.size))
    report.content["CT"] = {"size": list(options.size)}
    size = 8192 if on_gpu else 512
    products = {"float16": torch.float16, "float32": torch.float32} if on_gpu else {"float32": torch.float32}
    matrix = report.step(
        "matrix product", lambda: {name: matrix_tflops(device, kind, size) for name, kind in products.items()}
    )
    speed = (matrix or {}).get("float16" if on_gpu else "float32")
    product_way = {"as the product": whole_ways()["as the product"]}
    for model in models:
        report.step(f"whole, {model.name}", lambda model=model: whole_rows(model, ct, device, product_way, left_s))
    for model in models:
        report.step(
            f"stock, {model.name}", lambda model=model: against_stock(model, ct, device, min(EXPORT_S, left_s() / 4))
        )
    for model in models:
        report.step(
            f"forward, {model.name}", lambda model=model: forward_rows(model, device, options.batches, speed, left_s)
        )
    report.step("segment", lambda: segment_twice(models[-1], ct, device))
    for model in models:
        report.step(f"stages, {model.name}", lambda model=model: whole_stages(model, ct, device))
        report.step(f"waits, {model.name}", lambda model=model: synchronizations(model, ct, device))
    # A third of what is left is for the ways of the whole, the rest for the phantoms.
    until_s = report.left_s * 2 / 3
    others = {name: way for name, way in whole_ways().items() if name not in product_way}
    report.step("ways", lambda: whole_rows(models[0], ct, device, others, lambda: report.left_s - until_s))
    vessels = {name: others[name] for name in ("plain", "without label_on_card")}  # the large one predicts none
    report.step(f"ways, {DEMO}", lambda: whole_rows(models[-1], ct, device, vessels, left_s))
    report.step("agreement", lambda: agreement_rows(models[-1], phantoms(options.phantoms), device, left_s))


def _verdicts(content: dict[str, Any]) -> list[Verdict]:
    """Return the targets, for each model; on a CPU nothing is known of them."""
    verdicts = []
    for name in (LARGE, DEMO):
        measured = content["machine"].get("gpu") is not None
        whole, stock = content.get(f"whole, {name}"), content.get(f"stock, {name}")
        row = whole[0] if measured and isinstance(whole, list) else {}
        peer = stock if measured and isinstance(stock, dict) else {}
        verdicts += [
            Verdict(f"{name}: CT in memory to map, s", row.get("map_s"), 3.0, at_most=True),
            Verdict(f"{name}: networks' share of it", row.get("networks_share"), 0.6, at_most=False),
            Verdict(f"{name}: stock's time over ours, tiles", peer.get("tiles_ratio"), 3.0, at_most=False),
            Verdict(f"{name}: stock's time over ours, CT to map", peer.get("whole_ratio"), 3.0, at_most=False),
        ]
        waits = content.get(f"waits, {name}")
        found = waits.get("waits") if isinstance(waits, dict) else None
        tiles = waits.get("tiles") if isinstance(waits, dict) else None
        share = None if found is None or not tiles else found / tiles
        verdicts.append(Verdict(f"{name}: waits of the host a tile", share, 0.5, at_most=True))
    agreement = content.get("agreement")
    for row in agreement[0] if isinstance(agreement, list | tuple) else []:
        verdicts.append(
            Verdict(f"fractions of readers, {row['engine']}", row["fraction_max"], FRACTIONS_AGREE, at_most=True)
        )
    return verdicts


def _tell(report: Report, verdicts: list[Verdict]) -> None:
    content = report.content
    for name in ("machine", "matrix product"):
        print(table(name, [content[name]]))
    for name, found in content.items():
        if isinstance(found, list) and found and isinstance(found[0], dict) and name != "verdicts":
            print(table(name, found))
        elif name.startswith(("stock", "waits")) and isinstance(found, dict):
            print(table(name, [{"what": key, "value": value} for key, value in found.items()]))
    agreement = content.get("agreement")
    if isinstance(agreement, list | tuple):
        print(table("agreement with torch on the CPU", agreement[0]))
    lines = [
        {"target": v.target, "found": v.found, "asked": f"{'<=' if v.at_most else '>='} {v.limit}", "": v.word}
        for v in verdicts
    ]
    print(table("verdict", lines))


def _machine(device: str) -> dict[str, Any]:
    on_gpu = device == "cuda"
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "gpu_memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9 if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="after these no step is begun")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"), help="where the figures are kept")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument("--size", type=_numbers(int, 3), default=(512, 512, 300), help="voxels of the CT, x,y,z")
    parser.add_argument("--box", type=_numbers(float, 3), default=(240.0, 190.0, 130.0), help="region in mm, x,y,z")
    parser.add_argument("--batches", type=_numbers(int), default=(1, 2, 4, 8, 16), help="patches in a forward")
    parser.add_argument("--members", type=int, default=3, help="networks of the bundle with random weights")
    parser.add_argument("--phantoms", type=int, default=20, help="cases of the agreement")
    parser.add_argument("--bundle", type=Path, default=demo_bundle_path(), help="in place of the demo bundle")
    plans = "folder with plans.json and dataset.json of the network with random weights; by default PANORAMA's size"
    parser.add_argument("--plans", type=Path, help=plans)
    return parser.parse_args()


def _numbers(kind: type, count: int | None = None) -> Any:
    def read(text: str) -> tuple[Any, ...]:
        values = tuple(kind(part) for part in text.split(","))
        if count is not None and len(values) != count:
            raise ValueError(f"{count} numbers with commas between them are needed, got {text!r}")
        return values

    return read


if __name__ == "__main__":
    sys.exit(main())
