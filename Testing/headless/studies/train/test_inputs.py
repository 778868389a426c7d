from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from expected_errors import raises_error

from twintrack.cli.app import run_command
from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import write_volume
from twintrack.studies.train.inputs import check_room, read_cases
from twintrack.training.presets import PRESETS, Preset
from twintrack.volume import Geometry, Volume

GRID = Geometry((12, 10, 8), (2.0, 2.0, 3.0))
SPLITS = ("train", "train", "calibration", "calibration", "test")


def ct(folder: Path, name: str) -> str:
    """A CT with air, fat and soft tissue."""
    array = np.random.default_rng(0).normal(40, 20, GRID.shape)
    array[:2], array[:, :2] = -1000, -100
    write_volume(Volume(array.round().astype(np.int16), GRID), folder / name)
    return name


def volume(folder: Path, name: str, value: int = 0, grid: Geometry = GRID) -> str:
    array = np.full(grid.shape, value, np.int16)
    array[2:4, 3:6, 3:6] += 1
    write_volume(Volume(array, grid), folder / name)
    return name


def manifest(folder: Path, splits=SPLITS, raters=("A", "B"), **columns: str) -> Path:
    """A manifest of small volumes, one line a split; `columns` are added to each line."""
    rows = []
    for number, split in enumerate(splits):
        row = {"case": f"c{number}", "image": ct(folder, f"ct{number}.nii.gz"), "split": split}
        row |= {f"annotation_{rater}": volume(folder, f"{rater}{number}.nii.gz") for rater in raters}
        rows.append({**row, **columns})
    path = folder / "cases.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def change(path: Path, line: int, **cells: str) -> Path:
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    rows[line].update(cells)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def assert_refused(code: str, arguments: list[object], capsys, caplog, out: Path, *names: str) -> None:
    """The command ends with 2 and one line, and leaves nothing at `out` or beside it."""
    before = set(out.parent.iterdir())
    with caplog.at_level("INFO"):
        assert run_command(["train", *map(str, arguments), "--out", str(out), "--device", "cpu"]) == 2
    assert [record.code for record in caplog.records if hasattr(record, "code")] == [code]
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    for name in names:
        assert name in lines[0]
    assert set(out.parent.iterdir()) == before


def test_a_manifest_is_read_by_split(tmp_path):
    found = read_cases(manifest(tmp_path))
    assert [case.name for case in found.train] == ["c0", "c1"]
    assert [row.case for row in found.calibration] == ["c2", "c3"]
    assert [row.case for row in found.test] == ["c4"]
    assert found.train[0].raters == ("A", "B")


def test_the_content_of_a_case_changes_with_its_files(tmp_path):
    path = manifest(tmp_path)
    before = read_cases(path).train[0].content
    assert read_cases(path).train[0].content == before
    volume(tmp_path, "A0.nii.gz", 5)
    assert read_cases(path).train[0].content != before


@pytest.mark.parametrize("split", ["train", "calibration"])
def test_a_split_that_is_needed_is_named(tmp_path, split, capsys, caplog):
    splits = tuple(one for one in SPLITS if one != split)
    path = manifest(tmp_path, splits)
    assert_refused("too-few-cases", [path], capsys, caplog, tmp_path / "out", split)


def test_a_patient_in_two_splits_is_refused(tmp_path, capsys, caplog):
    path = manifest(tmp_path, patient="P7")
    assert_refused("patient-in-two-splits", [path], capsys, caplog, tmp_path / "out", "line 4")


def test_a_column_that_is_filled_for_some_cases_alone_is_refused(tmp_path, capsys, caplog):
    path = change(manifest(tmp_path, organ="A0.nii.gz"), 1, organ="")
    assert_refused("cell-empty", [path], capsys, caplog, tmp_path / "out", "organ", "line 3")


@pytest.mark.parametrize("entry", ["plans.json", "imagesTr", "Trainer__nnUNetPlans__3d_fullres"])
def test_of_nnunets_folders_the_right_command_is_named(tmp_path, entry, capsys, caplog):
    (tmp_path / "model" / entry).mkdir(parents=True)
    out = tmp_path / "new" / "out"
    out.parent.mkdir()
    assert_refused("nnunet-folder", [tmp_path / "model"], capsys, caplog, out, "twintrack bundle create")


def test_another_folder_is_no_manifest(tmp_path, capsys, caplog):
    (tmp_path / "cases").mkdir()
    assert_refused("not-a-manifest", [tmp_path / "cases"], capsys, caplog, tmp_path / "out", "annotation_")


def test_one_rater_is_for_single(tmp_path, capsys, caplog):
    path = manifest(tmp_path, raters=("A",))
    assert_refused("one-rater", [path], capsys, caplog, tmp_path / "out", "--strategy single")


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("ordinal-weight", ["--strategy", "ordinal", "--ordinal-weight", "0"]),
        ("rater-unknown", ["--strategy", "single", "--rater", "Z"]),
        ("options-exclude", ["--rater", "A"]),
        ("minutes-range", ["--max-minutes", "0"]),
        ("member-count", ["--members", "33"]),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, code, options, capsys, caplog):
    assert_refused(code, [manifest(tmp_path), *options], capsys, caplog, tmp_path / "out")


def test_a_mask_with_several_values_is_refused_and_nothing_is_left(tmp_path, capsys, caplog):
    path = manifest(tmp_path, organ="A0.nii.gz")
    array = np.zeros(GRID.shape, np.int16)
    array[1, 1, 1], array[2, 2, 2] = 1, 2
    write_volume(Volume(array, GRID), tmp_path / "B1.nii.gz")
    assert_refused("structure-not-chosen", [path], capsys, caplog, tmp_path / "out", "line 3", "B1.nii.gz")


def test_a_mask_of_another_place_is_refused_and_nothing_is_left(tmp_path, capsys, caplog):
    path = manifest(tmp_path, organ="A0.nii.gz")
    volume(tmp_path, "B1.nii.gz", grid=Geometry(GRID.size, GRID.spacing_mm, (500.0, 0.0, 0.0)))
    assert_refused("grid-differs", [path], capsys, caplog, tmp_path / "out", "line 3", "B1.nii.gz")


def test_without_a_bundle_for_stage_1_the_organ_must_be_known(tmp_path, capsys, caplog):
    path = manifest(tmp_path)
    assert_refused("organ-unknown", [path], capsys, caplog, tmp_path / "out", "--coarse")


def test_what_is_there_is_not_replaced(tmp_path):
    path = manifest(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "other.training").mkdir()
    for name in ("out", "other"):
        assert run_command(["train", str(path), "--out", str(tmp_path / name), "--coarse", "demo"]) == 2
        assert not list((tmp_path / "out").iterdir())
        assert not list((tmp_path / "other.training").iterdir())


def test_too_little_memory_is_told_before_the_start(tmp_path, monkeypatch):
    path = manifest(tmp_path)
    stages, images = [PRESETS[Preset.SMALL].fine], read_cases(path).images
    monkeypatch.setattr("twintrack.system.capacity.available_memory", lambda: 10_000_000)
    with raises_error(InputError, "no-memory", "10 MB", "--preset"):
        check_room(images, 2, stages, tmp_path / "w", channels=9, device="cpu")


def test_too_little_disk_is_told_before_the_start(tmp_path, monkeypatch):
    path = manifest(tmp_path)
    images = read_cases(path).images

    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)
    with raises_error(OutputError, "no-disk-space", path=tmp_path / "w"):
        check_room(images, 2, [PRESETS[Preset.TINY].fine], tmp_path / "w", channels=9, device="cpu")


def test_refusals_come_before_torch_is_loaded(tmp_path):
    """What is wrong with a manifest shows at once."""
    if "torch" in sys.modules:
        pytest.skip("loaded by another test")
    with raises_error(InputError, "too-few-cases"):
        read_cases(manifest(tmp_path, ("train", "train")))
    assert "torch" not in sys.modules
