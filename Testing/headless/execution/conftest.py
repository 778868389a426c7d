"""A real Dask cluster of two processes that the tests of these folders share, and cohorts of tiny CTs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from twintrack.io.volumes import write_volume
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

MakeCohort = WriteStudy = Callable[..., Path]


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """Two worker processes with the resource GPU, two threads each."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, resources={"GPU": 1}, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as running:
        yield running


@pytest.fixture(scope="session")
def address(cluster) -> str:
    """The address of the cluster's scheduler."""
    return cluster.scheduler_address


@pytest.fixture(scope="session")
def settings() -> SegmentSettings:
    """Settings with which the tiny networks answer at once."""
    return SegmentSettings(roi="full", calibrate=False, device="cpu", backend="torch")


@pytest.fixture(scope="session")
def write_study() -> WriteStudy:
    """Return a function that writes tiny CTs, vessels for some of them, and their manifest."""

    def write(names: list[str], folder: Path, broken: tuple[str, ...] = ()) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        geometry = Geometry((26, 30, 14), (1.4, 1.3, 3.1), (-10.0, 20.0, -50.0))
        rows = [["case", "image", "vessels"]]
        for number, name in enumerate(names):
            array = np.random.default_rng(number).normal(0, 80, geometry.shape).astype(np.int16)
            if name in broken:
                array[:] = 0  # no CT in HU
            write_volume(Volume(array, geometry), folder / f"ct{number}.nii.gz")
            vessels = np.zeros(geometry.shape, np.uint8)
            vessels[:, 10:16, 10:14] = 5
            write_volume(Volume(vessels, geometry), folder / f"vessels{number}.nii.gz")
            rows.append([name, f"ct{number}.nii.gz", f"vessels{number}.nii.gz" if number % 2 else ""])
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        return folder / "manifest.csv"

    return write


@pytest.fixture
def make_cohort(write_study, tmp_path: Path) -> MakeCohort:
    """Return `write_study` with a folder of the test's own."""

    def make(names: list[str], *, broken: tuple[str, ...] = (), folder: Path = tmp_path / "study") -> Path:
        return write_study(names, folder, broken)

    return make


@pytest.fixture(scope="module", autouse=True)
def one_thread_in_each_worker() -> Iterator[None]:
    """Workers and servers that tests start compute with one thread each, whatever was run before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True)
def as_many_threads_as_a_worker() -> Iterator[None]:
    """Compute with as many threads here: with two the last bits of a sum may differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
