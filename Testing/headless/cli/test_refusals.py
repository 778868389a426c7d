"""One clear line for every bad input, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from command_line import ROI, assert_refused, small_ct
from twintrack.cli.app import run_command
from twintrack.dicom import read_series, write_ct_series
from twintrack.io.volumes import write_volume
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.network


def test_vessels_in_another_place_are_refused(ct_file, bundle, tmp_path, capsys):
    elsewhere = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (900.0, 0.0, 0.0))
    write_volume(Volume(np.ones((4, 4, 4), np.uint8), elsewhere), tmp_path / "v.nii.gz")
    run = [
        "segment",
        ct_file,
        "--bundle",
        bundle,
        "--out",
        tmp_path / "o",
        "--roi",
        ROI,
        "--vessels",
        tmp_path / "v.nii.gz",
        "--vessel-names",
        "SMA=1",
    ]
    assert_refused(run, capsys, "v.nii.gz", "same place", out=tmp_path / "o")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("panorama-baseline", "twintrack model get panorama-baseline"),
        ("curvas-pdacvi-2025-third", "twintrack model list curvas-pdacvi-2025-third"),
        ("somebodys-model", "twintrack model list"),
    ],
)
def test_a_model_that_is_not_installed_is_told_how_it_can_be_had(name, remedy, ct_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWINTRACK_MODELS", str(tmp_path / "models"))
    run = ["segment", ct_file, "--bundle", name, "--out", tmp_path / "o"]
    assert_refused(run, capsys, name, remedy, out=tmp_path / "o")


def test_dicom_is_refused_for_a_volume_file(ct_file, bundle, tmp_path, capsys):
    run = ["segment", ct_file, "--bundle", bundle, "--out", tmp_path / "o", "--roi", ROI, "--dicom"]
    assert_refused(run, capsys, "--dicom needs a DICOM series", out=tmp_path / "o")


def save(tmp_path: Path, name: str, image: sitk.Image) -> Path:
    sitk.WriteImage(image, str(tmp_path / name))
    return tmp_path / name


def test_bad_cts_are_refused_with_their_reason(bundle, tmp_path, capsys):
    def segment(path: Path, *words: str) -> None:
        assert_refused(
            ["segment", path, "--bundle", bundle, "--out", tmp_path / "o"], capsys, path, *words, out=tmp_path / "o"
        )

    (tmp_path / "notes.nii.gz").write_text("no image")
    segment(tmp_path / "notes.nii.gz", "cannot be read as an image")
    (tmp_path / "notes.txt").write_text("no image")
    segment(tmp_path / "notes.txt", "DICOM", ".nii.gz")
    (tmp_path / "empty").mkdir()
    segment(tmp_path / "empty")
    segment(save(tmp_path, "flat.nrrd", sitk.Image(8, 8, sitk.sitkInt16)), "3 dimensions")
    segment(save(tmp_path, "slice.nii.gz", sitk.Image(8, 8, 1, sitk.sitkInt16)), "single slice")
    segment(save(tmp_path, "mask.nii.gz", sitk.Image(8, 8, 8, sitk.sitkUInt8)), "not a CT in HU")
    segment(save(tmp_path, "air.nii.gz", sitk.GetImageFromArray(np.full((8, 8, 8), -1000, np.int16))), "not a CT in HU")
    array = np.full((8, 8, 8), -1000, np.float32)
    array[1, 2, 3] = np.nan
    segment(save(tmp_path, "nan.nii.gz", sitk.GetImageFromArray(array)), "not finite")


def test_bad_series_are_refused_with_their_reason(ct_series, bundle, tmp_path, capsys):
    import shutil

    import pydicom

    def segment(folder: Path, *words: str) -> None:
        assert_refused(
            ["segment", folder, "--bundle", bundle, "--out", tmp_path / "o"], capsys, *words, out=tmp_path / "o"
        )

    gap = shutil.copytree(ct_series, tmp_path / "gap")
    sorted(gap.iterdir())[7].unlink()
    segment(gap, str(gap), "missing")
    two = shutil.copytree(ct_series, tmp_path / "two")
    write_ct_series(small_ct(), tmp_path / "other", description="second")
    for path in (tmp_path / "other").iterdir():
        shutil.copy(path, two / f"other_{path.name}")
    segment(two, read_series(ct_series).series_uid, read_series(tmp_path / "other").series_uid)
    mr = shutil.copytree(ct_series, tmp_path / "mr")
    for path in mr.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Modality = "MR"
        dataset.save_as(path)
    segment(mr, "MR")


def test_a_changed_bundle_file_is_refused_by_name(ct_file, bundle, tmp_path, capsys):
    import shutil

    changed = shutil.copytree(bundle, tmp_path / "changed")
    checkpoint = changed / "fine" / "fold_1" / "checkpoint_final.pth"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    run = ["segment", ct_file, "--bundle", changed, "--out", tmp_path / "o", "--roi", ROI]
    assert_refused(run, capsys, "fine/fold_1/checkpoint_final.pth", out=tmp_path / "o")
    assert_refused(["bundle", "verify", changed], capsys, "fine/fold_1/checkpoint_final.pth")


def test_a_bundle_without_calibrator_is_refused_unless_the_score_is_asked_for(ct_file, bundle_folder, tmp_path, capsys):
    run = ["segment", ct_file, "--bundle", bundle_folder, "--out", tmp_path / "o", "--roi", ROI]
    assert_refused(run, capsys, "no calibrator", "--no-calibration", out=tmp_path / "o")


def test_a_failed_run_leaves_the_earlier_result_intact(ct_file, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(out), "--roi"]
    assert run_command([*run, ROI]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert_refused([*run, "0,99,0,5,0,5"], capsys, "i range 0 to 99")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
