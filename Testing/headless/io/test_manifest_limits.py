"""Manifests that a stranger wrote: limits on columns, cells, rows and bytes, and time that grows with the length."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io import manifest as module
from twintrack.io import table_text
from twintrack.io.manifest import read_manifest, scan_manifest


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("case,annotation_" + "1" * 5000 + "\na,\n", ("rater-name", "64")),
        ("case" + "".join(f",annotation_{n}" for n in range(101)) + "\na" + "," * 101, ("too-many-raters", "100")),
        ("case,annotation_\u0661\na,\n", ("rater-name", "'annotation_\u0661'")),
        (
            "case," + ",".join(f"c{n}" for n in range(20_000)) + "\na" + "," * 20_000 + "\n",
            ("table-too-large", "20001"),
        ),
        ("case,a,a\nx,,\n", ("column-twice",)),
        ("case,a\nx," + "y" * 5000 + "\n", ("table-too-large", "5000")),
        ("case,a\nx," + "y" * 140_000 + "\n", ("table-encoding",)),
        ("case,a\nx," + "y," * 600_000 + "\n", ("table-too-large", "000")),
        ('case,a\n"x' + "\n\n\n\n\n\n\n\n\n" * 20_000 + '",b\n', ("table-encoding",)),
        ("case,a\n" + '"x\n",' * 300_000 + "\n", ("table-too-large", "000")),
        ("c" * 2_000_000, ("table-too-large", "000")),
        (b"case,a\nx\0y,b\n", ("table-encoding", "NUL")),
        ("case,a\nx,b\n".encode("utf-32"), ("table-encoding", "UTF")),
        (b"PK\x03\x04 a workbook", ("table-encoding",)),
        ("case,a\nx,b\n".encode("utf-16-le"), ("table-encoding", "UTF", "16")),
        (b"case,a\nx,\xed\xa0\x81\n", ("table-encoding", "UTF")),
        (b"\xef\xbb\xbfcase,a\nx,\xff\n", ("table-encoding", "UTF")),
        ("sep=|\ncase|a\nx|b\n", ("table-separator",)),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_name(
    tmp_path: Path, content: bytes | str, error: tuple[str, ...]
) -> None:
    with raises_error(InputError, *error) as caught:
        read_manifest(written(tmp_path, content))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["", " ", "\u00b2", ".x", "a/b", "..", "a" * 65, "a:b", "\u202ea"])
def test_a_column_whose_rater_has_no_name_is_refused_and_named(tmp_path: Path, name: str) -> None:
    with raises_error(InputError, "rater-name", "annotation_", "64") as caught:
        read_manifest(written(tmp_path, f"case,annotation_{name}\na,f\n"))
    assert len(str(caught.value)) - len(str(tmp_path)) < 350


def test_the_time_grows_with_the_number_of_columns(tmp_path: Path) -> None:
    def seconds(columns: int) -> float:
        path = written(tmp_path, "case," + ",".join(f"c{n}" for n in range(columns)) + "\na" + "," * columns + "\n")
        start = time.process_time()
        for _ in range(20):
            read_manifest(path)
        return time.process_time() - start

    seconds(10)
    assert seconds(990) < 40 * seconds(99)


def test_a_manifest_of_too_many_bytes_or_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "case\n" + "".join(f"c{n}\n" for n in range(2000)))
    assert len(scan_manifest(path)) == 2000
    monkeypatch.setattr(module, "MAX_ROWS", 1999)
    with raises_error(InputError, "table-too-large", "999"):
        scan_manifest(path)
    monkeypatch.setattr(table_text, "MAX_BYTES", 1000)
    with raises_error(InputError, "table-too-large", "000"):
        scan_manifest(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path, Path("/dev/zero")):
        with raises_error(InputError, "not-a-regular-file"):
            read_manifest(path)
