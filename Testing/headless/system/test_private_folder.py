"""Temporary folders: private, removed with their run, and nothing of the user's is ever taken for one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

import pytest

from twintrack.system import private_folder
from twintrack.system.private_folder import MARKER, SCRATCH_PREFIX, PrivateFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills processes by signal")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _hold(parent: Path, ready) -> None:
    folder = PrivateFolder("twintrack-test-", parent)
    (folder.path / "ct.nrrd").write_text("pixels")
    ready.set()
    time.sleep(60)


@pytest.mark.process
def test_private_folders_are_private_and_those_of_killed_runs_are_removed_by_the_next(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    process = fork.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(120)
    (other,) = tmp_path.iterdir()
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    with PrivateFolder("twintrack-test-", tmp_path) as mine:
        assert names(tmp_path) == {other.name, mine.name}
    assert (other / "ct.nrrd").exists()
    process.kill()
    process.join(120)
    (tmp_path / "twintrack-test-link").symlink_to(tmp_path.parent)
    with PrivateFolder("twintrack-test-", tmp_path) as mine:
        assert names(tmp_path) == {mine.name, "twintrack-test-link"}
    assert tmp_path.parent.exists()


def test_a_private_folder_is_removed_with_its_last_user(tmp_path):
    folder = PrivateFolder("twintrack-test-", tmp_path)
    assert folder.path.is_dir()
    del folder
    assert names(tmp_path) == set()


PREFIXES = ("twintrack-bundle-", "twintrack-zip-", SCRATCH_PREFIX, ".twintrack-partial-")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_folders_of_the_user_with_the_name_of_a_temporary_one_stay(tmp_path, prefix):
    mine = tmp_path / f"{prefix}my work"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    other = tmp_path / f"{prefix}locked"
    other.mkdir()
    (other / MARKER).write_text("")
    (other / "thesis.txt").write_text("years")
    with PrivateFolder(prefix, tmp_path):
        pass
    assert (mine / "thesis.txt").exists()
    assert (other / "thesis.txt").exists()


def test_a_folder_that_was_renamed_or_copied_is_the_users(tmp_path):
    with PrivateFolder("twintrack-test-", tmp_path) as folder:
        (folder / "ct.nrrd").write_text("pixels")
        shutil.copytree(folder, tmp_path / "twintrack-test-kept")
    PrivateFolder("twintrack-test-", tmp_path).close()
    assert (tmp_path / "twintrack-test-kept" / "ct.nrrd").exists()


def abandoned(tmp_path: Path, **maker: object) -> Path:
    folder = tmp_path / "twintrack-test-left"
    folder.mkdir()
    content = {"program": "twintrack", "folder": folder.name, "host": socket.gethostname(), "process": 2**22 + 1}
    (folder / MARKER).write_text(json.dumps(content | maker))
    os.utime(folder, (0, 0))  # ages old, as after a jump of the clock
    return folder


@pytest.mark.parametrize(
    ("maker", "stays"), [({}, False), ({"process": os.getpid()}, True), ({"host": "elsewhere"}, True)]
)
def test_without_locks_only_a_folder_whose_process_is_gone_is_removed_whatever_the_clock_says(
    tmp_path, monkeypatch, maker, stays
):
    folder = abandoned(tmp_path, **maker)

    def no_locks(path: Path) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(private_folder, "try_lock", no_locks)
    PrivateFolder("twintrack-test-", tmp_path).close()
    assert folder.exists() == stays


def test_a_folder_whose_files_could_not_be_brought_into_order_stays(tmp_path):
    folder = abandoned(tmp_path)

    def fails(path: Path) -> None:
        raise PermissionError(13, "open in another program")

    PrivateFolder("twintrack-test-", tmp_path, rescue=fails).close()
    assert folder.exists()
    PrivateFolder("twintrack-test-", tmp_path, rescue=lambda path: None).close()
    assert not folder.exists()


def test_what_a_run_left_that_was_killed_before_it_marked_its_folder_is_removed_by_any_later_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{SCRATCH_PREFIX}abc").mkdir()
    (tmp_path / f"{SCRATCH_PREFIX}def").mkdir()
    (tmp_path / f"{SCRATCH_PREFIX}def" / MARKER).touch()
    PrivateFolder().close()
    assert names(tmp_path) == set()
