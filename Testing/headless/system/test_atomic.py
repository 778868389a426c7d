"""Whatever happens while writing, a final name holds a complete result or none, and what was there before stays."""

from __future__ import annotations

import os

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError, OutputError
from twintrack.system.atomic import STAGING_PREFIX, atomic_folder, atomic_path
from twintrack.system.marks import is_marked
from twintrack.system.ownership import RECORD


def write(out, files: dict[str, str], **options) -> None:
    options = {"command": "test", "last": "result.json", **options}
    with atomic_folder(out, **options) as partial:
        for name, text in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(text)


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_is_filled_only_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "o", command="test", last="result.json") as partial:
        (partial / "a.txt").write_text("a")
        (partial / "result.json").write_text("{}")
        assert names(tmp_path / "o") == {partial.name}
    assert names(tmp_path / "o") == {"a.txt", "result.json", RECORD}


def test_an_error_leaves_the_earlier_files(tmp_path):
    (tmp_path / "a.txt").write_text("earlier")

    def failing() -> None:
        with atomic_folder(tmp_path, command="test", last="result.json") as partial:
            (partial / "a.txt").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert names(tmp_path) == {"a.txt"}
    assert (tmp_path / "a.txt").read_text() == "earlier"


def test_what_the_new_run_does_not_make_is_removed_and_foreign_files_stay(tmp_path):
    write(tmp_path, {"b/old": "old", "result.json": "{}"})
    (tmp_path / "mine").write_text("mine")
    (tmp_path / f"{STAGING_PREFIX}killed").mkdir()
    write(tmp_path, {"result.json": "{}"})
    assert names(tmp_path) == {"mine", "result.json", RECORD}


def test_files_of_another_command_stay(tmp_path):
    write(tmp_path, {"ct/slice": "ct"}, command="demo", last="ct")
    write(tmp_path, {"result.json": "1"})
    write(tmp_path, {"result.json": "2"})
    assert (tmp_path / "ct" / "slice").read_text() == "ct"


def write_half(path) -> None:
    with atomic_path(path) as partial:
        assert partial.name == path.name
        partial.write_text("half")
        raise RuntimeError


def test_a_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "new folder" / "x.nii.gz"
    with pytest.raises(RuntimeError):
        write_half(path)
    assert names(tmp_path) == set()
    with atomic_path(path) as partial:
        partial.write_text("whole")
    assert names(path.parent) == {"x.nii.gz"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_not_replaced_by_a_file(tmp_path, overwrite):
    (tmp_path / "study.json").mkdir()
    (tmp_path / "study.json" / "notes.txt").write_text("mine")
    with (
        raises_error(OutputError, "place-taken", "study.json"),
        atomic_path(tmp_path / "study.json", overwrite=overwrite) as partial,
    ):
        partial.write_text("{}")
    assert (tmp_path / "study.json" / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        raises_error(OutputError, "not-writable"),
        atomic_folder(tmp_path / "file", command="test", last="result.json"),
    ):
        pass
    with raises_error(OutputError, "not-writable"), atomic_path(tmp_path / "file" / "x.json") as partial:
        partial.write_text("x")


def test_a_folder_in_the_last_place_is_replaced_by_the_next_run(tmp_path):
    for text in ("first", "second"):
        with atomic_folder(tmp_path, command="test", last="ct") as partial:
            (partial / "ct").mkdir()
            (partial / "ct" / "slice").write_text(text)
    assert names(tmp_path) == {"ct", RECORD}
    assert (tmp_path / "ct" / "slice").read_text() == "second"


def test_an_error_names_the_file_where_the_user_would_have_found_it_and_no_new_folder_stays(tmp_path):
    out = tmp_path / "a" / "b"

    def run() -> None:
        with atomic_folder(out, command="test", last="result.json") as folder:
            raise InputError("is damaged", code="dicom-damaged", path=folder / "x.nrrd")

    with pytest.raises(InputError) as caught:
        run()
    assert str(caught.value) == f"{out / 'x.nrrd'}: is damaged"
    assert names(tmp_path) == set()


def test_files_inside_a_result_that_is_not_complete_are_written_there_and_forced_to_the_disk_once(
    tmp_path, monkeypatch
):
    forced: list[int] = []
    force = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (forced.append(os.fstat(file).st_ino), force(file)))
    with atomic_folder(tmp_path, command="test", last="result.json") as folder:
        with atomic_path(folder / "a.txt") as partial:
            partial.write_text("whole")
        with pytest.raises(RuntimeError):
            write_half(folder / "half.txt")
        (folder / "result.json").write_text("{}")
    assert names(tmp_path) == {"a.txt", "result.json", RECORD}
    assert is_marked(tmp_path / "a.txt")
    assert forced.count((tmp_path / "a.txt").stat().st_ino) == 1
    assert len(forced) == 5  # three files, the folder before they move, and the folder that they move to
