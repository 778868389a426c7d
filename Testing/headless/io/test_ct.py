"""What is no CT is refused with what to give instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.ct import load_ct


@pytest.mark.parametrize("name", ["scan.pdf", "report.html", "notes"])
def test_a_file_of_another_kind_is_told_what_would_be_one(tmp_path: Path, name: str):
    (tmp_path / name).write_text("%PDF-1.4")
    with raises_error(InputError, "volume-ending", name, "DICOM", "ZIP", ".nii.gz", ".nrrd"):
        load_ct(tmp_path / name)


@pytest.mark.process  # folders are searched in a child process
def test_a_folder_with_a_volume_file_in_it_is_told_to_give_the_file(tmp_path: Path):
    (tmp_path / "Planted^Patient.nii.gz").write_bytes(b"")
    with raises_error(InputError, "no-dicom-files", tmp_path.name, "volume file") as refused:
        load_ct(tmp_path)
    assert "Planted" not in str(refused.value)


@pytest.mark.process
def test_an_empty_folder_is_told_to_hold_no_dicom(tmp_path: Path):
    with raises_error(InputError, "no-dicom-files", tmp_path.name) as refused:
        load_ct(tmp_path)
    assert "volume file" not in str(refused.value)
