"""The processes of a server: whatever a run does to its process, it fails alone, and the next one is carried out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.errors import BundleError
from twintrack.execution.server import pool as pool_module
from twintrack.execution.server import worker_slot
from twintrack.execution.server.pool import Offered, Pool, Work, WorkerLimits
from twintrack.execution.server.worker_process import memory_of
from twintrack.execution.worker.run_request import answer_request
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process

WITHIN_S = 300

NO_LIMITS = WorkerLimits()

QUICK = {"roi": [5, 25, 5, 25, 5, 15], "calibrate": False}


class Service:
    """An event loop in a thread of its own with a pool in it, as the HTTP service has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.warnings, self.freed = folder, [], 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runs, self._others = 0, serving()

    def start(
        self, bundle: Path, *, limits: WorkerLimits = NO_LIMITS, backend: str = "torch", workers: int = 1
    ) -> None:
        async def made() -> Pool:
            return Pool(Offered(bundle, "cpu", backend), workers=workers, limits=limits, warn=self.warnings.append)

        self.pool = self.wait(made())
        self.pool.on_free(self._count)
        self.wait(self.pool.start())

    def _count(self) -> None:
        self.freed += 1

    def wait(self, coroutine, within_s: float = WITHIN_S):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(within_s)

    def close(self) -> None:
        self.wait(self.pool.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()

    def begin(self, source: Path, **settings) -> Ask:
        self._runs += 1
        return Ask(self, Work(f"run{self._runs}", source, self.folder / f"run{self._runs}" / "result", settings))

    def worker(self) -> psutil.Process:
        """Return the only process that does the work."""
        (found,) = self.workers()
        return found

    def workers(self) -> list[psutil.Process]:
        return [one for one in serving() if one not in self._others]


class Ask:
    """A run that was begun."""

    def __init__(self, service: Service, work: Work) -> None:
        self.work, self.events, self._service = work, [], service
        work.out.parent.mkdir(parents=True)
        carried_out = service.pool.carry_out(work, self.events.append)
        self.future = asyncio.run_coroutine_threadsafe(carried_out, service._loop)

    def works(self) -> Ask:
        """Return it once the networks look at tiles."""
        assert soon(lambda: any("Scoring" in event["message"] for event in self.events) or self.future.done())
        assert not self.future.done(), self.future.result()
        return self

    def cancel(self) -> None:
        self._service.wait(self._service.pool.cancel(self.work.run))

    def process(self) -> psutil.Process:
        """Return the process that carries it out."""
        return psutil.Process(self._service.pool._runs[self.work.run].slot.process.pid)

    def end(self) -> dict:
        return self.future.result(WITHIN_S)

    def code(self) -> str:
        last = self.end()
        assert last["event"] == "error", last
        return last["fields"]["code"]


def serving() -> list[psutil.Process]:
    """Return the processes that this one has for the work."""
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.Error):  # has just ended
            if "--serve" in one.cmdline():
                found.append(one)
    return found


def soon(condition) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@contextmanager
def running(folder: Path, bundle: Path, **options):
    service = Service(folder)
    try:
        service.start(bundle, **options)
        yield service
    finally:
        service.close()
    assert not service.workers()


@pytest.fixture(scope="module")
def service(make_bundle, tmp_path_factory):
    """A pool of one process, which every test may end."""
    with running(tmp_path_factory.mktemp("spool"), make_bundle()) as found:
        yield found


@pytest.fixture(scope="module")
def shared_inputs() -> Path:
    """The folder with files that other tests' authors found to be trouble."""
    folder = Path(os.environ.get("TWINTRACK_TEST_DATA", "/nowhere")) / "inputs"
    if not folder.is_dir():
        pytest.skip("TWINTRACK_TEST_DATA names no folder with inputs")
    return folder


@pytest.fixture
def next_run_is_done(service, ct, vessels):
    """After the test: one process is free again, and does what it is asked for."""
    yield
    assert soon(lambda: service.pool.free == 1)
    assert service.begin(ct, vessels=str(vessels), vessel_names={"SMA": 5}, **QUICK).end()["event"] == "done"


@pytest.fixture
def slow_run(service, ct, vessels, slow):
    """Return a function that begins a run that takes its time, and waits until the networks work."""
    own = {"vessels": str(vessels), "vessel_names": {"SMA": 5}, "calibrate": False}
    return lambda: service.begin(ct, **own, **slow).works()


def test_a_run_gives_the_voxels_of_a_local_one_byte_by_byte(service, ct, vessels, make_bundle, tmp_path):
    settings = {"vessels": str(vessels), "vessel_names": {"SMA": 5}, "keep_score": True, **QUICK}
    run = service.begin(ct, **settings)
    assert run.end() == {"event": "done", "out": str(run.work.out)}
    fractions = [event["fraction"] for event in run.events]
    assert fractions == sorted(fractions)
    assert run.events[0]["device"]["device"] == "cpu"
    own = {"schema": 1, "input": str(ct), "bundle": str(make_bundle()), "out": str(tmp_path / "here")}

    class Silent:
        def say(self, **event):
            pass

    assert answer_request(own | settings | {"device": "cpu", "backend": "torch"}, Silent(), CancelToken()) == 0
    for name in ("segmentation.nii.gz", "probability.nii.gz", "score.nii.gz", "vessels.nii.gz"):
        assert (run.work.out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.network
def test_the_demo_model_gives_on_a_server_what_it_gives_here(tmp_path):
    array = np.full((30, 96, 96), -1000, np.int16)
    array[:, 8:-8, 8:-8] = np.random.default_rng(3).normal(50, 20, (30, 80, 80))
    write_volume(Volume(array, Geometry((96, 96, 30), (2.0, 2.0, 3.0))), tmp_path / "ct.nii.gz")
    settings = {"roi": [20, 70, 20, 70, 5, 25], "backend": "auto"}
    service = Service(tmp_path / "spool")
    service.start(demo_bundle_path(), backend="auto")
    try:
        run = service.begin(tmp_path / "ct.nii.gz", **settings)
        assert run.end()["event"] == "done"
    finally:
        service.close()
    local = [sys.executable, "-m", "twintrack", "segment", tmp_path / "ct.nii.gz", "--bundle", demo_bundle_path()]
    options = ["--roi", "20,70,20,70,5,25", "--device", "cpu", "--out", tmp_path / "here"]
    subprocess.run([str(word) for word in [*local, *options]], check=True, capture_output=True, env=os.environ)
    for name in ("segmentation.nii.gz", "probability.nii.gz"):
        assert (run.work.out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["killed", "native crash"])
def test_a_process_that_dies_fails_its_own_run_alone(service, slow_run, next_run_is_done, number):
    deaths, run = service.pool.deaths, slow_run()
    service.worker().send_signal(number)
    assert run.code() == "server-process-died"
    assert soon(lambda: service.pool.deaths == deaths + 1 and number.name in service.warnings[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_cancel_is_answered_at_once_and_the_process_stays(service, slow_run, next_run_is_done, monkeypatch):
    monkeypatch.setattr(pool_module, "CANCEL_S", float(WITHIN_S))  # a busy computer may need more than three seconds
    run, process = slow_run(), service.worker()
    process.suspend()  # it cannot be what the answer waits for
    run.cancel()
    assert not run.future.done()
    process.resume()
    began = time.monotonic()
    assert run.end() == {"event": "cancelled"}
    assert time.monotonic() - began < 25  # five times what is promised until the next run can begin
    assert service.worker() == process
    run.cancel()  # of one that has ended: nothing


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_cancelled_run_that_hangs_ends_with_its_process(service, slow_run, next_run_is_done):
    run, process = slow_run(), service.worker()
    process.suspend()
    run.cancel()
    assert run.end() == {"event": "cancelled"}
    assert not process.is_running()


def test_a_run_that_nobody_waits_for_any_more_ends(service, slow_run, next_run_is_done):
    run, process = slow_run(), service.worker()
    run.future.cancel()
    assert soon(lambda: not process.is_running())


def test_runs_wait_for_their_turn_and_can_be_cancelled_meanwhile(service, slow_run, ct, slow, next_run_is_done):
    first = slow_run()
    second = service.begin(ct, calibrate=False, **slow)
    third = service.begin(ct, calibrate=False, **slow)
    second.cancel()
    assert second.end() == {"event": "cancelled"}
    assert not first.future.done()
    first.cancel()
    third.works().cancel()
    assert third.end() == {"event": "cancelled"}


def test_what_a_stranger_sends_names_no_file_of_the_server(service, tmp_path, next_run_is_done):
    (tmp_path / "ct.mha").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 8 8 8\nElementSpacing = 1 1 1\nOffset = 0 0 0\n"
        "ElementType = MET_SHORT\nElementDataFile = /etc/passwd\n"
    )
    assert service.begin(tmp_path / "ct.mha").code() == "voxels-elsewhere"


def test_a_bundle_device_or_server_in_the_settings_changes_nothing(service, ct, vessels, make_bundle, next_run_is_done):
    own = {"vessels": str(vessels), "vessel_names": {"SMA": 5}, **QUICK}
    other = {"bundle": "/nowhere", "device": "cuda:7", "backend": "openvino"}
    assert service.begin(ct, **own, **other).end()["event"] == "done"
    assert service.begin(ct, **own, run_on="tls://elsewhere:1").code() == "option-unknown"


@pytest.mark.parametrize(
    "name", ["dicom_nested", "mha_ndims_segfault.mha", "fifo.mha", "etc.mha", "etcs.nrrd", "mf.mha"]
)
def test_files_that_once_ended_or_filled_a_process_leave_it_alone(service, shared_inputs, name):
    process = service.worker().pid
    service.begin(shared_inputs / "hostile" / name, roi="full", calibrate=False).end()
    assert service.worker().pid == process


def test_two_processes_work_at_the_same_time_and_one_dies_alone(make_bundle, ct, vessels, slow, tmp_path):
    own = {"vessels": str(vessels), "vessel_names": {"SMA": 5}, "calibrate": False}
    with running(tmp_path / "spool", make_bundle(), workers=2) as service:
        assert soon(lambda: service.pool.free == 2)
        first, second = (service.begin(ct, **own, **slow) for _ in range(2))
        held = first.works().process()
        held.suspend()  # or it may be done before the second has begun
        second.works()
        held.resume()
        assert service.pool.free == 0
        service.workers()[0].kill()
        assert sorted(run.end()["event"] for run in (first, second)) == ["done", "error"]


def test_an_error_that_nobody_foresaw_ends_its_process_and_is_told_without_its_words(service, ct, next_run_is_done):
    process = service.worker()
    run = service.begin(ct.with_name("DOE\0JANE.nrrd"))  # no name of a file: a defect of the caller
    assert run.code() == "unexpected"
    assert not process.is_running()
    assert "ValueError at " in "".join(service.warnings)
    assert "JANE" not in "".join(service.warnings)


def test_a_run_that_takes_more_memory_than_it_may_fails_alone(service, make_bundle, ct, vessels, tmp_path):
    array = np.full((100, 400, 400), 40, np.int16)
    array[:, :200] = -1000
    write_volume(Volume(array, Geometry((400, 400, 100), (1.0, 1.0, 1.0))), tmp_path / "large.mha")
    quick = {"vessels": str(vessels), "vessel_names": {"SMA": 5}, **QUICK}
    assert service.begin(ct, **quick).end()["event"] == "done"  # now it has all that such a run needs
    limits = WorkerLimits(memory_bytes=memory_of(service.worker().pid) + 100_000_000)
    with running(tmp_path / "spool", make_bundle(), limits=limits) as limited:
        assert limited.begin(tmp_path / "large.mha", roi="full", calibrate=False).code() == "run-too-large"
        assert limited.begin(ct, **quick).end()["event"] == "done"
        assert limited.pool.ready
        assert limited.pool.deaths == 1


def test_memory_is_watched_where_no_thread_can_be_started(service, slow_run, next_run_is_done, monkeypatch):
    asked = []

    async def refuse(*_arguments: object) -> None:
        asked.append(True)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(pool_module.asyncio, "to_thread", refuse)
        run = slow_run()
        assert soon(lambda: len(asked) > 2)  # it looks again and again
        patch.setattr(service.pool, "_memory_bytes", 1)
        assert run.code() == "run-too-large"


def test_a_run_that_takes_longer_than_it_may_fails_alone(make_bundle, ct, vessels, slow, tmp_path):
    with running(tmp_path / "spool", make_bundle(), limits=WorkerLimits(run_s=0.1)) as service:
        assert service.begin(ct, calibrate=False, **slow).code() == "run-too-long"
        assert soon(lambda: service.pool.free == 1)
        assert "took too long" in service.warnings[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_another_bundle_takes_over_while_a_run_of_the_old_one_ends(make_bundle, ct, vessels, slow, tmp_path):
    old, new = make_bundle(), make_bundle(name="other", folds=("1", "2"))
    with running(tmp_path / "spool", old) as service:
        own = {"vessels": str(vessels), "vessel_names": {"SMA": 5}}
        before, run = service.pool.about, service.begin(ct, calibrate=False, **own, **slow).works()
        held = service.worker()
        held.suspend()  # its run lasts longer than the exchange
        with raises_error(BundleError, "bundle-missing"):
            service.wait(service.pool.exchange(tmp_path / "none"))
        assert service.pool.about == before
        service.wait(service.pool.exchange(new))
        assert service.pool.about["name"] == "other"
        assert service.pool.about["sha256"] != before["sha256"]
        assert service.begin(ct, **own, **QUICK).end()["event"] == "done"
        assert not run.future.done()
        held.resume()
        assert run.end()["event"] == "done"
        assert soon(lambda: len(service.workers()) == 1)
        assert service.pool.deaths == 0, service.warnings


def test_a_process_that_ends_all_the_time_is_started_slowly_and_the_server_is_not_ready(
    make_bundle, ct, vessels, tmp_path, monkeypatch
):
    monkeypatch.setattr(worker_slot, "LONGEST_PAUSE_S", 3.0)
    monkeypatch.setattr(worker_slot, "DEATHS", 3)
    with running(tmp_path / "spool", make_bundle()) as service:
        for _ in range(worker_slot.DEATHS):
            assert soon(lambda: service.pool.free == 1)
            assert service.pool.ready
            service.worker().kill()
            assert soon(lambda: service.pool.free == 0)
        assert soon(lambda: service.pool.deaths == worker_slot.DEATHS and "in 3 s" in service.warnings[-1])
        assert not service.pool.ready
        assert soon(lambda: service.pool.ready)  # the slow attempt
        small = service.begin(ct, vessels=str(vessels), vessel_names={"SMA": 5}, **QUICK)
        assert small.end()["event"] == "done"
        warned = len(service.warnings)
        service.worker().kill()
        assert soon(lambda: service.pool.deaths == worker_slot.DEATHS + 1 and len(service.warnings) > warned)
        assert "in 3 s" not in service.warnings[-1]  # a run that ended well is a new beginning


def test_a_bundle_that_cannot_be_loaded_ends_the_start(tmp_path):
    service = Service(tmp_path)
    with raises_error(BundleError, "bundle-missing"):
        service.start(tmp_path / "none")
    service.close()


def test_workers_have_a_gpu_each_of_those_that_are_left_to_the_server(monkeypatch):
    monkeypatch.delenv(worker_slot.VISIBLE, raising=False)
    own = [worker_slot.environment_of(number, 3, 2).get(worker_slot.VISIBLE) for number in range(3)]
    assert own == ["0", "1", "0"]
    monkeypatch.setenv(worker_slot.VISIBLE, "GPU-aa, GPU-bb")
    assert worker_slot.environment_of(1, 2, 2)[worker_slot.VISIBLE] == "GPU-bb"
    assert worker_slot.VISIBLE not in worker_slot.environment_of(0, 1, 0)


def test_the_pool_loads_nothing_that_reads_images_or_unpickles():
    heavy = ("torch", "SimpleITK", "numpy", "distributed", "cloudpickle", "nnunetv2", "pydicom")
    code = f"import sys, {pool_module.__name__}; print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout == "[]\n"
