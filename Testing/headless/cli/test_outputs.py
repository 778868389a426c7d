"""No command replaces or removes what it cannot prove to be its own, and none ever an input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import FILES, ROI, VESSEL_FILES, assert_refused, small_ct
from twintrack.cli.app import run_command
from twintrack.dicom import write_ct_series
from twintrack.io.volumes import read_volume, write_volume
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.system.ownership import RECORD

pytestmark = pytest.mark.network


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def study(tmp_path) -> Path:
    """A folder as researchers keep them: the CT as a file and as a series, and notes."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_ct_series(small_ct((1, 0, 0, 0, 1, 0, 0, 0, 1)), folder / "dicom", description="small")
    write_volume(small_ct(), folder / "ct.nii.gz")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def segment(plain_bundle):
    def arguments(ct: Path, out: Path, *further: str) -> list[str]:
        return ["segment", str(ct), "--bundle", str(plain_bundle), "--out", str(out), "--roi", ROI, *further]

    return arguments


def refused(arguments, capsys, folder: Path, *words: str) -> None:
    """The command ends with one line, and the folder is as it was."""
    before = contents(folder)
    assert_refused(arguments, capsys, *words)
    assert contents(folder) == before


@pytest.mark.parametrize("further", [["--dicom"], ["--dicom", "--overwrite"]])
def test_a_series_at_the_place_of_an_output_stays(study, segment, capsys, further):
    refused(segment(study / "dicom", study, *further), capsys, study, study / "dicom", "is an input")
    one = study / "dicom" / "CT_0001.dcm"
    refused(segment(one, study, *further), capsys, study, study / "dicom", "input")


@pytest.mark.parametrize("further", [[], ["--dicom"], ["--overwrite"]])
def test_the_folder_of_the_series_is_no_result_folder(study, segment, capsys, further):
    refused(segment(study / "dicom", study / "dicom", *further), capsys, study, study / "dicom", "is an input")
    link = study.parent / "link"
    link.symlink_to(study / "dicom")
    refused(segment(study / "dicom", link, *further), capsys, study, "is an input")
    one = study / "dicom" / "CT_0001.dcm"
    refused(segment(one, study / "dicom", *further), capsys, study, "is an input")


def test_a_series_beside_the_results_stays_however_often_one_segments(study, segment, capsys):
    before = contents(study)
    for further in ([], ["--keep-score"], []):
        assert run_command(segment(study / "dicom", study, *further)) == 0
        found = contents(study)
        assert {name: found[name] for name in before} == before
    assert set(contents(study)) - set(before) == (FILES - VESSEL_FILES) | {RECORD}
    assert run_command(["export", str(study), "--series", str(study / "dicom"), "--out", str(study)]) == 0
    found = contents(study)
    assert {name: found[name] for name in before} == before


def test_the_series_that_export_refers_to_stays(study, segment, capsys):
    shutil.move(study / "dicom", study / "ct")
    assert run_command(segment(study / "ct", study)) == 0
    series = contents(study / "ct")
    assert run_command(["export", str(study), "--series", str(study / "ct"), "--out", str(study)]) == 0
    assert contents(study / "ct") == series
    assert (study / "segmentation.dcm").exists() or (study / "probability.dcm").exists()
    capsys.readouterr()
    capsys.readouterr()
    made = ["export", study, "--make-series", study / "ct.nii.gz", "--out", study]
    refused(made, capsys, study)  # the place of the series that it would make
    refused([*made, "--overwrite", "--series", study / "ct"], capsys, study)


@pytest.mark.parametrize("name", ["segmentation.nii.gz", "result.json", "overview.png"])
def test_a_file_of_the_user_with_the_name_of_a_result_stays_unless_it_is_given_up(study, segment, capsys, name):
    (study / name).write_text("ground truth")
    refused(segment(study / "ct.nii.gz", study), capsys, study, study / name, "--overwrite")
    assert run_command(segment(study / "ct.nii.gz", study, "--overwrite")) == 0
    assert (study / name).read_bytes() != b"ground truth"
    assert (study / "notes.txt").read_text() == "mine"


def test_an_output_that_was_not_asked_for_is_in_nobodys_way(study, segment):
    (study / "score.nii.gz").write_text("mine")
    assert run_command(segment(study / "ct.nii.gz", study)) == 0
    assert (study / "score.nii.gz").read_text() == "mine"


def test_a_result_that_the_user_changed_is_the_users(study, segment, capsys):
    assert run_command(segment(study / "ct.nii.gz", study, "--keep-score")) == 0
    capsys.readouterr()
    mask = read_volume(study / "segmentation.nii.gz")
    write_volume(mask.with_array(np.roll(mask.array, 1, axis=1)), study / "segmentation.nii.gz")
    refused(segment(study / "ct.nii.gz", study), capsys, study, study / "segmentation.nii.gz", "was changed")
    assert run_command(segment(study / "ct.nii.gz", study, "--overwrite")) == 0
    assert not (study / "score.nii.gz").exists()


def test_results_of_an_earlier_version_without_a_list_are_the_users(study, segment, capsys):
    assert run_command(segment(study / "ct.nii.gz", study)) == 0
    capsys.readouterr()
    (study / RECORD).unlink()
    refused(segment(study / "ct.nii.gz", study), capsys, study, "an earlier version", "--overwrite")


def test_a_file_that_the_user_put_into_a_folder_of_the_result_stays(study, segment, capsys):
    assert run_command(segment(study / "dicom", study / "out", "--dicom")) == 0
    capsys.readouterr()
    (study / "out" / "dicom" / "mine.dcm").write_text("mine")
    told = "mine.dcm", "--overwrite to replace the whole folder dicom"
    refused(segment(study / "dicom", study / "out", "--dicom"), capsys, study, *told)
    (study / "out" / "dicom" / "mine.dcm").rename(study / "out" / "dicom" / ".DS_Store")  # nobody misses that
    (study / "out" / "dicom" / "._segmentation.dcm").write_bytes(b"x")  # macOS, on a disk that is not its own
    assert run_command(segment(study / "dicom", study / "out", "--dicom")) == 0


def test_an_input_at_the_place_of_an_output_stays_whatever_the_user_says(study, segment, calibrator_file, capsys):
    assert run_command(segment(study / "ct.nii.gz", study)) == 0
    capsys.readouterr()
    labels = study / "segmentation.nii.gz"
    for further in ([], ["--overwrite"]):
        given = ["--vessels", str(labels), "--vessel-names", "PORTA=2", *further]
        refused(segment(study / "ct.nii.gz", study, *given), capsys, study, labels, "input")
    shutil.copyfile(study / "ct.nii.gz", study / "probability.nii.gz")
    refused(segment(study / "probability.nii.gz", study, "--overwrite"), capsys, study, "is an input")
    (study / "score.nii.gz").hardlink_to(study / "ct.nii.gz")
    refused(segment(study / "ct.nii.gz", study, "--overwrite", "--keep-score"), capsys, study, "is an input")


def test_nothing_is_written_into_a_bundle(study, segment, plain_bundle, capsys):
    for out in (plain_bundle, plain_bundle / "results"):
        refused(segment(study / "ct.nii.gz", out), capsys, plain_bundle, "choose another folder")


@pytest.fixture
def score(tmp_path) -> Path:
    path = tmp_path / "s.nii.gz"
    write_volume(small_ct().with_array(np.random.default_rng(0).random((18, 30, 36), np.float32)), path)
    return path


def test_apply_never_overwrites_its_score_and_a_strangers_file_only_when_told(score, calibrator_file, tmp_path, capsys):
    given = ["apply", str(score), "--calibrator", str(calibrator_file), "--out"]
    for further in ([], ["--overwrite"]):
        refused([*given, score, *further], capsys, tmp_path, score, "is an input")
        refused([*given, tmp_path / "." / "s.nii.gz", *further], capsys, tmp_path, "is an input")
    shutil.copyfile(score, tmp_path / "mine.nii.gz")
    refused([*given, tmp_path / "mine.nii.gz"], capsys, tmp_path, "mine.nii.gz", "--overwrite")
    for further in (["--overwrite"], [], []):
        assert run_command([*given, str(tmp_path / "mine.nii.gz"), *further]) == 0
    capsys.readouterr()
    refused([*given, tmp_path / "map.mhd"], capsys, tmp_path, "map.mhd", "one file")


def test_the_table_beside_the_contact_curves_is_not_a_strangers(score, tmp_path, capsys):
    vessels = tmp_path / "v.nii.gz"
    labels = np.zeros((18, 30, 36), np.uint8)
    labels[:, 10:14, 10:14] = 5
    write_volume(small_ct().with_array(labels), vessels)
    (tmp_path / "manifest.csv").write_text("case,image\n")
    given = ["invasion", str(score), "--vessels", str(vessels), "--vessel-names", "SMA=5", "--out"]
    refused([*given, tmp_path / "manifest.json"], capsys, tmp_path, "manifest.csv", "--overwrite")
    for _ in range(2):
        assert run_command([*given, str(tmp_path / "contact.json")]) == 0
    capsys.readouterr()
    (tmp_path / "contact.csv").write_text("my own remarks")
    refused([*given, tmp_path / "contact.json"], capsys, tmp_path, "contact.csv", "--overwrite")
    assert run_command([*given, str(tmp_path / "contact.json"), "--overwrite"]) == 0
    (tmp_path / "contact.json").unlink()
    capsys.readouterr()
    refused([*given, tmp_path / "contact.json"], capsys, tmp_path, "contact.csv", "--overwrite")


def test_calibrate_keeps_what_it_reads_and_what_it_did_not_write(manifest, tmp_path, capsys):
    study = tmp_path / "study"
    shutil.copytree(manifest.parent, study)
    given = ["calibrate", str(study / "manifest.csv"), "--bins", "20", "--bootstrap", "0", "--out"]
    (study / "other.json").write_text("{}")
    refused([*given, study / "other.json"], capsys, study, "other.json", "--overwrite")
    for place in ("manifest.csv", "s0.nii.gz", "a1_2.nii.gz"):
        refused([*given, study / place, "--overwrite"], capsys, study, place, "is an input")
    (study / "s0.png").symlink_to(study / "s0.nii.gz")
    refused([*given, study / "c.json", "--plot", study / "s0.png", "--overwrite"], capsys, study, "is an input")
    (study / "s0.png").unlink()
    refused(
        [*given, study / "c.json", "--plot", study / "s0.nii.gz", "--overwrite"], capsys, study, "s0.nii.gz", ".png"
    )
    refused([*given, study / "c.npz", "--sketch", study / "c.npz"], capsys, study, "same name")
    for _ in range(2):
        further = ["--plot", str(study / "c.png"), "--sketch", str(study / "c.npz")]
        assert run_command([*given, str(study / "c.json"), *further]) == 0
    content = json.loads((study / "c.json").read_text())
    (study / "c.json").write_text(json.dumps(content | {"bins": 20}))
    capsys.readouterr()
    refused([*given, study / "c.json"], capsys, study, "c.json", "--overwrite")


def test_evaluate_keeps_what_it_reads_and_what_it_did_not_write(manifest, tmp_path, capsys):
    study = tmp_path / "study"
    shutil.copytree(manifest.parent, study)
    text = (study / "manifest.csv").read_text().replace("score", "probability", 1)
    (study / "metrics.csv").write_text(text)
    given = ["evaluate", "--bootstrap", "20", "--out", str(study)]
    refused([*given, study / "metrics.csv", "--overwrite"], capsys, study, "metrics.csv", "is an input")
    (study / "metrics.csv").rename(study / "maps.csv")
    (study / "summary.md").write_text("mine")
    refused([*given, study / "maps.csv"], capsys, study, "summary.md", "--overwrite")
    (study / "summary.md").unlink()
    before = contents(study)
    for _ in range(2):
        assert run_command([*given, str(study / "maps.csv")]) == 0
    found = contents(study)
    assert {name: found[name] for name in before} == before


def test_phantoms_leave_a_manifest_of_the_user_alone(tmp_path, capsys):
    (tmp_path / "manifest.csv").write_text("case,image\np1,p1.nii.gz\n")
    given = ["phantom", "--cases", "1", "--raters", "2", "--out", str(tmp_path)]
    refused(given, capsys, tmp_path, "manifest.csv", "--overwrite")
    (tmp_path / "manifest.csv").rename(tmp_path / "mine.csv")
    for _ in range(2):
        assert run_command(given) == 0
    (tmp_path / "phantom_00000" / "score.nii.gz").write_text("mine")
    capsys.readouterr()
    refused(given, capsys, tmp_path, "score.nii.gz", "--overwrite")


def test_phantoms_on_a_disk_that_is_full_are_one_line_and_leave_nothing(tmp_path, capsys, monkeypatch):
    import errno
    import os

    from twintrack.phantom import files

    def full(volume, path, **_) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "write_volume", full)
    given = ["phantom", "--cases", "2", "--out", tmp_path / "out"]
    assert_refused(given, capsys, "free some space")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_by_another_one_and_only_when_told(make_bundle, coarse_results, tmp_path, capsys):
    out = tmp_path / "bundle"
    shutil.copytree(make_bundle(), out)
    options = ["--coarse", coarse_results, "--fine", coarse_results, "--folds", "0", "--tumor-labels", "pancreas"]
    given = ["bundle", "create", *map(str, options), "--out"]
    refused([*given, out], capsys, tmp_path, "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    refused([*given, tmp_path / "mine", "--overwrite"], capsys, tmp_path / "mine", "bundle")
    refused([*given, coarse_results, "--overwrite"], capsys, coarse_results, coarse_results)
    assert run_command([*given, str(out), "--overwrite"]) == 0
    assert run_command(["bundle", "verify", str(out)]) == 0
    assert not list(tmp_path.glob(f"{STAGING_PREFIX}*"))
