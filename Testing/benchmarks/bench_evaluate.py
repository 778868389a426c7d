"""What scoring costs: CPU seconds of ``evaluate`` a case, of each vessel, of the pictures and the report, of reading.

Phantoms are put onto a clinical grid, 512 x 512 x 160 voxels, each with a map, five readers and vessels. The commands
that a user types run in processes of their own: ``evaluate`` on the first case and on all of them, ``invasion`` on
every map, ``segment`` (demo bundle) on a phantom's CT. Of the last two the functions that measure and draw are timed
within the run, whatever else it does. Reading is compared with SimpleITK's reader in one process a file, also as if
ISA-L were not installed. ``--before FOLDER`` names the ``TwinTrackSeg`` folder of another version, which takes turns.

    python Testing/benchmarks/bench_evaluate.py [--cases 3] [--repeats 2] [--before FOLDER] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

import twintrack
from twintrack.io import voxel_file
from twintrack.io.volumes import read_volume, write_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom import PhantomCase, make_phantom
from twintrack.volume import Geometry, Volume

HERE = Path(twintrack.__file__).parents[1]
SIZE, SPACING_MM = (512, 512, 160), (0.75, 0.75, 1.0)
SEEDS = (11, 23, 37, 52, 71)
LEAST_MAP = 1e-3
"""The true response of a phantom is 0 nowhere; a calibrated map is."""

DRIVER = """
import importlib, json, resource, sys, time
watched, *arguments = sys.argv[1:]
spent = {}
def timed(call, name):
    def work(*some, **others):
        start = time.process_time()
        try:
            return call(*some, **others)
        finally:
            took, times = spent.get(name, (0.0, 0))
            spent[name] = (took + time.process_time() - start, times + 1)
    return work
for place in filter(None, watched.split(",")):
    module, name = place.split(":")
    module = importlib.import_module(module)
    setattr(module, name, timed(getattr(module, name), name))
from twintrack.cli.app import main
try:
    main(arguments)
except SystemExit as ended:
    code = ended.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "spent": spent}), file=sys.stderr)
sys.exit(code)
"""


def clinical_grid(case: PhantomCase) -> Geometry:
    """Return a grid of a clinical CT's size around the lesion."""
    places = np.argwhere(case.true_mhr.array > 0.3)
    middle = ((places.min(axis=0) + places.max(axis=0)) / 2)[::-1]
    center = case.ct.to_sitk().TransformContinuousIndexToPhysicalPoint(middle.tolist())
    x, y, z = (c - (n - 1) / 2 * mm for c, n, mm in zip(center, SIZE, SPACING_MM, strict=True))
    return Geometry(SIZE, SPACING_MM, (x, y, z))


def resampled(volume: Volume, grid: Geometry, *, smooth: bool = False) -> NDArray[np.float32]:
    """Return the volume on the grid, linear; with rounded steps for masks."""
    image = volume.with_array(volume.array.astype(np.float32)).to_sitk()
    image = sitk.SmoothingRecursiveGaussian(image, 0.5 * volume.geometry.spacing_mm[0]) if smooth else image
    target = sitk.Image(grid.size, sitk.sitkUInt8)
    target.SetSpacing(grid.spacing_mm)
    target.SetOrigin(grid.origin_mm)
    moved = sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(moved)


def write_case(seed: int, folder: Path) -> dict[str, str]:
    """Write one case; return its row of a manifest."""
    case = make_phantom(seed)
    grid = clinical_grid(case)
    folder.mkdir(parents=True)
    p = resampled(case.true_mhr, grid)
    p[p < LEAST_MAP] = 0
    arrays: dict[str, NDArray[np.generic]] = {"probability": p}
    for number, mask in enumerate(case.annotations, start=1):
        arrays[f"annotation_{number}"] = (resampled(mask, grid, smooth=True) >= 0.5).astype(np.uint8)
    most, labels = np.full(p.shape, 0.5, np.float32), np.zeros(p.shape, np.uint8)
    for value in VESSEL_VALUES.values():
        own = case.vessels.with_array((case.vessels.array == value).astype(np.uint8))
        share = resampled(own, grid, smooth=True)
        labels[share >= most] = value
        np.maximum(most, share, out=most)
    arrays["vessels"] = labels
    noise = np.random.default_rng(seed).normal(scale=8, size=p.shape)
    arrays["ct"] = np.rint(resampled(case.ct, grid) + noise).astype(np.int16)
    for name, array in arrays.items():
        write_volume(Volume(array, grid), folder / f"{name}.nii.gz")
    return {"case": folder.name} | {n: f"{folder.name}/{n}.nii.gz" for n in arrays if n != "ct"}


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_cases(folder: Path, count: int) -> list[str]:
    """Write cases and manifests, unless they are there; return the cases' names."""
    names = [f"case{seed}" for seed in SEEDS[:count]]
    rows = []
    for seed, name in zip(SEEDS, names, strict=False):
        kept = folder / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(write_case(seed, folder / name)), encoding="utf-8")
        rows.append(json.loads(kept.read_text(encoding="utf-8")))
    write_manifest(folder / "one.csv", rows[:1])
    write_manifest(folder / "all.csv", rows)
    if not (folder / "small_ct.nii.gz").exists():
        write_volume(make_phantom(43000).ct, folder / "small_ct.nii.gz")
    return names


def run(engine: Path, watched: str, *arguments: object) -> tuple[float, dict[str, tuple[float, int]]]:
    """Run a command; return its CPU seconds, and those of each watched function with how often it was called."""
    command = [sys.executable, "-c", DRIVER, watched, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(engine)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    told = json.loads(done.stderr.splitlines()[-1])
    return told["cpu_s"], {name: (took, times) for name, (took, times) in told["spent"].items()}


def evaluated(engine: Path, folder: Path, names: list[str]) -> dict[str, float]:
    """Return the CPU seconds of the first case, with the start of the command, and of each further one."""
    out = folder / "out evaluate"
    one, _ = run(engine, "", "evaluate", folder / "one.csv", "--out", out, "--overwrite")
    found = {"evaluate, first case": one}
    if len(names) > 1:
        more, _ = run(engine, "", "evaluate", folder / "all.csv", "--out", out, "--overwrite")
        found["evaluate, each further case"] = (more - one) / (len(names) - 1)
    return found


def measured(engine: Path, folder: Path, names: list[str]) -> dict[str, float]:
    """Return the CPU seconds of a vessel of ``invasion``, in the mean."""
    values = ",".join(f"{name}={value}" for name, value in VESSEL_VALUES.items())
    all_s, vessels = 0.0, 0
    for name in names:
        files = (folder / name / "probability.nii.gz", "--vessels", folder / name / "vessels.nii.gz")
        options = ("--vessel-names", values, "--out", folder / "out.json", "--overwrite")
        _, spent = run(engine, "twintrack.invasion.measure:_measure_vessel", "invasion", *files, *options)
        took, times = spent["_measure_vessel"]
        all_s, vessels = all_s + took, vessels + times
    return {"a vessel, one map": all_s / vessels}


def reported(engine: Path, folder: Path) -> dict[str, float]:
    """Return the CPU seconds of pictures and report in a run of ``segment``."""
    watched = "twintrack.results.folder:_draw_pictures,twintrack.results.report.html:write_report"
    files = (folder / "small_ct.nii.gz", "--out", folder / "out segment")
    _, spent = run(engine, watched, "segment", *files, "--bundle", "demo", "--device", "cpu", "--overwrite")
    drawn, written = (spent[name][0] for name in ("_draw_pictures", "write_report"))
    return {"pictures of segment": drawn, "pictures and report": drawn + written}


def least_cpu_s(*calls: Callable[[], object]) -> list[float]:
    """Return the least CPU seconds of each call, made in turns."""

    def cpu_s(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    return np.min([[cpu_s(call) for call in calls] for _ in range(5)], axis=0).tolist()


def compare_readers(path: Path) -> None:
    """Print what reading a NIfTI file costs beside SimpleITK's reader, with ISA-L and without."""

    def without() -> None:
        sys.modules["isal"] = None  # type: ignore[assignment]
        voxel_file.unpacking.cache_clear()
        read_volume(path)
        del sys.modules["isal"]
        voxel_file.unpacking.cache_clear()

    ours, plain, theirs = least_cpu_s(lambda: read_volume(path), without, lambda: sitk.ReadImage(str(path)))
    size = read_volume(path).array.nbytes / 1e6
    ratios = f"{ours / theirs:7.2f}{plain / theirs:7.2f}"
    print(f"{path.name[:-7]:22}{size:6.0f}{ours:9.3f}{plain:10.3f}{theirs:11.3f}{ratios}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3, choices=range(1, len(SEEDS) + 1))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--before", type=Path, help="TwinTrackSeg folder of another version")
    parser.add_argument("--keep", type=Path, help="folder for the cases, which are used again")
    parser.add_argument("--read", type=Path, help="only compare the readers on this file")
    options = parser.parse_args()
    if options.read is not None:
        compare_readers(options.read)
        return
    engines = {"this version": HERE} | ({} if options.before is None else {"before": options.before})
    with tempfile.TemporaryDirectory(prefix="evaluate-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        names = make_cases(folder, options.cases)
        found: dict[str, dict[str, list[float]]] = {}
        for engine in engines.values():  # fills the caches of compiled networks and of Python's byte code
            reported(engine, folder)
        for _ in range(options.repeats):
            for version, engine in engines.items():
                once = evaluated(engine, folder, names) | measured(engine, folder, names) | reported(engine, folder)
                for row, seconds in once.items():
                    found.setdefault(row, {}).setdefault(version, []).append(seconds)
        print(f"{'CPU s, least of ' + str(options.repeats):32}" + "".join(f"{version:>14}" for version in engines))
        for row, versions in found.items():
            print(f"{row:32}" + "".join(f"{min(versions[version]):14.2f}" for version in engines))
        print(
            f"\n{'NIfTI':22}{'MB':>6}{'ours':>9}{'no ISA-L':>10}{'SimpleITK':>11}{'ratios':>14}   (CPU s)", flush=True
        )
        for name in ("ct", "probability", "annotation_1", "vessels"):
            # Each in a process of its own: half of the time goes into fresh memory, which a reader may find used.
            path = folder / names[0] / f"{name}.nii.gz"
            environment = os.environ | {"PYTHONPATH": str(HERE)}
            subprocess.run([sys.executable, __file__, "--read", str(path)], check=True, env=environment)
    print("load average over the last minutes: " + " ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main()
