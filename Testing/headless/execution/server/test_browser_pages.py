"""A server without a list of clients lets this computer in, but no page of a website that is open on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from twintrack.execution.server.access import Access
from twintrack.execution.server.app import Served, make_application
from twintrack.execution.server.audit import Audit, Log
from twintrack.execution.server.pool import Pool, WorkerLimits
from twintrack.execution.server.protocol import ABOUT, Limits
from twintrack.execution.server.runs import Runs
from twintrack.execution.server.worker_slot import Offered


async def ask(folder: Path, headers: dict[str, str]) -> int:
    """Return the status of the answer to a request with these headers."""
    pool = Pool(Offered(folder), workers=1, limits=WorkerLimits(), warn=print)
    log = Log()
    runs = Runs(pool, folder, limits=Limits(), audit=Audit(None), log=log)
    server = HTTPServer(make_application(Served(pool, runs, Access(None), log)))
    (place,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(place)
    try:
        url = f"http://127.0.0.1:{place.getsockname()[1]}{ABOUT.path}"
        return (await AsyncHTTPClient().fetch(url, headers=headers, raise_error=False)).code
    finally:
        server.stop()
        await runs.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8786"}, 200),
        ({"Host": "[::1]:8786"}, 200),
        ({"Host": "rebound.example:8786"}, 401),
        ({"Host": "127.0.0.1.example"}, 401),
        ({"Origin": "https://website.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "http://127.0.0.1:8000"}, 401),
    ],
)
def test_pages_of_a_browser_are_not_let_in(tmp_path, headers, status):
    assert asyncio.run(ask(tmp_path, headers)) == status
