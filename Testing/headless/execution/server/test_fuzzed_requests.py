"""Five thousand requests by chance: never an error that nobody foresaw, never a file elsewhere, never a process."""

from __future__ import annotations

import hashlib
import http.client
import json
from urllib.parse import quote

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_server import soon
from twintrack.execution.server.protocol import PART_HASH, ROUTES, SETTINGS

pytestmark = [pytest.mark.process, pytest.mark.slow]

REQUESTS, EXAMPLES = 5000, 6300
"""Some examples cannot be said by Python's own client."""

TEXTS = st.one_of(
    st.sampled_from(
        ["", "..", "../../etc/passwd", "%2e%2e", "a\x00b", "x" * 3000, "0", "-1", "1e308", "²", "٣", "{", "null"]
    ),
    st.text(max_size=12),
)
RUN = st.one_of(st.just("OWN"), st.just("OTHER"), TEXTS, st.text("0123456789abcdef", min_size=32, max_size=32))
VERB = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO"])
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXTS,
    st.sampled_from([2**60, -1, 5000, "dicom", "nrrd", "ct"]),
)
ANY = st.recursive(
    SCALAR, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3))
)
NAME = st.sampled_from([*SETTINGS, "vessels", "calibrator", "device", "backend", "case", "bundle"])
FILE = st.fixed_dictionaries(
    {
        "role": st.one_of(st.sampled_from(["ct", "vessels", "calibrator"]), ANY),
        "bytes": st.one_of(st.integers(0, 99), ANY),
    },
    optional={"kind": st.one_of(st.sampled_from(["nifti", "nrrd", "dicom"]), ANY), "path": ANY},
)
SUBMISSION = st.fixed_dictionaries(
    {
        "schema": st.one_of(st.just(1), ANY),
        "key": st.one_of(st.just("f" * 32), ANY),
        "kind": st.one_of(st.sampled_from(["dicom", "nifti-gz", "nrrd"]), ANY),
        "files": st.one_of(st.lists(FILE, max_size=4), ANY),
        "settings": st.one_of(st.just({}), st.dictionaries(NAME, ANY, max_size=3), ANY),
    },
    optional={"bundle_sha256": ANY, "out": ANY},
)
BODY = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    st.sampled_from([b"[]", b"null", b"{" * 200_000, b"[" * 100_000, b'{"schema":1}', b"\xff\xfe", b"0" * 9_000]),
    SUBMISSION.map(lambda content: json.dumps(content, default=str).encode()),
)
QUERY = st.lists(st.tuples(st.sampled_from(["after", "wait", "offset", "x"]), TEXTS), max_size=3)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Range", PART_HASH, "Content-Type", "Expect", "X-Forwarded-For", "If-None-Match", "Host", "Cookie"]
    ),
    st.one_of(
        st.sampled_from(["bytes=0-", "bytes=9-1", "bytes=-0", "0" * 64, "100-continue", "*"]), st.text(max_size=20)
    ),
    max_size=3,
)
REQUEST = st.tuples(VERB, st.sampled_from([*(route.path for route in ROUTES), "/", "/{name}"]), RUN, TEXTS, TEXTS)


def quoted(text: str, raw: bool) -> str:
    return quote(text, safe="/.%" if raw else "", errors="surrogatepass")


class Fuzzed:
    """A connection that is opened again when the server has closed it, and a run that is made again when it is gone."""

    def __init__(self, client, other: str) -> None:
        self.client, self.other, self.own = client, other, client.new_run(50)
        self.connection = client.connection()
        self.statuses: set[int] = set()

    def say(self, verb: str, path: str, headers: dict[str, str], body: bytes) -> int | None:
        """Return the status; None if the server closed the connection without one."""
        known = {"Authorization": f"Bearer {self.client.token}", "Content-Length": str(len(body))}
        try:
            self.connection.putrequest(verb, path, skip_host="Host" in headers)
            for name, value in (known | headers).items():
                self.connection.putheader(name, value.encode("utf-8", "replace"))
            self.connection.endheaders(body)
            answer = self.connection.getresponse()
            answer.read()
        except (http.client.HTTPException, ValueError, OSError):
            self.connection.close()
            return None
        if answer.status == 400:
            self.connection.close()
        return answer.status

    def ready(self) -> None:
        """Make the own run again, and drop those that came by chance."""
        while (answer := self.client.submit(50)).status_code == 429:
            for run in self.client.server.folders():
                if run.name != self.other:
                    self.client.drop(run.name)
        self.own = answer.json()["run"]


def test_whatever_is_asked_is_answered_in_order(http, anna, ben):
    assert soon(lambda: "twintrack_workers_free 1\n" in http.metrics())  # what an earlier test cancelled has ended
    kept = ben.new_run(10)
    before, children = ben.news(kept), set(psutil.Process(http.process.pid).children(recursive=True))
    fuzzed = Fuzzed(anna, kept)
    counted = {"requests": 0, "answered": 0}

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(REQUEST, QUERY, HEADERS, BODY, st.booleans())
    def ask(request, query, headers, body, raw):
        verb, path, run, number, name = request
        run = {"OWN": fuzzed.own, "OTHER": fuzzed.other}.get(run, run)
        parts = {key: quoted(value, raw) for key, value in (("run", run), ("number", number), ("name", name))}
        asked = "&".join(f"{quoted(key, raw)}={quoted(value, raw)}" for key, value in query if key != "wait")
        if headers.get(PART_HASH) == "0" * 64:
            headers = headers | {PART_HASH: hashlib.sha256(body).hexdigest()}
        status = fuzzed.say(verb, f"{path.format(**parts)}?{asked}", headers, body)
        counted["requests"] += 1
        if status is not None:
            counted["answered"] += 1
            fuzzed.statuses.add(status)
            assert status < 500 or status == 507, (status, request, query, headers, body[:200])
        if counted["requests"] % 50 == 0:
            fuzzed.ready()
            ben.news(kept)

    ask()
    assert counted["answered"] >= REQUESTS
    assert fuzzed.statuses >= {200, 204, 404, 405, 409, 422}, fuzzed.statuses
    assert "unforeseen" not in http.log
    assert ben.news(kept)["have"] == before["have"]
    assert set(psutil.Process(http.process.pid).children(recursive=True)) == children
    (root,) = http.spool.glob(".twintrack-scratch-*")
    assert all(len(path.name) == 32 or path.name == ".twintrack-temporary" for path in root.iterdir())
    # What was written elsewhere, the fixture `http` finds at the end.
