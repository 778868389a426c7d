"""A server does what a worker on this machine does, and keeps nothing of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from twintrack import __version__
from twintrack.errors import OutputError
from twintrack.execution.answer import error_event
from twintrack.execution.cluster import versions as dask_shared
from twintrack.execution.server import client
from twintrack.execution.server import endpoint as address
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.connection import connected
from twintrack.execution.server.job import Job
from twintrack.execution.server.upload import Upload
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process


def soon(condition, within_s: float = 20.0) -> bool:
    """Whether a condition comes true within some seconds."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def local(request: dict, bundle: Path, out: Path) -> dict:
    """Return the same request for this machine."""
    here = {key: value for key, value in request.items() if key not in ("run_on", "tls")}
    return here | {"bundle": str(bundle), "out": str(out)}


@pytest.fixture(scope="module")
def done(server, whole_request, ask):
    """A run on the server that ended well."""
    return ask(whole_request)


def test_the_result_is_that_of_a_run_here(server, done, whole_request, ask, bundle_folder, tmp_path):
    request, there = whole_request, done
    here = ask(local(request, bundle_folder, tmp_path / "here"))
    assert there.last == {"event": "done", "out": request["out"]}
    assert there.code == here.code == 0
    fractions = [event["fraction"] for event in there.events[:-1]]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    words = {event["message"] for event in here.events[:-1]} - {"done"}
    assert words <= {event["message"] for event in there.events[:-1]}
    out, own = Path(request["out"]), tmp_path / "here"
    assert {path.name for path in out.iterdir()} == {path.name for path in own.iterdir()}
    for name in ("probability.nii.gz", "score.nii.gz", "segmentation.nii.gz", "vessels.nii.gz"):
        ours, theirs = read_volume(own / name), read_volume(out / name)
        np.testing.assert_array_equal(ours.array, theirs.array)
        assert ours.geometry == theirs.geometry
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, own)]
    for result in results:
        del result["seconds"], result["engine"]["network_s"], result["input"]["created"]
    assert results[0] == results[1]
    assert (out / "invasion.json").read_bytes() == (own / "invasion.json").read_bytes()
    assert not server.folders()
    # The label and the name of the file did not travel, and yet stand where they would in a run here.
    assert results[0]["input"]["case"] == results[0]["settings"]["case"] == "DOE^JANE 17"
    assert results[0]["input"]["name"] == "DOE_JANE.nrrd"
    assert (out / "overview.png").read_bytes() == (own / "overview.png").read_bytes()
    pages = [without_times((folder / "report.html").read_text()) for folder in (out, own)]
    assert pages[0] == pages[1]


def without_times(page: str) -> str:
    """Return a report without what differs from run to run."""
    return re.sub(r"<dt>Time</dt>.*|20..-..-.. ..:..:.. UTC|<!-- twintrack:.* -->", "", page)


@pytest.mark.parametrize(
    "changes",
    [
        {"roi": [50, 90, 5, 25, 5, 15]},
        {"input": "/nowhere/ct.nii.gz"},
        {"calibrate": True, "calibrator": "/nowhere/calibrator.json"},
        {"threshold": 4},
        {"dicom": True},
        {"input": "flat"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_trouble_has_the_kind_and_the_sentence_of_a_run_here(
    server, request_there, ask, bundle_folder, tmp_path, changes
):
    if changes.get("input") == "flat":  # no CT in HU
        changes = {"input": str(tmp_path / "flat.nii.gz")}
        write_volume(Volume(np.zeros((9, 9, 9), np.int16), Geometry((9, 9, 9), (1, 1, 1))), changes["input"])
    request = request_there(**changes)
    there, here = ask(request), ask(local(request, bundle_folder, request["out"]))
    assert here.last["event"] == "error"
    assert there.last == here.last
    assert there.code == here.code
    assert not server.folders()
    assert not list(Path(request["out"]).glob("*"))


def test_a_header_that_names_other_files_as_its_voxels_is_refused_by_a_server(request_there, ask, tmp_path):
    write_volume(Volume(np.zeros((9, 9, 9), np.int16), Geometry((9, 9, 9), (1, 1, 1))), tmp_path / "apart.mhd")
    header = tmp_path / "apart.mha"
    header.write_text((tmp_path / "apart.mhd").read_text())
    assert not read_volume(header).array.any()
    told = ask(request_there(input=str(header))).last
    assert (told["event"], told["kind"]) == ("error", "InputError")
    assert "keeps its voxels in another file ('apart.zraw')" in told["message"]
    assert str(header) in told["message"]


@pytest.mark.parametrize("kind", ["ZeroDivisionError", "OwnError"])
def test_what_nobody_foresaw_is_told_as_here(request_there, ask, monkeypatch, kind):
    upload = Upload("ct.nrrd", {}, {}, {})

    def fail(*_arguments, **_keywords):
        client._raise(error_event(type(kind, (Exception,), {})("at the third tile")), upload, "/f")

    monkeypatch.setattr(client, "connected", fail)
    told = ask(request_there())
    assert told.last == error_event(type(kind, (Exception,), {})("at the third tile"))
    assert (told.last["kind"], told.last["fields"]["code"]) == (kind, "unexpected")
    assert told.code == 1


def test_a_server_without_room_for_the_result_is_not_taken_for_the_readers_disk():
    error = OutputError("the result needs 4 MB, and 1 MB are free", code="no-disk-space", path="/f/result")
    with pytest.raises(OutputError) as caught:
        client._raise(error_event(error), Upload("ct.nrrd", {}, {}, {"result": "/home/me/out"}), "/f")
    assert (caught.value.code, caught.value.path) == ("server-not-writable", None)
    assert "4 MB" in str(caught.value)
    assert "/f/result" not in str(caught.value)


def test_cancel_ends_the_run_here_and_there(server, request_there, ask, slow):
    cancel, at = CancelToken(), []

    def stop(event: dict) -> None:
        if event["event"] == "progress" and event["fraction"] > 0.15 and not at:
            assert server.folders()
            assert all(path.stat().st_mode & 0o777 == 0o700 for path in server.folders())
            at.append(time.monotonic())
            cancel.cancel()

    told = ask(request_there(**slow), cancel, stop)
    assert told.last == {"event": "cancelled"}
    assert time.monotonic() - at[0] < 10  # on a busy computer
    assert not server.folders()


def test_a_reader_who_vanishes_leaves_nothing(server, request_there, slow, tmp_path):
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request_there(**slow)))
    process = subprocess.Popen(
        [sys.executable, "-m", "twintrack.execution.worker", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if json.loads(line).get("fraction", 0) > 0.15:
            break
    assert server.folders()
    process.kill()
    process.communicate()
    assert soon(lambda: not server.folders())
    time.sleep(0.5)  # the worker may have been writing
    assert not server.folders()


def test_one_case_at_a_time_and_the_next_knows_that_it_waits(server, request_there, ask, slow, tmp_path):
    began, cancel, first = threading.Event(), CancelToken(), []

    def hear_first(event: dict) -> None:
        if event.get("fraction", 0) > 0.15:
            began.set()

    def hear_second(event: dict) -> None:
        if event.get("message") == "waiting for the server, 1 before this one":
            cancel.cancel()

    request = request_there(**slow)
    thread = threading.Thread(target=lambda: first.append(ask(request, cancel, hear_first)))
    thread.start()
    assert began.wait(60)
    second = ask(request_there(out=str(tmp_path / "second"), roi=[50, 90, 5, 25, 5, 15]), None, hear_second)
    thread.join()
    assert first[0].last == {"event": "cancelled"}
    assert second.last["kind"] == "RoiError"  # it had its turn
    assert not server.folders()


def test_only_the_scheduler_can_be_reached_from_other_computers(server):
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    ports = {
        (c.laddr.ip, c.laddr.port)
        for process in processes
        for c in process.net_connections()
        if c.status == psutil.CONN_LISTEN and not c.laddr.ip.startswith("127.")
    }
    assert ports == {("0.0.0.0", int(server.address.rsplit(":", 1)[1]))}


def test_another_bundle_is_refused_before_anything_is_sent(request_there, ask, make_bundle, server):
    other = make_bundle(version="9.9")
    told = ask(request_there(bundle=str(other)))
    assert told.last["kind"] == "InputError"
    assert "is another bundle" in told.last["message"]
    assert "offers tiny" in told.last["message"]
    assert not any("sending" in event.get("message", "") for event in told.events)


@pytest.mark.parametrize("whose", ["another authority's", "none", "over tcp"])
def test_who_has_not_the_certificate_is_told_so(request_there, ask, tmp_path, server, whose, monkeypatch):
    monkeypatch.setattr(address, "PROBE_S", 1.0)
    changes: dict = {"tls": None}
    if whose == "another authority's":
        changes = {"tls": str(make_certificates(tmp_path / "other", "gpu.example") / "client")}
    elif whose == "over tcp":
        changes["run_on"] = server.address.replace("tls", "tcp")
    told = ask(request_there(**changes))
    assert told.last["kind"] == "InputError"
    expected = {"another authority's": "not one of your authority's", "none": "needs a folder with certificates"}
    assert expected.get(whose, "or is it to be spoken to with tls://") in told.last["message"]


def test_a_certificate_that_the_server_does_not_know_is_refused(server, certificates, tmp_path, request_there, ask):
    other = make_certificates(tmp_path / "other", "gpu.example") / "client"
    (other / "ca.pem").write_bytes((certificates / "client" / "ca.pem").read_bytes())  # trusts the server, in vain
    told = ask(request_there(tls=str(other)))
    assert "does not accept your certificate" in told.last["message"]


def test_another_version_than_was_installed_here_is_named(request_there, ask, monkeypatch, server):
    monkeypatch.setattr(client, "__version__", "0.0.1")
    told = ask(request_there())
    assert told.last["kind"] == "InputError"
    assert f"has twintrack {__version__}, this computer 0.0.1" in told.last["message"]


def test_another_version_here_is_named(request_there, ask, monkeypatch, server):
    monkeypatch.setattr(dask_shared, "__version__", "0.0.1")
    told = ask(request_there())
    assert told.last["kind"] == "InputError"
    assert "has twintrack" in told.last["message"]
    assert "this machine 0.0.1" in told.last["message"]


def test_a_server_that_is_not_there_is_one_sentence(request_there, ask):
    told = ask(request_there(run_on="tls://127.0.0.1:1"))
    assert told.last["kind"] == "InputError"
    assert "no server can be reached there (Connection refused)" in told.last["message"]


def test_nothing_tells_whose_ct_it_was(server, done, whole_request):
    assert done.code == 0
    assert "DOE" in whole_request["input"]
    with connected(server.address, server.client) as connection:
        seen = connection.ask(_all_that_dask_keeps)
    assert "twintrack-" in seen
    assert "DOE" not in seen
    assert "DOE" not in server.log.read_text()


def test_dask_keeps_no_record_of_what_the_worker_does(server, done):
    """Its profiler would: half a gigabyte in three hundred runs."""
    from distributed import Client

    security = address.security_of(server.client)
    with Client(server.address, security=security, set_as_default=False, direct_to_workers=False) as dask:
        assert dask.run(_profiled) == dict.fromkeys(dask.run(_profiled), 0)


def _profiled(dask_worker=None) -> int:
    return len(dask_worker.profile_history) + dask_worker.profile_recent["count"]


def _all_that_dask_keeps(dask_scheduler=None) -> str:
    return repr(dask_scheduler.get_events()) + repr(dask_scheduler.get_logs()) + repr(list(dask_scheduler.tasks))


def test_a_worker_that_dies_is_one_sentence(server, request_there, ask, slow):
    """The last test: the server takes some seconds to start another worker."""

    def kill(event: dict) -> None:
        if event.get("fraction", 0) > 0.15 and server.folders():
            for worker in server.workers():
                with suppress(psutil.NoSuchProcess):  # ended by the kill of an earlier event
                    worker.kill()

    told = ask(request_there(**slow), None, kill)
    assert told.last["kind"] == "TwinTrackError"
    assert "the server's process died in the middle of the run" in told.last["message"]
    assert soon(lambda: not server.folders())


def test_a_server_that_is_told_to_end_while_it_loads_ends(bundle_folder, tmp_path):
    command = [sys.executable, "-m", "twintrack", "serve", "--bundle", str(bundle_folder), "--port", "0"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline().startswith("loading")
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "stopped\n")
    assert not list(tmp_path.iterdir())


def test_a_case_says_nothing_of_the_patient(ct, tmp_path):
    from twintrack.execution.server.upload import pack
    from twintrack.settings import SegmentSettings

    upload = pack(ct, tmp_path / "DOE_out", SegmentSettings(case="DOE^JANE 17"))
    case = Job("1", "/f", f"/f/{upload.source}", upload.settings_in("/f"))
    sent = json.dumps([case.run, case.folder, case.source, case.settings, list(upload.files)])
    assert "DOE" not in sent + repr(case)
