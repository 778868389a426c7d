"""Many small cases in one process: memory must stay flat, and every map must come out the same.

Usage: python Testing/benchmarks/bench_load.py [CASES] [PARALLEL]

Segments one small CT CASES times (200) with kept networks, prints the slope of the resident memory over the second
half, the seconds a case takes, and whether all maps are bit-identical; then runs PARALLEL (8) worker processes
at once and compares their maps with the sequential one.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.inference import NetworkStore
from twintrack.inference.loaded_model import return_memory
from twintrack.io.volumes import write_volume
from twintrack.results.folder import segment_file
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

GEOMETRY = Geometry((80, 70, 40), (1.5, 1.5, 3.0))
ROI = (10, 50, 10, 50, 8, 28)
FLAT_KB_PER_CASE = 50.0


def resident_kb() -> int:
    """Return the memory this process holds."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def digest(out: Path) -> str:
    """Return the hash of a result's map."""
    return hashlib.sha256((out / "probability.nii.gz").read_bytes()).hexdigest()


def sequential(ct: Path, bundle: Path, folder: Path, cases: int) -> str:
    """Run the cases one after the other; return the hash of the map."""
    store, memory, seconds, hashes = NetworkStore("cpu"), [], [], set()
    for _ in range(cases):
        start = time.perf_counter()
        segment_file(ct, bundle, folder / "out", SegmentSettings(roi=ROI, calibrate=False, device="cpu"), store=store)
        return_memory()
        seconds.append(time.perf_counter() - start)
        memory.append(resident_kb())
        hashes.add(digest(folder / "out"))
    half = np.arange(cases // 2, cases)
    slope = np.polyfit(half, np.array(memory)[half], 1)[0] if len(half) > 2 else float("nan")
    print(f"cases {cases}: {np.median(seconds):.2f} s each, the first {seconds[0]:.2f} s")
    print(f"memory after case 1, middle, end: {memory[0]}, {memory[cases // 2]}, {memory[-1]} kB")
    verdict = "too few cases to tell" if np.isnan(slope) else "flat" if slope < FLAT_KB_PER_CASE else "GROWS"
    print(f"slope over the second half: {slope:.1f} kB a case ({verdict})")
    print(f"different maps: {len(hashes)} (1 expected)")
    return hashes.pop()


def parallel(ct: Path, bundle: Path, folder: Path, workers: int, expected: str) -> None:
    """Run workers at once and compare."""
    processes = []
    for number in range(workers):
        content = {"schema": 1, "input": str(ct), "bundle": str(bundle), "out": str(folder / f"parallel {number}")}
        content |= {"roi": list(ROI), "calibrate": False, "device": "cpu"}
        request = folder / f"request {number}.json"
        request.write_text(json.dumps(content))
        command = [sys.executable, "-m", "twintrack.execution.worker", str(request)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]
    same = sum(digest(folder / f"parallel {number}") == expected for number in range(workers))
    print(f"{workers} workers at once: exit codes {sorted(set(codes))}, {same} maps equal the sequential one")


def main() -> None:
    """Print the table."""
    given = [int(value) for value in sys.argv[1:]]
    cases, workers = given + [200, 8][len(given) :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        array = np.random.default_rng(1).normal(0, 60, GEOMETRY.shape).astype(np.int16)
        write_volume(Volume(array, GEOMETRY), folder / "ct.nrrd")
        bundle = demo_bundle_path()
        parallel(folder / "ct.nrrd", bundle, folder, workers, sequential(folder / "ct.nrrd", bundle, folder, cases))


if __name__ == "__main__":
    main()
