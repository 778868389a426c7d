"""Manifests that a stranger wrote: limits on columns, cells, rows and bytes, and time that grows with the length."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from twintrack.errors import InputError
from twintrack.io import manifest as module
from twintrack.io import table_text
from twintrack.io.manifest import read_manifest, scan_manifest


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("case,annotation_" + "1" * 5000 + "\na,\n", "must have 1 to 64 letters"),
        ("case" + "".join(f",annotation_{n}" for n in range(101)) + "\na" + "," * 101, "more than the 100"),
        ("case,annotation_\u0661\na,\n", "the column 'annotation_\u0661'"),
        ("case," + ",".join(f"c{n}" for n in range(20_000)) + "\na" + "," * 20_000 + "\n", "has 20001 columns"),
        ("case,a,a\nx,,\n", "has two columns a"),
        ("case,a\nx," + "y" * 5000 + "\n", "line 2: has a cell of 5000 characters"),
        ("case,a\nx," + "y" * 140_000 + "\n", "field larger than field limit"),
        ("case,a\nx," + "y," * 600_000 + "\n", "a row of more than the 1,000,000 bytes"),
        ('case,a\n"x' + "\n\n\n\n\n\n\n\n\n" * 20_000 + '",b\n', "field larger than field limit"),
        ("case,a\n" + '"x\n",' * 300_000 + "\n", "a row of more than the 1,000,000 bytes"),
        ("c" * 2_000_000, "a row of more than the 1,000,000 bytes"),
        (b"case,a\nx\0y,b\n", "holds NUL"),
        ("case,a\nx,b\n".encode("utf-32"), "encoding UTF-8"),
        (b"PK\x03\x04 a workbook", "is a workbook"),
        ("case,a\nx,b\n".encode("utf-16-le"), "in UTF-16"),
        (b"case,a\nx,\xed\xa0\x81\n", "encoding UTF-8"),
        (b"\xef\xbb\xbfcase,a\nx,\xff\n", "encoding UTF-8"),
        ("sep=|\ncase|a\nx|b\n", "a comma, semicolon or tab"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_name(tmp_path: Path, content: bytes | str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_manifest(written(tmp_path, content))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["", " ", "\u00b2", ".x", "a/b", "..", "a" * 65, "a:b", "\u202ea"])
def test_a_column_whose_rater_has_no_name_is_refused_and_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the column 'annotation_.*a rater's name must have 1 to 64") as caught:
        read_manifest(written(tmp_path, f"case,annotation_{name}\na,f\n"))
    assert len(str(caught.value)) - len(str(tmp_path)) < 350


def test_the_time_grows_with_the_number_of_columns(tmp_path: Path) -> None:
    def seconds(columns: int) -> float:
        path = written(tmp_path, "case," + ",".join(f"c{n}" for n in range(columns)) + "\na" + "," * columns + "\n")
        start = time.perf_counter()
        for _ in range(20):
            read_manifest(path)
        return time.perf_counter() - start

    seconds(10)
    assert seconds(990) < 40 * seconds(99)


def test_a_manifest_of_too_many_bytes_or_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "case\n" + "".join(f"c{n}\n" for n in range(2000)))
    assert len(scan_manifest(path)) == 2000
    monkeypatch.setattr(module, "MAX_ROWS", 1999)
    with pytest.raises(InputError, match="more than the 1,999 cases"):
        scan_manifest(path)
    monkeypatch.setattr(table_text, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="larger than the 1,000 bytes"):
        scan_manifest(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="not an ordinary file"):
            read_manifest(path)
