"""Scoring one CT with an ensemble of three, against stock nnU-Net doing the same on the same crop.

The peers are nnU-Net's own commands: one ``nnUNetv2_predict`` a member and ``nnUNetv2_ensemble`` (the mean of
probabilities, as in the paper), and the fastest stock way, all folds in one command without worker processes (which
averages logits). Ours is ``twintrack segment --roi full``, from process start with an empty and with a filled cache of
compiled networks, and warm, from the CT in memory to the calibrated map. The maps have to agree, and the table says by
how much they do.

    python Testing/benchmarks/bench_inference.py [--model demo|small|none] [--forward BUNDLE] [--skip-first-row]

``--size 90,70,40`` tries the whole of it on a small crop.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIZE, SPACING_MM = (380, 380, 130), (0.6, 0.45, 1.0)
SEED = 40000
FOLDS = ("0", "1", "2")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Run:
    """Wall time and the largest memory of a command with all its children."""

    seconds: float
    peak_mb: float


class Watch(threading.Thread):
    """Adds up the proportional memory of a process and its descendants a few times a second."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak_kb, self.over = root, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.15):
            self.peak_kb = max(self.peak_kb, sum(self._kb(pid) for pid in self._tree()))

    def _tree(self) -> list[int]:
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.parent.name)] = int(fields[1])
        tree, grown = {self.root}, True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in tree} - tree
            tree, grown = tree | more, bool(more)
        return list(tree)

    @staticmethod
    def _kb(pid: int) -> int:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def command(*arguments: object, cache: Path, results: Path | None = None) -> Run:
    """Run a command to its end; `results` is where nnU-Net looks for models."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "nnUNet_raw": str(cache)}
    environment |= {"nnUNet_preprocessed": str(cache), "nnUNet_results": str(results or cache)}
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(a) for a in arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = Watch(process.pid)
    watch.start()
    output, _ = process.communicate()
    watch.over.set()
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{output}")
    return Run(time.perf_counter() - start, watch.peak_kb / 1024)


def make_crop(path: Path, size: tuple[int, ...] = SIZE) -> None:
    """Write the box around a phantom's pancreas on a grid of a clinical CT's size (x, y, z)."""
    import SimpleITK as sitk

    from twintrack.phantom import LABELS, make_phantom

    case = make_phantom(SEED)
    ct = case.ct.to_sitk()
    organ = np.argwhere(case.anatomy.array == LABELS["pancreas"])
    middle = ((organ.min(axis=0) + organ.max(axis=0)) / 2)[::-1]
    center = ct.TransformContinuousIndexToPhysicalPoint(middle.tolist())
    target = sitk.Image(size, sitk.sitkInt16)
    target.SetSpacing(SPACING_MM)
    target.SetOrigin([c - (n - 1) / 2 * s for c, n, s in zip(center, size, SPACING_MM, strict=True)])
    # Noise on the fine grid: a smoothed phantom would be easier to compress than any CT.
    fine = sitk.Resample(ct, target, sitk.Transform(), sitk.sitkBSpline, -1000, sitk.sitkFloat32)
    noise = np.random.default_rng(SEED).normal(scale=8, size=size[::-1]).astype(np.float32)
    noisy = sitk.GetImageFromArray(np.rint(sitk.GetArrayFromImage(fine) + noise).astype(np.int16))
    noisy.CopyInformation(target)
    sitk.WriteImage(noisy, str(path))


def small_bundle(folder: Path) -> Path:
    """Make a bundle whose fine stage has three stages and random weights, on the demo's grid."""
    from random_bundle import random_bundle

    from twintrack.bundle.model_bundle import demo_bundle_path

    for stage in ("coarse", "fine"):
        shutil.copytree(demo_bundle_path() / stage, folder / stage, ignore=shutil.ignore_patterns("fold_*"))
    path = folder / "fine" / "plans.json"
    plans = json.loads(path.read_text())
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs.update(n_stages=3, features_per_stage=[16, 32, 64])
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        kwargs[key] = kwargs[key][:3]
    kwargs["n_conv_per_stage_decoder"] = kwargs["n_conv_per_stage_decoder"][:2]
    path.write_text(json.dumps(plans))
    return random_bundle(folder / "coarse", folder / "fine", folder / "bundle")


def stock_model(bundle: Path, folder: Path) -> Path:
    """Lay the bundle's fine stage out as nnU-Net's own commands want it; return their folder of results."""
    import torch

    model = folder / "Dataset001_Crop" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(bundle / "fine", model)
    for path in model.glob("fold_*/checkpoint_final.pth"):
        checkpoint = torch.load(path, weights_only=True)
        torch.save(checkpoint | {"trainer_name": "nnUNetTrainer"}, path)
    return folder


def first_row(results: Path, crops: Path, out: Path) -> Run:
    """One command a member, then the mean of their probabilities."""
    outs = [out / fold for fold in FOLDS]
    runs = [
        command(
            *(BIN / "nnUNetv2_predict", "-i", crops, "-o", place, "-d", "1", "-c", "3d_fullres", "-f", fold),
            *("--disable_tta", "--save_probabilities", "-device", "cpu", "--disable_progress_bar"),
            cache=out,
            results=results,
        )
        for fold, place in zip(FOLDS, outs, strict=True)
    ]
    runs.append(command(BIN / "nnUNetv2_ensemble", "-i", *outs, "-o", out / "mean", "--save_npz", cache=out))
    return Run(sum(run.seconds for run in runs), max(run.peak_mb for run in runs))


def second_row(results: Path, crops: Path, out: Path) -> Run:
    """All members in one command without worker processes."""
    return command(
        *(BIN / "nnUNetv2_predict", "-i", crops, "-o", out, "-d", "1", "-c", "3d_fullres", "-f", *FOLDS),
        *("--disable_tta", "--save_probabilities", "-device", "cpu", "-npp", "0", "-nps", "0"),
        "--disable_progress_bar",
        cache=out,
        results=results,
    )


def ours(bundle: Path, crop: Path, out: Path, cache: Path, calibrated: bool) -> Run:
    """The command line, everything included: map, outlines, vessels, pictures, report."""
    options = ["--roi", "full", "--keep-score", "--every-tile"] + ([] if calibrated else ["--no-calibration"])
    return command(
        *(BIN / "twintrack", "segment", crop, "--bundle", bundle, "--out", out, "--device", "cpu", *options),
        cache=cache,
    )


WARM = """
import json, sys, time, resource
from twintrack.bundle.model_bundle import Bundle
from twintrack.inference import NetworkStore, roi_full, localize, score_ensemble
from twintrack.io.ct import load_ct
bundle = Bundle.open(sys.argv[1])
ct = load_ct(sys.argv[2]).volume.to_lps()
for backend in sys.argv[3].split(","):
    store = NetworkStore("cpu", backend)
    region = roi_full(ct.geometry)
    for _ in range(2):
        start = time.perf_counter()
        found = score_ensemble(ct, region, bundle, store=store, skip_below=0)
        total = time.perf_counter() - start
    print(json.dumps([backend, total, found.network_s, found.tiles]), flush=True)
print(json.dumps(["peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0, 0]))
"""


def warm(bundle: Path, crop: Path, cache: Path) -> list[list[Any]]:
    """Score twice in one process, with each backend; return the second times."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WARM, str(bundle), str(crop), "openvino,torch"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def agreement(bundle: Path, out: Path, stock: Path, logits_first: Path) -> str:
    """Compare our pooled score with the peers' probabilities on the CT grid."""
    import SimpleITK as sitk

    from twintrack.bundle.model_bundle import Bundle

    score = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "score.nii.gz")))
    with Bundle.open(bundle) as opened:
        dataset = opened.read_json("fine", "dataset.json")
        channels = [dataset["labels"][name] for name in opened.tumor_labels]
    lines = []
    for name, path in (("mean of probabilities", stock), ("mean of logits", logits_first)):
        if not path.exists():
            continue
        with np.load(path) as content:
            theirs = content["probabilities"][channels].sum(axis=0)
        difference = np.abs(score - theirs)
        doubtful = (theirs > 0.05) & (theirs < 0.95)
        lines.append(
            f"score against stock's {name}: largest difference {difference.max():.4f}, mean {difference.mean():.1e}, "
            f"mean where 0.05 < p < 0.95 {difference[doubtful].mean() if doubtful.any() else 0:.4f} "
            f"({np.count_nonzero(doubtful)} voxels)"
        )
    return "\n".join(lines)


def compare(model: str, skip_first: bool, size: tuple[int, ...]) -> None:
    """Print the table of one model."""
    from twintrack.bundle.model_bundle import demo_bundle_path

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        crops, cache = folder / "crops", folder / "cache"
        crops.mkdir()
        crop = crops / "case_0000.nii.gz"
        make_crop(crop, size)
        bundle = demo_bundle_path() if model == "demo" else small_bundle(folder / "small")
        peer = stock_model(bundle, folder / "model")
        rows: dict[str, Run] = {}
        rows["ours, from process start, empty cache"] = ours(bundle, crop, folder / "a", cache, model == "demo")
        rows["ours, from process start"] = ours(bundle, crop, folder / "a", cache, model == "demo")
        second = second_row(peer, crops, folder / "second")
        first = None if skip_first else first_row(peer, crops, folder / "first")
        times = warm(bundle, crop, cache)
        peak_mb = next(row[1] for row in times if row[0] == "peak")
        print(f"\n{model} model, K = 3, {' x '.join(map(str, size))} voxels")
        print(f"{'':44s}{'seconds':>9s}{'x first':>9s}{'x second':>9s}{'peak MB':>9s}")
        if first:
            rows = {"stock: a command a member, ensemble": first, **rows}
        rows = {"stock: all folds in one command": second, **rows}
        for name, run in rows.items():
            faster = f"{first.seconds / run.seconds:9.1f}" if first else " " * 9
            print(f"{name:44s}{run.seconds:9.1f}{faster}{second.seconds / run.seconds:9.1f}{run.peak_mb:9.0f}")
        for backend, total, network, tiles in times:
            if backend != "peak":
                faster = f"{first.seconds / total:9.1f}" if first else " " * 9
                print(
                    f"{f'ours, warm, CT in memory to score, {backend}':44s}{total:9.1f}{faster}"
                    f"{second.seconds / total:9.1f}{peak_mb:9.0f}   {tiles} tiles, {1 - network / total:.0%} outside "
                    "the networks"
                )
        result = json.loads((folder / "a" / "result.json").read_text())
        print("seconds of ours by stage:", result["seconds"], "engine:", result["engine"])
        print(agreement(bundle, folder / "a", folder / "first" / "mean" / "case.npz", folder / "second" / "case.npz"))


def forward(path: Path) -> None:
    """Print how long one patch of a bundle's fine network takes with torch and compiled."""
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.inference.nnunet_model import load_member, open_stage
    from twintrack.inference.openvino import compile_member

    with Bundle.open(path) as bundle:
        for name in ("coarse", "fine"):
            stage = open_stage(bundle, name)
            member = load_member(stage, bundle.folds[name][0])
            compiled = compile_member(lambda member=member: member, stage, member.name, f"benchmark {time.time()}")
            patch = np.random.default_rng(0).normal(size=(1, 1, *stage.patch)).astype(np.float32)
            times: dict[str, list[float]] = {"torch": [], "compiled": []}
            outputs = {}
            for _ in range(3):
                for kind, run in (("torch", member.network), ("compiled", compiled.network)):
                    start = time.perf_counter()
                    outputs[kind] = run(patch)
                    times[kind].append(time.perf_counter() - start)
            torch_s, compiled_s = (min(values) for values in times.values())
            error = float(np.abs(outputs["torch"] - outputs["compiled"]).max() / np.abs(outputs["torch"]).max())
            print(
                f"{path.name} {name}, patch {stage.patch}: a forward takes {torch_s:.2f} s in torch, "
                f"{compiled_s:.2f} s compiled, ratio {torch_s / compiled_s:.1f}, "
                f"logits differ by {error:.1e} of the largest"
            )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["demo", "small", "none"], default="demo")
    parser.add_argument("--skip-first-row", action="store_true", help="leave the slowest peer out")
    parser.add_argument("--size", default=",".join(map(str, SIZE)), help="of the crop, in voxels: x,y,z")
    parser.add_argument("--forward", type=Path, help="also time single patches of this bundle")
    options = parser.parse_args()
    if options.model != "none":
        compare(options.model, options.skip_first_row, tuple(map(int, options.size.split(","))))
    if options.forward:
        forward(options.forward)


if __name__ == "__main__":
    main()
