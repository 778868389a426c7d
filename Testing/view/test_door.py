"""Nobody else gets in: the attack on a viewer that was started as a user starts it."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket

import psutil
import pytest

pytest.importorskip("trame_slicer", reason="the extra 'view' is not installed: make view-tools")
from page import SIZE, Page
from PIL import Image
from tornado.httpclient import HTTPClientError

pytestmark = pytest.mark.process

CONSTANT_SECRET = "wslink-secret"  # trame-server's own, with which any website could read the whole state


def answer(port: int, path: str, *, method: str = "GET", host: str | None = None, body: bytes = b"", **headers: str):
    """Return status, headers and body of the answer to a request that is sent as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{port}" if host is None else host)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body:
        connection.send(body)
    got = connection.getresponse()
    try:
        content = got.read()
    except ConnectionResetError:  # closed with what was sent unread: nothing more comes
        content = b""
    connection.close()
    return got.status, dict(got.getheaders()), content


def socketStatus(port: int, key: str, **more: str) -> int:
    """Return the status with which a websocket is refused; 101 where it is opened."""

    async def connect() -> int:
        try:
            await (await Page.of(port, key, **more)).leave()
        except HTTPClientError as error:
            return error.code
        return 101

    return asyncio.run(connect())


def test_who_has_the_key_gets_the_page(viewer):
    status, headers, content = answer(viewer.port, f"/?key={viewer.key}")
    assert status == 200
    assert b"<main" in content
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/", "/viewer.js", "/viewer.css", "/live", "/file/x", "/nothing"])
@pytest.mark.parametrize("query", ["", "?key=", f"?key={CONSTANT_SECRET}", "?secret={key}", "?key={key}x", "?key=%ff"])
def test_without_the_key_there_is_nothing(viewer, path, query):
    status, _headers, content = answer(viewer.port, path + query.format(key=viewer.key))
    assert status in (400, 403)
    assert len(content) < 10


@pytest.mark.parametrize(
    "host", ["", "localhost:{port}", "rebound.example:{port}", "127.0.0.1", "127.0.0.1.example:{port}"]
)
def test_another_name_of_this_computer_is_refused(viewer, host):
    host = host.format(port=viewer.port)
    assert answer(viewer.port, f"/?key={viewer.key}", host=host)[0] in (400, 403)
    if host:
        assert socketStatus(viewer.port, viewer.key, host=host) == 403


@pytest.mark.parametrize(
    "origin", ["https://website.example", "null", "http://127.0.0.1:8000", "http://localhost:{port}"]
)
def test_another_page_is_refused(viewer, origin):
    origin = origin.format(port=viewer.port)
    assert answer(viewer.port, f"/?key={viewer.key}", Origin=origin)[0] == 403
    assert socketStatus(viewer.port, viewer.key, origin=origin) == 403


def test_a_connection_says_where_it_comes_from_and_has_the_key(viewer):
    assert socketStatus(viewer.port, viewer.key, origin="") == 403
    assert socketStatus(viewer.port, "") == 403
    assert socketStatus(viewer.port, CONSTANT_SECRET) == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent_to_it(viewer, method):
    status, headers, _content = answer(viewer.port, f"/?key={viewer.key}", method=method, body=b"x" * 100)
    assert status in (400, 405)
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../App.py",
        "/page/../../App.py",
        "/..%2f..%2fApp.py",
        "/%2e%2e/Page.py",
        "/file/../../etc/passwd",
        "/file/%2fetc%2fpasswd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_to_another_file(viewer, path):
    status, _headers, content = answer(viewer.port, f"{path}?key={viewer.key}")
    assert status == 404
    assert content == b"404"


def test_it_listens_on_this_computers_own_address_alone(viewer):
    places = psutil.Process(viewer.process.pid).net_connections()
    listening = {place.laddr.ip for place in places if place.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", viewer.port), timeout=60):
        pass


def test_every_start_has_a_key_of_its_own_and_the_log_has_none(viewer, start, example):
    answer(viewer.port, f"/?key={viewer.key}")
    with start(example.result) as other:
        assert other.key != viewer.key
        assert len(other.key) >= 40
        assert other.end() == 0
    assert any("GET 200" in line for line in viewer.said)
    assert not any(viewer.key in line for line in viewer.said)


def test_a_second_page_gets_one_sentence_and_changes_nothing(viewer):
    async def both() -> None:
        first = await Page.of(viewer.port, viewer.key)
        await first.show()
        second = await Page.of(viewer.port, viewer.key)
        await second.ask("size", view=0, width=20, height=20)
        await second.ask("threshold", value=0.9)
        await second.end()
        assert list(second.state) == ["refused"]
        assert second.frames == 0
        assert second.closeCode == 4001
        await first.rest(0.5)
        assert first.state["reading"]["threshold"] == 0.5
        for picture in first.pictures:
            assert Image.open(io.BytesIO(picture)).size == (SIZE["width"], SIZE["height"])
        await second.leave()
        await first.leave()

    asyncio.run(both())


def test_what_no_page_of_ours_asks_is_left_out(viewer):
    async def nonsense() -> None:
        page = await Page.of(viewer.port, viewer.key)
        await page.show()
        for asked in ("", "[]", "{}", '{"do": "close"}', '{"do": ["size"]}', '{"do": "size", "view": 7, "width": 1}'):
            await page._connection.write_message(asked)
        await page.ask("size", view=0, width=10**9, height=-5)
        await page.ask("mouse", view=0, kind="__init__", x=1e300, y=None)
        await page.ask("threshold", value=float("nan"))
        await page.ask("threshold", value=1e9)
        await page.ask("window", value="no such")
        await page._connection.write_message(b"\x00\x01")
        await page.ask("size", view=0, width=480, height=360)
        await page.rest(1.0)
        assert 0.01 <= page.state["reading"]["threshold"] <= 0.99
        await page.leave()

    asyncio.run(nonsense())
    assert viewer.process.poll() is None
