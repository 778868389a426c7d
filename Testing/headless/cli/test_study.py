"""`twintrack calibrate`: its options, what it prints, and how far its band reaches into a result."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from twintrack.cli.app import run_command
from twintrack.io.volumes import read_volume, write_volume
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.network

GRID = Geometry((20, 20, 12), (1.0, 1.0, 2.0))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Six cases; at score s, two raters mark a share of s that differs from case to case."""
    folder = tmp_path_factory.mktemp("cohort")
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "score", "annotation_1", "annotation_2"])
        for number in range(6):
            random = np.random.default_rng(number)
            score = random.uniform(0.01, 0.99, GRID.shape).astype(np.float32)
            names = [f"{kind}{number}.nii.gz" for kind in ("s", "a", "b")]
            write_volume(Volume(score, GRID), folder / names[0])
            for name in names[1:]:
                drawn = random.uniform(size=score.shape) < score * (0.5 + number / 10)
                write_volume(Volume(drawn.astype(np.uint8), GRID), folder / name)
            writer.writerow([f"c{number}", *names])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def fitted(manifest, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("fitted") / "calibrator.json"
    run = ["calibrate", str(manifest), "--out", str(path), "--bins", "20", "--bootstrap", "60"]
    assert run_command([*run, "--plot", str(path.with_suffix(".png"))]) == 0
    return path


def assert_refused(arguments: list[object], capsys, *words: str) -> None:
    """The command ends with code 2 and one error line that holds `words`."""
    assert run_command([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_the_file_records_what_the_calibrator_was_fitted_on(manifest, fitted):
    import hashlib

    content = json.loads(fitted.read_text())
    assert content["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (content["cases"], content["raters"], content["voxels"]) == (6, 2, 6 * 4800)
    assert (content["domain"], content["weighting"], content["target"]) == ("score > 0", "voxel", "mhr")
    assert len(content["bin_counts"]) == content["bins_used"] == content["bins"] == 20
    assert 0 < content["tumour_voxels"] < content["voxels"]
    assert (content["band"]["units"], content["band"]["resamples"], content["band"]["seed"]) == (6, 60, 0)
    assert any("6 cases only" in warning for warning in content["warnings"])
    assert fitted.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_two_runs_write_the_same_file(manifest, fitted, tmp_path):
    again = tmp_path / "again.json"
    assert run_command(["calibrate", str(manifest), "--out", str(again), "--bins", "20", "--bootstrap", "60"]) == 0
    assert again.read_bytes() == fitted.read_bytes()


def test_the_number_of_bins_is_chosen_and_the_curve_reported(manifest, tmp_path, capsys):
    out = tmp_path / "c.json"
    options = ["--target", "single-rater", "--rater", "2", "--weights", "case", "--domain", "all", "--bootstrap", "0"]
    assert run_command(["calibrate", str(manifest), "--out", str(out), "--select-bins", *options]) == 0
    content = json.loads(out.read_text())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "<- chosen" in line] == [str(content["bins"])]
    assert len(lines) == len(content["selection"]["bins"]) + 3
    (baseline,) = (line for line in lines if line.startswith("none"))
    assert float(baseline.split()[1]) == pytest.approx(content["selection"]["constant_loss"], abs=1e-9)
    assert min(content["selection"]["loss"]) < content["selection"]["constant_loss"] <= 0.25
    above = sum(score > 0.05 for score in content["knots"]["score"])
    assert lines[-1].endswith(f"{content['bins']} bins, {above} of them above score 0.05")
    assert content["selection"]["chosen"] == content["bins"]
    assert content["selection"]["loss"][content["selection"]["bins"].index(content["bins"])] < 0.25
    assert (content["target"], content["rater"], content["weighting"]) == ("single-rater", "2", "case")
    assert (content["domain"], content["band"]) == ("all voxels", None)


def test_a_cohort_can_be_sketched_in_parts_and_fitted_from_the_sketches(manifest, fitted, tmp_path):
    part, out = tmp_path / "part.npz", tmp_path / "c.json"
    assert run_command(["calibrate", str(manifest), "--sketch", str(part)]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["part.npz"]
    assert run_command(["calibrate", str(part), "--out", str(out), "--bins", "20", "--bootstrap", "60"]) == 0
    assert json.loads(out.read_text()) == json.loads(fitted.read_text())


def test_options_that_contradict_each_other_are_refused(manifest, tmp_path, capsys):
    out = tmp_path / "c.json"
    run = ["calibrate", manifest, "--out", out]
    assert_refused(["calibrate", manifest], capsys, "--out")
    assert_refused(["calibrate", manifest, "--sketch", tmp_path / "s.npz", "--plot", "p.png"], capsys, "--out")
    assert_refused([*run, "--bins", 20, "--select-bins"], capsys, "--select-bins")
    assert_refused([*run, "--rater", 1], capsys, "--rater")
    assert_refused([*run, "--target", "single-rater"], capsys, "--rater")
    assert_refused([*run, "--target", "single-rater", "--rater", 7], capsys, "manifest.csv", "'7'; choose one of 1, 2")
    assert_refused([*run, "--bins", 0], capsys, "at least 2 bins")
    assert_refused([*run, "--sketch", tmp_path / "s.txt"], capsys, "s.txt", ".npz")
    assert_refused(["calibrate", tmp_path / "none.npz", "--out", out], capsys, "none.npz", "no such file")
    assert not out.exists()


def test_what_was_assumed_about_a_manifest_is_one_line_and_what_cannot_be_read_one_error(manifest, tmp_path, capsys):
    text = manifest.read_text(encoding="utf-8")
    header, rows = text.split("\n", 1)
    header = header.replace("annotation_1", "Annotation_0").replace("annotation_2", "Annotation_Jörg")
    excel = manifest.with_name("excel.csv")
    excel.write_bytes(("sep=;\n" + f"{header}\n{rows}".replace(",", ";")).encode("cp1252"))
    out = tmp_path / "c.json"
    chosen = ["--target", "single-rater", "--rater", "Jörg"]
    assert run_command(["calibrate", str(excel), "--out", str(out), "--bins", "20", "--bootstrap", "0", *chosen]) == 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: "))
    assert note.startswith("note: ")
    assert note.endswith(
        "excel.csv: read with semicolons, as its first line says, as Latin-1, with small letters for column names"
    )
    content = json.loads(out.read_text(encoding="utf-8"))
    assert (content["rater"], content["raters"], content["rater_names"]) == ("Jörg", 2, ["0", "Jörg"])
    excel.write_text(text.replace("annotation_1", "annotation_02", 1), encoding="utf-8")
    assert_refused(["calibrate", excel, "--out", out], capsys, "annotation_02 and annotation_2", "differ only in case")
    excel.write_text(text.replace("b3.nii.gz", "./a3.nii.gz"), encoding="utf-8")
    assert_refused(
        ["calibrate", excel, "--out", out], capsys, "line 5", "annotation_1 and annotation_2 are the same file"
    )


def test_the_band_reaches_the_expected_volume_of_a_result_and_its_report(fitted, make_bundle, tmp_path):
    grid = Geometry((36, 30, 18), (1.5, 1.6, 3.0))
    image = np.random.default_rng(4).normal(40, 30, grid.shape)
    image[:3], image[:, :4], image[..., 28:] = -1000, -100, 120
    write_volume(Volume(image.round().astype(np.int16), grid), tmp_path / "ct.nii.gz")
    bundle, out = make_bundle(calibrator=fitted), tmp_path / "out"
    run = ["segment", tmp_path / "ct.nii.gz", "--bundle", bundle, "--out", out, "--roi", "4,30,2,26,3,15"]
    assert run_command([str(argument) for argument in [*run, "--device", "cpu"]]) == 0
    result = json.loads((out / "result.json").read_text())
    interval = result["expected_volume_ml"]
    probability = read_volume(out / "probability.nii.gz").array
    assert interval["value"] == pytest.approx(probability.sum(dtype=float) * 1.5 * 1.6 * 3.0 / 1000, rel=1e-6)
    assert interval["value"] == result["volume_ml"]["expected"]
    assert interval["low"] < interval["value"] < interval["high"]
    assert interval["level"] == 0.95
    said = f"{interval['low']:.1f}–{interval['high']:.1f} mL with other calibration cases (95% interval)"
    assert said in (out / "report.html").read_text(encoding="utf-8")


def test_calibrator_and_picture_are_written_together_or_not_at_all(manifest, tmp_path, capsys):
    (tmp_path / "file").touch()
    out, plot = tmp_path / "new" / "c.json", tmp_path / "file" / "p.png"
    assert_refused(["calibrate", manifest, "--out", out, "--bootstrap", "0", "--plot", plot], capsys, "p.png")
    assert not out.parent.exists()
