"""How fast the DICOM node takes a series, and how much memory that takes: 300 slices of 512 x 512 by dcmtk's storescu.

Run with ``python Testing/benchmarks/bench_node.py``; ``--slices 60`` is a quick look. Node and sender share this
computer and its loopback; the sender's own seconds are part of the wall time. The service is never asked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from twintrack.dicom import write_ct_series
from twintrack.volume import Geometry, Volume

LEAST_MB_S, MOST_MB = 20.0, 100.0


def make_series(folder: Path, slices: int) -> list[Path]:
    """Write noise, which no compression on the way makes smaller."""
    geometry = Geometry((512, 512, slices), (0.8, 0.8, 1.0), (-200.0, -200.0, -500.0))
    noise = np.random.default_rng(0).integers(-1000, 1000, geometry.shape, dtype=np.int16)
    return list(write_ct_series(Volume(noise, geometry), folder, description="benchmark"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(files: list[Path], folder: Path, storescu: str) -> tuple[float, float, float, float]:
    """Send once to a new node; return wall seconds, its CPU seconds, and its memory before and at most, in MB."""
    port = free_port()
    command = [sys.executable, "-m", "twintrack", "node", str(folder), "--service", "http://127.0.0.1:1"]
    command += ["--from", "BENCH", "--pacs", "127.0.0.1:1", "--pacs-aet", "NOBODY", "--port", str(port)]
    node = subprocess.Popen([*command, "--reserve-gb", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert "listens at" in node.stdout.readline()
        process = psutil.Process(node.pid)
        before_mb = process.memory_info().rss / 1e6
        spent_s = sum(process.cpu_times()[:2])
        start = time.perf_counter()
        sender = subprocess.Popen(
            [storescu, "-xe", "-aet", "BENCH", "-aec", "TWINTRACK-TEST", "127.0.0.1", str(port), *map(str, files)]
        )
        largest_mb = before_mb
        while sender.poll() is None:
            largest_mb = max(largest_mb, process.memory_info().rss / 1e6)
            time.sleep(0.01)
        wall_s = time.perf_counter() - start
        assert sender.returncode == 0
        spent_s = sum(process.cpu_times()[:2]) - spent_s
        kept = [path for path in (folder / "incoming").rglob("*") if path.is_file()]
        assert len(kept) == len(files)
        return wall_s, spent_s, before_mb, largest_mb
    finally:
        node.terminate()
        node.wait(timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    storescu = shutil.which("storescu", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if storescu is None:
        sys.exit("storescu (dcmtk) is not installed")
    with tempfile.TemporaryDirectory() as name:
        files = make_series(Path(name) / "ct", options.slices)
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        good = True
        for number in range(options.repeats):
            wall_s, spent_s, before_mb, largest_mb = run(files, Path(name) / f"node{number}", storescu)
            load = os.getloadavg()[0]
            print(
                f"{len(files)} slices, {size_mb:.0f} MB: {wall_s:.2f} s, {size_mb / wall_s:.0f} MB/s, node "
                f"{spent_s:.2f} s CPU, {before_mb:.0f} to {largest_mb:.0f} MB, load {load:.1f}"
            )
            good &= size_mb / wall_s >= LEAST_MB_S and largest_mb < MOST_MB
        print(f"at least {LEAST_MB_S:.0f} MB/s and under {MOST_MB:.0f} MB: {'yes' if good else 'NO'}")


if __name__ == "__main__":
    main()
