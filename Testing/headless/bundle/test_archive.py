"""A zip cannot leave its folder, nor be larger than it says; its document is read alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.bundle.archive import extract_bundle_zip, read_bundle_document
from twintrack.bundle.model_bundle import Bundle, demo_bundle_path
from twintrack.errors import BundleError


@pytest.mark.parametrize(
    "name", ["../outside", "a/../../outside", "/outside", "..\\outside", "C:\\outside", "c:outside"]
)
def test_a_zip_entry_that_points_outside_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path, target = tmp_path / "evil.zip", tmp_path / "in" / "target"
    target.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bundle.json", "{}")
        archive.writestr(name, "x")
    with raises_error(BundleError, "archive-entry-refused"):
        extract_bundle_zip(path, target)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    link = zipfile.ZipInfo("fine/plans.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/hostname")
    with raises_error(BundleError, "archive-entry-refused"):
        Bundle.open(path)


def test_a_zip_that_unpacks_to_too_much_or_too_many_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
        archive.writestr("b", bytes(100_000))
    for limits, words in (({"max_bytes": 150_000}, "more than a bundle may hold"), ({"max_files": 1}, "holds 2 files")):
        target = tmp_path / words.replace(" ", "")
        target.mkdir()
        with raises_error(BundleError, "bundle-too-large", words):
            extract_bundle_zip(path, target, **limits)
        assert sum(p.stat().st_size for p in target.rglob("*")) <= 150_000


def test_the_size_in_the_zips_directory_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    (tmp_path / "target").mkdir()
    with pytest.raises(BundleError):
        extract_bundle_zip(path, tmp_path / "target", max_bytes=50_000)


def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Plans.json", "{}")
        archive.writestr("plans.json", "[]")
    with raises_error(BundleError, "archive-entry-refused"):
        Bundle.open(path)


def test_the_document_alone_is_read_from_a_folder_and_a_zip_and_what_is_no_zip_is_refused(tmp_path):
    path = demo_bundle_path()
    document = (path / "bundle.json").read_bytes()
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", path.parent, path.name))
    assert read_bundle_document(path) == read_bundle_document(packed) == document
    for name, content in {"cut.zip": packed.read_bytes()[:-40], "text.zip": b"PK no zip", "empty.zip": b""}.items():
        (tmp_path / name).write_bytes(content)
        with raises_error(BundleError, "not-a-bundle"):
            read_bundle_document(tmp_path / name)
    for place in (tmp_path, tmp_path / "none.zip", tmp_path / ("x" * 5000)):
        with raises_error(BundleError, "not-a-bundle"):
            read_bundle_document(place)
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/bundle.json", bytes(64 << 20))
    with raises_error(BundleError, "not-a-bundle"):
        read_bundle_document(tmp_path / "large.zip")


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_in_the_place_of_a_bundle_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "bundle.json")
    for name in ("pipe.zip", "folder"):
        script = (
            "import sys; from pathlib import Path; from twintrack.bundle.archive import read_bundle_document as read\n"
        )
        command = [sys.executable, "-c", f"{script}read(Path(sys.argv[1]))", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert "BundleError" in done.stderr
