"""The ledger when its disk is full, when very much has been through it, and how what is not taken is given up."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest

from expected_errors import raises_error
from twintrack.errors import OutputError
from twintrack.execution.node import ledger as ledger_module
from twintrack.execution.node.ledger import Ledger, Stage
from twintrack.execution.node.send import KEPT_S, Archive, Sender, back_off_s, waited_s
from twintrack.execution.server.audit import Audit

FULL = """
CREATE TABLE more (bytes BLOB);
CREATE TRIGGER each BEFORE INSERT ON instance BEGIN INSERT INTO more VALUES (zeroblob(10000)); END;
PRAGMA max_page_count = 1;
"""
"""Lets the file grow no more, and each instance need more room: SQLite then says what it says of a full disk."""


@pytest.fixture
def made(tmp_path):
    """Return a function that opens a ledger."""
    opened = []

    def make() -> Ledger:
        opened.append(Ledger(tmp_path / "ledger.sqlite", Audit(None)))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


def ended(ledger: Ledger, source: str, stage: Stage) -> str:
    name = ledger.arrival(source, "PACS", f"association of {source}", 0.0, 0.0)
    ledger.add(name, "slice", 7, 0.0)
    ledger.move(name, stage)
    return name


def test_a_full_disk_is_an_error_that_passes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "TABLES", ledger_module.TABLES + FULL)
    ledger = made()
    name = ledger.arrival("source", "PACS", "association", 0.0, 0.0)
    with raises_error(OutputError, "ledger-not-writable", "full"):
        ledger.add(name, "slice", 7, 0.0)
    assert ledger.instances(name) == {}
    ledger._tables.execute("PRAGMA max_page_count = 1000000")
    ledger.add(name, "slice", 7, 0.0)
    assert ledger.instances(name) == {"slice": 7}


def test_what_ended_long_ago_is_forgotten_and_nothing_else(made, monkeypatch):
    monkeypatch.setattr(ledger_module, "REMEMBERED", 2)
    ledger = made()
    waiting = ended(ledger, "w", Stage.WAITING)
    delivering = ended(ledger, "d", Stage.DELIVERING)
    done = [ended(ledger, str(number), Stage.DELIVERING) for number in range(4)]
    for series in ledger.at(Stage.DELIVERING)[1:]:
        ledger.end(series, Stage.DONE)
    assert [series.id for series in ledger.at(Stage.DONE)] == done[2:]
    assert [bool(ledger.instances(name)) for name in (waiting, delivering, *done)] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert ledger.needs(waiting)
    assert not ledger.needs(done[0])
    assert not ledger.needs(done[3])


def test_files_are_needed_while_slices_of_the_same_series_come(made):
    ledger = made()
    first = ended(ledger, "one", Stage.DONE)
    assert not ledger.needs(first)
    second = ledger.arrival("one", "PACS", "another", 0.0, 0.0)
    assert ledger.needs(first)
    assert ledger.needs(second)
    assert not ledger.needs("nobody's")


def test_a_look_does_not_read_the_whole_ledger(made, tmp_path):
    made()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as tables:
        for question in ("SELECT * FROM series WHERE stage = 'arriving'", "SELECT * FROM series WHERE source = 'x'"):
            (plan,) = tables.execute(f"EXPLAIN QUERY PLAN {question}").fetchall()
            assert "USING INDEX" in plan[-1]


@pytest.mark.parametrize("attempts", [0, 1, 6, 7, 8, 100])
def test_the_time_that_was_waited_is_that_of_the_pauses(attempts):
    assert waited_s(attempts) == sum(back_off_s(number) for number in range(attempts))


@pytest.mark.parametrize(("attempts", "is_kept"), [(3, True), (int(KEPT_S / 600) + 10, False)])
def test_results_are_given_up_after_days_of_attempts_and_not_when_a_clock_jumps(made, tmp_path, attempts, is_kept):
    ledger = made()
    sender = Sender(tmp_path, ledger, Archive(stow="http://127.0.0.1:9/dicom-web"))
    name = ended(ledger, "one", Stage.DELIVERING)
    sender.folder_of(name).mkdir()
    report = sender.folder_of(name) / "report.dcm"
    report.write_text("no DICOM")
    os.utime(report, (time.time() - 30 * 86400.0,) * 2)
    for _ in range(attempts):
        ledger.put_off(ledger.at(Stage.DELIVERING)[0], 0.0)
    sender.look()
    assert report.exists() == is_kept
    assert len(ledger.at(Stage.DELIVERING)) == is_kept
