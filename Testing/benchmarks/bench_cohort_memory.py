"""Memory of scheduler and client with many tiny cases: `cohort`, and `calibrate` and `evaluate` with `--scheduler`.

Scheduler, workers and client are processes of their own, as on a cluster. Each command runs once over a few cases and
once over many; its client and its scheduler are new each time, and their resident memory is looked at a few times a
second. The growth between the two runs, divided by the cases that they differ by, is what a case costs. Maps are 12 x
12 x 12 voxels and each case has its own rows in the manifest (the files behind them are shared). Cases of `cohort` are
simulated: all that a worker does but the segmentation, which lies on the workers alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume

SHAPE = (12, 12, 12)
RATERS = (1, 2)
COLUMNS = ("image", "score", "probability", *(f"annotation_{rater}" for rater in RATERS))

COHORT = """
import sys
sys.path.insert(0, sys.argv[1])
import bench_cohort
from twintrack.execution.cohort import run
run.process_case = bench_cohort.simulated
summary = run.run_cohort(*sys.argv[2:5], scheduler=sys.argv[5])
assert summary.done == summary.cases
"""
"""`twintrack cohort` with simulated cases; the workers find them by the module's name."""


class Watch(threading.Thread):
    """Looks at the resident memory of a process until it is told to stop, or the process ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.over = psutil.Process(pid), 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            try:
                self.peak = max(self.peak, self.process.memory_info().rss)
            except psutil.NoSuchProcess:
                return


def write_study(folder: Path, cases: int) -> Path:
    """Write four sets of tiny volumes, and a manifest in which every row has names of its own."""
    geometry = Geometry(SHAPE, (1.0, 1.0, 2.0))
    z, y, x = np.indices(SHAPE)
    distance = np.sqrt((z - 6) ** 2 + (y - 6) ** 2 + (x - 6) ** 2)
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 1, SHAPE)
        score = (1 / (1 + np.exp(2 * (distance - 3) + noise))).astype(np.float32)
        arrays = {"image": (1000 * score).astype(np.int16), "score": score, "probability": score}
        arrays |= {f"annotation_{rater}": (distance < 2 + rater / 2).astype(np.uint8) for rater in RATERS}
        for name, array in arrays.items():
            write_volume(Volume(array, geometry), folder / f"{number}_{name}.nii.gz")
    path = folder / f"manifest{cases}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", *COLUMNS])
        for case in range(cases):
            writer.writerow([f"patient{case:06d}", *(f"{case % 4}_{name}.nii.gz" for name in COLUMNS)])
    return path


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, int]]:
    """Yield the address of a new scheduler with workers, and its process."""
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parent}
        scheduler = subprocess.Popen(
            [*dask, "scheduler", *here, "--port", "0", "--scheduler-file", str(place)], **quiet
        )
        options = ["--nworkers", str(workers), "--nthreads", "2", "--resources", "GPU=1", "--local-directory", folder]
        running = [scheduler]
        try:
            running.append(
                subprocess.Popen([*dask, "worker", "--scheduler-file", str(place), *here, *options], **quiet)
            )
            while not place.is_file() or not place.read_text(encoding="utf-8").strip():
                time.sleep(0.1)
            yield json.loads(place.read_text(encoding="utf-8"))["address"], scheduler.pid
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()


def measure(command: list[str], workers: int) -> tuple[float, float, float]:
    """Return seconds, and the largest MB of client and scheduler."""
    with cluster(workers) as (address, scheduler):
        command = [part.replace("ADDRESS", address) for part in command]
        start = time.perf_counter()
        client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        watches = [Watch(client.pid), Watch(scheduler)]
        for watch in watches:
            watch.start()
        said = client.communicate()[1]
        took = time.perf_counter() - start
        for watch in watches:
            watch.over.set()
        if client.returncode:
            raise SystemExit(said)
    return took, *(watch.peak / 1e6 for watch in watches)


def commands(manifest: Path, folder: Path) -> dict[str, list[str]]:
    """Return the commands to measure."""
    here, twintrack = str(Path(__file__).parent), [sys.executable, "-m", "twintrack"]
    scheduler = ["--scheduler", "ADDRESS"]
    bundle, out = str(demo_bundle_path()), str(folder / f"out_{manifest.stem}")
    return {
        "cohort": [sys.executable, "-c", COHORT, here, str(manifest), bundle, out, "ADDRESS"],
        "calibrate": [*twintrack, "calibrate", str(manifest), "--sketch", f"{out}.npz", *scheduler],
        "evaluate": [*twintrack, "evaluate", str(manifest), "--out", f"{out}_scores", *scheduler],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs=2, default=(200, 2000), metavar=("FEW", "MANY"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["cohort", "calibrate", "evaluate"])
    options = parser.parse_args()
    few, many = options.cases
    print(f"{'MB':10}{'client':>18}{'scheduler':>20}{'kB a case more':>22}{'seconds':>16}")
    print(f"{'cases':10}{few:>9}{many:>9}{few:>11}{many:>9}{'client':>12}{'scheduler':>10}{few:>8}{many:>8}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        work = [commands(write_study(folder, cases), folder) for cases in (few, many)]
        for name in ("cohort", "calibrate", "evaluate"):
            if options.only not in (None, name):
                continue
            (s1, c1, d1), (s2, c2, d2) = (measure(part[name], options.workers) for part in work)
            more = [1000 * (b - a) / (many - few) for a, b in ((c1, c2), (d1, d2))]
            print(
                f"{name:10}{c1:9.0f}{c2:9.0f}{d1:11.0f}{d2:9.0f}{more[0]:12.2f}{more[1]:10.2f}{s1:8.0f}{s2:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
