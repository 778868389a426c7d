"""Cases an hour: `twintrack cohort` with one and two workers, a shell loop over `twintrack segment`, stock nnU-Net.

All on the same phantoms with the demo bundle, one after the other in the same run, each with two threads in all. The
stock peer is one `nnUNetv2_predict` over all CTs with all folds and without worker processes, its fastest way; it looks
at the whole CT, because finding the region is what the bundle's first stage does. It ends with probabilities, the
others with calibrated map, vessel readouts, pictures and report.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench_inference import BIN, FOLDS, stock_model

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.phantom import write_cohort

THREADS = 2
TWINTRACK = (sys.executable, "-m", "twintrack")
SEED = 70000


def run(command: Sequence[object], threads: int, **more: str) -> None:
    """Run a command to its end with so many threads in each of its processes."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)) | more
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[:4]} failed:\n{done.stdout}{done.stderr}")


def processor_s() -> float:
    """Processor seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Peers:
    """The ways to get through the same CTs."""

    def __init__(self, folder: Path, cases: int) -> None:
        self.folder, self.bundle, self.cases = folder, demo_bundle_path(), cases
        self.manifest = write_cohort(folder / "study", cases=cases, raters=1, seed=SEED)
        with self.manifest.open(newline="", encoding="utf-8") as stream:
            self.rows = list(csv.DictReader(stream))
        self.cache = {"XDG_CACHE_HOME": str(folder / "cache")}

    def segment(self, row: dict[str, str], out: Path, threads: int = THREADS) -> None:
        study = self.manifest.parent
        options = ["--bundle", self.bundle, "--vessels", study / row["vessels"], "--device", "cpu", "--out", out]
        run([*TWINTRACK, "segment", study / row["image"], *options], threads, **self.cache)

    def warm_up(self) -> None:
        """Compile the networks for both numbers of threads, as everybody's second run finds them."""
        for threads in (1, 2):
            self.segment(self.rows[0], self.folder / "warm", threads)

    def loop(self) -> None:
        for row in self.rows:
            self.segment(row, self.folder / "loop" / row["case"])

    def cohort(self, workers: int) -> None:
        out = self.folder / f"cohort{workers}"
        options = ["--bundle", self.bundle, "--out", out, "--workers", workers, "--device", "cpu"]
        run([*TWINTRACK, "cohort", self.manifest, *options], THREADS // workers, **self.cache)

    def stock(self) -> None:
        images, out = self.folder / "images", self.folder / "stock"
        images.mkdir()
        for row in self.rows:
            (images / f"{row['case']}_0000.nii.gz").symlink_to(self.manifest.parent / row["image"])
        options = ["-d", "1", "-c", "3d_fullres", "-f", *FOLDS, "--disable_tta", "--save_probabilities"]
        options += ["-device", "cpu", "-npp", "0", "-nps", "0", "--disable_progress_bar"]
        places = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed"), str(self.folder))
        results = str(stock_model(self.bundle, self.folder / "model"))
        run([BIN / "nnUNetv2_predict", "-i", images, "-o", out, *options], THREADS, nnUNet_results=results, **places)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3, help="phantoms")
    cases = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as temporary:
        peers = Peers(Path(temporary), cases)
        peers.warm_up()
        ways: dict[str, Callable[[], None]] = {
            "loop over twintrack segment": peers.loop,
            "twintrack cohort, 1 worker": lambda: peers.cohort(1),
            "twintrack cohort, 2 workers": lambda: peers.cohort(2),
            "nnUNetv2_predict, whole CTs": peers.stock,
        }
        print(f"{cases} phantoms, demo bundle, {THREADS} threads in all; load of the machine {os.getloadavg()[0]:.0f}")
        print(f"{'':30}{'seconds':>9}{'cases/h':>9}{'CPU s a case':>14}{'x loop':>8}{'x loop, CPU':>13}")
        first: tuple[float, float] | None = None
        for name, work in ways.items():
            start, used = time.perf_counter(), processor_s()
            work()
            took, used = time.perf_counter() - start, processor_s() - used
            first = first or (took, used)
            rates = f"{took:9.0f}{3600 * cases / took:9.0f}{used / cases:14.1f}"
            print(f"{name:30}{rates}{first[0] / took:8.2f}{first[1] / used:13.2f}", flush=True)


if __name__ == "__main__":
    main()
