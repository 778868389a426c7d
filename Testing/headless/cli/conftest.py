"""Inputs and one result for the tests of the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from command_line import ROI, small_ct
from twintrack.cli.app import run_command
from twintrack.dicom import write_ct_series
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume


@pytest.fixture(scope="session")
def ct_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "a ct.nii.gz"
    write_volume(small_ct(), path)
    return path


@pytest.fixture(scope="session")
def ct_series(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "ct"
    write_ct_series(small_ct((1, 0, 0, 0, 1, 0, 0, 0, 1)), folder, description="small")
    return folder


@pytest.fixture(scope="session")
def manifest(tmp_path_factory) -> Path:
    """Three cases whose two raters follow the score exactly: at score s, a share s of the voxels is tumour."""
    folder = tmp_path_factory.mktemp("manifest")
    rows = []
    for number in range(3):
        rng = np.random.default_rng(number)
        score = rng.uniform(0.01, 0.99, (20, 30, 30)).astype(np.float32)
        geometry = Geometry((30, 30, 20), (1.0, 1.0, 2.0))
        row = {"case": f"c{number}", "score": f"s{number}.nii.gz"}
        write_volume(Volume(score, geometry), folder / row["score"])
        for rater in (1, 2):
            row[f"annotation_{rater}"] = f"a{number}_{rater}.nii.gz"
            drawn = (rng.uniform(size=score.shape) < score**2).astype(np.uint8)
            write_volume(Volume(drawn, geometry), folder / row[f"annotation_{rater}"])
        rows.append(row)
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def calibrator_file(manifest, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("calibrator") / "calibrator.json"
    assert run_command(["calibrate", str(manifest), "--out", str(path), "--bins", "20"]) == 0
    return path


@pytest.fixture(scope="session")
def bundle(make_bundle, calibrator_file) -> Path:
    return make_bundle(calibrator=calibrator_file)


@pytest.fixture(scope="session")
def plain_bundle(make_bundle, calibrator_file) -> Path:
    """The same without vessels, whose measuring takes most of the time of a run."""
    return make_bundle(calibrator=calibrator_file, vessel_labels={})


@pytest.fixture(scope="session")
def result(ct_file, bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("result") / "out put"
    arguments = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(out), "--roi", ROI]
    assert run_command([*arguments, "--keep-score", "--device", "cpu"]) == 0
    return out
