"""Which cases an experiment works on: phantoms that nothing else has seen, or the rows of a manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import write_volume
from twintrack.studies.demo import DEMO_SEED
from twintrack.studies.table1.cases import SEEDS_A_RUN, manifest_cases, phantom_cases
from twintrack.volume import Geometry, Volume

GRID = Geometry((12, 10, 8), (1.5, 1.5, 3.0))
ROOT = Path(__file__).resolve().parents[4]


def seeds(cases) -> list[int]:
    return [int(case.name.removeprefix("phantom_")) for case in cases]


def test_phantoms_are_none_that_the_demo_bundle_was_made_with():
    config = json.loads((ROOT / "tools/demo_bundle/config.json").read_text(encoding="utf-8"))
    used = {DEMO_SEED} | set(range(*config["test_seeds"]))
    for drawn in config["phantoms"].values():
        used |= set(range(drawn["seed"], drawn["seed"] + drawn["cases"]))
    used |= set(range(41000, 41012))  # pictures and comparisons in the documentation
    calibration, test = phantom_cases(5000, 5000)
    assert not used & set(seeds(calibration) + seeds(test))
    assert min(seeds(calibration)) > max(used)


@pytest.mark.slow
def test_calibration_and_test_phantoms_never_meet_whatever_the_seed():
    sets = [set(seeds(cases)) for seed in (0, 1, 2) for cases in phantom_cases(5000, 5000, seed=seed)]
    assert len(set().union(*sets)) == 3 * SEEDS_A_RUN


def test_more_phantoms_begin_with_the_same_ones():
    few, many = phantom_cases(2, 3, seed=4), phantom_cases(20, 30, seed=4)
    for one, other in zip(few, many, strict=True):
        assert [case.content for case in one] == [case.content for case in other[: len(one)]]


@pytest.mark.parametrize(("calibration", "test", "kind"), [(1, 5, "calibration"), (5, 0, "test"), (5, 5001, "test")])
def test_too_few_or_too_many_phantoms_are_refused(calibration, test, kind):
    with raises_error(InputError, "case-count", kind, "5000"):
        phantom_cases(calibration, test)


def write_cases(folder: Path, splits: list[str], extra: dict[str, str] | None = None) -> Path:
    """Write a manifest with a case for each split; `extra` replaces cells of its last line by column."""
    array = np.random.default_rng(0).normal(40, 30, GRID.shape)
    array[:3], array[:, :4] = -1000, -100
    write_volume(Volume(array.astype(np.int16), GRID), folder / "ct.nii.gz")
    write_volume(Volume(np.ones(GRID.shape, np.uint8), GRID), folder / "mask.nii.gz")
    write_volume(Volume(np.ones(GRID.shape, np.uint8), GRID), folder / "mask3.nii.gz")
    other = Geometry(GRID.size, (1.5, 1.5, 2.0))
    write_volume(Volume(np.ones(GRID.shape, np.uint8), other), folder / "other.nii.gz")
    lines = ["case,image,split,annotation_1,annotation_3,vessels"]
    for number, split in enumerate(splits):
        os.link(folder / "ct.nii.gz", folder / f"ct{number}.nii.gz")
        cells = {"case": f"c{number}", "image": f"ct{number}.nii.gz", "split": split}
        cells |= {"annotation_1": "mask.nii.gz", "annotation_3": "mask3.nii.gz", "vessels": "mask.nii.gz"}
        if number == len(splits) - 1:
            cells |= extra or {}
        lines.append(",".join(cells.values()))
    (folder / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "m.csv"


FOUR = ["calibration", "test", "test", "calibration"]


def test_the_column_split_tells_who_is_who_in_the_manifest_s_order(tmp_path):
    calibration, test = manifest_cases(write_cases(tmp_path, FOUR))
    assert [[case.name for case in cases] for cases in (calibration, test)] == [["c0", "c3"], ["c1", "c2"]]
    assert calibration[0].raters == ("1", "3")
    volumes = test[0].read()
    assert list(volumes.annotations) == ["1", "3"]
    assert volumes.ct.array.min() == -1000
    assert volumes.vessels is not None


def test_cases_that_train_are_left_out(tmp_path):
    calibration, test = manifest_cases(write_cases(tmp_path, ["train", *FOUR, "train"]))
    assert [[case.name for case in cases] for cases in (calibration, test)] == [["c1", "c4"], ["c2", "c3"]]


def test_vessels_may_be_missing(tmp_path):
    _, test = manifest_cases(write_cases(tmp_path, ["calibration", "calibration", "test", "test"], {"vessels": ""}))
    assert [case.read().vessels is None for case in test] == [False, True]


def test_the_content_changes_with_the_files(tmp_path):
    manifest = write_cases(tmp_path, FOUR)
    before = {case.name: case.content for cases in manifest_cases(manifest) for case in cases}
    (tmp_path / "ct1.nii.gz").unlink()
    write_volume(Volume(np.full(GRID.shape, -30, np.int16), GRID), tmp_path / "ct1.nii.gz")
    after = {case.name: case.content for cases in manifest_cases(manifest) for case in cases}
    assert {name for name in before if before[name] != after[name]} == {"c1"}
    assert len(set(before.values())) == 4


@pytest.mark.parametrize(
    ("splits", "extra", "error"),
    [
        (FOUR, {"split": "validation"}, ("split-unknown", "m.csv", "'validation'")),
        (FOUR, {"split": "train"}, ("too-few-cases", "m.csv")),
        (FOUR, {"split": ""}, ("cell-empty", "m.csv", "'c3'")),
        (FOUR, {"image": ""}, ("cell-empty", "m.csv", "'c3'")),
        (FOUR, {"image": "absent.nii.gz"}, ("file-missing", "m.csv", "absent.nii.gz")),
        (FOUR, {"vessels": "absent.nii.gz"}, ("file-missing", "m.csv", "absent.nii.gz")),
        (FOUR, {"annotation_1": "", "annotation_3": ""}, ("cell-empty", "m.csv", "'c3'")),
        (FOUR[:3], {}, ("too-few-cases", "m.csv")),
        (["calibration"] * 2, {}, ("too-few-cases", "m.csv")),
        (FOUR, {"image": "ct1.nii.gz"}, ("case-used-twice", "ct1.nii.gz", "m.csv")),
    ],
)
def test_mistakes_in_the_manifest_are_named_before_any_case_is_read(tmp_path, splits, extra, error):
    manifest = write_cases(tmp_path, splits, extra)
    with raises_error(InputError, *error):
        manifest_cases(manifest)


def test_a_manifest_without_the_column_split_is_refused(tmp_path):
    manifest = write_cases(tmp_path, FOUR)
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("split", "part"), encoding="utf-8")
    with raises_error(InputError, "column-missing"):
        manifest_cases(manifest)


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({"image": "mask.nii.gz"}, ("not-hounsfield", "mask.nii.gz")),
        ({"annotation_3": "other.nii.gz"}, ("grid-differs", "other.nii.gz", "annotation_3")),
        ({"annotation_3": "ct.nii.gz"}, ("not-labels", "ct.nii.gz")),
        ({"vessels": "other.nii.gz"}, ("grid-differs", "other.nii.gz")),
    ],
)
def test_bad_volumes_are_named_with_row_and_file(tmp_path, extra, error):
    calibration, _ = manifest_cases(write_cases(tmp_path, FOUR, extra))
    with raises_error(InputError, *error):
        calibration[-1].read()
