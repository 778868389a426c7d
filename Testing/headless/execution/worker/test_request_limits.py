"""Requests that no module writes: too long, too deep, or with impossible paths; each is answered in one sentence."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from twintrack.execution.answer import Events
from twintrack.execution.worker.run_request import answer_request
from twintrack.execution.worker.serve import MAX_LINE, _read, limited_lines
from twintrack.progress.callbacks import CancelToken

pytestmark = pytest.mark.process

REQUEST = {"schema": 1, "input": "/nowhere/ct.nrrd", "bundle": "/nowhere", "out": "/dev/null/out"}


class Endless(io.TextIOBase):
    """A line without an end, of which only so much is made as is asked for."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        assert size > 0, "the whole line was asked for"
        part = min(size, self.left)
        self.left -= part
        return "x" * part


def test_a_line_of_a_gigabyte_takes_no_gigabyte() -> None:
    (line,) = limited_lines(Endless(10**9))
    assert len(line) == MAX_LINE + 1
    assert "longer than the 1,000,000 characters" in str(_read(line))


def test_the_lines_after_a_long_one_are_read() -> None:
    lines = limited_lines(io.StringIO("a\n" + "x" * 3 * MAX_LINE + "\ncancel\n" + "y" * MAX_LINE + "\nlast"))
    assert [line[:6] for line in lines] == ["a\n", "xxxxxx", "cancel", "yyyyyy", "last"]


def odd_requests() -> Iterator[object]:
    yield _read("[" * 100_000)
    yield _read('{"schema": NaN}')
    yield _read('{"schema": ' + "9" * 5000 + "}")
    for key in ("input", "bundle", "out"):
        for value in ("", "a\0b", "\udcff", "\ud800", None, 1):
            yield REQUEST | {key: value}
    yield REQUEST | {"vessels": "x" * 10_000}
    yield REQUEST | {"vessel_names": {f"v{n}": n + 1 for n in range(1000)}}
    yield REQUEST | {"vessel_names": {"a\x1b[31m": 1}}
    yield REQUEST | {"vessel_names": {"a": True}}
    yield REQUEST | {"roi": ["9" * 5000] * 6}
    yield REQUEST | {"series": "\x1b]0;x\x07" * 3}
    yield REQUEST | {"input": "/nowhere/\x1b[31m\u202e"}


@pytest.mark.parametrize("number", range(len(list(odd_requests()))))
def test_odd_requests_are_answered_with_one_sentence(number: int) -> None:
    said = io.StringIO()
    assert answer_request(list(odd_requests())[number], Events(said), CancelToken()) == 2
    (event,) = map(json.loads, said.getvalue().splitlines())
    assert event["event"] == "error"
    assert event["message"].isprintable()
    assert len(event["message"]) < 2100
