"""What a server keeps of a run lies in the run's folder, and goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from twintrack.errors import InputError, OutputError
from twintrack.execution.server.spool import Desk


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path, {"version": "1"})


def test_the_desk_takes_in_and_hands_out_the_same_bytes(desk):
    folder = Path(desk.begin("reader", "run"))
    assert folder.stat().st_mode & 0o777 == 0o700
    for offset, data in ((0, b"abc"), (3, b"def")):
        desk.send("run", "result/dicom/x.dcm", offset, data)
    desk.send("run", "result/empty", 0, b"")
    desk.send("run", "result/.lock", 0, b"")
    assert desk.listing("run") == [("dicom/x.dcm", 6), ("empty", 0)]
    assert desk.fetch("run", "dicom/x.dcm", 0) == b"abcdef"
    assert desk.fetch("run", "dicom/x.dcm", 4) == b"ef"


def test_the_desk_forgets_a_run_and_a_reader(desk, tmp_path):
    for client, run in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        desk.begin(client, run)
        desk.send(run, "series/000000", 0, b"x")
    assert [desk.queue(run) for run in ("a1", "b1", "a2")] == [0, 1, 1]
    desk.end("a1")
    assert not (tmp_path / "a1").exists()
    assert desk.queue("b1") == 1
    desk.leave("a")
    assert [path.name for path in tmp_path.iterdir()] == ["b1"]
    with pytest.raises(InputError, match="does not know this run any more"):
        desk.send("a2", "series/000001", 0, b"x")
    assert not (tmp_path / "a2").exists()


def test_the_desk_sweeps_what_a_dead_worker_left(desk, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "ct.nrrd").write_bytes(b"x")
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / ".dask").mkdir()
    desk.begin("reader", "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dask", ".lock", "run"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_the_desk_keeps_files_in_their_runs(desk, name, tmp_path):
    desk.begin("reader", "run")
    with pytest.raises(InputError, match="leads out"):
        desk.send("run", name, 0, b"x")
    assert not list((tmp_path / "run").iterdir())


def test_a_server_without_room_says_so(desk, monkeypatch):
    desk.begin("reader", "run")

    def full(*_arguments, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"cannot take the CT in \(No space left on device\)"):
        desk.send("run", "ct.nrrd", 0, b"x")
