"""The commands beside `segment`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import ROI, assert_refused
from twintrack.cli.app import run_command
from twintrack.dicom import ISO_LEVELS, read_series
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.network


def test_bundles_are_made_checked_and_shown(coarse_results, fine_results, tmp_path, capsys):
    out = tmp_path / "made.zip"
    make = ["bundle", "create", "--coarse", coarse_results, "--fine", fine_results, "--out", out]
    make += ["--folds", "0,1,2", "--vessel-labels", "SMA=sma", "--license", "CC0-1.0", "--name", "made"]
    assert run_command([str(argument) for argument in make]) == 0
    assert run_command(["bundle", "verify", str(out)]) == 0
    capsys.readouterr()
    assert run_command(["bundle", "show", str(out)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "made"
    assert shown["vessel_labels"] == {"SMA": "sma"}
    assert_refused([str(argument) for argument in make], capsys, "exists already", "--overwrite")


def test_calibrate_finds_the_curve_of_the_raters_and_draws_it(manifest, tmp_path, capsys):
    out, plot = tmp_path / "c.json", tmp_path / "plot.png"
    assert run_command(["calibrate", str(manifest), "--out", str(out), "--bins", "20", "--plot", str(plot)]) == 0
    knots = json.loads(out.read_text())["knots"]
    assert knots["mhr"] == pytest.approx(
        np.square(knots["score"]), abs=0.05
    )  # the raters mark a share of score squared
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_apply_maps_a_score_volume_on_its_own_grid(manifest, calibrator_file, tmp_path):
    from twintrack.calibration import read_calibrator

    score = manifest.parent / "s1.nii.gz"
    out = tmp_path / "map.nii.gz"
    assert run_command(["apply", str(score), "--calibrator", str(calibrator_file), "--out", str(out)]) == 0
    given, mapped = read_volume(score), read_volume(out)
    assert mapped.geometry.same_grid(given.geometry)
    assert mapped.array == pytest.approx(read_calibrator(calibrator_file)(given.array), abs=1e-6)


@pytest.mark.parametrize("name", ["map.NII.GZ", "map.MHA", "map.mhd", "map"])
def test_apply_refuses_a_name_under_which_no_volume_is_written(manifest, calibrator_file, tmp_path, capsys, name):
    score = manifest.parent / "s1.nii.gz"
    run = ["apply", score, "--calibrator", calibrator_file, "--out", tmp_path / "new" / name]
    assert_refused([str(argument) for argument in run], capsys, name, "use one that ends with .nii.gz")
    assert not (tmp_path / "new").exists()


def test_apply_refuses_what_is_no_score(ct_file, calibrator_file, tmp_path, capsys):
    run = ["apply", ct_file, "--calibrator", calibrator_file, "--out", tmp_path / "m.nii.gz"]
    assert_refused(run, capsys, ct_file, "between 0 and 1")
    assert_refused([*run[:-1], tmp_path / "m.txt"], capsys, "m.txt")
    assert not (tmp_path / "m.nii.gz").exists()


def test_invasion_measures_files_and_writes_json_and_csv(tmp_path):
    geometry = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    z, y, x = np.indices(geometry.shape)
    vessel = np.hypot(y - 20, x - 20) < 5
    tumor = (np.hypot(y - 20, x - 20) < 14) & (x > 20) & ~vessel & (abs(z - 20) < 8)
    write_volume(Volume((5 * vessel).astype(np.uint8), geometry), tmp_path / "v.nii.gz")
    write_volume(Volume(0.8 * tumor.astype(np.float32), geometry), tmp_path / "p.nii.gz")
    run = ["invasion", str(tmp_path / "p.nii.gz"), "--vessels", str(tmp_path / "v.nii.gz")]
    assert run_command([*run, "--out", str(tmp_path / "i.json")]) == 2  # nothing says what 5 is
    run += ["--vessel-names", "SMA=5"]
    assert run_command([*run, "--out", str(tmp_path / "i.json")]) == 0
    sma = json.loads((tmp_path / "i.json").read_text())["vessels"]["SMA"]
    assert sma["present"]
    assert sma["p_contact"] == pytest.approx(0.8, abs=0.02)
    assert sma["expected_angle_deg"] == pytest.approx(0.8 * 180, abs=15)  # half the wall, up to a level of 0.8
    assert (tmp_path / "i.csv").read_text().startswith("vessel,")
    assert run_command([*run, "--contact-mm", "2.5", "--out", str(tmp_path / "i.json")]) == 0
    assert json.loads((tmp_path / "i.json").read_text())["contact_mm"] == 2.5


def test_invasion_tells_of_every_vessel_also_of_one_that_nothing_touches(tmp_path, capsys):
    geometry = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    _, y, x = np.indices(geometry.shape)
    vessels = np.select([np.hypot(y - 20, x - 12) < 3, np.hypot(y - 20, x - 34) < 3], [5, 4])
    tumor = np.hypot(y - 20, x - 18) < 3
    write_volume(Volume(vessels.astype(np.uint8), geometry), tmp_path / "v.nii.gz")
    write_volume(Volume(tumor.astype(np.float32), geometry), tmp_path / "p.nii.gz")
    run = ["invasion", str(tmp_path / "p.nii.gz"), "--vessels", str(tmp_path / "v.nii.gz")]
    run += ["--vessel-names", "CELIAC=4,SMA=5,AORTA=3", "--out", str(tmp_path / "i.json")]
    assert run_command(run) == 0
    told = dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines() if line.startswith("  "))
    measured = json.loads((tmp_path / "i.json").read_text())["vessels"]
    assert set(told) == set(measured) == {"SMA", "CELIAC", "AORTA"}
    assert next(iter(told)) == "SMA"  # the worst comes first, as in the report
    assert measured["SMA"]["p_contact"] > 0.9
    assert measured["CELIAC"]["p_contact"] == 0
    assert not measured["AORTA"]["present"]
    assert len(set(told.values())) == 3


@pytest.mark.parametrize("contact_mm", ["0", "-1", "9", "nan"])
def test_invasion_refuses_a_contact_distance_that_is_none(contact_mm, tmp_path, capsys):
    run = ["invasion", tmp_path / "p.nii.gz", "--vessels", tmp_path / "v.nii.gz", "--out", tmp_path / "i.json"]
    assert_refused([*run, "--contact-mm", contact_mm], capsys, "contact_mm", "from 0.5 to 5 mm")


def test_a_dicom_series_gives_dicom_objects_that_export_makes_again(ct_series, bundle, tmp_path, capsys):
    import highdicom
    import pydicom

    out = tmp_path / "o"
    run = [
        "segment",
        str(next(ct_series.iterdir())),
        "--bundle",
        str(bundle),
        "--out",
        str(out),
        "--roi",
        ROI,
        "--dicom",
    ]
    assert run_command(run) == 0
    series = read_series(ct_series)
    assert read_volume(out / "probability.nii.gz").geometry.same_grid(series.volume.geometry)
    origin = json.loads((out / "result.json").read_text())["input"]
    assert (origin["source"], origin["series_uid"], origin["resampled"]) == ("dicom", series.series_uid, False)
    assert run_command(["export", str(out), "--series", str(ct_series), "--out", str(tmp_path / "again")]) == 0
    for folder in (out / "dicom", tmp_path / "again"):
        assert sorted(path.name for path in folder.glob("[!.]*")) == ["probability.dcm", "segmentation.dcm"]
        segmentation = highdicom.seg.segread(folder / "segmentation.dcm")
        assert pydicom.dcmread(folder / "probability.dcm").StudyInstanceUID == segmentation.StudyInstanceUID
        assert segmentation.StudyInstanceUID == series.study_uid
    for name in ("probability.dcm", "segmentation.dcm"):
        one, two = (pydicom.dcmread(folder / name) for folder in (out / "dicom", tmp_path / "again"))
        assert one.SOPInstanceUID == two.SOPInstanceUID
    labels = read_volume(out / "segmentation.nii.gz").array
    highest = read_volume(out / "probability.nii.gz").array.max()
    levels = sum(highest >= np.float32(level) for level in ISO_LEVELS)
    assert segmentation.number_of_segments == len(set(np.unique(labels)) - {0}) + levels


def test_export_refuses_another_series_and_a_folder_without_result(result, ct_series, tmp_path, capsys):
    assert_refused(["export", tmp_path, "--series", ct_series, "--out", tmp_path / "d"], capsys, "result.json")
    assert_refused(["export", result, "--series", ct_series, "--out", tmp_path / "d"], capsys, "another grid")
