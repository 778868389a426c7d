"""A cluster that loses all of its workers: the command says that it waits, and ends if none come back."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError
from twintrack.execution.cluster import waiting as waiting_module
from twintrack.execution.cluster.submit import through_cluster
from twintrack.execution.cohort import run_cohort
from twintrack.execution.cohort.tree_sum import map_over
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.system.atomic import atomic_folder

pytestmark = pytest.mark.process

StartWorker = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def lone_scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    from distributed import LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", **options) as scheduler:
        yield scheduler.scheduler_address


@pytest.fixture
def start_worker(lone_scheduler) -> Iterator[StartWorker]:
    """Return what starts a worker that nobody starts again when it dies."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        options = ["--no-nanny", "--nthreads", "1", "--resources", "GPU=1", "--no-dashboard", "--memory-limit", "0"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", lone_scheduler, *options]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_run_whose_workers_all_died_says_that_it_waits_and_ends_when_none_come(
    make_cohort, bundle_folder, lone_scheduler, start_worker, settings, tmp_path
):
    from distributed import Client

    manifest, worker = make_cohort(["p1", "p2"]), start_worker()
    with Client(lone_scheduler) as client:
        client.wait_for_workers(1)
    said: list[str] = []
    shown: list[str] = []

    def kill(line: str) -> None:  # what is announced first is the dashboard, when the work begins
        said.append(line)
        worker.kill()
        worker.wait()

    def show(fraction: float, message: str) -> None:
        shown.append(message)

    out = tmp_path / "out"
    with pytest.raises(InputError) as ended:
        run_cohort(
            manifest, bundle_folder, out, settings, scheduler=lone_scheduler, wait_s=2, announce=kill, progress=show
        )
    assert str(ended.value) == (
        f"{lone_scheduler}: the cluster lost all of its workers, and none came within 2 s; "
        "start some and run the same command again, it goes on where it stopped"
    )
    assert said[1:] == ["the cluster has no workers left; waiting 2 s for new ones"]
    assert any("waiting for workers" in message for message in shown)
    assert not list((out / "cases").iterdir())


def test_work_goes_on_with_workers_that_come_in_time(lone_scheduler, start_worker, monkeypatch, tmp_path):
    from distributed import Client

    monkeypatch.setattr(waiting_module, "LOOK_EVERY_S", 0.1)
    workers, said, seen = [start_worker()], [], tmp_path / "seen"

    def announce(line: str) -> None:
        said.append(line)
        if "no workers left" in line:
            workers.append(start_worker())  # as a queue does, in its own time
        else:
            seen.touch()

    def slow(number: int) -> int:
        (tmp_path / f"{number}").touch()
        while len(list(tmp_path.iterdir())) > 2 and not seen.exists():  # until the new worker was seen at work
            time.sleep(0.02)
        return number

    with Client(lone_scheduler) as client:
        client.wait_for_workers(1)
        waiting, found = waiting_module.ClusterWait(client, resource="GPU", announce=announce), []
        for number, future in through_cluster(client, slow, range(12), window=4, resources={"GPU": 1}, waiting=waiting):
            found.append((number, waiting.result(future)))
            if len(found) == 2:  # the next ones are in the worker's hands
                workers[0].kill()
                workers[0].wait()
    assert sorted(found) == [(number, number) for number in range(12)]
    assert said == ["the cluster has no workers left; waiting 300 s for new ones", "the cluster has workers again"]


def test_a_scheduler_that_goes_away_is_named_and_no_folder_is_blamed(tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", **options) as doomed:
        address = doomed.scheduler_address
        with Client(address) as client:
            ready, waiting = client.submit(list, range(3)), waiting_module.ClusterWait(client, again="run it again")
            waiting.end(ready)
            doomed.close()
            with (
                pytest.raises(InputError) as ended,
                atomic_folder(
                    tmp_path / "out", command="test", last="a"
                ),  # takes any trouble of the system for its own
            ):
                waiting.result(ready)
            assert str(ended.value) == f"{address}: the scheduler went away; run it again"
            monkeypatch.setattr(waiting_module, "LOOK_EVERY_S", 0.1)
            with raises_error(InputError, "cluster-lost"):
                waiting.wait(threading.Event().wait)


def test_sums_over_a_cluster_without_workers_can_be_cancelled_and_end_after_a_while(lone_scheduler, monkeypatch):
    from distributed import Client

    monkeypatch.setattr(waiting_module, "LOOK_EVERY_S", 0.1)
    cancel = CancelToken()

    def cancel_while_waiting(fraction: float, message: str) -> None:
        if "waiting for workers" in message:
            cancel.cancel()

    with Client(lone_scheduler) as client:
        with pytest.raises(Cancelled):
            map_over(client)(list, range(3), cancel_while_waiting, cancel)
        with raises_error(InputError, "cluster-lost", "0.5"):
            map_over(client, wait_s=0.5)(list, range(3), no_progress, CancelToken())
