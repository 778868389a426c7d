"""What a CT of 512 x 512 x 300 voxels costs with networks of a real model's size: ``twintrack segment --dicom``.

The networks have the architecture of the plans that are given and random weights, so that seconds, memory and files are
those of the model while what they find means nothing. Since they find no pancreas either, stage 2 gets the region
around the phantom's by hand, and stage 1 is timed alone with all its networks, over the whole CT. Arteries and veins
are given as two classes, as the public model finds them, and named by anatomy. The first of two runs compiles the
networks where they are not kept; the second is what a further CT costs.

    python Testing/benchmarks/bench_real_size.py PLANS --members 1,1 1,3 5,5 [--work FOLDER] [--json FILE]

``PLANS`` has the folders ``coarse`` and ``fine`` with ``plans.json`` and ``dataset.json``; ``--members`` are the
networks of stage 1 and of stage 2.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_stages import run, show
from random_bundle import random_bundle

from twintrack.dicom import write_ct_series
from twintrack.io.volumes import write_volume
from twintrack.phantom import LABELS, make_phantom
from twintrack.volume import Volume

SEED = 40000
SIZE = (512, 512, 300)
MARGIN_MM = 20.0
ARTERIES, VEINS = 1, 2
CLASSES = {"portal_vein": VEINS, "smv": VEINS, "aorta": ARTERIES, "celiac": ARTERIES, "sma": ARTERIES}


def make_case(folder: Path) -> str:
    """Write a phantom as a DICOM series and its vessels as two classes; return the region as `--roi` takes it."""
    import SimpleITK as sitk

    kept = folder / "region.txt"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    case = make_phantom(SEED)
    ct, anatomy = case.ct.to_sitk(), case.anatomy.to_sitk()
    target = sitk.Image(SIZE, sitk.sitkInt16)
    old = ct.GetSpacing()
    spacing = [s * (n - 1) / (m - 1) for s, n, m in zip(old, ct.GetSize(), SIZE, strict=True)]
    target.SetSpacing(spacing)
    target.SetOrigin(ct.GetOrigin())
    fine = sitk.Resample(ct, target, sitk.Transform(), sitk.sitkBSpline, -1000, sitk.sitkFloat32)
    # Noise on the fine grid: a smoothed phantom would be easier to compress than any CT.
    noise = np.random.default_rng(SEED).normal(scale=8, size=SIZE[::-1]).astype(np.float32)
    array = np.rint(sitk.GetArrayFromImage(fine) + noise).astype(np.int16)
    labels = sitk.GetArrayFromImage(sitk.Resample(anatomy, target, sitk.Transform(), sitk.sitkNearestNeighbor))
    whole = Volume.from_sitk(target).with_array(array)
    write_ct_series(whole, folder / "ct", description="phantom")
    vessels = np.zeros(array.shape, np.uint8)
    for name, value in CLASSES.items():
        vessels[labels == LABELS[name]] = value
    write_volume(whole.with_array(vessels), folder / "vessels.nii.gz")
    organ = np.argwhere((labels == LABELS["pancreas"]) | (labels == LABELS["tumor"]))[:, ::-1]
    reach = [round(MARGIN_MM / s) for s in spacing]
    first = [max(int(low) - r, 0) for low, r in zip(organ.min(axis=0), reach, strict=True)]
    last = [min(int(up) + 1 + r, n) for up, r, n in zip(organ.max(axis=0), reach, SIZE, strict=True)]
    region = ",".join(f"{a},{b}" for a, b in zip(first, last, strict=True))
    kept.write_text(region, encoding="utf-8")
    return region


def folder_mb(path: Path) -> float:
    """Return the size of a file or of all files of a folder."""
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file()) / 1e6


def coarse_stage(bundle: Path, ct: Path) -> dict[str, float]:
    """Run stage 1 alone, all its networks over the whole CT, in a process of its own; return what it took."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_coarse_stage, (bundle, ct))


def _coarse_stage(bundle: Path, ct: Path) -> dict[str, float]:
    import resource

    import torch

    from twintrack.bundle.model_bundle import Bundle
    from twintrack.dicom import read_series
    from twintrack.inference import NetworkStore
    from twintrack.inference.localize import predict_organ
    from twintrack.progress.callbacks import CancelToken, no_progress

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    volume, store = read_series(ct).volume.to_lps(), NetworkStore("cpu", keep=False)
    before = time.process_time()
    with Bundle.open(bundle) as model:
        predict_organ(volume, model, store, progress=no_progress, cancel=CancelToken())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_s": time.process_time() - before, "peak_mb": peak_mb}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", type=Path)
    parser.add_argument("--members", nargs="+", default=["1,1", "1,3", "5,5"], metavar="COARSE,FINE")
    parser.add_argument("--work", type=Path, help="keep the CT, bundles and results in this folder")
    parser.add_argument("--once", action="store_true", help="leave out the second run")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) if options.work is None else options.work
        work.mkdir(parents=True, exist_ok=True)
        region = make_case(work)
        print(f"region {region}, load {os.getloadavg()[0]:.1f}")
        for members in options.members:
            coarse, fine = map(int, members.split(","))
            bundle = work / f"random-{coarse}-{fine}"
            if not bundle.exists():
                plans = (options.plans / "coarse", options.plans / "fine")
                random_bundle(*plans, bundle, fine, coarse_members=coarse)
            asked = ["--vessels", str(work / "vessels.nii.gz"), "--vessel-names", f"ARTERIES={ARTERIES},VEINS={VEINS}"]
            asked += ["--roi", region, "--dicom", "--no-calibration", "--device", "cpu", "--overwrite"]
            found = {}
            for turn in ("first",) if options.once else ("first", "again"):
                out = work / f"result-{coarse}-{fine}"
                found = run(work / "ct", out, bundle, asked)
                found |= {"load": os.getloadavg()[0], "bundle_mb": folder_mb(bundle), "result_mb": folder_mb(out)}
                found["dicom_mb"] = folder_mb(out / "dicom")
                figures[f"{members} {turn}"] = found
                show(f"{coarse} + {fine} networks, {turn}", found, None)
            print(f"bundle {found['bundle_mb']:.0f} MB, result {found['result_mb']:.0f} MB", end=", ")
            print(f"of which DICOM {found['dicom_mb']:.0f}; load {found['load']:.1f}")
            figures[f"{members} stage 1"] = alone = coarse_stage(bundle, work / "ct")
            print(f"stage 1 alone: {alone['cpu_s']:.1f} CPU s, {alone['peak_mb']:.0f} MB")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
