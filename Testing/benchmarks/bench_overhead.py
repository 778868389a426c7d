"""What a server adds to a run: the same CT by a warm worker here and by a warm server, in turn, wall and CPU seconds.

A worker that stays (``--serve``), as 3D Slicer's module keeps one, carries out requests on a phantom's DICOM series,
once with its own networks and once with ``run_on``; the server is started as its owner starts it, on the same machine,
over TLS. The command line's ``segment --run-on`` is timed too: it starts Python for each run::

    python Testing/benchmarks/bench_overhead.py --repeats 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from bench_service import Server

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.dicom import write_ct_series
from twintrack.phantom import make_phantom

SEED = 43000


class Worker:
    """A worker that stays."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "twintrack.execution.worker", "--serve"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **pipes, text=True)

    def run(self, request: dict[str, object]) -> None:
        """Carry out a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] in ("error", "cancelled"):
                raise SystemExit(f"a run failed: {event}")
            if event["event"] == "done":
                return

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def cpu_s(*pids: int) -> float:
    """CPU seconds of processes and all that they started."""
    total = 0.0
    for pid in pids:
        own = psutil.Process(pid)
        for process in (own, *own.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def timed(work: Callable[[], object], *pids: int) -> tuple[float, float]:
    """Return wall and CPU seconds of some work; ended children of this process count too."""
    cpu, began = cpu_s(os.getpid(), *pids), time.perf_counter()
    work()
    return time.perf_counter() - began, cpu_s(os.getpid(), *pids) - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ct_series(make_phantom(SEED).ct, folder / "ct", description="phantom")
        server, worker, remote = Server(folder), Worker(), Worker()
        try:
            token = folder / "token.txt"
            token.write_text(server.token)
            tls = folder / "tls" / "server"
            there = {"run_on": server.address, "tls": str(tls), "token_file": str(token), "bundle": None}
            common = {"schema": 1, "input": str(folder / "ct"), "dicom": True, "device": "cpu"}
            command = [sys.executable, "-m", "twintrack", "segment", str(folder / "ct"), "--dicom"]
            command += ["--run-on", server.address, "--tls", str(tls), "--token-file", str(token), "--overwrite"]
            number, bundle = 0, str(demo_bundle_path())

            def new_out() -> str:
                nonlocal number
                number += 1
                return str(folder / f"out{number}")

            ways: dict[str, Callable[[], object]] = {
                "a warm worker here": lambda: worker.run({**common, "bundle": bundle, "out": new_out()}),
                "the server, by a warm worker": lambda: remote.run({**common, **there, "out": new_out()}),
                "the server, by the command line": lambda: subprocess.run(
                    [*command, "--out", new_out()], check=True, capture_output=True
                ),
            }
            took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for way in ways.values():
                way()
            for _ in range(options.repeats):
                for way, work in ways.items():
                    took[way].append(timed(work))
            print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {options.repeats} repeats")
            print(f"{'way':34}{'wall s, median':>16}{'least':>8}{'most':>8}{'CPU s':>8}")
            for way, found in took.items():
                walls, cpus = zip(*found, strict=True)
                print(
                    f"{way:34}{statistics.median(walls):16.2f}{min(walls):8.2f}{max(walls):8.2f}"
                    f"{statistics.median(cpus):8.2f}"
                )
            here, *others = took.values()
            for way, found in zip(list(ways)[1:], others, strict=True):
                more = [after[0] - before[0] for before, after in zip(here, found, strict=True)]
                cpu = [after[1] - before[1] for before, after in zip(here, found, strict=True)]
                print(f"{way} adds {statistics.median(more):.2f} s, {statistics.median(cpu):.2f} s of the processor")
        finally:
            for one in (worker, remote, server):
                one.close()


if __name__ == "__main__":
    main()
