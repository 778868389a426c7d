"""What a cohort costs beside the cases themselves: Dask, tables and memory.

Simulated cases sleep and write the files of a real one, of the same size (12 GB for 10,000 cases) or a part of it:
time a case beyond the sleep, the memory of client and scheduler (one process here) at a tenth of the cases and at all,
and the time of resuming and of the tables. `bench_cohort_memory.py` and `bench_cohort_peers.py` measure the rest.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from itertools import islice
from pathlib import Path

import psutil

from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.execution.cluster.client import GPU, cluster_client
from twintrack.execution.cluster.submit import through_cluster
from twintrack.execution.cohort.case_folder import RECORD, write_record
from twintrack.execution.cohort.html_index import write_index
from twintrack.execution.cohort.plan import CohortPlan, make_plan
from twintrack.execution.cohort.process_case import SegmentTask
from twintrack.execution.cohort.tables import write_tables
from twintrack.system.atomic import atomic_folder

FILES = {"probability.nii.gz": 120_000, "segmentation.nii.gz": 5_000, "overview.png": 440_000, "report.html": 600_000}
FILES |= {"result.json": 5_000, "invasion.json": 20_000, "invasion.csv": 500, "thumbnail.jpg": 12_000}
"""Bytes of each file of a demo case."""

ROW = {"volume_expected_ml": 3.2, "volume_at_threshold_ml": 1.9, "lesions": 1, "warnings": "simulated"}


def simulated(task: SegmentTask, sleep_s: float = 0.0, share: float = 0.01) -> str:
    """Do all that a worker does with a case but for the case."""
    folder = Path(task.folder)
    time.sleep(sleep_s)
    with atomic_folder(folder, command="cohort", last=RECORD) as work:
        for name, size in FILES.items():
            (work / name).write_bytes(bytes(int(size * share)))
        record = {"case": task.case, "key": task.key, "made": task.made, "status": "done"}
        record |= {"row": ROW, "seconds": {}, "worker": ""}
        write_record(work, record)
    return "done"


def many_cases(folder: Path, cases: int) -> CohortPlan:
    """Return the plan of a cohort whose cases share one CT."""
    (folder / "ct.nii.gz").write_bytes(b"never read")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["case", "image"], *([f"case{n:06d}", "ct.nii.gz"] for n in range(cases))])
    plan = make_plan(folder / "manifest.csv", demo_bundle_path(), folder / "out")
    (plan.out / "cases").mkdir(parents=True)
    return plan


def memory_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def simulate(cases: int, workers: int, sleep_s: float, share: float) -> None:
    """Print what simulated cases cost."""

    def work(task: SegmentTask) -> str:
        return simulated(task, sleep_s, share)

    with tempfile.TemporaryDirectory() as temporary:
        plan = many_cases(Path(temporary), cases)
        start = time.perf_counter()
        for case in islice(plan.cases(), 500):
            simulated(plan.task(case), 0.0, share)
        plain = (time.perf_counter() - start) / min(cases, 500)
        with cluster_client(workers=workers, device="cpu") as client:
            tasks = map(plan.task, plan.cases())
            held, start = {}, time.perf_counter()
            flow = through_cluster(client, work, tasks, window=64, resources={GPU: 0.5})
            for number, (_, future) in enumerate(flow, start=1):
                future.result()
                if number in (cases // 10, cases):
                    held[number] = memory_mb()
            took = time.perf_counter() - start
        busy = took * workers / cases
        over_ms = 1000 * (busy - sleep_s - plain)
        size = share * sum(FILES.values()) / 1e6
        print(f"{cases} simulated cases of {size:.3f} MB, {workers} workers, sleep {1000 * sleep_s:g} ms")
        print(f"  a case and worker: {1000 * busy:.1f} ms, beyond sleep and writing {over_ms:.1f} ms")
        print(f"  (written without Dask: {1000 * plain:.1f} ms); {cases / took:.0f} cases a second")
        few, many = held[cases // 10], held[cases]
        print(f"  client and scheduler: {few:.0f} MB after {cases // 10} cases, {many:.0f} MB after {cases}")
        for name, step in (("states", lambda: list(plan.states())), ("tables", lambda: write_tables(plan))):
            start = time.perf_counter()
            step()
            print(f"  {name}: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        write_index(plan)
        size = (plan.out / "index.html").stat().st_size
        print(
            f"  index: {time.perf_counter() - start:.1f} s, {size / 1e6:.1f} MB; memory after all {memory_mb():.0f} MB"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", type=int, default=2000, help="simulated cases")
    parser.add_argument("--sleep-s", type=float, default=0.0, help="how long a simulated case sleeps")
    parser.add_argument("--share", type=float, default=0.01, help="part of a real case's bytes that one writes")
    options = parser.parse_args()
    simulate(options.simulated, 2, options.sleep_s, options.share)


if __name__ == "__main__":
    main()
