"""Each process of a local cluster gets a GPU of its own, and gives back the memory of a case."""

from __future__ import annotations

import os

import pytest

from twintrack.execution.cluster import client as cluster
from twintrack.execution.cluster import nodes as gpus
from twintrack.execution.cohort import process_case as case
from twintrack.execution.cohort.process_case import SegmentTask

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (2, None, ["0", "1", "0", "1", "0"]),
        (3, "", ["0", "1", "2", "0", "1"]),
        (2, "5,3", ["5", "3", "5", "3", "5"]),  # someone left us two GPUs of the machine
        (2, "GPU-8f2a, GPU-11b0", ["GPU-8f2a", "GPU-11b0", "GPU-8f2a", "GPU-11b0", "GPU-8f2a"]),
    ],
)
def test_workers_get_the_gpus_in_turn_among_those_that_are_left_to_us(count, visible, expected):
    assert [gpus.own_gpu(worker, count, visible) for worker in range(5)] == expected


def test_on_two_gpus_there_are_two_processes_that_see_one_each(monkeypatch):
    monkeypatch.setattr(cluster, "gpu_count", lambda: 2)
    monkeypatch.setenv(gpus.VISIBLE, "7,4")
    with cluster.cluster_client() as client:
        seen = client.run(os.getenv, gpus.VISIBLE)
        assert sorted(seen.values()) == ["4", "7"]
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [(worker["nthreads"], worker["resources"]["GPU"]) for worker in workers] == [(2, 1), (2, 1)]
        assert cluster.slots(client, cluster.GPU) == 4


def test_a_worker_gives_memory_back_after_each_case_that_it_worked_on(monkeypatch, tmp_path):
    given_back: list[int] = []
    monkeypatch.setattr(case, "return_memory", lambda: given_back.append(1))
    place = {"source": str(tmp_path / "ct.nii.gz"), "folder": str(tmp_path / "out"), "bundle": str(tmp_path / "none")}
    task = SegmentTask(case="p1", key="k", **place, bundle_sha256="0", settings={}, made={})
    for number in (1, 2):
        assert case.process_case(task) == "failed"
        assert len(given_back) == number
