"""After a power cut at any moment the earlier files are there or the new ones, whole, and nothing else.

What a run does to the disk is recorded; after each step the folder is copied as a computer would find it that stopped
there, with and without what had not been forced to the disk, and brought into order as the next run does.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from twintrack.errors import OutputError
from twintrack.system.atomic import STAGING_PREFIX, atomic_folder, atomic_path, atomic_paths, put_in_order
from twintrack.system.ownership import RECORD
from twintrack.system.private_folder import MARKER


def write(out: Path, word: str) -> None:
    with atomic_folder(out, command="test", last="result.json") as folder:
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


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Record a run; return the copies of `out` after each of its steps."""

    def record(out: Path, run) -> list[Path]:
        copies: list[Path] = []
        before = {path: path.stat().st_ino for path in out.rglob("*")}
        forced: set[int] = set(before.values())
        real = {name: getattr(os, name) for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync")}

        copying: list[bool] = []

        def copy() -> None:
            if copying:
                return
            copying.append(True)
            whole = tmp_path / "copies" / f"{len(copies):03d}"
            shutil.copytree(out, whole, symlinks=True)
            copies.append(whole)
            lost = tmp_path / "copies" / f"{len(copies):03d}"
            shutil.copytree(out, lost, symlinks=True)
            for path in out.rglob("*"):
                if path.is_file() and path.stat().st_ino not in forced and path.name != MARKER:
                    content = path.read_bytes()
                    (lost / path.relative_to(out)).write_bytes(content[: len(content) // 2])
            copies.append(lost)
            copying.clear()

        def step(name: str):
            def call(*arguments, **options):
                copy()
                if name == "fsync":
                    forced.add(os.fstat(arguments[0]).st_ino)
                return real[name](*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, step(name))
            run()
        copy()
        return copies

    return record


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_order(copy: Path) -> dict[str, bytes]:
    """Bring a folder into order as the next run does; return what is there."""
    put_in_order(copy)
    assert [path.name for path in copy.glob(f"{STAGING_PREFIX}*")] == []
    return contents(copy)


@linux
def test_a_result_folder_is_the_earlier_one_or_the_new_one_at_any_moment(tmp_path, snapshots):
    out = tmp_path / "out"
    write(out, "old")
    (out / "mine.txt").write_text("mine")
    with atomic_folder(out, command="test", last="result.json") as folder:
        for name in ("a.txt", "gone.txt", "b/c.txt", "result.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("old")
    old = contents(out)
    copies = snapshots(out, lambda: write(out, "new"))
    new = contents(out)
    assert "gone.txt" not in new
    whole = ("a.txt", "b/c.txt", "result.json")
    found = set()
    for copy in copies:
        seen = contents(copy)
        if "result.json" in seen:  # what looks like a result is one, before anything is brought into order
            assert len({seen.get(name) for name in whole}) == 1, copy
        ordered = in_order(copy)
        assert ordered in (old, new), copy
        found.add(ordered == new)
    assert found == {False, True}
    assert len(copies) > 40


@linux
def test_a_file_is_the_earlier_one_or_the_new_one_at_any_moment(tmp_path, snapshots):
    out = tmp_path / "out"

    def save(word: str) -> None:
        with atomic_path(out / "a.json") as partial:
            partial.write_text(f'{{"word": "{word}"}}')

    save("old")
    old = contents(out)
    copies = snapshots(out, lambda: save("new"))
    new = contents(out)
    for copy in copies:
        assert contents(copy)["a.json"] in (old["a.json"], new["a.json"])
        assert in_order(copy) in (old, new)


@linux
def test_files_that_belong_together_are_the_earlier_ones_or_the_new_ones_at_any_moment(tmp_path, snapshots):
    out = tmp_path / "out"

    def save(word: str) -> None:
        with atomic_paths(out / "a.txt", out / "b.json") as partials:
            for partial in partials:
                partial.write_text(f'{{"word": "{word}"}}')

    save("old")
    old = contents(out)
    copies = snapshots(out, lambda: save("new"))
    new = contents(out)
    assert {tuple(sorted(in_order(copy).items())) for copy in copies} == {
        tuple(sorted(old.items())),
        tuple(sorted(new.items())),
    }


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
        with pytest.raises(OutputError, match=os.strerror(number)), atomic_path(tmp_path / "a.json") as partial:
            partial.write_text("new")
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != RECORD} == {"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b", "result.json", RECORD}


def test_a_file_system_that_cannot_force_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    write(tmp_path, "new")
    assert (tmp_path / "result.json").read_text() == "new"


def test_a_file_that_another_one_proves_is_known_after_a_run_was_stopped_between_the_two(tmp_path, monkeypatch):
    class StoppedError(BaseException):
        pass

    def proof(path: Path) -> bool:  # as the table of `invasion` is known by its document
        return (tmp_path / "i.json").exists()

    def write_both(word: str) -> None:
        with atomic_paths(tmp_path / "i.csv", tmp_path / "i.json", proof=proof) as paths:
            for path in paths:
                path.write_text(word)

    write_both('{"a": 1}')
    rename, moves = Path.rename, []

    def stop_after_the_first(self: Path, target: Path) -> Path:
        if moves:
            raise StoppedError
        moves.append(self)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop_after_the_first)
        patch.setattr("twintrack.system.atomic._move_back", lambda *_: None)  # a killed process puts nothing back
        with pytest.raises(StoppedError):
            write_both('{"a": 2}')
    assert not (tmp_path / "i.json").exists()
    assert (tmp_path / "i.csv").exists()
    write_both('{"a": 3}')
    assert (tmp_path / "i.csv").read_text() == '{"a": 3}'
    assert not list(tmp_path.glob(f"{STAGING_PREFIX}*"))
