"""A run on a server that breaks off, lies or has no room: what is sent and fetched again, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from contract_server import ABOUT, contract_server
from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError, OutputError, TwinTrackError
from twintrack.execution.answer import Events, error_event
from twintrack.execution.server import client, connection, endpoint
from twintrack.execution.server.client import _hash_of, segment_there
from twintrack.execution.server.connection import Connection
from twintrack.execution.server.protocol import RUN, path_of
from twintrack.execution.worker.run_request import answer_request
from twintrack.progress.callbacks import CancelToken
from twintrack.settings import SegmentSettings

pytestmark = pytest.mark.process

PART = 4096
"""Bytes of a part in these tests: a tiny CT has some dozen."""


@pytest.fixture(scope="module")
def done_here(ct, vessels, bundle_folder, tmp_path_factory) -> Path:
    """The result folder of a run on this computer."""
    out = tmp_path_factory.mktemp("here") / "out"
    own = {"input": str(ct), "vessels": str(vessels), "vessel_names": {"SMA": 5}, "bundle": str(bundle_folder)}
    quick = {"roi": [5, 25, 5, 25, 5, 15], "calibrate": False, "device": "cpu", "backend": "torch"}
    events = Events(io.StringIO())
    assert answer_request({"schema": 1, "out": str(out), **own, **quick}, events, CancelToken()) == 0
    return out


@pytest.fixture(scope="module")
def result(done_here) -> dict[str, bytes]:
    """Its files."""
    files = sorted(path for path in done_here.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(done_here).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def server(result, monkeypatch):
    """A server that breaks the contract where it is told to."""
    monkeypatch.setattr("twintrack.execution.server.fetch.PART_BYTES", PART)
    monkeypatch.setattr(connection, "PAUSE_S", 0.05)
    with contract_server(dict(result), about={**ABOUT, "limits": {**ABOUT["limits"], "part_bytes": PART}}) as running:
        yield running


@pytest.fixture
def run(ct, tmp_path, server):
    """Return a function that has the server segment a CT."""

    def run(cancel: CancelToken | None = None, address: str = "", **access: object) -> Path:
        return segment_there(
            ct, None, tmp_path / "out", SegmentSettings(), address=address or server.address, cancel=cancel, **access
        )

    return run


def is_whole(server, ct: Path, out: Path, result: dict[str, bytes]) -> bool:
    """Whether the CT arrived as it is, and the result came back as it is but for what is labelled here."""
    (kept,) = server.kept.values()
    labelled = ("result.json", "report.html", "overview.png")
    came = all((out / name).read_bytes() == content for name, content in result.items() if name not in labelled)
    return bytes(kept.content[0]) == ct.read_bytes() and came and len(server.dropped) == 1


def nothing_is_left(tmp_path: Path, server) -> bool:
    return not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".twintrack*")) and not server.runs


def test_a_run_goes_there_and_comes_back(server, run, ct, result):
    out = run()
    assert is_whole(server, ct, out, result)
    assert server.asked["send"] == -(-ct.stat().st_size // PART)
    assert json.loads((out / "result.json").read_text())["input"]["name"] == ct.name


@pytest.mark.parametrize("what", ["submit", "send", "begin", "news", "fetch"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_once_is_asked_again(server, run, ct, result, what, when):
    """Cut before the question has done anything, or after it has and only the answer is lost."""
    number = 3 if what in ("send", "fetch") else 1

    def cut(handler, asked, count):
        if (asked, count) != (what, number):
            return False
        if when == "after":
            server.fault = None
            told, handler.wfile = handler.wfile, io.BytesIO()
            server.asked[what] -= 1
            server.seen.pop()
            handler._answer()
            handler.wfile = told
        handler.cut()
        return True

    server.fault = cut
    out = run()
    assert is_whole(server, ct, out, result)
    assert len(server.kept) == 1  # a submission whose answer was lost makes no second run
    parts = -(-ct.stat().st_size // PART)
    assert server.asked["send"] == parts + (what == "send")


def test_a_part_that_is_lost_is_sent_alone(server, run, ct, result):
    """The link breaks with half a part on its way: nothing else is sent twice."""

    def cut(handler, asked, count):
        if (asked, count) != ("send", 5):
            return False
        handler.rfile.read(PART // 2)
        handler.cut()
        return True

    server.fault = cut
    assert is_whole(server, ct, run(), result)
    offsets = [path.split("offset=")[1] for verb, path, _ in server.seen if verb == "PUT"]
    assert sorted(offsets.count(offset) for offset in set(offsets)) == [1] * (len(set(offsets)) - 1) + [2]
    assert offsets.count(str(4 * PART)) == 2


def test_a_part_that_arrives_damaged_is_sent_again(server, run, ct, result):
    def damage(handler, asked, count):
        if (asked, count) != ("send", 2):
            return False
        handler.body()
        handler.refuse("part-hash")
        return True

    server.fault = damage
    assert is_whole(server, ct, run(), result)


@pytest.mark.parametrize("damage", ["hash", "short", "long", "another place"])
def test_a_file_of_the_result_that_arrives_damaged_once_is_fetched_again_or_refused(
    server, run, ct, result, damage, tmp_path
):
    def spoil(handler, asked, count):
        if (asked, count) != ("fetch", 3):
            return False
        start, stop = (int(word) for word in handler.headers["Range"].removeprefix("bytes=").split("-"))
        data = os.urandom(stop + 1 - start)
        data = {"short": data[:10], "long": data + bytes(10)}.get(damage, data)
        place = start + (7 if damage == "another place" else 0)
        handler.say(206, content=data, Content_Range=f"bytes {place}-{stop}/999999")
        return True

    server.fault = spoil
    if damage in ("long", "another place"):
        with raises_error(InputError, "server-unexpected-file"):
            run()
        assert nothing_is_left(tmp_path, server)
    else:
        assert is_whole(server, ct, run(), result)


def test_a_file_that_never_arrives_as_it_is_is_given_up(server, run, tmp_path):
    files = [{"name": "result.json", "bytes": 9, "sha256": hashlib.sha256(b"other").hexdigest()}]
    server.result, server.news = {"result.json": b"unchanged"}, {"files": files}
    with raises_error(InputError, "transfer-damaged", "result.json", path=tmp_path / "out"):
        run()
    assert nothing_is_left(tmp_path, server)


def file(name: object = "result.json", size: object = 3, sha256: object = "0" * 64) -> dict:
    return {"name": name, "bytes": size, "sha256": sha256}


@pytest.mark.parametrize(
    "files",
    [
        *([file(name)] for name in ("../x", "/etc/passwd", "result.json/../../x", "other.txt", "", ".", "dicom/.ssh")),
        *([file(name)] for name in ("dicom\\..\\..\\x", "C:result.json", "dicom/x:y", "result.json\0", "dicom/a/b")),
        [file("dicom/\n")],
        [file(), file()],
        [file("dicom/a"), file("dicom/A")],
        [file(size=-1)],
        [file(size=1 << 60)],
        [file(size=True)],
        [file(size="3")],
        [file(sha256="x")],
        [file(sha256=None)],
        [file(name=None)],
        [file()] * 2000,
        {},
        None,
        [None],
    ],
    ids=lambda files: str(files)[:40],
)  # fmt: skip
def test_a_server_cannot_write_where_no_result_is_nor_more_than_one(server, run, tmp_path, files):
    server.news = {"files": files}
    with pytest.raises(InputError) as caught:
        run()
    assert caught.value.code in ("server-unexpected-file", "server-malformed")
    assert not server.asked["fetch"]
    assert nothing_is_left(tmp_path, server)


@pytest.mark.parametrize(
    "news",
    [
        {"state": 3},
        {"state": "sleeping"},
        {"state": "running", "fraction": "half"},
        {"state": "running", "fraction": True},
        {"state": "running", "message": None},
        {"state": "queued", "before": "many"},
        {"state": "queued", "before": -1},
        {"seq": None},
        {"state": "failed", "error": "bad"},
        {"state": "cancelled"},
        {"state": "expired"},
    ],
    ids=str,
)
def test_an_answer_of_the_wrong_kind_is_one_sentence(server, run, tmp_path, news):
    server.news = news
    with pytest.raises(InputError) as caught:
        run()
    assert caught.value.code in ("server-malformed", "server-gave-up")
    assert nothing_is_left(tmp_path, server)


@pytest.mark.parametrize(
    "content",
    [
        *(b"[]", b"null", b"3", b'"run"', b"{" * 200_000, b"[" * 200_000),
        *(b'{"run": NaN}', b"\xff\xfe", b"<html>", b'{"run": "../x"}'),
    ],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
@pytest.mark.parametrize("what", ["about", "submit", "news"])
def test_an_answer_that_is_no_object_is_one_sentence(server, run, tmp_path, content, what):
    def spoil(handler, asked, _count):
        if asked != what:
            return False
        handler.body()
        handler.say(200, content=content)
        return True

    server.fault = spoil
    with pytest.raises(InputError) as caught:
        run()
    assert caught.value.code in ("server-malformed", "not-a-server")
    assert not list(tmp_path.glob("out*"))


def test_an_answer_without_end_is_cut(server, run):
    def flood(handler, asked, _count):
        if asked != "about":
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 65536)

    server.fault = flood
    with raises_error(InputError, "not-a-server", path=server.address):
        run()


def test_a_packed_answer_is_not_unpacked(server, run):
    import gzip

    def pack(handler, asked, _count):
        assert handler.headers["Accept-Encoding"] == "identity"
        handler.say(200, content=gzip.compress(json.dumps(ABOUT).encode()), Content_Encoding="gzip")
        return True

    server.fault = pack
    with raises_error(InputError, "not-a-server"):
        run()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["about", "submit", "send", "news", "fetch"])
def test_a_server_cannot_send_the_ct_elsewhere(server, run, tmp_path, what, status):
    with contract_server({}) as elsewhere:

        def send_away(handler, asked, _count):
            if asked != what:
                return False
            handler.body()
            handler.say(status, Location=f"{elsewhere.address}{handler.path}")
            return True

        server.fault = send_away
        with raises_error(InputError, "not-a-server"):
            run()
        assert not elsewhere.seen
    assert not list(tmp_path.glob("out*"))


def test_nothing_in_the_environment_leads_the_ct_elsewhere_or_tells_a_password(server, run, tmp_path, monkeypatch):
    with contract_server({}) as elsewhere:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
        run()
        assert not elsewhere.seen
    assert server.seen
    for _verb, _path, headers in server.seen:
        assert "Authorization" not in headers
        assert "Cookie" not in headers


def test_no_cookie_is_kept(server, run):
    def give(handler, asked, _count):
        if asked != "about":
            return False
        handler.say(200, ABOUT, Set_Cookie="a=b")
        return True

    server.fault = give
    run()
    assert not any("Cookie" in headers for _verb, _path, headers in server.seen)


def test_by_tls_the_token_goes_with_each_question(certificates, result, ct, tmp_path):
    shutil.copy(certificates / "client" / "ca.pem", tmp_path)
    (tmp_path / "token.txt").write_text("a" * 40)
    with contract_server(dict(result), certificates=certificates / "server") as server:
        given = {"address": server.address, "certificates": tmp_path}
        out = segment_there(ct, None, tmp_path / "out", SegmentSettings(), **given)
        assert is_whole(server, ct, out, result)
        assert {headers["Authorization"] for _verb, _path, headers in server.seen} == {"Bearer " + "a" * 40}


def test_a_certificate_for_another_name_or_of_another_authority_is_refused(certificates, ct, tmp_path):
    from twintrack.execution.server.certificates import make_certificates

    other = make_certificates(tmp_path / "other", "gpu.example")
    with contract_server({}, certificates=other / "server") as server:
        for folder, words in ((other, "gpu.example" and "another computer's name"), (certificates, "your authority's")):
            given = {"address": server.address, "certificates": folder / "client"}
            with raises_error(InputError, "tls-failed", words):
                segment_there(ct, None, tmp_path / "out", SegmentSettings(), **given)
        assert not server.seen


def test_who_is_not_known_any_more_is_told_so(server, run):
    server.fault = lambda handler, *_rest: handler.refuse("identity-unknown") is None
    with raises_error(InputError, "client-unknown", path=server.address):
        run()


@pytest.mark.parametrize("code", ["server-quota", "server-not-ready"])
def test_a_server_without_room_for_another_run_is_waited_for(server, ct, tmp_path, code):
    def busy(handler, asked, count):
        if asked != "submit" or count > 2:
            return False
        handler.body()
        error = {"code": code, "message": "later", "kind": "InputError"}
        handler.say(429 if code == "server-quota" else 503, {"error": error}, Retry_After="0.5")
        return True

    server.fault, words = busy, []
    segment_there(
        ct,
        None,
        tmp_path / "out",
        SegmentSettings(),
        address=server.address,
        progress=lambda _fraction, word: words.append(word),
    )
    assert words.count("waiting for the server") == 2


def test_a_server_whose_disk_is_full_is_not_taken_for_the_readers_disk(server, run, tmp_path):
    def full(handler, asked, _count):
        if asked != "submit":
            return False
        handler.body()
        handler.refuse("server-no-room", message="4 GB are needed")
        return True

    server.fault = full
    with raises_error(OutputError, "server-no-room", "4 GB are needed") as caught:
        run()
    assert caught.value.path is None


def test_a_run_that_the_server_has_dropped_is_told_at_once(server, run, tmp_path):
    """As after a server was killed and started again in the middle."""

    def forget(handler, asked, count):
        if (asked, count) == ("send", 3):
            server.runs.clear()
        return False

    server.fault = forget
    began = time.monotonic()
    with raises_error(InputError, "server-gave-up"):
        run()
    assert time.monotonic() - began < connection.AGAIN_S
    assert nothing_is_left(tmp_path, server)


@pytest.mark.parametrize("what", ["about", "submit", "send", "begin", "news", "fetch"])
def test_cancel_is_answered_at_once_whatever_the_server_does(server, run, tmp_path, what):
    """The server takes the question and says nothing."""
    cancel, silent, at, over = CancelToken(), threading.Event(), [], threading.Event()

    def be_silent(handler, asked, _count):
        if asked != what:
            return False
        at.append(time.monotonic())
        silent.set()
        cancel.cancel()
        over.wait(60)
        handler.cut()
        return True

    server.fault = be_silent
    try:
        with pytest.raises(Cancelled):
            run(cancel)
        assert time.monotonic() - at[0] < connection.ANSWER_S  # asked for is 0.5 s, on a quiet computer
    finally:
        over.set()
    assert not list(tmp_path.glob("out*"))
    if what not in ("about", "submit"):
        assert server.dropped  # the run is over there too


def test_a_server_that_goes_silent_is_given_up(server, run, monkeypatch):
    monkeypatch.setattr(client, "POLL_S", 0.2)
    over = threading.Event()

    def go_silent(_handler, asked, _count):
        if asked == "begin":  # not before: what is answered late on a busy computer is another error
            monkeypatch.setattr(connection, "ANSWER_S", 0.2)
            monkeypatch.setattr(connection, "AGAIN_S", 1.0)
        return asked in ("news", "drop") and not over.wait(60)

    server.fault = go_silent
    try:
        with raises_error(InputError, "server-lost", path=server.address):
            run()
    finally:
        over.set()


def test_bytes_that_trickle_in_are_given_up(server, run, monkeypatch):
    monkeypatch.setattr(connection, "WHOLE_S", 1.0)

    def trickle(handler, asked, _count):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.1)
        return True

    server.fault = trickle
    with raises_error(InputError, "server-unreachable", path=server.address):
        run()


def failed(error: Exception) -> dict:
    return {"state": "failed", "error": error_event(error)["fields"]}


@pytest.mark.parametrize("kind", ["ZeroDivisionError", "OwnError"])
def test_what_nobody_foresaw_is_told_as_here(server, run, kind):
    server.news = failed(type(kind, (Exception,), {})("at the third tile"))
    with pytest.raises(Exception, match="at the third tile") as caught:
        run()
    assert (type(caught.value).__name__, error_event(caught.value)["fields"]["code"]) == (kind, "unexpected")


def test_too_little_memory_there_is_a_memory_error_here(server, run):
    server.news = failed(MemoryError("anything"))
    with pytest.raises(MemoryError):
        run()


def test_a_server_that_cannot_write_the_result_is_not_taken_for_the_readers_disk(server, run):
    server.news = failed(OutputError("the result needs 4 MB, and 1 MB are free", code="no-disk-space", path="result"))
    with raises_error(OutputError, "server-not-writable", "4 MB") as caught:
        run()
    assert caught.value.path is None


def test_an_error_with_a_file_names_the_users_own(server, run, ct):
    server.news = failed(InputError("is no CT", code="not-hounsfield", path="ct.nrrd"))
    with raises_error(InputError, "not-hounsfield", path=ct):
        run()


def test_what_a_server_says_cannot_play_tricks_on_a_terminal(server, run):
    trick = "\x1b[2Jgone\r\nline " + "x" * 10_000
    server.news = {"state": "failed", "error": {"kind": "InputError", "code": "odd", "message": trick, "path": trick}}
    with pytest.raises(InputError) as caught:
        run()
    assert not any(sign in str(caught.value) for sign in "\x1b\r\n")
    assert len(str(caught.value)) < 5000


def test_another_version_or_protocol_is_named(server, run):
    server.about = {**ABOUT, "server": "twintrack 0.0.1"}
    with raises_error(InputError, "versions-differ", "has twintrack 0.0.1", path=server.address):
        run()
    server.about = {**ABOUT, "schema": 2}
    with raises_error(InputError, "versions-differ"):
        run()
    assert not server.asked["submit"]


def test_the_hash_of_a_bundle_is_the_same_in_a_folder_and_a_zip(bundle_folder, tmp_path):
    from twintrack.bundle.model_bundle import Bundle

    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle_folder.parent, bundle_folder.name)
    with Bundle.open(bundle_folder) as opened:
        assert _hash_of(bundle_folder) == _hash_of(Path(archive)) == opened.sha256


def test_what_a_server_calls_a_run_cannot_lead_a_question_elsewhere():
    server = Connection("http://127.0.0.1:1", endpoint.Credentials(), CancelToken())
    with raises_error(TwinTrackError, "run-unknown"):
        server.ask(RUN, run="../about")
    assert path_of(RUN, run="0" * 32).endswith("0" * 32)


ONLY_REQUESTS = """
import importlib.abc, sys
ALLOWED = {"numpy", "pydicom", "requests", "urllib3", "certifi", "idna", "charset_normalizer", "chardet"}
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED | {"twintrack"} and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"no {name} here", name=name)
sys.meta_path.insert(0, Refuse())
from twintrack.execution.worker.__main__ import main
sys.exit(main())
"""


def test_a_computer_with_requests_alone_is_enough(server, ct, vessels, tmp_path, result):
    """What Slicer ships, and nothing of the engine's packages: the request goes through the kept worker's own code."""
    request = tmp_path / "request.json"
    own = {"input": str(ct), "vessels": str(vessels), "vessel_names": {"SMA": 5}, "out": str(tmp_path / "out")}
    request.write_text(json.dumps({"schema": 1, "bundle": None, "run_on": server.address, "case": "C7", **own}))
    command = [sys.executable, "-c", ONLY_REQUESTS, str(request)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read().splitlines()  # its input stays open so long: its end is a cancel
    assert json.loads(said[-1]) == {"event": "done", "out": str(tmp_path / "out")}
    assert json.loads((tmp_path / "out" / "result.json").read_text())["input"]["case"] == "C7"
    assert (tmp_path / "out" / "probability.nii.gz").read_bytes() == result["probability.nii.gz"]
