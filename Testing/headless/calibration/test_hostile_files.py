"""Calibrators and sketches that a stranger wrote: limits before memory is taken, and one sentence."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.calibration import ScoreSketch, read_calibrator
from twintrack.calibration.sketch_file import load_sketch, save_sketch
from twintrack.errors import InputError

CALIBRATOR = json.loads((demo_bundle_path() / "calibrator.json").read_text())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"voxels": 10**19}, ("field-malformed", '"voxels"')),
        ({"voxels": 10**400}, ("calibrator-unreadable", "401")),
        ({"tumour_voxels": float("nan")}, ("calibrator-unreadable", "NaN")),
        (
            {"knots": {"score": [0.5] * 20_000, "mhr": [0.5] * 20_000}},
            ("field-malformed", '"knots.score"', "10000"),
        ),
        ({"warnings": ["w"] * 200}, ("field-malformed", '"warnings"', "100")),
        ({"warnings": ["\x1b[31m"]}, ("field-malformed", '"warnings"', "100", "2000")),
        ({"domain": "d" * 3000}, ("field-malformed", '"domain"', "2000")),
    ],
)
def test_a_calibrator_beyond_a_limit_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: tuple[str, ...]
) -> None:
    path = tmp_path / "calibrator.json"
    path.write_text(json.dumps(CALIBRATOR | changes))
    with raises_error(InputError, *error) as caught:
        read_calibrator(path)
    assert str(path) in str(caught.value)


def test_a_calibrator_that_is_no_ordinary_file_or_very_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b" " * (17 * 1024**2))
    for path, words in ((tmp_path / "c.json", "larger than"), (tmp_path, "not an ordinary file")):
        with raises_error(InputError, "calibrator-unreadable", words):
            read_calibrator(path)


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    """The arrays of a small sketch."""
    sketch = ScoreSketch.empty()
    sketch.add(np.linspace(0, 1, 60, dtype=np.float32), [np.arange(60) > 30])
    save_sketch(sketch, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        return {name: stored[name] for name in stored.files}


def promised(path: Path, name: str, header: str) -> None:
    """Replace an array's file by one with a header alone."""
    text = header.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    entries[f"{name}.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


@pytest.mark.parametrize("shape", ["(61698,)", "(1000000000000,)", "(1099511627776, 1099511627776)", "(-1,)"])
def test_a_header_that_promises_more_than_there_is_takes_no_memory(
    tmp_path: Path, arrays: dict[str, Any], shape: str
) -> None:
    path = tmp_path / "promise.npz"
    np.savez(path, **arrays)
    promised(path, "counts", f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}")
    with raises_error(InputError, "sketch-invalid"):
        load_sketch(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"case_keys": np.zeros(2_000_000, np.uint64)}, ("sketch-invalid", '"case_keys"', "16", "000")),
        ({"counts": np.zeros(20_000_000, np.int64)}, ("sketch-invalid", '"counts"', "160", "000")),
        ({"more": np.zeros(1)}, ("sketch-invalid", "'more.npy'")),
        ({"about": np.array("[" * 5000)}, ("sketch-unreadable",)),
    ],
)
def test_arrays_that_no_sketch_has_are_refused_before_they_are_unpacked(
    tmp_path: Path, arrays: dict[str, Any], changes: dict[str, Any], error: tuple[str, ...]
) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", **(arrays | changes))
    assert (tmp_path / "bomb.npz").stat().st_size < 2**20
    with raises_error(InputError, *error):
        load_sketch(tmp_path / "bomb.npz")
