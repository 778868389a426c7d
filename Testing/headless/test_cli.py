"""The command line: files and fields of a run, exit codes, and one clear line for every bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from twintrack.cli import _run
from twintrack.dicom import ISO_LEVELS, read_series, write_ct_series
from twintrack.volume import Geometry, Volume, read_volume, write_volume

COMMANDS = [
    [],
    ["demo"],
    ["segment"],
    ["calibrate"],
    ["apply"],
    ["evaluate"],
    ["invasion"],
    ["export"],
    ["phantom"],
    ["bundle"],
    ["bundle", "create"],
    ["bundle", "verify"],
    ["bundle", "show"],
    ["experiment"],
    ["experiment", "table1"],
]
ROI = "4,30,2,26,3,15"
FILES = {
    "result.json",
    "probability.nii.gz",
    "segmentation.nii.gz",
    "invasion.json",
    "invasion.csv",
    "overview.png",
    "report.html",
}


def small_ct(direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)) -> Volume:
    """A CT with air, fat and soft tissue that no flip maps onto itself."""
    geometry = Geometry((36, 30, 18), (1.5, 1.6, 3.0), (30.0, -12.5, 100.0), tuple(float(d) for d in direction))
    array = np.random.default_rng(4).normal(40, 30, geometry.shape)
    array[:3], array[:, :4], array[..., 28:] = -1000, -100, 120
    return Volume(array.round().astype(np.int16), geometry)


@pytest.fixture(scope="module")
def ct_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "a ct.nii.gz"
    write_volume(small_ct(), path)
    return path


@pytest.fixture(scope="module")
def ct_series(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "ct"
    write_ct_series(small_ct((1, 0, 0, 0, 1, 0, 0, 0, 1)), folder, description="small")
    return folder


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def calibrator_file(manifest, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("calibrator") / "calibrator.json"
    assert _run(["calibrate", str(manifest), "--out", str(path), "--bins", "20"]) == 0
    return path


@pytest.fixture(scope="module")
def bundle(make_bundle, calibrator_file) -> Path:
    return make_bundle(calibrator=calibrator_file)


@pytest.fixture(scope="module")
def result(ct_file, bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("result") / "out put"
    arguments = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(out), "--roi", ROI]
    assert _run([*arguments, "--keep-score", "--device", "cpu"]) == 0
    return out


def assert_refused(arguments: list[str], capsys, *words: str, out: Path | None = None) -> None:
    """The command ends with code 2, one error line that holds `words`, and nothing under a final name."""
    assert _run([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert str(word) in lines[0]
    if out is not None and out.exists():
        assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command, capsys):
    assert _run([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_help_imports_nothing_heavy_and_runs_as_a_module():
    code = (
        "import sys\nfrom twintrack.cli import _run\n_run(['segment', '--help'])\n"
        "heavy = {'torch', 'nnunetv2', 'highdicom', 'SimpleITK', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-m", "twintrack", "--help"], check=True, capture_output=True, text=True)
    assert "segment" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bundle"],
        ["no-such-command"],
        ["segment"],
        ["segment", "x.nii.gz", "--bundle", "b", "--out", "o", "--no-such-option"],
        ["segment", "x.nii.gz", "--bundle", "b", "--out", "o", "--device", "abacus"],
        ["phantom", "--cases", "many", "--out", "o"],
        ["phantom", "--cases", "0", "--out", "o"],
    ],
)
def test_wrong_usage_is_one_error_line(arguments, capsys):
    assert_refused(arguments, capsys)


def test_the_process_ends_with_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "twintrack", "segment", "gone.nii.gz", "--bundle", "b", "--out", "o"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: gone.nii.gz: no such file or folder\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_writes_the_files_of_the_contract(result):
    assert {path.name for path in result.iterdir()} == FILES | {"score.nii.gz"}


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


def test_result_json_has_the_fields_of_the_contract(result, bundle):
    content = json.loads((result / "result.json").read_text())
    assert content["schema"] == 1
    assert content["bundle"]["name"] == "tiny"
    assert len(content["bundle"]["sha256"]) == 64
    assert content["calibrator"] == {"target": "mhr", "bins": 20}
    assert content["device"] == "cpu"
    assert content["input"] == {"spacing_mm": [1.5, pytest.approx(1.6), 3.0], "size": [36, 30, 18], "source": "file"}
    assert content["roi"] == {"start": [4, 2, 3], "stop": [30, 26, 15]}
    assert content["threshold"] == 0.5
    assert set(content["volume_ml"]) == {"expected", "at_threshold", "p10", "p90"}
    assert set(content["seconds"]) == {"read", "localize", "ensemble", "calibrate", "measure", "write"}
    assert content["labels"] == {"tumor": 1, "PORTA": 2, "SMA": 3}
    probability = read_volume(result / "probability.nii.gz")
    assert content["volume_ml"]["expected"] == pytest.approx(
        probability.array.sum() * probability.geometry.voxel_ml, 1e-4
    )


def test_the_tumour_in_the_label_map_is_the_map_at_the_threshold(result):
    probability, labels = (read_volume(result / f"{name}.nii.gz").array for name in ("probability", "segmentation"))
    assert np.array_equal(labels == 1, probability >= np.float32(0.5))


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


def test_a_second_run_replaces_the_first_and_leaves_foreign_files_alone(ct_file, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(out), "--roi", ROI]
    assert _run([*run, "--keep-score"]) == 0
    assert _run([*run, "--threshold", "0.3"]) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"notes.txt"}
    assert json.loads((out / "result.json").read_text())["threshold"] == 0.3


def test_a_failed_run_leaves_the_earlier_result_intact(ct_file, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(out), "--roi"]
    assert _run([*run, ROI]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert_refused([*run, "0,99,0,5,0,5"], capsys, "i range 0 to 99")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_without_calibration_the_score_is_given_and_said_to_be_one(ct_file, bundle, tmp_path, capsys):
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    assert _run([*run, "--no-calibration", "--keep-score"]) == 0
    assert "Not calibrated" in capsys.readouterr().err
    score, mapped = (read_volume(tmp_path / "o" / f"{name}.nii.gz").array for name in ("score", "probability"))
    assert np.array_equal(score, mapped)
    assert json.loads((tmp_path / "o" / "result.json").read_text())["calibrator"] is None


def test_a_bundle_without_calibrator_is_refused_unless_the_score_is_asked_for(ct_file, bundle_folder, tmp_path, capsys):
    run = ["segment", ct_file, "--bundle", bundle_folder, "--out", tmp_path / "o", "--roi", ROI]
    assert_refused(run, capsys, "no calibrator", "--no-calibration", out=tmp_path / "o")


def test_given_vessels_are_measured_under_their_names(ct_file, bundle, tmp_path, capsys):
    ct = read_volume(ct_file)
    vessels = np.zeros(ct.array.shape, np.uint8)
    vessels[2:16, 12:16, 14:18] = 7
    write_volume(ct.with_array(vessels), tmp_path / "vessels.nii.gz")
    run = ["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o"), "--roi", ROI]
    run += ["--vessels", str(tmp_path / "vessels.nii.gz"), "--vessel-names", "CHA=7,IVC=9"]
    assert _run(run) == 0
    measured = json.loads((tmp_path / "o" / "invasion.json").read_text())["vessels"]
    assert {name: vessel["present"] for name, vessel in measured.items()} == {"CHA": True, "IVC": False}


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
    ]
    assert_refused(run, capsys, "v.nii.gz", "same place", out=tmp_path / "o")


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
    assert _run(run) == 0
    series = read_series(ct_series)
    assert read_volume(out / "probability.nii.gz").geometry.same_grid(series.volume.geometry)
    origin = json.loads((out / "result.json").read_text())["input"]
    assert (origin["source"], origin["series_uid"], origin["resampled"]) == ("dicom", series.series_uid, False)
    assert _run(["export", str(out), "--series", str(ct_series), "--out", str(tmp_path / "again")]) == 0
    for folder in (out / "dicom", tmp_path / "again"):
        assert sorted(path.name for path in folder.iterdir()) == ["probability.dcm", "segmentation.dcm"]
        segmentation = highdicom.seg.segread(folder / "segmentation.dcm")
        assert pydicom.dcmread(folder / "probability.dcm").StudyInstanceUID == segmentation.StudyInstanceUID
        assert segmentation.StudyInstanceUID == series.study_uid
    labels = read_volume(out / "segmentation.nii.gz").array
    highest = read_volume(out / "probability.nii.gz").array.max()
    levels = sum(highest >= np.float32(level) for level in ISO_LEVELS)
    assert segmentation.number_of_segments == len(set(np.unique(labels)) - {0}) + levels


def test_dicom_is_refused_for_a_volume_file(ct_file, bundle, tmp_path, capsys):
    run = ["segment", ct_file, "--bundle", bundle, "--out", tmp_path / "o", "--roi", ROI, "--dicom"]
    assert_refused(run, capsys, "--dicom needs a DICOM series", out=tmp_path / "o")


def test_export_refuses_another_series_and_a_folder_without_result(result, ct_series, tmp_path, capsys):
    assert_refused(["export", tmp_path, "--series", ct_series, "--out", tmp_path / "d"], capsys, "result.json")
    assert_refused(["export", result, "--series", ct_series, "--out", tmp_path / "d"], capsys, "another grid")


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
    segment(tmp_path / "notes.txt", "not a volume file")
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


def test_bundles_are_made_checked_and_shown(coarse_results, fine_results, tmp_path, capsys):
    out = tmp_path / "made.zip"
    make = ["bundle", "create", "--coarse", coarse_results, "--fine", fine_results, "--out", out]
    make += ["--folds", "0,1,2", "--vessel-labels", "SMA=sma", "--license", "CC0-1.0", "--name", "made"]
    assert _run([str(argument) for argument in make]) == 0
    assert _run(["bundle", "verify", str(out)]) == 0
    capsys.readouterr()
    assert _run(["bundle", "show", str(out)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "made"
    assert shown["vessel_labels"] == {"SMA": "sma"}
    assert_refused([str(argument) for argument in make], capsys, "exists already")


def test_calibrate_finds_the_curve_of_the_raters_and_draws_it(manifest, tmp_path, capsys):
    out, plot = tmp_path / "c.json", tmp_path / "plot.png"
    assert _run(["calibrate", str(manifest), "--out", str(out), "--bins", "20", "--plot", str(plot)]) == 0
    knots = json.loads(out.read_text())["knots"]
    assert knots["mhr"] == pytest.approx(
        np.square(knots["score"]), abs=0.05
    )  # the raters mark a share of score squared
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_apply_maps_a_score_volume_on_its_own_grid(manifest, calibrator_file, tmp_path):
    from twintrack.calibration import read_calibrator

    score = manifest.parent / "s1.nii.gz"
    out = tmp_path / "map.nii.gz"
    assert _run(["apply", str(score), "--calibrator", str(calibrator_file), "--out", str(out)]) == 0
    given, mapped = read_volume(score), read_volume(out)
    assert mapped.geometry.same_grid(given.geometry)
    assert mapped.array == pytest.approx(read_calibrator(calibrator_file)(given.array), abs=1e-6)


def test_apply_refuses_what_is_no_score(ct_file, calibrator_file, tmp_path, capsys):
    run = ["apply", ct_file, "--calibrator", calibrator_file, "--out", tmp_path / "m.nii.gz"]
    assert_refused(run, capsys, ct_file, "between 0 and 1")
    assert_refused([*run[:-1], tmp_path / "m.txt"], capsys, "m.txt")
    assert not (tmp_path / "m.nii.gz").exists()


def test_invasion_measures_files_and_writes_json_and_csv(tmp_path):
    geometry = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    z, y, x = np.indices(geometry.shape)
    vessel = np.hypot(y - 20, x - 20) < 5
    tumour = (np.hypot(y - 20, x - 20) < 14) & (x > 20) & ~vessel & (abs(z - 20) < 8)
    write_volume(Volume((5 * vessel).astype(np.uint8), geometry), tmp_path / "v.nii.gz")
    write_volume(Volume(0.8 * tumour.astype(np.float32), geometry), tmp_path / "p.nii.gz")
    run = ["invasion", str(tmp_path / "p.nii.gz"), "--vessels", str(tmp_path / "v.nii.gz")]
    assert _run([*run, "--out", str(tmp_path / "i.json")]) == 0
    sma = json.loads((tmp_path / "i.json").read_text())["vessels"]["SMA"]
    assert sma["present"]
    assert sma["p_contact"] == pytest.approx(0.8, abs=0.02)
    assert sma["expected_angle_deg"] == pytest.approx(0.8 * 180, abs=15)  # half the wall, up to a level of 0.8
    assert (tmp_path / "i.csv").read_text().startswith("vessel,")


def test_phantom_writes_cases_that_segment_can_read(tmp_path, capsys):
    assert _run(["phantom", "--cases", "1", "--raters", "2", "--seed", "5", "--out", str(tmp_path / "p")]) == 0
    assert (tmp_path / "p" / "manifest.csv").read_text().startswith("case,image,")
    assert (tmp_path / "p" / "phantom_00005" / "annotation_2.nii.gz").exists()


def test_ctrl_c_is_code_130(monkeypatch, ct_file, bundle, tmp_path, capsys):
    import twintrack.results

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(twintrack.results, "load_ct", interrupted)
    assert _run(["segment", str(ct_file), "--bundle", str(bundle), "--out", str(tmp_path / "o")]) == 130
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("source", "roi"), [("ct_3mm.nii.gz", "40,80,30,70,60,90"), ("ct_dicom", "200,280,200,260,4,16")]
)
def test_the_demo_bundle_on_real_cts_writes_all_files_with_a_roi_and_names_it_without(
    source, roi, test_data, tmp_path, capsys
):
    from twintrack.bundle import demo_bundle_path

    ct = test_data / "data" / source
    run = ["segment", str(ct), "--bundle", str(demo_bundle_path()), "--out", str(tmp_path / "o")]
    assert _run([*run, "--roi", roi]) == 0
    assert "phantoms only" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "o").iterdir()} == FILES
    grid = read_series(ct).volume.geometry if ct.is_dir() else read_volume(ct).geometry
    assert read_volume(tmp_path / "o" / "probability.nii.gz").geometry.same_grid(grid)
    assert_refused([*run[:-1], str(tmp_path / "none")], capsys, "--roi", "no pancreas", out=tmp_path / "none")
