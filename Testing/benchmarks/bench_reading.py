"""What reading costs: `read_volume` beside SimpleITK's reader on the same files, whole commands, and the reading child.

Run with ``python Testing/benchmarks/bench_reading.py``; ``--slices 40`` is a quick look. ``--before FOLDER`` names the
``TwinTrackSeg`` folder of another version, whose commands run in turn with this one's. CPU seconds are those of the
process and its children; peak memory is the sum over both of what is not shared, plus their part of what is (PSS on
Linux), looked at every 20 ms.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

import twintrack
from twintrack.calibration import Calibrator
from twintrack.calibration.calibrator_file import write_calibrator
from twintrack.io.volumes import read_volume, write_volume
from twintrack.system.reading_child import ReadingChild
from twintrack.volume import Geometry, Volume

PLANE, REPEATS, LOOK_S = 512, 5, 0.02
HERE = Path(twintrack.__file__).parents[1]


def cpu_s(what: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, with those of children that it waited for."""
    before = _spent_s()
    what()
    return _spent_s() - before


def _spent_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def least(*calls: Callable[[], object]) -> list[float]:
    """Return the least CPU seconds of each call, made in turns."""
    times = [[cpu_s(call) for call in calls] for _ in range(REPEATS)]
    return np.min(times, axis=0).tolist()


def compare_readers(folder: Path, slices: int) -> Path:
    """Print CPU seconds of reading a CT and a score in each format; return the score's file."""
    geometry = Geometry((PLANE, PLANE, slices), (0.8, 0.8, 1.0))
    k, j, i = np.ogrid[:slices, :PLANE, :PLANE]
    body = (i - 256) ** 2 + (j - 256) ** 2 < 200**2
    noise = np.random.default_rng(0).normal(40, 12, geometry.shape)
    ct = np.where(body, noise, -1000).astype(np.int16)
    distance = np.sqrt((i - 256) ** 2 + (j - 256) ** 2 + (k - slices / 2) ** 2)
    score = np.clip(1.2 - distance / 60 + noise / 1000, 0, 1).astype(np.float32)
    print(f"{'file':24}{'MB':>8}{'read_volume':>14}{'SimpleITK':>12}{'ratio':>8}   (CPU s)")
    for name, array in (("ct", ct), ("score", score), ("mask", (score > 0.5).astype(np.uint8))):
        for ending in (".nii.gz", ".nrrd", ".mha"):
            path = folder / f"{name}{ending}"
            write_volume(Volume(array, geometry), path)
            np.testing.assert_array_equal(read_volume(path).array, array)
            ours, theirs = least(
                lambda path=path: read_volume(path),
                lambda path=path: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
            )
            print(f"{path.name:24}{array.nbytes / 1e6:8.0f}{ours:14.3f}{theirs:12.3f}{ours / theirs:8.2f}")
    return folder / "score.nii.gz"


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Return the largest memory of a process with its children, in bytes."""
    peak, parent = 0, psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in (parent, *parent.children(recursive=True)):
                info = one.memory_full_info()
                total += getattr(info, "pss", info.uss)
        except psutil.Error:
            continue
        peak = max(peak, total)
        time.sleep(LOOK_S)
    return peak


def run(version: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command of a version; return its CPU seconds and its peak memory in MB."""
    peak = 0

    def command() -> None:
        nonlocal peak
        process = subprocess.Popen(
            [sys.executable, "-m", "twintrack", *arguments],
            env={**os.environ, "PYTHONPATH": str(version)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = peak_of(process)
        if process.returncode:
            raise SystemExit(f"twintrack {' '.join(arguments)} ended with {process.returncode}")

    return cpu_s(command), peak / 1e6


def compare_commands(folder: Path, score: Path, before: Path | None) -> None:
    """Print CPU seconds and peak memory of commands that read volume files or a DICOM series."""
    x = np.linspace(0, 1, 50)
    calibrator = Calibrator("mhr", None, 50, tuple(x.tolist()), tuple((x**2).tolist()), (1,) * 50, 1, 1, 50)
    write_calibrator(calibrator, folder / "calibrator.json")
    demo = folder / "demo"
    subprocess.run(
        [sys.executable, "-m", "twintrack", "demo", "--out", str(demo)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    bundle = ["--bundle", str(HERE / "twintrack" / "data" / "demo_bundle")]
    commands = {
        "apply": ["apply", str(score), "--calibrator", str(folder / "calibrator.json"), "--out", "{out}.nii.gz"],
        "segment, NIfTI": ["segment", str(demo / "ct.nii.gz"), *bundle, "--out", "{out}"],
        "segment, DICOM": ["segment", str(demo / "ct"), *bundle, "--out", "{out}"],
    }
    versions = {"this version": HERE} | ({} if before is None else {"before": before})
    print(f"\n{'command':20}{'version':16}{'CPU s':>8}{'peak MB':>10}")
    for name, arguments in commands.items():
        if name == "segment, NIfTI" and not (demo / "ct.nii.gz").exists():
            write_volume(read_series_volume(demo / "ct"), demo / "ct.nii.gz")
        found: dict[str, list[tuple[float, float]]] = {version: [] for version in versions}
        for number in range(2):
            for version, place in versions.items():
                out = str(folder / f"{name[:12].replace(' ', '')}-{version[:4]}-{number}")
                found[version].append(run(place, [word.format(out=out) for word in arguments]))
        results = {version: np.min(values, axis=0) for version, values in found.items()}
        for version, (seconds, peak) in results.items():
            print(f"{name:20}{version:16}{seconds:8.2f}{peak:10.0f}")
        if before is not None:
            seconds, peak = results["this version"] / results["before"]
            print(f"{name:20}{'ratio':16}{seconds:8.2f}{peak:10.2f}")


def read_series_volume(folder: Path) -> Volume:
    """Return the volume of a DICOM series."""
    from twintrack.dicom import read_series

    return read_series(folder).volume


def child_cost() -> None:
    """Print what a child costs: its start, a call, and 200 MB that come back."""
    child = ReadingChild(frozenset({"numpy:ones", "builtins:len", "SimpleITK:Version_VersionString"}))
    shape = (200, PLANE, PLANE)

    def once(function: str, *arguments: object) -> None:
        child.call(function, *arguments, named="benchmark")
        child.close()

    start = least(lambda: once("builtins:len", ()))[0]
    loaded = least(lambda: once("SimpleITK:Version_VersionString"))[0]
    array = least(lambda: once("numpy:ones", shape, np.float32))[0]
    here = least(lambda: np.ones(shape, np.float32))[0]
    print(f"\nchild: start and end {start:.2f} s, with SimpleITK loaded {loaded:.2f} s,", end=" ")
    print(f"an array of {4 * np.prod(shape) / 1e6:.0f} MB more than here {array - start - here:.2f} s (CPU)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--before", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        score = compare_readers(Path(folder), arguments.slices)
        compare_commands(Path(folder), score, arguments.before)
        child_cost()


if __name__ == "__main__":
    main()
