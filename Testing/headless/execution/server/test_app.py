"""What the service answers to clients that know what they do, to those that do not, and about others' runs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import quote

import psutil
import pytest
import requests
from tornado.httpclient import AsyncHTTPClient, HTTPError
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets

from http_server import soon
from twintrack.cli.app import run_command
from twintrack.execution.server.access import LOCAL, Access
from twintrack.execution.server.app import Served, make_application
from twintrack.execution.server.audit import Audit, Log
from twintrack.execution.server.pool import Offered, Pool, WorkerLimits
from twintrack.execution.server.protocol import (
    FILE,
    PART_BYTES,
    PART_HASH,
    RESULT,
    ROUTES,
    RUN,
    RUNS,
    WAIT_S,
    Limits,
    State,
    path_of,
)
from twintrack.execution.server.run import Result, Run
from twintrack.execution.server.runs import Runs
from twintrack.execution.server.submission import Submission

pytestmark = pytest.mark.process

VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")

QUICK = {"roi": [5, 25, 5, 25, 5, 15], "calibrate": False}


@pytest.fixture(scope="module")
def done(http, ct, tmp_path_factory):
    """A client with a run that ended well."""
    folder = tmp_path_factory.mktemp("done") / "certificate"
    options = ("--clients", str(http.clients), "--certificate", str(folder), "--tls", str(http.ca.parent))
    assert run_command(["server", "add-client", "of-the-module", *options]) == 0
    client = http.with_certificate(folder)
    assert soon(lambda: client.is_known())
    run = client.upload(ct, **QUICK)
    return client, run, client.until(run, "done", "failed")


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_run_goes_up_is_carried_out_and_its_result_comes_down(done):
    client, run, told = done
    assert told["state"] == "done", told
    assert {file["name"] for file in told["files"]} >= {"result.json", "segmentation.nii.gz", "probability.nii.gz"}
    for file in told["files"]:
        content = client.ask("GET", path_of(RESULT, run=run, name=file["name"])).content
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])


def test_a_run_that_is_dropped_is_not_there(anna):
    run = anna.new_run(10)
    assert anna.folder_of(run).is_dir()
    assert anna.drop(run) == 204
    assert anna.ask("GET", path_of(RUN, run=run)).status_code == 404
    assert soon(lambda: not anna.folder_of(run).exists())


def test_a_result_comes_in_ranges(done):
    client, run, told = done
    path = path_of(RESULT, run=run, name="segmentation.nii.gz")
    whole = client.ask("GET", path).content
    size = next(file["bytes"] for file in told["files"] if file["name"] == "segmentation.nii.gz")
    assert size == len(whole)
    for header, first, part in (
        ("bytes=0-9", 0, whole[:10]),
        ("bytes=20-", 20, whole[20:]),
        ("bytes=-7", size - 7, whole[-7:]),
    ):
        answer = client.ask("GET", path, headers={"Range": header})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{size}"
    assert code(client.ask("GET", path, headers={"Range": f"bytes={size}-"})) == (416, "range-outside")
    assert client.ask("GET", path, headers={"Range": "lines=1-2"}).status_code == 200


def test_parts_come_in_order_with_the_right_hash_and_after_a_break_where_they_were(anna):
    data = secrets.token_bytes(3000)
    run = anna.new_run(3000)
    assert anna.send(run, data[:1000]).json() == {"have": 1000}
    assert code(anna.send(run, data[1000:2000], 1000, digest="0" * 64)) == (422, "part-hash")
    assert anna.news(run)["have"] == [1000]
    wrong = anna.send(run, data[2000:], 2000)
    assert (*code(wrong), wrong.json()["error"]["have"]) == (409, "part-offset", 1000)
    assert code(anna.begin(run)) == (409, "upload-incomplete")
    assert code(anna.send(run, data, 1000)) == (422, "request-malformed")  # longer than was said
    assert anna.send(run, data[1000:], 1000).json() == {"have": 3000}
    assert (anna.folder_of(run) / "ct.nrrd").read_bytes() == data


def test_a_part_on_a_lost_connection_does_not_keep_the_next_one_waiting(anna):
    data = secrets.token_bytes(100_000)
    run = anna.new_run(len(data))
    lost = anna.connection()
    lost.putrequest("PUT", f"{path_of(FILE, run=run)}?offset=0")
    headers = {PART_HASH: hashlib.sha256(data).hexdigest(), "Content-Length": str(len(data))}
    for name, value in (headers | {"Authorization": f"Bearer {anna.token}"}).items():
        lost.putheader(name, value)
    lost.endheaders(data[:50_000])
    assert soon(lambda: (anna.folder_of(run) / "ct.nrrd").is_file())
    assert anna.send(run, data).json() == {"have": len(data)}
    lost.send(data[50_000:])
    assert lost.getresponse().status == 409
    lost.close()
    assert anna.news(run)["have"] == [len(data)]


def test_a_body_that_is_too_large_or_of_unknown_length_is_not_read(anna):
    run = anna.new_run(PART_BYTES * 2)
    path = f"{path_of(FILE, run=run)}?offset=0"
    for headers, expected in (
        ({"Content-Length": str(PART_BYTES + 1), PART_HASH: "0" * 64}, 413),
        ({"Transfer-Encoding": "chunked", PART_HASH: "0" * 64}, 411),
        ({"Content-Length": "12a"}, 422),
    ):
        connection = anna.connection()
        connection.putrequest("PUT", path)
        for name, value in (headers | {"Authorization": f"Bearer {anna.token}"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (expected, "close")
        connection.close()


def test_a_stranger_is_answered_before_the_body_and_hears_nothing(http, anna):
    stranger = anna.connection()
    stranger.putrequest("POST", RUNS.path)
    stranger.putheader("Content-Length", "1000000")
    stranger.endheaders()
    answer = stranger.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (401, "close")
    assert b"identity-unknown" in answer.read()
    stranger.close()
    for path in ("/v1/about", "/", "/v1/runs/" + "0" * 32, "/metrics", "/favicon.ico"):
        assert requests.get(http.address + path, verify=str(http.ca), timeout=60).status_code == 401


def test_another_one_s_runs_are_not_there_for_any_verb_on_any_route(done, ben):
    anna, ended, _ = done
    open_run = anna.new_run(10)
    before = anna.news(open_run)
    for route in ROUTES:
        if not route.is_of_run:
            continue
        for run in (ended, open_run):
            for verb in VERBS:
                body = {"data": b"x" * 10, "headers": {PART_HASH: hashlib.sha256(b"x" * 10).hexdigest()}}
                path = path_of(route, run=run, name="result.json")
                answer = ben.ask(verb, path, **(body if verb == "PUT" else {}))
                assert answer.status_code == 404, (verb, path)
                assert verb == "HEAD" or answer.json()["error"]["code"] == "not-there"
                nowhere = ben.ask(verb, path_of(route, run="f" * 32, name="result.json"))
                assert verb == "HEAD" or nowhere.content == answer.content  # not even that it exists
    assert anna.news(open_run) == before
    assert anna.news(ended)["state"] == "done"
    anna.drop(open_run)


def test_one_s_own_run_knows_only_its_routes_verbs(anna):
    run = anna.new_run(10)
    for path in {route.path for route in ROUTES}:
        known = {route.verb for route in ROUTES if route.path == path}
        for verb in set(VERBS) - known:
            answer = anna.ask(verb, path.format(run=run, number=0, name="result.json"))
            assert (answer.status_code, answer.headers["Allow"]) == (405, ", ".join(sorted(known)))


@pytest.mark.parametrize(
    "name",
    [
        "../ct.nrrd",
        "..%2fct.nrrd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        ".",
        "..\\ct.nrrd",
        "a\0b",
    ],
)
def test_no_name_leads_out_of_the_result(done, name):
    client, run, _ = done
    request = requests.Request("GET", client.server.address).prepare()
    path = path_of(RESULT, run=run, name="") + (name if "%" in name else quote(name, safe="/.\\"))
    request.url = client.server.address + path  # as it is: requests would tidy it up
    session = client.session
    answer = session.send(request, timeout=60, verify=session.verify, cert=session.cert)
    assert answer.status_code in (400, 404)


def test_the_same_key_is_the_same_run_for_the_same_client_alone(anna, ben):
    key = secrets.token_hex(16)
    first, again, other = anna.submit(10, key=key), anna.submit(10, key=key), ben.submit(10, key=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert first.json()["run"] == again.json()["run"] != other.json()["run"]


def test_a_client_has_so_many_runs_and_others_are_not_concerned(anna, ben):
    runs = [anna.new_run(10) for _ in range(4)]
    refused = anna.submit(10)
    assert (*code(refused), int(refused.headers["Retry-After"]) > 0) == (429, "server-quota", True)
    assert ben.submit(10).status_code == 201
    assert anna.drop(runs[0]) == 204
    assert anna.submit(10).status_code == 201


def test_a_full_disk_is_told_before_the_first_byte(anna):
    free = shutil.disk_usage(anna.server.spool).free
    before = anna.server.folders()
    assert code(anna.submit(free // 2)) == (507, "server-no-room")
    assert anna.server.folders() == before


def test_a_disk_that_is_full_in_the_middle_of_an_upload_ends_the_run(anna):
    process, data = psutil.Process(anna.server.process.pid), secrets.token_bytes(3 << 20)
    run = anna.new_run(len(data))
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (2 << 20, before[1]))  # no file larger than that: the same error on its way
    try:
        answer = anna.send(run, data)
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert code(answer) == (507, "server-no-room")
    told = anna.news(run)
    assert (told["state"], told["error"]["code"]) == ("failed", "server-no-room")
    assert soon(lambda: not anna.folder_of(run).exists())


def test_a_run_that_fails_tells_the_engine_s_error_with_the_client_s_file(anna, tmp_path):
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\ntype: short\n" + b"\0" * 100)
    run = anna.upload(broken, **QUICK)
    told = anna.until(run, "failed", "done")
    assert told["state"] == "failed"
    assert told["error"]["path"] == "ct.nrrd"
    assert told["error"]["kind"] == "InputError"
    assert str(anna.server.spool) not in str(told)
    assert soon(lambda: not anna.folder_of(run).exists())


def test_another_bundle_is_told(anna):
    content = {"schema": 1, "key": secrets.token_hex(16), "kind": "nrrd", "files": [{"role": "ct", "bytes": 1}]}
    answer = anna.ask("POST", RUNS.path, json={**content, "settings": {}, "bundle_sha256": "0" * 64})
    assert code(answer) == (409, "bundles-differ")


def test_a_question_for_news_waits_for_them(anna):
    run = anna.new_run(1)
    seq = anna.news(run)["seq"]
    anna.send(run, b"x")
    timer = threading.Timer(0.5, anna.begin, [run])
    began = time.monotonic()
    timer.start()
    told = anna.news(run, seq, WAIT_S)
    assert told["state"] != "uploading"
    assert 0.3 < time.monotonic() - began < WAIT_S
    assert anna.ask("GET", f"{path_of(RUN, run=run)}?after=-1").status_code == 422
    timer.join()


def test_begin_is_said_twice_without_harm(done):
    client, run, told = done
    assert client.begin(run).status_code == 202
    assert client.news(run) == told
    assert code(client.send(run, b"x")) == (409, "upload-over")


def test_what_is_no_http_is_closed_without_a_word_in_the_log(http, anna):
    before = http.log
    context = anna.connection()._context
    for said in (
        b"\0\1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with (
            socket.create_connection(("127.0.0.1", int(http.address.rpartition(":")[2])), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(said)
            assert b"HTTP/1.1 2" not in connection.recv(1000)
    assert http.log == before


def test_the_temporary_folder_is_private(anna):
    folder = anna.folder_of(anna.new_run(10))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_download_that_is_under_way_ends_when_its_client_is_removed(is_removed, tmp_path):
    size, name = 100_000_000, "0" * 32
    (tmp_path / "map").touch()
    os.truncate(tmp_path / "map", size)

    async def fetched() -> int:
        pool = Pool(Offered(tmp_path), workers=1, limits=WorkerLimits(), warn=print)
        log, got = Log(), 0
        runs = Runs(pool, tmp_path, limits=Limits(), audit=Audit(None), log=log)
        submission = Submission(name, "nrrd", "ct.nrrd", (), {}, None)
        run = Run(name, LOCAL, submission, tmp_path / name, state=State.DONE)
        run.results["map"] = Result(tmp_path / "map", size, "")
        runs._runs[name] = run
        server = HTTPServer(make_application(Served(pool, runs, Access(None), log)))
        (place,) = bind_sockets(0, "127.0.0.1")
        server.add_socket(place)

        def take(data: bytes) -> None:
            nonlocal got
            got += len(data)
            if is_removed:
                runs.keep_only({})

        try:
            url = f"http://127.0.0.1:{place.getsockname()[1]}{path_of(RESULT, run=name, name='map')}"
            client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 120}, max_body_size=2 * size)
            with suppress(HTTPError, StreamClosedError):
                await client.fetch(url, streaming_callback=take)
        finally:
            server.stop()
            await runs.close()
        return got

    assert (asyncio.run(fetched()) == size) is not is_removed
