"""A server whose work is done by a Dask cluster that shares no files with it: results, cancelling, and what is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from dask_cluster import TlsCluster, tls_cluster
from http_server import running_http
from twintrack.cli.app import run_command
from twintrack.dicom import write_ct_series
from twintrack.errors import Cancelled
from twintrack.execution.server import far_end
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.far_end import LEASE_S, FarEnd
from twintrack.execution.server.pool import Offered, Pool, Work, WorkerLimits
from twintrack.execution.worker import forward
from twintrack.execution.worker.run_request import answer_request
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.results.folder import segment_file
from twintrack.settings import SegmentSettings
from twintrack.system.openssl import has_openssl
from twintrack.system.private_folder import PrivateFolder
from twintrack.volume import Geometry, Volume

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="ends and stops processes the POSIX way"),
    pytest.mark.skipif(not has_openssl(), reason="openssl is not installed"),
]

WITHIN_S = 300

QUICK = {"roi": [5, 25, 5, 25, 5, 15], "calibrate": False}

SLOW = {"roi": "full", "every_tile": True, "calibrate": False}


class Place:
    """A server's pool of one place, whose work a cluster does, with a run's files as the server lays them."""

    def __init__(self, folder: Path, cluster: TlsCluster) -> None:
        self.folder, self.cluster, self.warnings, self._runs = folder, cluster, [], 0
        self._others = forwarders()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, bundle: Path, limits: WorkerLimits) -> None:
        async def made() -> Pool:
            offered = Offered(bundle, "cpu", "torch", self.cluster.address)
            return Pool(offered, workers=1, limits=limits, warn=self.warnings.append)

        self.pool = self.wait(made())
        self.wait(self.pool.start())

    def wait(self, coroutine, within_s: float = WITHIN_S):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(within_s)

    def begin(self, ct: Path, source: Path | None = None, **settings) -> Run:
        self._runs += 1
        return Run(self, self.folder / f"run{self._runs}", ct, source, settings)

    def forwarder(self) -> psutil.Process:
        """Return the process that speaks to the cluster."""
        (found,) = [one for one in forwarders() if one not in self._others]
        return found

    def close(self) -> None:
        self.wait(self.pool.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()


class Run:
    """A run that was begun."""

    def __init__(self, place: Place, folder: Path, ct: Path, series: Path | None, settings: dict) -> None:
        folder.mkdir(parents=True)
        own = {"vessel_names": {"SMA": 5}}
        for name, source in {"input": ct, "vessels": ct.with_name("vessels.nii.gz")}.items():
            os.link(source, folder / source.name)
            own[name] = str(folder / source.name)
        own |= settings
        if series is not None:
            own["input"] = str(shutil.copytree(series, folder / "series"))
        work = Work(folder.name, Path(own.pop("input")), folder / "result", own)
        self.out, self.events, self._place, self._name = work.out, [], place, folder.name
        carried_out = place.pool.carry_out(work, self.events.append)
        self.future = asyncio.run_coroutine_threadsafe(carried_out, place._loop)

    def works(self) -> Run:
        """Return it once the networks look at tiles."""
        assert soon(lambda: any("Scoring" in event["message"] for event in self.events) or self.future.done())
        assert not self.future.done(), self.future.result()
        return self

    def cancel(self) -> None:
        self._place.wait(self._place.pool.cancel(self._name))

    def end(self) -> dict:
        return self.future.result(WITHIN_S)

    def code(self) -> str:
        last = self.end()
        assert last["event"] == "error", last
        return last["fields"]["code"]


def forwarders() -> list[psutil.Process]:
    """Return the processes of this one that speak to clusters."""
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.Error):  # has just ended
            if "--forward" in one.cmdline():
                found.append(one)
    return found


def soon(condition, within_s: float = WITHIN_S) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """Certificates of a cluster."""
    return make_certificates(tmp_path_factory.mktemp("keys") / "made", "127.0.0.1")


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    """A CT that takes the tiny networks some seconds where they look everywhere, and a vessel map beside it."""
    path = tmp_path_factory.mktemp("cts") / "ct.nrrd"
    geometry = Geometry((60, 60, 40), (1.5, 1.5, 3.0))
    write_volume(Volume(np.random.default_rng(1).normal(0, 60, (40, 60, 60)).astype(np.int16), geometry), path)
    vessels = np.zeros((40, 60, 60), np.uint8)
    vessels[:, 10:16, 10:14] = 5
    write_volume(Volume(vessels, geometry), path.with_name("vessels.nii.gz"))
    return path


@contextmanager
def serving(folder: Path, keys: Path, bundle: Path, workers: int, limits: WorkerLimits) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        (folder / "cluster").mkdir()
        (folder / "server").mkdir()
        with tls_cluster(keys, folder / "cluster", patch) as cluster:
            for _ in range(workers):
                cluster.add_worker(server=folder / "server")
            place = Place(folder / "server", cluster)
            try:
                place.start(bundle, limits)
                yield place
            finally:
                place.close()


@pytest.fixture(scope="module")
def place(keys, make_bundle, tmp_path_factory) -> Iterator[Place]:
    """A place with a cluster of one worker, which no test ends."""
    with serving(tmp_path_factory.mktemp("place"), keys, make_bundle(), 1, WorkerLimits()) as found:
        yield found


def test_a_run_gives_the_voxels_of_a_local_one_byte_by_byte(place, ct, make_bundle, tmp_path):
    settings = {"keep_score": True, **QUICK}
    run = place.begin(ct, **settings)
    assert run.end() == {"event": "done", "out": str(run.out)}
    fractions = [event["fraction"] for event in run.events]
    assert fractions == sorted(fractions)
    assert any(event.get("device", {}).get("device") == "cpu" for event in run.events)

    class Silent:
        def say(self, **event):
            pass

    own = {"schema": 1, "input": str(ct), "bundle": str(make_bundle()), "out": str(tmp_path / "here")}
    own |= {"vessels": str(ct.with_name("vessels.nii.gz")), "vessel_names": {"SMA": 5}}
    assert answer_request(own | settings | {"device": "cpu", "backend": "torch"}, Silent(), CancelToken()) == 0
    here = {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {path.relative_to(run.out) for path in run.out.rglob("*") if path.is_file()} == here
    for name in ("segmentation.nii.gz", "probability.nii.gz", "score.nii.gz", "vessels.nii.gz"):
        assert (run.out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert place.cluster.opened == []
    look = [sys.executable, "-c", f"open({str(run.out / 'result.json')!r})"]
    subprocess.run(look, check=True, env=os.environ | place.cluster.environment(place.folder))
    assert len(place.cluster.opened) == 1  # it would be noticed
    assert soon(lambda: len(place.cluster.scratch) == 1)  # the bundle stays, and nothing of the run


def test_a_series_goes_with_all_of_its_files(place, ct, make_bundle, tmp_path):
    array = np.random.default_rng(2).normal(0, 60, (16, 40, 40)).astype(np.int16)
    write_ct_series(Volume(array, Geometry((40, 40, 16), (1.5, 1.5, 3.0))), tmp_path / "series", description="a series")
    settings = {"vessels": None, "vessel_names": None, "roi": [5, 25, 5, 25, 3, 12], "calibrate": False}
    run = place.begin(ct, source=tmp_path / "series", **settings)
    assert run.end()["event"] == "done"
    here = tmp_path / "here"
    segment_file(tmp_path / "series", make_bundle(), here, SegmentSettings(**settings, device="cpu", backend="torch"))
    for name in ("segmentation.nii.gz", "probability.nii.gz"):
        assert (run.out / name).read_bytes() == (here / name).read_bytes()


def test_cancel_reaches_the_cluster(place, ct):
    for _ in range(3):
        hung, run = place.cluster.hung(), place.begin(ct, **SLOW).works()
        engine = place.cluster.busy_engine()
        began = time.monotonic()
        run.cancel()
        assert run.end() == {"event": "cancelled"}
        assert time.monotonic() - began < 25
        assert soon(lambda: len(place.cluster.scratch) == 1)
        assert place.begin(ct, **QUICK).end()["event"] == "done"
        if place.cluster.hung() == hung:
            break  # else it was taken for one that hangs, on a computer that is so busy: once more
    assert place.cluster.engines() == [engine]


def test_an_engine_that_hangs_is_ended_when_its_run_is_cancelled(place, ct):
    run = place.begin(ct, **SLOW).works()
    (engine,) = place.cluster.engines()
    engine.suspend()
    run.cancel()
    assert run.end() == {"event": "cancelled"}
    assert soon(lambda: not engine.is_running())
    assert place.begin(ct, **QUICK).end()["event"] == "done"


def test_a_crash_in_the_engine_fails_its_run_alone(place, ct):
    deaths = place.pool.deaths  # a process that answers no cancel for three seconds, on a busy machine, is one
    run = place.begin(ct, **SLOW).works()
    (engine,) = place.cluster.engines()
    engine.send_signal(signal.SIGSEGV)
    assert run.code() == "server-process-died"
    assert place.begin(ct, **QUICK).end()["event"] == "done"
    assert place.pool.deaths == deaths


def test_a_hostile_file_is_refused_with_the_words_of_a_local_run(place, ct, tmp_path):
    (tmp_path / "ct.mha").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 8 8 8\nElementSpacing = 1 1 1\nOffset = 0 0 0\n"
        "ElementType = MET_SHORT\nElementDataFile = /etc/passwd\n"
    )
    os.link(ct.with_name("vessels.nii.gz"), tmp_path / "vessels.nii.gz")
    run = place.begin(tmp_path / "ct.mha")
    assert run.code() == "voxels-elsewhere"
    assert run.end()["fields"]["path"] == "ct.mha"
    assert "Run Failed" not in place.cluster.log  # Dask would write bytes of the file behind that


def test_a_worker_that_is_lost_and_a_server_that_is_killed(keys, make_bundle, ct, tmp_path):
    with serving(tmp_path, keys, make_bundle(), 2, WorkerLimits()) as place:
        run = place.begin(ct, **SLOW).works()
        engine = place.cluster.busy_engine()
        place.cluster.worker_of(engine).kill()
        assert run.end()["event"] == "done"  # by the other worker
        assert (run.out / "segmentation.nii.gz").exists()
        assert soon(lambda: not engine.is_running())

        run = place.begin(ct, **SLOW).works()
        place.forwarder().kill()
        assert run.code() == "server-process-died"
        (engine,) = place.cluster.engines()
        hung, began = place.cluster.hung(), time.monotonic()
        assert place.begin(ct, **QUICK).end()["event"] == "done"  # once the run that nobody asks for has ended
        assert time.monotonic() - began < 5 * LEASE_S
        assert place.cluster.engines() == [engine] or place.cluster.hung() > hung


def test_a_scheduler_that_hangs_fails_a_run_alone_and_the_place_comes_back(keys, make_bundle, ct, tmp_path):
    with serving(tmp_path, keys, make_bundle(), 1, WorkerLimits()) as place:
        run = place.begin(ct, **SLOW).works()
        place.cluster.scheduler.send_signal(signal.SIGSTOP)
        assert run.code() == "cluster-lost"
        assert soon(lambda: not place.pool.ready)
        place.cluster.scheduler.send_signal(signal.SIGCONT)
        assert soon(lambda: place.pool.ready)
        assert place.begin(ct, **QUICK).end()["event"] == "done"


def test_readers_are_told_when_the_cluster_is_gone_and_the_server_lives(keys, make_bundle, ct, tmp_path, capsys):
    (tmp_path / "server").mkdir()
    (tmp_path / "cluster").mkdir()
    with pytest.MonkeyPatch.context() as patch, tls_cluster(keys, tmp_path / "cluster", patch) as cluster:
        cluster.add_worker(server=tmp_path / "server")
        with running_http(make_bundle(), tmp_path / "server", "--scheduler", cluster.address) as server:
            anna = server.add("anna", capsys)
            run = anna.upload(ct, **QUICK)
            assert anna.until(run, "done", "failed")["state"] == "done"
            run = anna.upload(ct, **SLOW)
            assert soon(lambda: "Scoring" in str(anna.news(run)["message"]))
            cluster.scheduler.kill()
            told = anna.until(run, "done", "failed")
            assert told["error"]["code"] == "cluster-lost"
            assert soon(lambda: requests.get(f"{server.admin}/ready", timeout=60).status_code == 503)
            assert anna.submit(10).json()["error"]["code"] == "server-not-ready"
            assert requests.get(f"{server.admin}/live", timeout=60).status_code == 200
        report = server.report()
        assert report["seen"] == []
        heavy = {"torch", "SimpleITK", "numpy", "distributed", "dask", "cloudpickle"}
        assert {name.partition(".")[0] for name in report["modules"]} & heavy == set()


class Near(forward.Cluster):
    """What two workers keep, in a loop of this process: nothing is between them and who asks. One has the bundle."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ends, self.about, self._loop = {"loaded": FarEnd(None), "other": FarEnd(None)}, {"sha256": "0" * 64}, loop
        self.ends["loaded"]._bundle = ("0" * 64, PrivateFolder())
        self.answered = lambda worker, what: None

    def _workers(self) -> list[str]:
        return list(self.ends)

    def _call(self, worker: str, _cancel: CancelToken, _within_s: float, what: str, *arguments: object) -> dict:
        asked = getattr(self.ends[worker], what)(*arguments)
        answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result(WITHIN_S)
        self.answered(worker, what)
        return answer

    def claim(self, run: str) -> bool:
        return self._ask("loaded", CancelToken(), "claim", run, "0" * 64, True)["free"]


class Heard:
    """What is said of a run that waits."""

    def __init__(self, act) -> None:
        self._act = act

    def say(self, **_event: object) -> None:
        self._act()


@pytest.fixture
def near(tmp_path, monkeypatch) -> Iterator[Near]:
    """Two workers, whose runs nobody ends but who began them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(far_end, "LEASE_S", 1e6)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Near(loop)
    yield made
    assert soon(lambda: list(tmp_path.iterdir()) == [made.ends["loaded"]._bundle[1].path])
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WITHIN_S)
    loop.close()


def test_a_worker_that_puts_a_run_away_is_waited_for_before_another_loads_the_bundle(near, monkeypatch):
    may_end = threading.Event()

    class SlowFolder(PrivateFolder):
        def close(self) -> None:
            may_end.wait(WITHIN_S)
            super().close()

    monkeypatch.setattr(far_end, "PrivateFolder", SlowFolder)
    monkeypatch.setattr(forward, "ENDING_S", float(WITHIN_S))
    assert near.claim("first")
    near._release("loaded", "first")
    assert near._wait_for_worker("second", Heard(may_end.set), CancelToken()) == ("loaded", True)
    near._release("loaded", "second")


def test_a_run_that_is_cancelled_while_it_asks_for_a_worker_holds_none(near):
    def cancel(worker: str, what: str) -> None:
        if (worker, what) == ("loaded", "claim"):
            raise Cancelled

    near.answered = cancel
    with pytest.raises(Cancelled):
        near._wait_for_worker("first", Heard(lambda: None), CancelToken())
    near.answered = lambda worker, what: None
    assert soon(lambda: near.ends["loaded"]._held is None)
    assert near.claim("second")
    near._release("loaded", "second")


def test_a_scheduler_elsewhere_is_spoken_to_by_tls_alone(make_bundle, capsys):
    options = ["--bundle", str(make_bundle()), "--port", "0", "--scheduler", "tcp://192.0.2.1:8786"]
    assert run_command(["serve", *options]) == 2
    assert "--insecure-scheduler" in capsys.readouterr().err
