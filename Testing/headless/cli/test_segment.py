"""Files and fields of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from command_line import FILES, ROI, VESSEL_FILES, assert_refused
from twintrack.cli.app import run_command
from twintrack.dicom import read_series
from twintrack.io.nifti import nifti_label_names
from twintrack.io.volumes import read_volume, write_volume
from twintrack.results.report.html import read_panel
from twintrack.system.ownership import RECORD

pytestmark = pytest.mark.network


def test_a_run_writes_the_files_of_the_contract(result):
    assert {path.name for path in result.iterdir()} == FILES | {"score.nii.gz", RECORD}


def test_no_panel_leaves_the_piece_of_the_ct_out_of_the_report(ct_file, plain_bundle, result, tmp_path, capsys):
    arguments = ["segment", str(ct_file), "--bundle", str(plain_bundle), "--out", str(tmp_path / "r"), "--roi", ROI]
    assert run_command([*arguments, "--no-panel"]) == 0
    assert read_panel(tmp_path / "r" / "report.html") == ""
    assert "<script" not in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert json.loads(read_panel(result / "report.html"))["ct"]


@pytest.mark.parametrize("kind", ["bundle", "calibrator", "invasion", "result"])
def test_what_is_written_follows_the_published_schemas(result, bundle, kind):
    published = Path(__file__).resolve().parents[3] / "docs" / "schemas" / f"{kind}.json"
    folder = bundle if kind in ("bundle", "calibrator") else result
    content = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json.loads(published.read_text(encoding="utf-8"))).validate(content)


def test_maps_lie_on_the_ct_s_own_grid_and_are_zero_outside_the_roi(result, ct_file):
    ct = read_volume(ct_file)
    i0, i1, j0, j1, k0, k1 = (int(edge) for edge in ROI.split(","))
    inside = np.zeros(ct.array.shape, bool)
    inside[k0:k1, j0:j1, i0:i1] = True
    for name, kind in (("probability", np.float32), ("score", np.float32), ("segmentation", np.uint8)):
        volume = read_volume(result / f"{name}.nii.gz")
        assert volume.geometry.same_grid(ct.geometry)
        assert volume.array.dtype == kind
        assert not volume.array[~inside].any()
    score = read_volume(result / "score.nii.gz").array
    assert (score[inside] > 0).all()
    assert score.max() <= 1


def test_the_map_is_the_calibrated_score(result, calibrator_file):
    from twintrack.calibration import read_calibrator

    score, mapped = (read_volume(result / f"{name}.nii.gz").array for name in ("score", "probability"))
    expected = np.where(score > 0, read_calibrator(calibrator_file)(score), 0)
    assert mapped == pytest.approx(expected, abs=1e-6)


def test_result_json_has_the_fields_of_the_contract(result, bundle, calibrator_file):
    from twintrack.calibration import read_calibrator

    content = json.loads((result / "result.json").read_text())
    assert content["schema"] == 1
    assert content["bundle"]["name"] == "tiny"
    assert len(content["bundle"]["sha256"]) == 64
    calibrator = read_calibrator(calibrator_file)
    stated = {"upper_bins": calibrator.upper_bins, "reached": calibrator.knots_y[-2]}
    assert content["calibrator"] == {"target": "mhr", "bins": 20, **stated}
    missing = "The 10th percentile of the volume is not known"
    assert (content["volume_ml"]["p10"] is None) == (calibrator.knots_y[-2] < 0.9)
    assert any(line.startswith(missing) for line in content["warnings"]) == (content["volume_ml"]["p10"] is None)
    assert content["device"] == "cpu"
    which = {
        "case": content["input"]["sha256"][:8],
        "name": "a ct.nii.gz",
        **dict.fromkeys(("series_number", "series_description", "study_date")),
        **{name: content["input"][name] for name in ("sha256", "created")},
    }
    grid = {"spacing_mm": [1.5, pytest.approx(1.6), 3.0], "size": [36, 30, 18]}
    assert content["input"] == {**grid, "source": "file", **which}
    assert content["roi"] == {"start": [4, 2, 3], "stop": [30, 26, 15]}
    assert content["threshold"] == 0.5
    assert set(content["volume_ml"]) == {"expected", "at_threshold", "p10", "p90"}
    stages = ("import", "read", "open", "localize", "ensemble", "calibrate", "measure", "write", "pictures", "report")
    assert tuple(content["seconds"]) == stages
    assert content["labels"] == {"tumor": 1, "PORTA": 2, "SMA": 3}
    assert content["vessel_values"] == {"PORTA": 1, "SMA": 5}
    probability = read_volume(result / "probability.nii.gz")
    assert content["volume_ml"]["expected"] == pytest.approx(
        probability.array.sum() * probability.geometry.voxel_ml, 1e-4
    )


def test_results_of_a_sheared_file_lie_on_its_own_voxels_and_say_so(ct_file, plain_bundle, tmp_path, capsys):
    image = nib.load(ct_file)
    affine = image.affine.copy()
    affine[1, 2] += affine[2, 2] * np.tan(np.deg2rad(14.0))
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), tmp_path / "tilted.nii.gz")
    run = ["segment", str(tmp_path / "tilted.nii.gz"), "--bundle", str(plain_bundle), "--roi", "full", "--keep-score"]
    assert run_command([*run, "--out", str(tmp_path / "o")]) == 0
    assert "sheared by 14.0 degrees" in capsys.readouterr().err
    written = {name: nib.load(tmp_path / "o" / f"{name}.nii.gz") for name in ("probability", "score", "segmentation")}
    for found in written.values():
        assert found.shape == image.shape
        np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    content = json.loads((tmp_path / "o" / "result.json").read_text())
    assert content["input"]["resampled"] is True
    assert any("sheared by 14.0 degrees" in line for line in content["warnings"])
    # The same mask by an independent reader, on the file's own voxels: as large as on the upright grid.
    own_ml = (np.asarray(written["segmentation"].dataobj) == 1).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
    assert own_ml == pytest.approx(content["volume_ml"]["at_threshold"], rel=0.1, abs=0.05)


def test_a_label_stands_in_result_and_report(ct_file, plain_bundle, tmp_path, capsys):
    run = ["segment", str(ct_file), "--bundle", str(plain_bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    assert run_command([*run, "--case", '=Fall "7" <b>/ü']) == 0
    content = json.loads((tmp_path / "o" / "result.json").read_text())
    assert content["input"]["case"] == content["settings"]["case"] == '=Fall "7" <b>/ü'
    report = (tmp_path / "o" / "report.html").read_text()
    assert "<title>=Fall &#34;7&#34; &lt;b&gt;/ü - TwinTrack report</title>" in report
    assert content["input"]["sha256"][:8] in report
    assert "Fall" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("label", ["DOE\nJANE", "DOE\\JANE", "DOE" * 22, " DOE", "DOE\x1b[31m", "DOE\u202e"])
def test_other_labels_are_refused_without_being_repeated(label, ct_file, bundle, tmp_path, capsys):
    for command in (["segment", ct_file, "--bundle", bundle], ["demo"]):
        assert run_command([*map(str, command), "--out", str(tmp_path / "o"), "--case", label]) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: the case label must have 1 to 64 printable characters")
        assert "DOE" not in told
    assert not (tmp_path / "o").exists()


def test_the_tumor_in_the_label_map_is_the_map_at_the_threshold(result):
    probability, labels = (read_volume(result / f"{name}.nii.gz").array for name in ("probability", "segmentation"))
    assert np.array_equal(labels == 1, probability >= np.float32(0.5))


def test_vessels_are_whole_where_the_tumor_covers_them_and_named_in_their_file(ct_file, bundle, result, tmp_path):
    whole = read_volume(result / "vessels.nii.gz")
    values = json.loads((result / "result.json").read_text())["vessel_values"]
    assert values == {"PORTA": 1, "SMA": 5}
    assert nifti_label_names(result / "vessels.nii.gz") == values
    assert whole.array.dtype == np.uint8
    assert set(np.unique(whole.array)) == {0, 1, 5}
    labels = read_volume(result / "segmentation.nii.gz").array
    for name, value in {"PORTA": 2, "SMA": 3}.items():
        assert np.array_equal(labels == value, (whole.array == values[name]) & (labels != 1))
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    assert run_command([*run, "--device", "cpu", "--threshold", "0.001"]) == 0
    assert set(np.unique(read_volume(tmp_path / "o" / "segmentation.nii.gz").array)) == {0, 1}
    assert np.array_equal(read_volume(tmp_path / "o" / "vessels.nii.gz").array, whole.array)


def test_other_readers_open_the_file_of_the_vessels(result):
    path = result / "vessels.nii.gz"
    assert path.read_bytes().startswith(b"\x1f\x8b")
    array = read_volume(path).array
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)
    assert np.array_equal(np.asarray(nib.load(path).dataobj).T, array)


def test_the_vessels_of_a_result_are_measured_without_names(result, tmp_path, capsys):
    measured = {}
    for name in ("vessels", "segmentation"):
        run = ["invasion", str(result / "probability.nii.gz"), "--vessels", str(result / f"{name}.nii.gz")]
        assert run_command([*run, "--out", str(tmp_path / f"{name}.json")]) == 0
        measured[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert set(measured["vessels"]["vessels"]) == {"PORTA", "SMA"}
    assert measured["segmentation"]["vessels"] == measured["vessels"]["vessels"]
    assert "vessels.nii.gz read in place of segmentation.nii.gz" in measured["segmentation"]["warnings"][0]


def test_a_bundle_without_vessels_writes_no_file_of_them_and_removes_an_earlier_one(
    ct_file, plain_bundle, result, tmp_path
):
    out = tmp_path / "o"
    shutil.copytree(result, out)
    assert all((out / name).is_file() for name in VESSEL_FILES)
    run = ["segment", str(ct_file), "--bundle", str(plain_bundle), "--out", str(out), "--roi", ROI]
    assert run_command(run) == 0
    assert not any((out / name).exists() for name in VESSEL_FILES)
    assert json.loads((out / "result.json").read_text())["vessel_values"] is None


def test_invasion_json_has_the_fields_of_the_contract(result):
    content = json.loads((result / "invasion.json").read_text())
    steps = len(content["thresholds"])
    assert set(content["vessels"]) == {"PORTA", "SMA"}
    for vessel in content["vessels"].values():
        assert len(vessel["angle_deg"]) == len(vessel["contact_length_mm"]) == steps
        assert vessel["category"] in ("none", "abutment", "encasement")
        assert all(len(vessel["protocol_deg"][plane]) == steps for plane in ("axial", "coronal", "sagittal"))
        assert 0 <= vessel["p_encased"] <= vessel["p_contact"] <= 1
    assert "resectability" in content


def test_a_second_run_replaces_the_first_and_leaves_foreign_files_alone(ct_file, plain_bundle, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    run = ["segment", str(ct_file), "--bundle", str(plain_bundle), "--out", str(out), "--roi", ROI]
    assert run_command([*run, "--keep-score"]) == 0
    assert run_command([*run, "--threshold", "0.3"]) == 0
    assert {path.name for path in out.iterdir()} == (FILES - VESSEL_FILES) | {"notes.txt", RECORD}
    assert json.loads((out / "result.json").read_text())["threshold"] == 0.3


def test_without_calibration_the_score_is_given_and_said_to_be_one(ct_file, plain_bundle, tmp_path, capsys):
    run = ["segment", str(ct_file), "--bundle", str(plain_bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    assert run_command([*run, "--no-calibration", "--keep-score"]) == 0
    assert "Not calibrated" in capsys.readouterr().err
    score, mapped = (read_volume(tmp_path / "o" / f"{name}.nii.gz").array for name in ("score", "probability"))
    assert np.array_equal(score, mapped)
    assert json.loads((tmp_path / "o" / "result.json").read_text())["calibrator"] is None


def test_given_vessels_are_measured_under_their_names(ct_file, bundle, tmp_path, capsys):
    ct = read_volume(ct_file)
    vessels = np.zeros(ct.array.shape, np.uint8)
    vessels[2:16, 12:16, 14:18] = 7
    write_volume(ct.with_array(vessels), tmp_path / "vessels.nii.gz")
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    run += ["--vessels", str(tmp_path / "vessels.nii.gz"), "--vessel-names", "CHA=7,IVC=9"]
    assert run_command(run) == 0
    measured = json.loads((tmp_path / "o" / "invasion.json").read_text())["vessels"]
    assert {name: vessel["present"] for name, vessel in measured.items()} == {"CHA": True, "IVC": False}


@pytest.mark.parametrize(
    ("source", "roi"), [("ct_3mm.nii.gz", "40,80,30,70,60,90"), ("ct_dicom", "200,280,200,260,4,16")]
)
def test_the_demo_bundle_on_real_cts_writes_all_files_with_a_roi_and_names_it_without(
    source, roi, test_data, tmp_path, capsys
):
    from twintrack.bundle.model_bundle import demo_bundle_path

    ct = test_data / "data" / source
    run = ["segment", str(ct), "--bundle", str(demo_bundle_path()), "--out", str(tmp_path / "o")]
    assert run_command([*run, "--roi", roi]) == 0
    assert "phantoms only" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "o").iterdir()} == FILES | {RECORD}
    grid = read_series(ct).volume.geometry if ct.is_dir() else read_volume(ct).geometry
    assert read_volume(tmp_path / "o" / "probability.nii.gz").geometry.same_grid(grid)
    assert_refused([*run[:-1], str(tmp_path / "none")], capsys, "--roi", "no pancreas", out=tmp_path / "none")


def test_every_second_of_a_run_belongs_to_a_stage(ct_file, bundle, tmp_path):
    from twintrack.results.folder import segment_file
    from twintrack.settings import SegmentSettings

    start, began_s = time.perf_counter(), time.time()
    segment_file(ct_file, bundle, tmp_path / "o", SegmentSettings(roi="full", device="cpu"), began=start)
    wall_s = time.perf_counter() - start
    written_s = (tmp_path / "o" / "result.json").stat().st_mtime - began_s  # then a disk may need its time
    seconds = json.loads((tmp_path / "o" / "result.json").read_text())["seconds"]
    assert 0.95 * written_s < sum(seconds.values()) <= wall_s + 0.001 * len(seconds)
    assert min(seconds.values()) >= 0


def test_the_seconds_of_the_command_begin_with_its_process(ct_file, plain_bundle, tmp_path):
    run = [
        sys.executable,
        "-m",
        "twintrack",
        "segment",
        ct_file,
        "--bundle",
        plain_bundle,
        "--roi",
        "full",
        "--device",
        "cpu",
    ]
    start, began_s = time.perf_counter(), time.time()
    subprocess.run([*map(str, run), "--out", str(tmp_path / "o")], check=True, capture_output=True)
    wall_s = time.perf_counter() - start
    written_s = (tmp_path / "o" / "result.json").stat().st_mtime - began_s
    told_s = sum(json.loads((tmp_path / "o" / "result.json").read_text())["seconds"].values())
    assert 0.95 * written_s - 1.5 < told_s < wall_s


def test_a_result_saved_from_memory_adds_the_seconds_of_writing(ct_file, plain_bundle, tmp_path):
    import twintrack as tt

    found = tt.segment(ct_file, plain_bundle, roi="full", device="cpu")
    before = found.summary["seconds"]
    assert {"read", "ensemble", "measure"} <= set(before)
    content = json.loads((found.save(tmp_path / "o") / "result.json").read_text())
    assert {name: content["seconds"][name] for name in before} == before
    assert set(content["seconds"]) == {*before, "write", "pictures", "report"}
