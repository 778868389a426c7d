"""The columns `series` and `acquisition` of a manifest pick one of several CTs in a DICOM folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.errors import InputError
from twintrack.execution.cohort.plan import make_plan
from twintrack.execution.cohort.process_case import process_case
from twintrack.io.volumes import write_volume
from twintrack.studies.calibrate import sketch_cases
from twintrack.studies.make_bundle.inputs import measure_inputs
from twintrack.studies.table1.cases import manifest_cases
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process

GEOMETRY = Geometry((26, 30, 14), (1.4, 1.3, 3.1), (-10.0, 20.0, -50.0))


@pytest.fixture(scope="module")
def uids(tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder with an early and a late series, and their UIDs."""
    folder, uids = tmp_path_factory.mktemp("study"), []
    study = folder / "both"
    study.mkdir()
    for number, name in enumerate(("early", "late")):
        array = np.random.default_rng(number).normal(0, 80, GEOMETRY.shape).astype(np.int16)
        files = write_ct_series(Volume(array, GEOMETRY), folder / name, description=name, series_number=number + 1)
        uids.append(read_series(folder / name).series_uid)
        for file in files:
            file.rename(study / f"{name}_{file.name}")
    return study, uids


HEADER = ["case", "image", "acquisition"]


def manifest(folder: Path, header: list[str], *rows: list[str]) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_each_case_gets_the_series_that_its_row_names(uids, plain_bundle, settings, tmp_path):
    study, (early, late) = uids
    rows = (["p1", str(study), late], ["p2", str(study), ""], ["p3", str(study), early])
    path = manifest(tmp_path, ["case", "image", "series"], *rows)
    plan = make_plan(path, plain_bundle, tmp_path / "out", settings)
    assert [process_case(plan.task(case)) for case in plan.cases()] == ["done", "failed", "done"]
    results = {name: tmp_path / "out" / "cases" / name for name in ("p1", "p2", "p3")}
    for name, uid in (("p1", late), ("p3", early)):
        assert json.loads((results[name] / "result.json").read_text(encoding="utf-8"))["input"]["series_uid"] == uid
    assert "holds 2 series" in json.loads((results["p2"] / "case.json").read_text(encoding="utf-8"))["reason"]


def test_another_series_is_another_case_to_do(uids, plain_bundle, settings, tmp_path):
    study, keys = uids[0], set()
    for uid in (*uids[1], ""):
        path = manifest(tmp_path, ["case", "image", "series"], ["p1", str(study), uid])
        plan = make_plan(path, plain_bundle, tmp_path / "out", settings)
        keys |= {plan.task(case).key for case in plan.cases()}
    assert len(keys) == 3


def test_a_series_of_a_volume_file_is_refused_before_anything_runs(plain_bundle, settings, tmp_path):
    write_volume(Volume(np.zeros(GEOMETRY.shape, np.int16), GEOMETRY), tmp_path / "ct.nii.gz")
    path = manifest(tmp_path, ["case", "image", "series"], ["p1", "ct.nii.gz", "1.2.3"])
    with raises_error(InputError, "series-of-a-file", "ct.nii.gz"):
        make_plan(path, plain_bundle, tmp_path / "out", settings)


def test_calibrate_looks_for_the_series_that_is_named(uids, plain_bundle, tmp_path):
    study, (_, late) = uids
    geometry = read_series(study, series_uid=late).volume.geometry
    write_volume(Volume(np.zeros(geometry.shape, np.uint8), geometry), tmp_path / "mask.nii.gz")
    path = manifest(tmp_path, ["case", "image", "series", "annotation_1"], ["p1", str(study), "1.2.3", "mask.nii.gz"])
    with raises_error(InputError, "series-unknown", "line 2", "'1.2.3'", late):
        sketch_cases([path], bundle_path=plain_bundle, device="cpu")


@pytest.fixture(scope="module")
def phases(tmp_path_factory) -> tuple[Path, dict[int, float]]:
    """A series of two acquisitions over the same place, and the mean of the HU of each."""
    folder = tmp_path_factory.mktemp("phases")
    array = np.random.default_rng(3).normal(0, 80, GEOMETRY.shape).astype(np.int16)
    mean = float(array.mean())
    for number, path in enumerate(write_ct_series(Volume(array, GEOMETRY), folder, description="both phases")):
        dataset = pydicom.dcmread(path)
        for acquisition, hu in ((1, 0), (2, 100)):
            dataset.AcquisitionNumber = acquisition
            dataset.RescaleIntercept = float(dataset.RescaleIntercept) + hu
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(folder / f"phase{acquisition}_{number:03d}.dcm")
        path.unlink()
    return folder, {1: mean, 2: mean + 100}


def test_each_case_gets_the_acquisition_that_its_row_names(phases, plain_bundle, settings, tmp_path):
    folder, _ = phases
    rows = (["p1", str(folder), "1"], ["p2", str(folder), ""], ["p3", str(folder), "2.0"])
    path = manifest(tmp_path, ["case", "image", "Acquisition"], *rows)
    plan = make_plan(path, plain_bundle, tmp_path / "out", settings)
    assert len({plan.task(case).key for case in plan.cases()}) == 3
    assert [process_case(plan.task(case)) for case in plan.cases()] == ["done", "failed", "done"]
    results = {name: tmp_path / "out" / "cases" / name for name in ("p1", "p2", "p3")}
    hashes = {
        json.loads((results[name] / "result.json").read_text(encoding="utf-8"))["input"]["sha256"]
        for name in ("p1", "p3")
    }
    assert len(hashes) == 2
    assert json.loads((results["p2"] / "case.json").read_text(encoding="utf-8"))["code"] == "several-acquisitions"


def test_experiments_read_and_keep_apart_the_acquisitions_that_are_named(phases, tmp_path):
    folder, means = phases
    for name, value in (("mask", 0), ("other", 1)):
        write_volume(Volume(np.full(GEOMETRY.shape, value, np.uint8), GEOMETRY), tmp_path / f"{name}.nii.gz")
    shutil.copytree(folder, tmp_path / "test")
    header = ["case", "image", "acquisition", "split", "annotation_1", "annotation_2"]
    masks = ["mask.nii.gz", "other.nii.gz"]
    rows = [
        [f"{split}{number}", image, str(number), split, *masks]
        for split, image in (("calibration", str(folder)), ("test", "test"))
        for number in (1, 2)
    ]
    calibration, test = manifest_cases(manifest(tmp_path, header, *rows))
    for cases in (calibration, test):
        read = [case.read().ct.array.mean() for case in cases]
        assert read == pytest.approx([means[1], means[2]], abs=0.01)
        assert cases[0].content != cases[1].content


def test_a_bundle_is_measured_on_the_acquisition_that_is_named(phases, tmp_path):
    folder, _ = phases
    measured = []
    for number in ("1", "2"):
        measured.append(measure_inputs(manifest(tmp_path, HEADER, ["p1", str(folder), number])))
    assert measured[0] != measured[1]


def test_calibrate_looks_for_the_acquisition_that_is_named(phases, plain_bundle, tmp_path):
    write_volume(Volume(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY), tmp_path / "mask.nii.gz")
    header = ["case", "image", "acquisition", "annotation_1"]
    path = manifest(tmp_path, header, ["p1", str(phases[0]), "7", "mask.nii.gz"])
    with raises_error(InputError, "acquisition-unknown", where=f"{path}, line 2"):
        sketch_cases([path], bundle_path=plain_bundle, device="cpu")


@pytest.mark.parametrize(
    ("image", "cell", "code"),
    [("ct.nii.gz", "1", "series-of-a-file"), ("dicom", "portal", "acquisition-malformed")],
)
def test_an_acquisition_that_cannot_be_is_refused_before_anything_runs(
    plain_bundle, settings, tmp_path, image, cell, code
):
    write_volume(Volume(np.zeros(GEOMETRY.shape, np.int16), GEOMETRY), tmp_path / "ct.nii.gz")
    (tmp_path / "dicom").mkdir()
    path = manifest(tmp_path, HEADER, ["p1", image, cell])
    with raises_error(InputError, code, where=f"{path}, line 2"):
        make_plan(path, plain_bundle, tmp_path / "out", settings)
