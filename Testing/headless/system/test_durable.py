"""Nothing gets a final name before it has reached the disk: a power failure leaves whole files only."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from twintrack.cohort.folder import private_folder, publish, write_record
from twintrack.errors import OutputError
from twintrack.system.atomic import atomic_folder, atomic_path


def write(out: Path, word: str) -> None:
    with atomic_folder(out, owned=("a.txt", "b", "result.json"), last="result.json") as folder:
        (folder / "b").mkdir()
        for name in ("a.txt", "b/c.txt", "result.json"):
            (folder / name).write_text(word)


@pytest.fixture
def log(monkeypatch) -> list[tuple[str, object]]:
    """What was forced to the disk, with its content, and what was renamed to where, in order."""
    events: list[tuple[str, object]] = []
    force, rename = os.fsync, {"rename": Path.rename, "replace": Path.replace}

    def forced(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        content = place.read_text() if place.is_file() else sorted(path.name for path in place.iterdir())
        events.append(("forced", (place.name, content)))
        force(descriptor)

    def moved(kind: str):
        def move(self: Path, target: Path) -> Path:
            events.append(("moved", (self.name, str(target))))
            return rename[kind](self, target)

        return move

    monkeypatch.setattr(os, "fsync", forced)
    for kind in rename:
        monkeypatch.setattr(Path, kind, moved(kind))
    return events


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what is forced to the disk")


@linux
def test_every_file_is_on_the_disk_before_the_first_is_renamed_and_the_names_are_before_the_end(tmp_path, log):
    write(tmp_path, "old")
    log.clear()
    write(tmp_path, "new")
    first = next(number for number, (what, _) in enumerate(log) if what == "moved")
    before = [found for what, found in log[:first]]
    assert {("a.txt", "new"), ("c.txt", "new"), ("result.json", "new")} <= {f for f in before if isinstance(f[1], str)}
    assert ("b", ["c.txt"]) in before
    assert log[-1][0] == "forced"
    name, entries = log[-1][1]
    assert name == tmp_path.name
    assert {"a.txt", "b", "result.json"} <= set(entries)


@linux
def test_a_single_file_is_on_the_disk_before_it_is_renamed(tmp_path, log):
    with atomic_path(tmp_path / "a.json") as partial:
        partial.write_text("whole")
    kinds = [what for what, _ in log]
    assert kinds == ["forced", "moved", "forced"]
    assert log[0][1] == ("a.json", "whole")


@linux
def test_a_case_of_a_cohort_is_on_the_disk_before_its_folder_gets_its_name(tmp_path, log):
    for word in ("old", "new"):
        log.clear()
        with private_folder(tmp_path / "p1") as work:
            (work / "report.html").write_text(word)
            write_record(work, {"case": "p1", "status": "done"})
            publish(work, tmp_path / "p1")
    first = next(number for number, (what, _) in enumerate(log) if what == "moved")
    forced = dict(found for what, found in log[:first] if what == "forced")
    assert forced["report.html"] == "new"
    assert json.loads(forced["case.json"])["files"] == {"report.html": 3}
    assert forced[work.name] == ["case.json", "report.html"]
    assert log[-1] == ("forced", (tmp_path.name, [f"{work.name}-old-0", "p1"]))  # the old one goes after that


def refuse(number: int):
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_only_then_leaves_the_earlier_result(tmp_path, monkeypatch, number):
    write(tmp_path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(number))
        with pytest.raises(OutputError, match=os.strerror(number)):
            write(tmp_path, "new")
        with pytest.raises(OutputError, match=os.strerror(number)), atomic_path(tmp_path / "a.txt") as partial:
            partial.write_text("new")
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b", "result.json"}


def test_a_file_system_that_cannot_force_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    write(tmp_path, "new")
    assert (tmp_path / "result.json").read_text() == "new"
