"""Small asymmetric CT series and the checkers that other people wrote."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from twintrack.dicom import write_ct_series
from twintrack.volume import Geometry, Volume

SIZE = (24, 20, 6)
SPACING_MM = (0.7, 0.9, 2.5)

KINDS = ("CTImage", "Segmentation", "ParametricMap", "Comprehensive3DSR")
"""What dciodvfy calls the kinds of objects that are written."""


def phantom(direction: np.ndarray | None = None) -> Volume:
    """Noise with a bright corner, an edge and a ramp: no flip or permutation maps it onto itself."""
    cosines = np.eye(3) if direction is None else direction
    geometry = Geometry(SIZE, SPACING_MM, (-31.25, 17.5, -801.125), tuple(cosines.ravel().tolist()))
    k, j, i = np.indices(geometry.shape)
    array = np.random.default_rng(7).integers(-1000, 0, geometry.shape) + 7 * i + 31 * j + 150 * k
    array[0, 0, 0] = 2900
    array[:2, 3:9, 12:20] = 350
    return Volume(array.astype(np.int16), geometry)


def all_axis_directions() -> list[np.ndarray]:
    """Return the 48 direction matrices that permute and flip the axes."""
    return [
        np.eye(3)[:, list(order)] * np.array(signs)
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]


def sign_directions() -> list[np.ndarray]:
    """Return the 8 direction matrices that only flip axes."""
    return [np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)]


def oblique_direction() -> np.ndarray:
    """Return a rotation about an axis that is none of the patient's."""
    axis = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(25.0)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


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
