"""Manifests as spreadsheets of any country and system write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.manifest import read_manifest, reading_note, scan_manifest

HEAD, ROW = ["case", "score", "annotation_A", "annotation_b 2"], ["Müller, 1", "x/s.nii", "x/a.nii", "x/b.nii"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x").mkdir()
    for name in ("s", "a", "b"):
        (tmp_path / "x" / f"{name}.nii").write_text(name, encoding="utf-8")
    return tmp_path


def text(separator: str = ",", end: str = "\n", head: list[str] = HEAD, row: list[str] = ROW) -> str:
    return "".join(separator.join(f'"{cell}"' for cell in cells) + end for cells in (head, row))


def scanned(folder: Path, content: bytes | str):
    (folder / "m.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return scan_manifest(folder / "m.csv", needs=("score",), annotated=True)


WAYS = {
    "plain": (text(), ""),
    "windows": (text(end="\r\n").encode("utf-8-sig"), ""),
    "semicolons": (text(";"), "with semicolons"),
    "tabs": (text("\t"), "with tabs"),
    "sep": ("sep=;\r\n" + text(";", "\r\n"), "with semicolons, as its first line says"),
    "sep comma": ('"sep=,"\n' + text(), "with commas, as its first line says"),
    "sep tab": ("SEP=\t\n" + text("\t"), "with tabs, as its first line says"),
    "utf-16 with semicolons": (text(";", "\r\n").encode("utf-16"), "with semicolons, as UTF-16"),
    "utf-16 big endian": (b"\xfe\xff" + text().encode("utf-16-be"), "as UTF-16"),
    "latin-1": (text(";").encode("cp1252"), "with semicolons, as Latin-1"),
    "spaces": (text(", "), "without spaces around names"),
    "capitals": (text(head=["Case", "SCORE", "Annotation_A", "ANNOTATION_b 2"]), "with small letters for column names"),
    "backslashes": (text(row=[cell.replace("/", "\\") for cell in ROW]), "with \\ as /"),
    "old Mac": (text(end="\r"), ""),
    "old Mac with semicolons": (text(";", "\r").encode("cp1252"), "with semicolons, as Latin-1"),
    "mixed line ends": (text(end="\r").replace("\r", "\r\n", 1), ""),
    "a column of row numbers": (text(head=["", *HEAD], row=["0", *ROW]), ""),
    "n/a in columns of texts": (
        text(head=[*HEAD, "patient", "series"], row=[*ROW, "n/a", "NaN"]),
        "with n/a, NaN and the like as empty cells",
    ),
    "tabs after a byte order mark": (text("\t").encode("utf-8-sig"), "with tabs"),
    "empty rows and columns": (text(";", ";;\n") + ";;;;;\n;;;;;\n", "with semicolons"),
    "all of it": (
        ("sep=;\r\n" + text(" ; ", "\r\n", [name.upper().replace("_B", "_b") for name in HEAD])).encode("cp1252"),
        "with semicolons, as its first line says, as Latin-1, without spaces around names, with small letters for "
        "column names",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_manifest_is_read_and_what_was_assumed_is_told_in_one_line(folder, way):
    content, assumed = WAYS[way]
    rows = scanned(folder, content)
    (row,) = rows
    assert row.case == "Müller, 1"
    assert row.files["score"] == folder / "x" / "s.nii"
    assert row.annotations == {"A": folder / "x" / "a.nii", "b 2": folder / "x" / "b.nii"}
    assert rows.raters == ("A", "b 2")
    assert rows.assumed == assumed
    line = reading_note("/long" * 99 + "/m.csv", assumed)
    assert line.startswith("note: ")
    assert line.endswith(f"m.csv: read {assumed}")
    assert len(line) <= 400


def test_lines_are_counted_as_they_are_in_the_file(folder):
    with raises_error(InputError, "file-missing", "m.csv"):
        scanned(folder, "sep=;\ncase;score;annotation_A\n\nc;gone;x/a.nii\n")


def test_a_path_with_backslashes_that_leads_nowhere_is_named(folder):
    with raises_error(InputError, "file-missing", "annotation_A"):
        scanned(folder, "case,score,annotation_A\nc,x/s.nii,C:\\data\\a.nii\n")


def test_a_comma_in_a_cell_does_not_make_commas_the_separator(folder):
    assert scanned(folder, "case;score;annotation_A;note\nc;x/s.nii;x/a.nii;1,5 and 2,5\n").assumed == "with semicolons"
    with raises_error(InputError, "column-missing", "annotation_A"):
        scanned(folder, "name;annotation_A\nc;x/a.nii\n")


def test_texts_are_no_files_whatever_the_command(folder):
    path = folder / "m.csv"
    path.write_text("case,Patient,Split,SERIES,anatomy\nc,p\\1,test,1.2.3,x/a.nii\n", encoding="utf-8")
    (row,) = read_manifest(path)
    assert row.cells == {"patient": "p\\1", "split": "test", "series": "1.2.3"}
    assert row.files == {"anatomy": folder / "x" / "a.nii"}
    assert scan_manifest(path).assumed == "with small letters for column names"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff\xfe" + text().encode("utf-16-le")[:-1], ("table-encoding", "CSV", "UTF")),
        (b"\xff\xfe\x00\xd8,\x00", ("table-encoding", "CSV", "UTF")),
        (b"\xd0\xcf\x11\xe0 an old workbook", ("table-encoding",)),
        ("sep=\n" + text(), ("table-separator", "'sep='")),
        ("sep=x\n" + text(), ("table-separator", "'sep=x'")),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(folder, content, error):
    with raises_error(InputError, *error) as caught:
        scanned(folder, content)
    assert len(str(caught.value)) < 400


def test_a_line_end_inside_a_cell_ends_no_row(folder):
    (row,) = scanned(folder, 'case,score,annotation_A\r\n"c\r\n1",x/s.nii,x/a.nii\r\n')
    assert row.case == "c\n1"


@pytest.mark.parametrize("word", ["n/a", "N/A", "NA", "NaN", "nan", "None", "null", "#N/A"])
def test_a_word_for_nothing_is_an_empty_cell_of_a_rater_and_told(folder, word):
    rows = scanned(
        folder, f"case,score,annotation_A,annotation_B\nc,x/s.nii,{word},x/b.nii\nNA,x/s.nii,x/a.nii,x/b.nii\n"
    )
    first, second = rows
    assert list(first.annotations) == ["B"]
    assert second.case == "NA"
    assert list(second.annotations) == ["A", "B"]
    assert rows.assumed == "with n/a, NaN and the like as empty cells"
    with raises_error(InputError, "cell-empty"):
        scanned(folder, f"case,score,annotation_A\nc,{word},x/a.nii\n")


def test_a_file_that_is_called_like_nothing_is_one(folder):
    (folder / "NA").write_text("mask", encoding="utf-8")
    rows = scanned(folder, "case,score,annotation_A\nc,x/s.nii,NA\n")
    assert [row.annotations for row in rows] == [{"A": folder / "NA"}]
    assert rows.assumed == ""


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_a_path_with_accents_is_found_however_they_are_composed(folder, written, stored):
    name = "x/Läsion é.nii"
    there = folder / unicodedata.normalize(stored, name)
    there.write_text("mask", encoding="utf-8")
    (row,) = scanned(folder, f"case,score,annotation_A\nc,x/s.nii,{unicodedata.normalize(written, name)}\n")
    assert row.annotations == {"A": there}


def test_one_name_composed_in_two_ways_is_one_case(folder):
    names = [unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD")]
    with raises_error(InputError, "case-twice"):
        scanned(folder, "case,score,annotation_A\n" + "".join(f"{name},x/s.nii,x/a.nii\n" for name in names))
