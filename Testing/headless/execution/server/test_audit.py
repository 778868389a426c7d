"""What is written down: whole lines of JSON, into a private file that may be moved away, and no text of an error."""

from __future__ import annotations

import io
import json
import sys

import pytest

from expected_errors import raises_error
from twintrack.errors import OutputError
from twintrack.execution.server import audit as audit_module
from twintrack.execution.server.audit import MOST_LINES, Audit, Log, Spared, place_of


def test_lines_are_added_to_a_private_file(tmp_path):
    path = tmp_path / "audit.log"
    for who in ("anna", "ben"):
        audit = Audit(path)
        audit.write("run", who=who, bytes=7)
        audit.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["who"], line["bytes"]) for line in lines] == [("run", "anna", 7), ("run", "ben", 7)]
    assert all(line["t"].endswith("Z") for line in lines)
    assert sys.platform == "win32" or path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    path = tmp_path / "audit.log"
    audit = Audit(path)
    audit.write("run", who="anna")
    path.rename(tmp_path / "audit.log.1")
    audit.open()
    audit.write("run", who="ben")
    audit.close()
    assert "ben" in path.read_text()
    assert "anna" in (tmp_path / "audit.log.1").read_text()


def test_an_audit_that_cannot_be_begun_anew_goes_on_where_it_was(tmp_path):
    (tmp_path / "log").mkdir()
    audit = Audit(tmp_path / "log" / "audit.log")
    (tmp_path / "log").rename(tmp_path / "moved")
    with raises_error(OutputError, "not-writable", path=tmp_path / "log" / "audit.log"):
        audit.open()
    audit.write("run", who="ben")
    audit.close()
    assert "ben" in (tmp_path / "moved" / "audit.log").read_text()


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with raises_error(OutputError, "not-writable", path=tmp_path / "nowhere" / "audit.log"):
        Audit(tmp_path / "nowhere" / "audit.log")


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    audit = Audit(None)
    audit.write("run", who="anna")
    audit.close()
    assert not list(tmp_path.iterdir())
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_log_that_nobody_takes_stops_nothing():
    stream = io.StringIO()
    log = Log(stream)
    log.write("clients", count=2)
    stream_of = json.loads(stream.getvalue())
    assert (stream_of["event"], stream_of["count"]) == ("clients", 2)
    stream.close()
    log.write("clients", count=3)


def test_an_error_nobody_foresaw_is_told_by_place_and_never_by_its_text():
    with pytest.raises(ValueError, match="DOE") as found:
        raise ValueError("DOE^JANE")
    told = place_of(found.value)
    assert told.startswith("ValueError at test_audit.py:")
    assert "DOE" not in told
    assert place_of(KeyError("DOE")) == "KeyError"


def test_an_audit_that_is_full_is_begun_anew_and_loses_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "AUDIT_BYTES", 1000)
    path = tmp_path / "audit.log"
    audit = Audit(path)
    for number in range(15):
        audit.write("run", number=number, rest="x" * 50)
    audit.close()
    before = path.with_name("audit.log.1")
    lines = [json.loads(line)["number"] for file in (before, path) for line in file.read_text().splitlines()]
    assert lines == list(range(15))
    assert before.stat().st_size < 1200
    assert sys.platform == "win32" or path.stat().st_mode & 0o777 == 0o600


def test_a_full_audit_replaces_an_audit_and_no_other_file(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "AUDIT_BYTES", 10)
    other = tmp_path / "audit.log.1"
    other.write_text("somebody else's")
    audit = Audit(tmp_path / "audit.log")
    for number in range(3):
        audit.write("run", number=number)
    assert other.read_text() == "somebody else's"
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 3
    other.unlink()
    for number in range(3, 6):
        audit.write("run", number=number)
    audit.close()
    assert [json.loads(line)["number"] for line in other.read_text().splitlines()] == [4]


def test_a_full_audit_that_cannot_be_begun_anew_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "AUDIT_BYTES", 10)
    audit = Audit(tmp_path / "audit.log")
    (tmp_path / "audit.log.1").mkdir()
    for number in range(3):
        audit.write("run", number=number)
    audit.close()
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 3


def test_a_log_leaves_out_what_is_said_too_often_and_says_so(monkeypatch):
    stream = io.StringIO()
    log = Log(stream)
    for _ in range(MOST_LINES + 50):
        log.write("warning", message="again")
    log.write("exchanged")
    assert len(stream.getvalue().splitlines()) == MOST_LINES + 1
    monkeypatch.setattr(audit_module, "LINES_S", 0.0)
    log.write("warning", message="again")
    assert json.loads(stream.getvalue().splitlines()[-1])["left_out"] == 50


def test_kinds_of_lines_are_counted_apart():
    spared = Spared()
    assert [spared.left_out("one") for _ in range(MOST_LINES + 1)] == [0] * MOST_LINES + [None]
    assert spared.left_out("other") == 0
