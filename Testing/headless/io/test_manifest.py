"""Manifests are read with every mistake named by line."""

from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.manifest import read_annotations, read_manifest, scan_manifest
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume

GRID = Geometry((4, 5, 6), (1.0, 1.0, 2.0))


@pytest.fixture
def folder(tmp_path):
    for name in ("s.nii.gz", "a1.nii.gz", "a3.nii.gz"):
        write_volume(Volume(np.zeros(GRID.shape, np.uint8), GRID), tmp_path / name)
    return tmp_path


def manifest(folder, text: str):
    path = folder / "m.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_hold_files_and_the_raters_that_are_there(folder):
    path = manifest(folder, "case,score,annotation_1,annotation_2,annotation_3\nä,s.nii.gz,a1.nii.gz,,a3.nii.gz\n")
    (row,) = read_manifest(path, needs=("score",), annotated=True)
    assert row.case == "ä"
    assert row.files == {"score": folder / "s.nii.gz"}
    assert row.annotations == {"1": folder / "a1.nii.gz", "3": folder / "a3.nii.gz"}
    assert set(read_annotations(row, GRID)[0]) == {"1", "3"}


def test_cases_are_texts_and_keep_their_leading_zeros(folder):
    path = manifest(folder, "case,score\n007,s.nii.gz\n7,s.nii.gz\n1.50,s.nii.gz\n")
    assert [row.case for row in read_manifest(path, needs=("score",))] == ["007", "7", "1.50"]


def test_a_byte_order_mark_and_unused_columns_do_no_harm(folder):
    path = folder / "m.csv"
    path.write_bytes("case,note,score\nc,anything,s.nii.gz\n".encode("utf-8-sig"))
    assert read_manifest(path, needs=("score",))[0].case == "c"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ("column-missing",)),
        ("name,score\nc,s.nii.gz\n", ("column-missing",)),
        ("case\nc\n", ("column-missing", "annotation_", "NAME")),
        ("case,score,annotation_1\n", ("no-cases",)),
        ("case,score,annotation_1\nc,gone.nii.gz,a1.nii.gz\n", ("file-missing", "gone.nii.gz")),
        ("case,score,annotation_1\nc,s.nii.gz,gone.nii.gz\n", ("file-missing", "annotation_1", "gone.nii.gz")),
        ("case,score,annotation_1\nc,s.nii.gz,a1.nii.gz\nc,s.nii.gz,a1.nii.gz\n", ("case-twice", "'c'")),
        ("case,score,annotation_1\n ,s.nii.gz,a1.nii.gz\n", ("case-unnamed",)),
        ("case,score,annotation_1\nc,,a1.nii.gz\n", ("cell-empty", "'c'")),
        ("case,score,annotation_1\nc,s.nii.gz,\n", ("cell-empty", "'c'")),
        ("case,score,annotation_1\nc,s.nii.gz\n", ("row-cells",)),
        ("case,score,annotation_1\nc,s.nii.gz,a1.nii.gz,more\n", ("row-cells",)),
    ],
)
def test_mistakes_are_named(folder, text, error):
    with raises_error(InputError, *error):
        read_manifest(manifest(folder, text), needs=("score",), annotated=True)


def test_a_missing_manifest_and_one_that_is_no_text_are_refused(tmp_path):
    with raises_error(InputError, "file-missing"):
        read_manifest(tmp_path / "gone.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00case")
    with raises_error(InputError, "table-encoding", "CSV"):
        read_manifest(tmp_path / "m.csv")


def test_scanned_rows_are_those_that_are_read_whatever_becomes_of_the_file(folder):
    path = manifest(folder, 'case,score,annotation_1\n"c,\n1",s.nii.gz,a1.nii.gz\nc2,s.nii.gz,a3.nii.gz\n')
    read, scanned = read_manifest(path, annotated=True), scan_manifest(path, annotated=True)
    path.write_text("case\nanother\n", encoding="utf-8")
    assert len(scanned) == 2
    assert tuple(scanned) == tuple(scanned) == read
    assert read[0].case == "c,\n1"


def test_a_series_is_text_and_no_file(folder):
    path = manifest(folder, "case,image,series\nc,s.nii.gz, 1.2.3 \nd,s.nii.gz,\n")
    with_uid, without = read_manifest(path, needs=("image",))
    assert (with_uid.series, without.series) == ("1.2.3", None)
    assert set(with_uid.files) == {"image"}


@pytest.mark.parametrize(
    ("cell", "number"), [(" 2 ", 2), ("2.0", 2), ('"2,0"', 2), ("0", 0), ("", None)], ids=["2", "2.0", "2,0", "0", "-"]
)
def test_an_acquisition_is_a_whole_number_as_table_programs_write_it(folder, cell, number):
    path = manifest(folder, f"case,image,acquisition\nc,s.nii.gz,{cell}\n")
    (row,) = read_manifest(path, needs=("image",))
    assert row.acquisition == number
    assert set(row.files) == {"image"}


@pytest.mark.parametrize("cell", ["portal", "2.5", "-1", "1e3", "²", "9" * 40])
def test_an_acquisition_that_is_no_whole_number_is_refused_where_an_image_is_named(folder, cell):
    with raises_error(InputError, "acquisition-malformed"):
        read_manifest(manifest(folder, f"case,image,acquisition\nc,s.nii.gz,{cell}\n"), needs=("image",))
    assert read_manifest(manifest(folder, f"case,score,acquisition\nc,s.nii.gz,{cell}\n"))[0].case == "c"


def test_a_series_number_may_have_the_decimals_of_a_column_with_empty_cells(folder):
    path = manifest(folder, "case,image,series\nc,s.nii.gz,4.0\nd,s.nii.gz,1.2.840.10008.4.0\n")
    assert [row.series for row in read_manifest(path)] == ["4", "1.2.840.10008.4.0"]


def test_a_file_that_may_be_left_out_must_be_there_if_named(folder):
    path = manifest(folder, "case,score,vessels\nc,s.nii.gz,\nd,s.nii.gz,gone.nii.gz\n")
    assert len(read_manifest(path, needs=("score",))) == 2
    with raises_error(InputError, "file-missing", "gone.nii.gz"):
        read_manifest(path, needs=("score",), optional=("vessels",))


def test_annotations_must_fit(folder):
    mask = np.zeros(GRID.shape, np.uint8)
    mask[0, 0, 0] = 1
    write_volume(Volume(mask, Geometry(GRID.size, (1.0, 1.0, 2.5))), folder / "a1.nii.gz")
    (row,) = read_manifest(manifest(folder, "case,score,annotation_1\nc,s.nii.gz,a1.nii.gz\n"), annotated=True)
    with raises_error(InputError, "grid-differs", "a1.nii.gz", "annotation_1"):
        read_annotations(row, GRID)


def test_a_column_that_stands_twice_is_refused_and_blank_lines_do_not_shift_the_line_that_is_named(folder):
    with raises_error(InputError, "column-twice", "m.csv"):
        read_manifest(manifest(folder, "case,score,score\nc,s.nii.gz,a1.nii.gz\n"), needs=("score",))
    with raises_error(InputError, "file-missing"):
        read_manifest(manifest(folder, "case,score\n\nc,s.nii.gz\n\nd,none.nii.gz\n"), needs=("score",))


@pytest.mark.parametrize(("one", "other"), [("1", "01"), ("A", "a"), ("R 1", "r1"), ("0", "00")])
def test_two_columns_that_look_like_one_rater_are_refused_with_both_names(folder, one, other):
    path = manifest(folder, f"case,annotation_{one},annotation_{other}\nc,a1.nii.gz,a3.nii.gz\n")
    with raises_error(InputError, "raters-alike", "annotation_", one, "annotation_", other):
        read_manifest(path)


@pytest.mark.parametrize(
    ("column", "right"), [("annotation1", "1"), ("Annotations 1", "1"), ("annotation-B", "B"), ("rater_2", "2")]
)
def test_a_column_that_was_meant_as_a_raters_is_named_where_there_is_no_rater(folder, column, right):
    with raises_error(InputError, "column-unknown", column, "annotation_", right):
        read_manifest(manifest(folder, f"case,{column}\nc,a1.nii.gz\n"), annotated=True)
    path = manifest(folder, f"case,{column},annotation_X\nc,a1.nii.gz,a3.nii.gz\n")
    with raises_error(InputError, "column-unknown", column):
        read_manifest(path, annotated=True)


def test_columns_that_mean_something_else_are_let_be_beside_real_ones(folder):
    path = manifest(folder, "case,reader_comments,annotation_X\nc,a1.nii.gz,a3.nii.gz\n")
    assert list(read_manifest(path, annotated=True)[0].annotations) == ["X"]


@pytest.mark.parametrize("way", ["the same", "another spelling", "a link", "a hard link"])
def test_one_file_for_two_raters_of_a_case_is_refused_by_whatever_path(folder, way):
    (folder / "sub").mkdir()
    second = {"the same": "a1.nii.gz", "another spelling": "sub/../a1.nii.gz"}.get(way, "link.nii.gz")
    if way == "a link":
        (folder / "link.nii.gz").symlink_to("a1.nii.gz")
    if way == "a hard link":
        (folder / "link.nii.gz").hardlink_to(folder / "a1.nii.gz")
    path = manifest(folder, f"case,annotation_A,annotation_B\nc,a3.nii.gz,a1.nii.gz\nd,a1.nii.gz,{second}\n")
    with raises_error(InputError, "annotation-shared", "annotation_A", "annotation_B"):
        read_manifest(path)


def test_one_file_in_two_cases_is_nothing_to_refuse(folder):
    path = manifest(folder, "case,annotation_A,annotation_B\nc,a3.nii.gz,a1.nii.gz\nd,a1.nii.gz,a3.nii.gz\n")
    assert len(read_manifest(path)) == 2


def test_a_rater_may_be_called_0_and_every_name_comes_back_as_it_is_written(folder):
    path = manifest(folder, "case,annotation_0,annotation_Ü b\nc,a1.nii.gz,a3.nii.gz\n")
    (row,) = read_manifest(path)
    assert list(read_annotations(row, GRID)[0]) == ["0", "Ü b"]
