"""A small CT series and the checkers that other people wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from twintrack.dicom import write_ct_series

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the helpers of the folders below

from small_series import phantom

KINDS = ("CTImage", "Segmentation", "ParametricMap", "Comprehensive3DSR")
"""What dciodvfy calls the kinds of objects that are written."""


@pytest.fixture
def series_folder(tmp_path: Path) -> Path:
    """A good series of 6 slices, `CT_0001.dcm` to `CT_0006.dcm`."""
    write_ct_series(phantom(), tmp_path / "ct", description="good series")
    return tmp_path / "ct"


@pytest.fixture
def edit() -> Callable[[Path, Callable[[Dataset], object]], None]:
    """Return a function that changes one DICOM file in place."""

    def change(path: Path, how: Callable[[Dataset], object]) -> None:
        dataset = pydicom.dcmread(path)
        how(dataset)
        dataset.save_as(path)

    return change


@pytest.fixture(scope="session")
def dicom_errors() -> Callable[[Path], list[str]]:
    """Return a function that lists the errors that dciodvfy (Debian: dicom3tools) finds in a file."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")

    def check(path: Path) -> list[str]:
        run = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace", check=False)
        lines = (run.stdout + run.stderr).splitlines()
        # It names the kind of object that it checked the file as.
        assert any(line.strip() in KINDS for line in lines), lines
        return [line for line in lines if line.startswith("Error") or "Abort" in line]

    return check
