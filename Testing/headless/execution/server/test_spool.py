"""What a server keeps of a run lies in the run's folder, and goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.server.spool import Spool

pytestmark = pytest.mark.process


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path, {"version": "1"})


def test_the_spool_takes_in_and_hands_out_the_same_bytes(spool):
    folder = Path(spool.begin("client", "run"))
    assert folder.stat().st_mode & 0o777 == 0o700
    for offset, data in ((0, b"abc"), (3, b"def")):
        spool.send("run", "result/dicom/x.dcm", offset, data)
    spool.send("run", "result/empty", 0, b"")
    spool.send("run", "result/.lock", 0, b"")
    assert spool.listing("run") == [("dicom/x.dcm", 6), ("empty", 0)]
    assert spool.fetch("run", "dicom/x.dcm", 0) == b"abcdef"
    assert spool.fetch("run", "dicom/x.dcm", 4) == b"ef"


def test_the_spool_forgets_a_run_and_a_client(spool, tmp_path):
    for client, run in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        spool.begin(client, run)
        spool.send(run, "series/000000", 0, b"x")
    assert [spool.queue(run) for run in ("a1", "b1", "a2")] == [0, 1, 1]
    spool.end("a1")
    assert not (tmp_path / "a1").exists()
    assert spool.queue("b1") == 1
    spool.leave("a")
    assert [path.name for path in tmp_path.iterdir()] == ["b1"]
    with raises_error(InputError, "run-unknown"):
        spool.send("a2", "series/000001", 0, b"x")
    assert not (tmp_path / "a2").exists()


def test_the_spool_sweeps_what_a_dead_worker_left(spool, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "ct.nrrd").write_bytes(b"x")
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / ".dask").mkdir()
    spool.begin("client", "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dask", ".lock", "run"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_the_spool_keeps_files_in_their_runs(spool, name, tmp_path):
    spool.begin("client", "run")
    with raises_error(InputError, "file-outside-run"):
        spool.send("run", name, 0, b"x")
    assert not list((tmp_path / "run").iterdir())


def test_a_server_without_room_says_so(spool, monkeypatch):
    spool.begin("client", "run")

    def full(*_arguments, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with raises_error(TwinTrackError, "server-no-room", "CT"):
        spool.send("run", "ct.nrrd", 0, b"x")
