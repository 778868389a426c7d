"""A case's record is read as a whole: the earlier result's or the new one's."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from twintrack.execution.cohort.case_folder import RECORD, read_record, write_record
from twintrack.system.locks import folder_lock

WAIT_S = 60


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of a finished case."""
    case = tmp_path / "p1"
    case.mkdir()
    (case / "mhr.nii.gz").write_bytes(b"a map")
    write_record(case, {"case": "p1", "key": "k", "status": "done", "row": {}})
    return case


def test_a_record_is_read_with_its_files(folder):
    assert read_record(folder)["case"] == "p1"
    assert read_record(folder, "k")["case"] == "p1"
    assert read_record(folder, "another") is None
    (folder / "mhr.nii.gz").write_bytes(b"a longer map")
    assert read_record(folder) is None


def test_a_case_that_was_not_begun_has_none_and_gets_no_folder(tmp_path):
    assert read_record(tmp_path / "p2") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [RECORD, "mhr.nii.gz"])
def test_a_result_that_is_just_being_exchanged_is_not_taken_for_missing(folder, tmp_path, name):
    aside, read = tmp_path / "aside", []
    reader = threading.Thread(target=lambda: read.append(read_record(folder)), daemon=True)
    with folder_lock(folder):
        (folder / name).rename(aside)
        reader.start()
        reader.join(0.05)
        assert read == [], "it waits for the exchange to end"
        aside.rename(folder / name)
    reader.join(WAIT_S)
    assert [record["case"] for record in read] == ["p1"]
