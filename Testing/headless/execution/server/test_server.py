"""A server does what a worker on this machine does, and keeps nothing of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from http_server import WITHIN_S, kill, soon, start_http
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.protocol import LEASE_S, WAIT_S
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process


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
    words = {event["message"] for event in here.events[:-1]}
    told = {event["message"] for event in there.events if 0.1 < event.get("fraction", 0) < 0.95}
    assert told  # the newest of each moment: what is over before it was asked for is not told
    assert told <= words
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
    assert soon(lambda: not server.folders())
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
    assert soon(lambda: not server.folders())
    assert not list(Path(request["out"]).glob("*"))


def test_a_header_that_names_other_files_as_its_voxels_is_refused(request_there, ask, tmp_path):
    write_volume(Volume(np.zeros((9, 9, 9), np.int16), Geometry((9, 9, 9), (1, 1, 1))), tmp_path / "apart.mhd")
    header = tmp_path / "apart.mha"
    header.write_text((tmp_path / "apart.mhd").read_text())
    assert not read_volume(header).array.any()
    told = ask(request_there(input=str(header))).last
    assert (told["event"], told["kind"]) == ("error", "InputError")
    assert "keeps its voxels in another file ('apart.zraw')" in told["message"]
    assert str(header) in told["message"]


def test_cancel_ends_the_run_here_and_there(server, request_there, ask, slow, monkeypatch):
    monkeypatch.setattr("twintrack.execution.server.client.POLL_S", WAIT_S)
    cancel, at, held = CancelToken(), [], server.workers()

    def stop(event: dict) -> None:
        if event["event"] == "progress" and event["fraction"] > 0.15 and not at:
            assert server.folders()
            assert all(path.stat().st_mode & 0o777 == 0o700 for path in server.folders())
            for worker in held:  # no news come for as long as a question for some waits
                worker.suspend()
            at.append(time.monotonic())
            cancel.cancel()

    try:
        told = ask(request_there(**slow), cancel, stop)
        waited_s = time.monotonic() - at[0]
    finally:
        for worker in held:
            with suppress(psutil.NoSuchProcess):  # ended, because it answered no cancel
                worker.resume()
    assert told.last == {"event": "cancelled"}
    assert waited_s < WAIT_S  # asked for are 0.5 s, on a quiet computer
    assert soon(lambda: not server.folders())


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
    for worker in server.workers():  # else it may be done before the reader is missed; a result is kept for longer
        worker.suspend()
    process.kill()
    process.communicate()
    assert soon(lambda: not server.folders(), 5 * LEASE_S)
    time.sleep(0.5)  # the worker may have been writing
    assert not server.folders()


def test_one_case_at_a_time_and_the_next_knows_that_it_waits(server, request_there, ask, slow, tmp_path):
    began, cancel, first = threading.Event(), CancelToken(), []

    def hear_first(event: dict) -> None:
        if event.get("fraction", 0) > 0.15:
            began.set()

    def hear_second(event: dict) -> None:
        if event.get("message") == "waiting for the server":
            cancel.cancel()

    request = request_there(**slow | {"vessels": None, "vessel_names": None})
    thread = threading.Thread(target=lambda: first.append(ask(request, cancel, hear_first)))
    thread.start()
    assert began.wait(300)
    second = ask(request_there(out=str(tmp_path / "second"), roi=[50, 90, 5, 25, 5, 15]), None, hear_second)
    thread.join()
    assert first[0].last == {"event": "cancelled"}
    assert second.last["kind"] == "RoiError"  # it had its turn
    assert soon(lambda: not server.folders())


def test_another_bundle_is_refused_before_anything_is_sent(request_there, ask, make_bundle, server):
    other = make_bundle(version="9.9")
    told = ask(request_there(bundle=str(other)))
    assert told.last["kind"] == "InputError"
    assert "is another bundle" in told.last["message"]
    assert "offers tiny" in told.last["message"]
    assert not any("sending" in event.get("message", "") for event in told.events)


@pytest.mark.parametrize("whose", ["another authority's", "a stranger's", "none", "over http", "of old"])
def test_who_has_not_the_certificate_is_told_so(request_there, ask, tmp_path, server, whose):
    changes: dict = {"tls": None}
    if whose == "another authority's":
        changes = {"tls": str(make_certificates(tmp_path / "other", "localhost") / "client")}
    elif whose == "a stranger's":  # trusts the server, in vain
        changes = {"tls": str(make_certificates(tmp_path / "other", "localhost") / "client")}
        Path(changes["tls"], "ca.pem").write_bytes(server.http.ca.read_bytes())
    elif whose == "over http":
        changes["run_on"] = server.address.replace("https", "http")
    elif whose == "of old":
        changes["run_on"] = server.address.replace("https", "tls")
    told = ask(request_there(**changes)).last
    codes = {
        "another authority's": {"tls-failed"},
        "a stranger's": {"tls-failed", "not-a-server"},  # the refusal itself may get lost
        "none": {"certificate-missing"},
        "over http": {"not-a-server"},
        "of old": {"address-old"},
    }
    assert told["kind"] == "InputError"
    assert told["fields"]["code"] in codes[whose]
    assert told["fields"]["code"] == "address-old" or "certificate" in told["message"]


def test_a_server_that_is_not_there_is_one_sentence(request_there, ask):
    told = ask(request_there(run_on="https://127.0.0.1:1"))
    assert (told.last["kind"], told.last["fields"]["code"]) == ("InputError", "server-unreachable")
    assert "Connection refused" in told.last["message"]


def test_nothing_tells_whose_ct_it_was(server, done, whole_request):
    assert done.code == 0
    assert "DOE" in whole_request["input"]
    assert server.http.audit
    assert "DOE" not in server.http.log + json.dumps(server.http.audit) + server.http.metrics()


def test_the_maps_of_single_raters_come_back(bundle_folder, request_there, ask):
    """Where the bundle cannot tell raters apart, in the words of a run here."""
    there = ask(request_there(rater_maps=True))
    here = ask(local(request_there(rater_maps=True), bundle_folder, Path(request_there()["out"])))
    assert there.last["event"] == here.last["event"] == "error"
    for name in ("kind", "code", "message"):
        assert there.last["fields"][name] == here.last["fields"][name]


def test_a_series_in_an_archive_gives_what_it_gives_here(server, request_there, ask, bundle_folder, tmp_path):
    from twintrack.dicom import write_ct_series

    array = np.random.default_rng(2).normal(0, 60, (16, 40, 40)).astype(np.int16)
    write_ct_series(Volume(array, Geometry((40, 40, 16), (1.5, 1.5, 3.0))), tmp_path / "series", description="a series")
    archive = shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "series")
    own = {"input": archive, "dicom": True, "vessels": None, "vessel_names": None, "roi": [5, 25, 5, 25, 3, 12]}
    there = ask(request_there(**own))
    here = ask(local(request_there(**own), bundle_folder, tmp_path / "here"))
    assert there.last["event"] == here.last["event"] == "done"
    out = tmp_path / "out"
    for name in ("segmentation.nii.gz", "probability.nii.gz"):
        assert (out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert {path.name for path in (out / "dicom").iterdir()} == {
        p.name for p in (tmp_path / "here" / "dicom").iterdir()
    }
    stated = [json.loads((folder / "result.json").read_text())["input"] for folder in (out, tmp_path / "here")]
    assert [entry.pop("created", None) for entry in stated]
    assert stated[0] == stated[1]


def test_a_worker_that_dies_is_one_sentence(server, request_there, ask, slow):
    def end_workers(event: dict) -> None:
        if event.get("fraction", 0) > 0.15 and server.folders():
            for worker in server.workers():
                with suppress(psutil.NoSuchProcess):  # ended by an earlier event
                    worker.kill()

    told = ask(request_there(**slow), None, end_workers)
    assert told.last["kind"] == "TwinTrackError"
    assert "died" in told.last["message"]
    assert soon(lambda: not server.folders())


def begun(ask, request: dict) -> tuple[threading.Thread, list, CancelToken]:
    """Begin a run in a thread; return it once a worker works."""
    works, told, cancel = threading.Event(), [], CancelToken()

    def hear(event: dict) -> None:
        if event.get("fraction", 0) > 0.15 or event["event"] != "progress":
            works.set()

    thread = threading.Thread(target=lambda: told.append(ask(request, cancel, hear)), daemon=True)
    thread.start()
    assert works.wait(300)
    assert not told
    return thread, told, cancel


def test_a_server_that_is_silent_is_given_up_and_who_cancels_meanwhile_is_no_error(
    server, request_there, ask, slow, monkeypatch, tmp_path
):
    monkeypatch.setattr("twintrack.execution.server.connection.ANSWER_S", 2.0)
    one = begun(ask, request_there(**slow))
    monkeypatch.setattr("twintrack.execution.server.connection.AGAIN_S", 4.0)
    two = threading.Thread(
        target=lambda: one[1].append(ask(request_there(out=str(tmp_path / "2")), cancel)), daemon=True
    )
    cancel = CancelToken()
    two.start()
    for worker in server.workers():  # else a run may be done, and its result is kept for longer
        worker.suspend()
    server.http.process.send_signal(signal.SIGSTOP)  # as after a cut of the network: nobody answers, nobody hangs up
    try:
        cancel.cancel()
        one[0].join(300)
        two.join(300)
        last = [answer.last for answer in one[1]]
        assert {"event": "cancelled"} in last
        assert "server-lost" in [event["fields"]["code"] for event in last if event["event"] == "error"]
    finally:
        server.http.process.send_signal(signal.SIGCONT)
    assert soon(lambda: not server.folders(), 5 * LEASE_S)


def test_readers_are_told_that_the_server_was_stopped(make_bundle, tmp_path, request_there, ask, slow, let_reader_in):
    (tmp_path / "own").mkdir()
    running = start_http(make_bundle(), tmp_path / "own")
    reader = let_reader_in(running)
    thread, told, _cancel = begun(ask, request_there(run_on=reader.address, tls=str(reader.client), **slow))
    running.process.terminate()
    assert running.process.wait(WITHIN_S) == 0
    thread.join(300)
    assert told[0].last["fields"]["code"] in ("server-lost", "server-gave-up")
    assert not list(running.spool.iterdir())


def test_a_server_that_was_killed_and_is_back_has_dropped_the_run(
    make_bundle, tmp_path, request_there, ask, slow, let_reader_in, monkeypatch
):
    (tmp_path / "own").mkdir()
    running = start_http(make_bundle(), tmp_path / "own")
    reader = let_reader_in(running)
    monkeypatch.setattr("twintrack.execution.server.connection.AGAIN_S", 300.0)  # a slow start, on a busy computer
    thread, told, _cancel = begun(ask, request_there(run_on=reader.address, tls=str(reader.client), **slow))
    kill(running.process)
    port = reader.address.rpartition(":")[2]
    again = start_http(make_bundle(), tmp_path / "own", "--port", port)
    try:
        thread.join(300)
        assert told[0].last["fields"]["code"] == "server-gave-up"
        assert not again.folders()
    finally:
        kill(again.process)
