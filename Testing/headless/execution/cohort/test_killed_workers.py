"""Only the case that ends its worker is a failure, whatever the number of workers, and of cases in their hands."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from twintrack.execution.cohort import run, run_cohort
from twintrack.execution.cohort.plan import make_plan
from twintrack.execution.cohort.process_case import SegmentTask

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.name == "nt", reason="ends processes the POSIX way")]

NAMES = ["a0", "killer1", "a1", "a2", "killer2", "a3", "a4", "a5"]
KILLERS = ["killer1", "killer2"]


def deadly(notes: Path, once: bool = False) -> Callable[[SegmentTask], str]:
    """Return what a worker does with a case: nothing much, or end itself; with `once` only at the first try.

    It is made here so that it travels to the workers by value.
    """

    def work(task: SegmentTask) -> str:
        import os
        import signal
        import time
        from pathlib import Path

        from twintrack.execution.cohort.case_folder import RECORD, write_record
        from twintrack.system.atomic import atomic_folder

        with (notes / task.case).open("a", encoding="utf-8") as stream:
            stream.write("begun\n")
        time.sleep(0.1)
        if task.case.startswith("killer") and not (once and (notes / f"{task.case} died").exists()):
            (notes / f"{task.case} died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        with atomic_folder(Path(task.folder), command="cohort", last=RECORD) as folder:
            record = {"case": task.case, "key": task.key, "made": task.made, "status": "done", "row": {}}
            write_record(folder, record | {"seconds": {}, "worker": ""})
        return "done"

    return work


@pytest.fixture
def notes(tmp_path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def failures(out: Path) -> list[dict[str, str]]:
    with (out / "failures.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tries(notes: Path, case: str) -> int:
    return len((notes / case).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_local_cluster_blames_the_cases_that_end_their_workers(
    workers, make_cohort, plain_bundle, settings, tmp_path, notes, monkeypatch
):
    monkeypatch.setattr(run, "process_case", deadly(notes))
    out = tmp_path / "out"
    summary = run_cohort(make_cohort(NAMES), plain_bundle, out, settings, workers=workers)
    assert [failure["case"] for failure in failures(out)] == KILLERS
    assert (summary.done, summary.failed) == (6, 2)
    for failure in failures(out):
        assert failure["kind"] == "KilledWorker"
        assert "2 workers died while they had this case alone" in failure["reason"]
    for case in KILLERS:
        assert tries(notes, case) <= 4, "the first time beside others, then alone"


def test_a_running_scheduler_with_one_worker_of_two_threads_does_too(
    make_cohort, plain_bundle, settings, tmp_path, notes, monkeypatch
):
    from distributed import LocalCluster

    monkeypatch.setattr(run, "process_case", deadly(notes))
    out, options = tmp_path / "out", {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=2, resources={"GPU": 1}, **options) as running:
        summary = run_cohort(make_cohort(NAMES), plain_bundle, out, settings, scheduler=running.scheduler_address)
    assert [failure["case"] for failure in failures(out)] == KILLERS
    assert (summary.done, summary.failed) == (6, 2)


def test_a_worker_that_dies_once_costs_no_case(make_cohort, plain_bundle, settings, tmp_path, notes, monkeypatch):
    monkeypatch.setattr(run, "process_case", deadly(notes, once=True))
    summary = run_cohort(make_cohort(NAMES), plain_bundle, tmp_path / "out", settings, workers=1)
    assert (summary.done, summary.failed) == (8, 0)


def test_more_killers_than_are_in_hand_at_a_time_end_too(
    make_cohort, plain_bundle, settings, tmp_path, notes, monkeypatch
):
    monkeypatch.setattr(run, "process_case", deadly(notes))
    monkeypatch.setattr(run, "LEAST_WINDOW", 2)
    monkeypatch.setattr(run, "WINDOW_PER_SLOT", 1)
    names = ["killer1", "a1", "killer2", "killer3", "a2"]
    summary = run_cohort(make_cohort(names), plain_bundle, tmp_path / "out", settings, workers=1)
    assert (summary.done, summary.failed) == (2, 3)


def test_a_case_that_was_finished_just_before_the_death_keeps_its_result(
    make_cohort, plain_bundle, settings, tmp_path, notes
):
    plan = make_plan(make_cohort(["a0", "a1"]), plain_bundle, tmp_path / "out", settings)
    first, second = map(plan.task, plan.cases())
    assert deadly(notes)(first) == "done"
    assert run._note_killer(first) == "done"
    assert run._note_killer(second) == "failed"
    assert [state.status for state in plan.states()] == ["done", "failed"]
