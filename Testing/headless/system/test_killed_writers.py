"""Runs that are killed while they write: the earlier result stays whole, and the next run clears up."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import OutputError
from twintrack.system.atomic import STAGING_PREFIX, atomic_folder, atomic_path, atomic_paths, put_in_order
from twintrack.system.ownership import RECORD

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills processes by signal")


def write(out: Path, word: str) -> None:
    with atomic_folder(out, command="test", last="result.json") as folder:
        (folder / "a.txt").write_text(word)
        (folder / "b").mkdir()
        (folder / "b" / "c.txt").write_text(word)
        (folder / "result.json").write_text(word)


def write_old(out: Path) -> None:
    """Write what `write` writes, and a file that the next run does not make."""
    with atomic_folder(out, command="test", last="result.json") as folder:
        for name in ("a.txt", "b/c.txt", "gone.txt", "result.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("old")


def words(out: Path) -> set[str]:
    """Return what stands in the files of a result, all of which must be there."""
    return {(out / name).read_text() for name in ("a.txt", "b/c.txt", "result.json")}


def names(out: Path) -> set[str]:
    """Return what a user sees there."""
    return {path.name for path in out.iterdir()} - {RECORD}


def _killed_at(out: Path, moves: int) -> None:
    """Publish in this process, which kills itself before the given number of renames."""
    left = [moves]

    def counted(real):
        def move(self, target):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(self, target)

        return move

    Path.rename = counted(Path.rename)
    Path.replace = counted(Path.replace)
    write(out, "new")


@pytest.mark.process
def test_a_run_killed_at_any_rename_leaves_one_whole_result_for_the_next_run_to_find(tmp_path):
    fork = multiprocessing.get_context("fork")
    seen = set()
    for moves in range(15):
        out = tmp_path / str(moves)
        write_old(out)
        (out / "mine.txt").write_text("mine")
        process = fork.Process(target=_killed_at, args=(out, moves))
        process.start()
        process.join(300)
        assert all(path.read_text() in ("old", "new", "mine") for path in out.glob("[!.]*.*"))
        if (out / "result.json").exists():
            assert len(words(out)) == 1
        with atomic_path(out / "other.txt") as partial:
            partial.write_text("other")
        (word,) = words(out)
        seen.add((word, process.exitcode))
        assert (out / "gone.txt").exists() == (word == "old")
        assert names(out) - {"gone.txt"} == {"a.txt", "b", "result.json", "mine.txt", "other.txt"}
    assert seen == {("old", -signal.SIGKILL), ("new", -signal.SIGKILL), ("new", 0)}


@pytest.mark.parametrize("moves", range(12))
def test_a_rename_that_fails_puts_everything_back(tmp_path, monkeypatch, moves):
    write(tmp_path, "old")
    left = [moves]

    def failing(real):
        def move(self, target):
            left[0] -= 1
            if left[0] == -1:
                raise PermissionError(13, "the file is open in another program")
            return real(self, target)

        return move

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing(Path.rename))
        patch.setattr(Path, "replace", failing(Path.replace))
        if moves < 9:
            with raises_error(OutputError, "not-writable"):
                write(tmp_path, "new")
        else:
            write(tmp_path, "new")
    assert words(tmp_path) == {"old" if moves < 9 else "new"}
    assert names(tmp_path) == {"a.txt", "b", "result.json"}


def _fails_then_dies(out: Path, fails: int, dies: int) -> None:
    """Publish in this process: one rename fails, and while that is undone the process kills itself."""
    done = [0]

    def counted(real):
        def move(self, target):
            done[0] += 1
            if done[0] == fails:
                raise PermissionError(13, "the file is open in another program")
            if done[0] == fails + dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)

        return move

    Path.rename, Path.replace = counted(Path.rename), counted(Path.replace)
    write(out, "new")


@pytest.mark.process
def test_a_run_killed_while_it_puts_everything_back_leaves_one_whole_result(tmp_path):
    fork = multiprocessing.get_context("fork")
    seen = set()
    for fails in range(3, 11):
        for dies in range(1, 10, 2):
            out = tmp_path / f"{fails}-{dies}"
            write_old(out)
            process = fork.Process(target=_fails_then_dies, args=(out, fails, dies))
            process.start()
            process.join(300)
            if (out / "result.json").exists():
                assert len(words(out)) == 1
            put_in_order(out)
            (word,) = words(out)
            seen.add(word)
            assert names(out) == {"a.txt", "b", "result.json", *(["gone.txt"] if word == "old" else [])}
    assert seen == {"old", "new"}


@pytest.mark.process
def test_earlier_files_that_cannot_be_put_back_are_kept_for_the_next_run(tmp_path, monkeypatch):
    write_old(tmp_path)
    process = multiprocessing.get_context("fork").Process(target=_killed_at, args=(tmp_path, 3))
    process.start()
    process.join(300)
    assert not (tmp_path / "result.json").exists()

    def refuse(self, target):
        raise PermissionError(13, "the file is open in another program")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        put_in_order(tmp_path)
    put_in_order(tmp_path)
    assert words(tmp_path) == {"old"}
    assert names(tmp_path) == {"a.txt", "b", "gone.txt", "result.json"}


def test_two_runs_into_one_folder_do_not_mix(tmp_path):
    write(tmp_path, "first")
    inside, go = threading.Barrier(3), threading.Event()

    def run(word: str) -> None:
        with atomic_folder(tmp_path, command="test", last="result.json") as folder:
            inside.wait(120)
            (folder / "a.txt").write_text(word)
            (folder / "b").mkdir()
            go.wait(120)
            (folder / "b" / "c.txt").write_text(word)
            (folder / "result.json").write_text(word)

    runs = [threading.Thread(target=run, args=(word,)) for word in ("second", "third")]
    for thread in runs:
        thread.start()
    inside.wait(120)
    assert len(list(tmp_path.glob(f"{STAGING_PREFIX}*"))) == 2
    go.set()
    for thread in runs:
        thread.join(120)
    assert words(tmp_path) in ({"second"}, {"third"})
    assert names(tmp_path) == {"a.txt", "b", "result.json"}


@pytest.mark.process
def test_many_processes_into_one_folder_leave_one_whole_result(tmp_path):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=write, args=(tmp_path, str(n))) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert {process.exitcode for process in processes} == {0}
    assert len(words(tmp_path)) == 1
    assert names(tmp_path) == {"a.txt", "b", "result.json"}


def test_a_folder_removed_during_the_run_is_told(tmp_path):
    out = tmp_path / "out"

    def run() -> None:
        with atomic_folder(out, command="test", last="a") as folder:
            (folder / "a").write_text("a")
            out.rename(tmp_path / "elsewhere")

    with raises_error(OutputError, "not-writable"):
        run()


def test_a_folder_removed_and_made_anew_during_the_run_holds_no_half_result(tmp_path):
    def run() -> None:
        with atomic_folder(tmp_path / "out", command="test", last="result.json") as folder:
            (folder / "a.txt").write_text("a")
            shutil.rmtree(tmp_path / "out")
            with atomic_path(folder / "result.json") as partial:
                partial.write_text("half")

    with raises_error(OutputError, "not-writable"):
        run()
    assert list(tmp_path.rglob("*")) == []


def test_file_names_as_long_as_the_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("Müller 膵臓 " + "x" * 220 + ".nii.gz")
    with atomic_path(path) as partial:
        assert partial.name.endswith(".nii.gz")
        partial.write_text("whole")
    assert names(tmp_path) == {path.name}


def test_such_names_can_be_replaced_too_alone_and_together(tmp_path):
    long = ["膵" * 82 + "xx.nii", "膵" * 83 + "x.json", "j" * 250 + ".json"]
    header = (348).to_bytes(4, "little").ljust(352, b"\0")
    for _ in range(2):
        with atomic_path(tmp_path / long[0]) as partial:
            partial.write_bytes(header)
        with atomic_paths(*(tmp_path / name for name in long[1:])) as partials:
            for partial in partials:
                partial.write_text('{"a": 1}')
    assert names(tmp_path) == set(long)
