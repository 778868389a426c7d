"""A part of a file arrives as it is, whatever a server does, or what has come stays for the next attempt."""

from __future__ import annotations

import contextlib
import errno
import http.server
import os
import socket
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from expected_errors import raises_error
from file_server import FileServer, busy, cut_after, lie, packed, serving, stall_after
from twintrack.errors import InputError, OutputError
from twintrack.models import download, https
from twintrack.models.download import NoPartsError, RemoteChangedError, fetch, look_up, read_range
from twintrack.models.https import open_session

pytestmark = pytest.mark.process  # the certificates are made by a program

DATA = np.random.default_rng(5).bytes(400_000)
START, STOP = 1_000, 391_000
WANTED = DATA[START:STOP]


@pytest.fixture
def server(tls: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.001)
    with serving(tls) as found:
        found.files["a.zip"] = DATA
        yield found


@pytest.fixture
def session(tls: Path):
    with open_session(tls / "ca.pem") as found:
        yield found


def told(_count: int) -> None:
    """Hear how much has come."""


def get(session, server: FileServer, path: Path) -> bytes:
    fetch(session, look_up(session, f"{server.address}/a.zip"), path, START, STOP, told)
    return path.read_bytes()


def test_a_part_arrives_and_is_not_fetched_again(session, server, tmp_path):
    counts: list[int] = []
    remote = look_up(session, f"{server.address}/a.zip")
    assert (remote.size, remote.validator, remote.parts) == (len(DATA), '"one"', True)
    fetch(session, remote, tmp_path / "p", START, STOP, counts.append)
    assert (tmp_path / "p").read_bytes() == WANTED
    assert counts == sorted(counts)
    assert counts[-1] == len(WANTED)
    asked = len(server.asked)
    fetch(session, remote, tmp_path / "p", START, STOP, counts.append)
    assert len(server.asked) == asked
    assert read_range(session, remote, 7, 99) == DATA[7:99]


FAULTS = {
    "cut": cut_after(150_000),
    "cut at once": cut_after(0),
    "stalls": stall_after(150_000),
    "announces more than comes": lie(length=len(WANTED) + 50_000),
    "announces less than comes": lie(length=100_000),
    "sends another part": lie(shift=1),
    "packs the answer": packed,
    "has no time": 503,
    "asks for patience": busy(429, "0"),
    "asks for patience until a date": busy(503, "Wed, 21 Oct 2015 07:28:00 GMT"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_on_the_way_costs_one_more_attempt(session, server, tmp_path, fault, monkeypatch):
    remote = look_up(session, f"{server.address}/a.zip")
    if fault is FAULTS["stalls"]:  # where nothing stalls, a busy computer is not taken for it
        monkeypatch.setattr(https, "ANSWER_S", 1.0)
    server.faults = [fault, None, None, None, None]
    fetch(session, remote, tmp_path / "p", START, STOP, told)
    assert (tmp_path / "p").read_bytes() == WANTED


def test_what_has_come_is_not_fetched_again_after_a_cut(session, server, tmp_path):
    remote = look_up(session, f"{server.address}/a.zip")
    server.faults = [cut_after(150_000)]
    fetch(session, remote, tmp_path / "p", START, STOP, told)
    first, second = server.asked[-2:]
    assert first[1]["Range"] == f"bytes={START}-{STOP - 1}"
    start = int(second[1]["Range"].removeprefix("bytes=").partition("-")[0])
    assert START + 65_536 <= start <= START + 150_000
    assert second[1]["If-Range"] == '"one"'
    assert server.sent < len(WANTED) + 150_000


def test_a_server_that_breaks_off_each_time_is_gone_on_with_as_long_as_something_comes(session, server, tmp_path):
    remote = look_up(session, f"{server.address}/a.zip")
    server.faults = [cut_after(70_000)] * 9
    fetch(session, remote, tmp_path / "p", START, STOP, told)
    assert (tmp_path / "p").read_bytes() == WANTED


def test_attempts_that_bring_nothing_end_and_keep_what_has_come(session, server, tmp_path):
    server.faults = [None, cut_after(150_000), *[503] * 9]
    with raises_error(InputError, "download-broken", "503"):
        get(session, server, tmp_path / "p")
    kept = (tmp_path / "p").read_bytes()
    assert 65_536 <= len(kept) <= 150_000
    assert kept == WANTED[: len(kept)]
    assert len(server.asked) == 1 + 1 + download.TRIES - 1
    server.faults = []
    assert get(session, server, tmp_path / "p") == WANTED


def test_a_server_that_wants_long_to_be_left_alone_is_left_alone(session, server, tmp_path):
    server.faults = [None, busy(429, "7200")]
    with raises_error(InputError, "download-broken", "120 minutes"):
        get(session, server, tmp_path / "p")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "download-refused"),
        (403, "download-refused"),
        (404, "download-gone"),
        (407, "proxy-refused"),
        (410, "download-gone"),
        (418, "download-status"),
    ],
)
def test_a_refusal_is_one_sentence_at_once(session, server, status, code):
    server.faults = [status] * 9
    with raises_error(InputError, code, str(status), path=f"{server.address}/a.zip"):
        look_up(session, f"{server.address}/a.zip")
    assert len(server.asked) == 1


def test_redirections_are_followed_to_https_alone(session, server, tls):
    with serving(tls) as other:
        other.files["a.zip"] = DATA
        server.redirect = other.address
        assert look_up(session, f"{server.address}/a.zip").size == len(DATA)
    server.redirect = "http://localhost:9"
    with raises_error(InputError, "redirect-unprotected"):
        look_up(session, f"{server.address}/a.zip")
    server.redirect = server.address
    with raises_error(InputError, "redirect-unending"):
        look_up(session, f"{server.address}/a.zip")
    server.redirect = "ftp://localhost"
    with raises_error(InputError, "redirect-unprotected"):
        look_up(session, f"{server.address}/a.zip")


@pytest.mark.parametrize(
    "address", ["http://localhost/a.zip", "https://user:secret@localhost/a.zip", "a.zip", "https://[x"]
)
def test_nothing_is_asked_without_https(session, address):
    with raises_error(InputError, "address-malformed") as found:
        look_up(session, address)
    assert found.value.code == "address-malformed"


def test_a_certificate_of_an_unknown_authority_is_refused_and_there_is_no_second_attempt(server):
    with open_session() as stranger, raises_error(InputError, "certificate-untrusted", "--ca-file"):
        look_up(stranger, f"{server.address}/a.zip")
    assert server.asked == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_are_taken_from_the_systems_variables(server, tls, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tls / "ca.pem"))
    with open_session() as session:
        assert look_up(session, f"{server.address}/a.zip").size == len(DATA)


def test_a_file_that_holds_no_certificates_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with raises_error(InputError, "certificate-unreadable", path=tmp_path / "ca.pem"):
        open_session(tmp_path / "ca.pem")


def test_a_certificate_for_another_name_is_refused(session, server):
    with raises_error(InputError, "certificate-untrusted"):
        look_up(session, server.address.replace("localhost", "127.0.0.1") + "/a.zip")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Refuses, or leads to the server that is asked for: a tunnel, of which it sees no content."""

    seen: ClassVar[list[str]] = []
    leads = True

    def do_CONNECT(self):
        self.seen.append(self.path)
        if not self.leads:
            self.send_error(407)
            return
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as server:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self.passed_on, args=(server, self.connection))
            back.start()
            self.passed_on(self.connection, server)
            back.join(10)

    @staticmethod
    def passed_on(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def proxy(monkeypatch):
    """Run a proxy that the environment names, and return its class."""
    running = http.server.ThreadingHTTPServer(("localhost", 0), Proxy)
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("https_proxy", f"http://localhost:{running.server_address[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Proxy, "seen", [])
    yield Proxy
    running.shutdown()
    running.server_close()
    thread.join(10)


def test_a_proxy_of_the_environment_is_asked(session, server, proxy, monkeypatch):
    """It refuses: its status comes back in words, and the server itself is never asked."""
    monkeypatch.setattr(proxy, "leads", False)
    with raises_error(InputError, "proxy-refused", "HTTPS_PROXY"):
        look_up(session, f"{server.address}/a.zip")
    assert proxy.seen == [server.address.removeprefix("https://")]
    assert server.asked == []


def test_a_file_comes_through_a_proxy_and_its_certificate_is_the_servers(session, server, proxy, tmp_path):
    assert get(session, server, tmp_path / "p") == WANTED
    assert set(proxy.seen) == {server.address.removeprefix("https://")}
    assert server.asked
    session.close()  # the tunnel ends with it


def test_parts_of_two_files_are_never_put_together(session, server, tmp_path):
    remote = look_up(session, f"{server.address}/a.zip")
    (tmp_path / "p").write_bytes(WANTED[:1000])
    server.etag = '"two"'
    with pytest.raises(RemoteChangedError):
        fetch(session, remote, tmp_path / "p", START, STOP, told)
    server.etag = '"one"'
    server.faults = [lie(total=len(DATA) + 1)]
    with pytest.raises(RemoteChangedError):
        fetch(session, remote, tmp_path / "p", START, STOP, told)


def test_a_server_without_parts_gives_the_whole_and_begins_anew_after_a_cut(session, server, tmp_path):
    server.ranges = False
    server.etag = ""
    remote = look_up(session, f"{server.address}/a.zip")
    assert not remote.parts
    server.faults = [cut_after(150_000)]
    fetch(session, remote, tmp_path / "p", 0, remote.size, told)
    assert (tmp_path / "p").read_bytes() == DATA


def test_a_server_that_gives_parts_no_more_is_noticed(session, server, tmp_path):
    server.etag = ""
    remote = look_up(session, f"{server.address}/a.zip")
    server.ranges = False
    with pytest.raises(NoPartsError):
        fetch(session, remote, tmp_path / "p", START, STOP, told)


def test_a_full_disk_is_one_sentence_and_what_has_come_stays(session, server, tmp_path, monkeypatch):
    real, room = Path.open, [120_000]

    def small_disk(path: Path, mode: str = "r", *arguments, **options):
        stream = real(path, mode, *arguments, **options)
        if path.name != "p" or "r" in mode:
            return stream
        write = stream.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def write(self, data: bytes) -> int:
                room[0] -= len(data)
                if room[0] < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(data)

        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", small_disk)
        with raises_error(OutputError, "no-disk-space", path=tmp_path):
            get(session, server, tmp_path / "p")
    kept = (tmp_path / "p").read_bytes()
    assert 0 < len(kept) <= 120_000
    assert get(session, server, tmp_path / "p") == WANTED
    assert int(server.ranges_of("a.zip")[-1].removeprefix("bytes=").partition("-")[0]) == START + len(kept)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("", None), ("nan", None), ("inf", None), ("-5", None)])
def test_how_long_a_server_asks_to_be_left_alone_is_a_whole_number_or_a_date(said, seconds):
    from requests import Response

    answer = Response()
    answer.headers["Retry-After"] = said
    assert https._seconds(answer) == seconds
    answer.headers["Retry-After"] = "Wed, 01 Jan 2020 00:00:00 GMT"
    assert https._seconds(answer) == 0.0
