"""A result folder becomes DICOM objects on the segmented series, whatever form that has, and is sent on request."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from archive_server import PASSWORD, USER, running_archive, web_plugin
from twintrack.cli.app import run_command
from twintrack.dicom import read_series, write_ct_series
from twintrack.io.volumes import read_volume, write_volume
from twintrack.results.dicom_objects import export_result
from twintrack.volume import Geometry, Volume

SIZE = (20, 18, 12)


def small_ct(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)) -> Volume:
    geometry = Geometry(SIZE, (1.5, 1.25, 3.0), (12.0, -30.0, 80.0), tuple(float(value) for value in direction))
    array = np.random.default_rng(3).integers(-900, 900, geometry.shape)
    return Volume(array.astype(np.int16), geometry)


def write_result(folder: Path, ct: Volume, *, source: str = "dicom", series_uid: str = "") -> Volume:
    """Write a result folder for `ct` as a run leaves it; return its map."""
    k, j, i = np.indices(ct.array.shape)
    array = np.clip(1.2 - np.sqrt((i - 7) ** 2 + (j - 6) ** 2 + (2 * (k - 4)) ** 2) / 7, 0, 1).astype(np.float32)
    labels = (array >= 0.6).astype(np.uint8)
    labels[2:8, 15, 15] = 2
    folder.mkdir()
    write_volume(ct.with_array(array), folder / "probability.nii.gz")
    write_volume(ct.with_array(labels), folder / "segmentation.nii.gz")
    result = {
        "schema": 1,
        "bundle": {"name": "test bundle", "version": "1.0", "sha256": "ab" * 32, "raters": 5},
        "calibrator": {"target": "mhr", "bins": 250},
        "device": "cpu",
        "input": {"source": source, "series_uid": series_uid},
        "threshold": 0.6,
        "volume_ml": {"expected": 2.0, "at_threshold": 1.0, "p10": 0.5, "p90": 3.0},
        "lesions": [{"volume_ml": 1.0, "longest_diameter_mm": 14.0, "max_probability": 1.0}],
        "labels": {"tumor": 1, "SMA": 2},
    }
    (folder / "result.json").write_text(json.dumps(result))
    return ct.with_array(array)


def refused(arguments: list[object], capsys) -> str:
    """Return the one line that a command is refused with."""
    assert run_command([str(item) for item in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_ct_series(small_ct(), tmp_path / "ct", description="segmented")
    return tmp_path / "ct"


@pytest.mark.process
def test_all_objects_are_written_on_request_and_agree(series: Path, tmp_path: Path) -> None:
    write_result(tmp_path / "result", small_ct())
    made = export_result(tmp_path / "result", series, tmp_path / "out", fractional=True, labelmap=True)
    assert [path.name for path in made.files] == [
        "probability.dcm",
        "segmentation.dcm",
        "report.dcm",
        "fractional.dcm",
        "labelmap.dcm",
    ]
    objects = {path.stem: pydicom.dcmread(path) for path in made.files}
    assert {dataset.StudyInstanceUID for dataset in objects.values()} == {read_series(series).study_uid}
    assert len({dataset.SeriesInstanceUID for dataset in objects.values()}) == 5
    assert len({int(dataset.SeriesNumber) for dataset in objects.values()}) == 5
    labels = [item.SegmentLabel for item in objects["segmentation"].SegmentSequence]
    assert labels[0] == "Tumour, at least 3 of 5 readers (working outline)"
    assert labels[2:] == [f"Tumour, at least {count} of 5 readers" for count in (1, 2, 3, 4)]
    named = str(objects["report"].CurrentRequestedProcedureEvidenceSequence)
    assert objects["segmentation"].SOPInstanceUID in named


@pytest.mark.slow
def test_a_zip_of_the_series_and_one_file_of_it_serve_as_well(series: Path, tmp_path: Path) -> None:
    write_result(tmp_path / "result", small_ct())
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for path in series.iterdir():
            archive.write(path, f"a/{path.name}")
    pixels = set()
    for number, place in enumerate((series, tmp_path / "ct.zip", next(series.iterdir()))):
        made = export_result(tmp_path / "result", place, tmp_path / f"out{number}")
        pixels.add(pydicom.dcmread(made.files[1]).PixelData)
    assert len(pixels) == 1


@pytest.mark.slow
def test_among_several_series_the_segmented_one_is_taken(series: Path, tmp_path: Path, capsys) -> None:
    first = read_series(series).series_uid
    for path in write_ct_series(small_ct(), tmp_path / "other", description="other phase"):
        shutil.copy(path, series / f"other-{path.name}")
    second = read_series(tmp_path / "other").series_uid
    write_result(tmp_path / "result", small_ct(), series_uid=second)
    run = ["export", str(tmp_path / "result"), "--series", str(series), "--out"]
    assert run_command([*run, str(tmp_path / "a")]) == 0
    assert "warning" not in capsys.readouterr().err
    listed = pydicom.dcmread(tmp_path / "a" / "segmentation.dcm").ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == second
    assert run_command([*run, str(tmp_path / "b"), "--series-uid", first]) == 0
    assert "another phase" in capsys.readouterr().err
    listed = pydicom.dcmread(tmp_path / "b" / "segmentation.dcm").ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == first


@pytest.mark.slow
@pytest.mark.parametrize(
    "direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, -1, 0)]
)
def test_a_volume_file_becomes_a_series_without_a_patient(tmp_path: Path, direction) -> None:
    ct = small_ct(direction)
    write_volume(ct, tmp_path / "ct.nii.gz")
    probability = write_result(tmp_path / "result", ct, source="file")
    made = export_result(tmp_path / "result", None, tmp_path / "out", make_series=tmp_path / "ct.nii.gz")
    assert len(made.series) == ct.geometry.size[2]
    series = read_series(tmp_path / "out" / "ct")
    assert series.volume.geometry.same_grid(ct.restored_to(series.volume.geometry).geometry)
    assert np.array_equal(series.volume.array, ct.restored_to(series.volume.geometry).array)
    source, derived = pydicom.dcmread(made.series[0]), pydicom.dcmread(made.files[0])
    assert "No patient data" in str(source.PatientName)
    assert "placeholders" in source.PatientComments
    assert source.PatientID == derived.PatientID == "TWINTRACK-NO-PATIENT"
    frames = np.frombuffer(derived.FloatPixelData, dtype="<f4")
    assert frames.sum() == pytest.approx(probability.array.sum(), rel=1e-5)


@pytest.mark.process
def test_a_series_that_is_made_twice_of_one_file_is_the_same_series(tmp_path: Path) -> None:
    ct = small_ct()
    write_result(tmp_path / "result", ct, source="file")
    identities = []
    for number in range(3):
        if number == 2:
            ct.array[0, 0, 0] += 1
        write_volume(ct, tmp_path / f"ct{number}.nii.gz")
        out = tmp_path / f"out{number}"
        made = export_result(tmp_path / "result", None, out, make_series=tmp_path / f"ct{number}.nii.gz")
        objects = [pydicom.dcmread(path) for path in (*made.series, *made.files)]
        identities.append([(item.StudyInstanceUID, item.SeriesInstanceUID, item.SOPInstanceUID) for item in objects])
    assert identities[0] == identities[1]
    assert not {uid for item in identities[0] for uid in item} & {uid for item in identities[2] for uid in item}


@pytest.mark.process
@pytest.mark.parametrize("way", ["send", "stow"])
def test_what_is_sent_again_by_another_process_is_not_there_twice(series: Path, tmp_path: Path, way: str) -> None:
    pytest.importorskip("pynetdicom")
    write_result(tmp_path / "result", small_ct())
    (tmp_path / "orthanc").mkdir()
    with running_archive(tmp_path / "orthanc") as archive:
        if way == "stow" and web_plugin() is None:
            pytest.skip("Orthanc's DICOMweb plug-in is not installed")
        where = ["--send", archive.address, "--aet", "ORTHANC"] if way == "send" else ["--stow", archive.web]

        def send(result: str, out: str) -> tuple[int, int, int]:
            command = [sys.executable, "-m", "twintrack", "export", result, "--series", series, "--out", out, *where]
            credentials = {"TWINTRACK_STOW_USER": USER, "TWINTRACK_STOW_PASSWORD": PASSWORD}
            run = [str(item) for item in command]
            subprocess.run(run, check=True, cwd=tmp_path, env={**os.environ, **credentials}, timeout=600)
            return archive.counts()

        assert send("result", "first") == (1, 3, 3)
        assert send("result", "again") == (1, 3, 3)
        # An outline that was drawn by hand is another segmentation, with another report that refers to it.
        shutil.copytree(tmp_path / "result", tmp_path / "edited")
        labels = read_volume(tmp_path / "edited" / "segmentation.nii.gz")
        labels.array[4, 6, 7] = 0
        write_volume(labels, tmp_path / "edited" / "segmentation.nii.gz")
        assert send("edited", "other") == (1, 3, 5)


def test_without_a_series_the_way_is_told(series: Path, tmp_path: Path, capsys) -> None:
    write_volume(small_ct(), tmp_path / "ct.nii.gz")
    write_result(tmp_path / "result", small_ct(), source="file")
    run = ["export", tmp_path / "result", "--out", tmp_path / "out"]
    assert "--make-series" in refused(run, capsys)
    assert "--make-series ct.nii.gz" in refused([*run, "--series", tmp_path / "ct.nii.gz"], capsys)
    assert "not both" in refused([*run, "--series", series, "--make-series", tmp_path / "ct.nii.gz"], capsys)
    assert "is DICOM already" in refused([*run, "--make-series", series], capsys)
    assert not (tmp_path / "out" / "probability.dcm").exists()


@pytest.mark.process
def test_a_tilted_series_gets_its_results_on_its_own_slices(series: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(series.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient[1] = float(dataset.ImagePositionPatient[1]) + 1.25 * number
        dataset.save_as(path)
    read = read_series(series)
    assert read.layout is not None
    write_result(tmp_path / "result", read.volume)
    made = export_result(tmp_path / "result", series, tmp_path / "out")
    assert "gantry tilt" in " ".join(made.warnings)
    derived, labels = pydicom.dcmread(made.files[1]), np.zeros(read.volume.array.shape, dtype=bool)
    masks = derived.pixel_array.astype(bool)
    # Rows shift by whole pixels here, so that each voxel of the grid is one pixel of a slice.
    for mask, frame in zip(masks, derived.PerFrameFunctionalGroupsSequence, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            index = read.sop_instance_uids.index(source)
            position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            assert np.allclose(position, read.positions_mm[index])
            for j, i in np.argwhere(mask):
                x, y, z = np.rint(read.volume.geometry.to_index(position + np.array([1.5 * i, 1.25 * j, 0.0]))).astype(
                    int
                )
                labels[z, y, x] = True
    expected = read_volume(tmp_path / "result" / "segmentation.nii.gz").array == 1
    for k, plane in enumerate(expected):
        plane[:k], plane[k + SIZE[1] :] = False, False  # no slice reaches there
    assert expected.sum() > 100
    assert np.array_equal(labels, expected)


@pytest.mark.process
def test_a_failed_send_keeps_the_files_and_says_so(series: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("pynetdicom")
    write_result(tmp_path / "result", small_ct())
    run = ["export", tmp_path / "result", "--series", series, "--out", tmp_path / "out"]
    error = refused([*run, "--send", "127.0.0.1:1", "--aet", "NOBODY"], capsys)
    assert "NOBODY@127.0.0.1:1" in error
    assert "0 of 3 arrived" in error
    assert (tmp_path / "out" / "segmentation.dcm").exists()


def test_bad_addresses_are_refused_before_anything_is_written(series: Path, tmp_path: Path, capsys) -> None:
    write_result(tmp_path / "result", small_ct())
    run = ["export", tmp_path / "result", "--series", series, "--out", tmp_path / "out"]
    assert "HOST:PORT" in refused([*run, "--send", "archive"], capsys)
    assert "https://host/dicom-web" in refused([*run, "--stow", "archive"], capsys)
    assert "leave user and password out" in refused([*run, "--stow", "https://a:b@host/web"], capsys)
    assert "add --tls" in refused([*run, "--send", "host:104", "--tls-cert", series], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.process
def test_a_map_that_is_0_everywhere_is_told(series: Path, tmp_path: Path, capsys) -> None:
    write_result(tmp_path / "result", small_ct())
    for name in ("probability", "segmentation"):
        write_volume(
            small_ct().with_array(np.zeros(small_ct().array.shape, np.float32)), tmp_path / "result" / f"{name}.nii.gz"
        )
    run = ["export", tmp_path / "result", "--series", series, "--out", tmp_path / "out"]
    assert "nothing to export" in refused(run, capsys)
