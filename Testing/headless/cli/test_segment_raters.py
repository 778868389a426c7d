"""``segment --raters``: a map for each reader and where they lie apart, all of it or none, and ids nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from command_line import FILES, ROI, assert_refused
from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle
from twintrack.cli.app import run_command
from twintrack.errors import BundleError, InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.pipeline import segment
from twintrack.results.measure_again import ONE_READER
from twintrack.results.schema import read_folder, read_result_json
from twintrack.settings import SegmentSettings
from twintrack.system.ownership import RECORD

pytestmark = pytest.mark.network

IDS = ("kestrel", "Osprey-2")
"""Found nowhere else by chance."""

PLAIN = FILES - {"vessels.nii.gz", "invasion.json", "invasion.csv"}
"""Of a bundle without vessels, which takes less time."""


@pytest.fixture(scope="session")
def rater_bundle(make_bundle, calibrator_file, tmp_path_factory) -> Path:
    raters = [{"id": IDS[0], "members": ["0", "2"]}, {"id": IDS[1], "members": ["1"]}]
    card = {"strategy": "rater-specific", "raters": list(IDS), "cases": {"train": 3}}
    folder = tmp_path_factory.mktemp("raters") / "b"
    return make_bundle(rater_members=raters, training=card, calibrator=calibrator_file, vessel_labels={}, out=folder)


def command(ct: Path, bundle: Path, out: Path, *options: str) -> list[str]:
    return ["segment", str(ct), "--bundle", str(bundle), "--out", str(out), "--roi", ROI, *options]


def run(*given: object) -> int:
    return run_command(command(*given))


@pytest.fixture(scope="session")
def with_raters(rater_bundle, ct_file, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("raters") / "result"
    assert run(ct_file, rater_bundle, out, "--raters", "--keep-score") == 0
    return out


def test_the_files_and_what_result_json_says_of_them(with_raters, ct_file):
    names = {path.name for path in with_raters.iterdir()}
    assert names == PLAIN | {"score.nii.gz", "raters", "disagreement.nii.gz", RECORD}
    assert {path.name for path in (with_raters / "raters").iterdir()} == {f"{name}.nii.gz" for name in IDS}
    stated = read_result_json(with_raters / "result.json")["rater_maps"]
    assert [(entry["id"], entry["file"]) for entry in stated] == [(name, f"raters/{name}.nii.gz") for name in IDS]
    ct, maps = read_volume(ct_file), []
    for entry in stated:
        found = read_volume(with_raters / entry["file"])
        assert found.geometry.same_grid(ct.geometry)
        assert found.array.dtype == np.float32
        assert entry["volume_ml"] == pytest.approx(np.count_nonzero(found.array >= 0.5) * ct.geometry.voxel_ml)
        maps.append(found.array)
    spread, score = (read_volume(with_raters / f"{name}.nii.gz").array for name in ("disagreement", "score"))
    assert np.abs(maps[0] - maps[1]).max() > 0.01
    np.testing.assert_allclose(np.mean(maps, axis=0), score, atol=1e-3)
    np.testing.assert_allclose(spread, np.std(maps, axis=0), atol=1e-3)


def test_a_further_run_without_them_takes_them_away(with_raters, rater_bundle, ct_file, tmp_path):
    out = tmp_path / "result"
    assert run(ct_file, rater_bundle, out, "--raters") == 0
    assert (out / "raters").is_dir()
    assert run(ct_file, rater_bundle, out) == 0
    assert {path.name for path in out.iterdir()} == PLAIN | {RECORD}
    stated = json.loads((out / "result.json").read_text())
    assert "rater_maps" not in stated
    assert not any(name in (out / "result.json").read_text() for name in IDS)


def test_a_folder_of_somebody_else_is_in_the_way(rater_bundle, ct_file, tmp_path, capsys):
    (tmp_path / "out" / "raters").mkdir(parents=True)
    (tmp_path / "out" / "raters" / "mine.txt").write_text("mine")
    assert_refused(command(ct_file, rater_bundle, tmp_path / "out", "--raters"), capsys, "mine.txt", "--overwrite")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["raters"]
    assert run(ct_file, rater_bundle, tmp_path / "out") == 0
    assert (tmp_path / "out" / "raters" / "mine.txt").read_text() == "mine"


def test_a_bundle_that_knows_no_single_reader_is_refused(bundle, ct_file, tmp_path, capsys):
    assert_refused(command(ct_file, bundle, tmp_path / "out", "--raters"), capsys, "single readers", "--raters")
    assert not (tmp_path / "out").exists()
    with (
        Bundle.open(bundle) as opened,
        raises_error(BundleError, "no-rater-members"),
    ):
        segment(read_volume(ct_file), opened, SegmentSettings(rater_maps=True, roi="full"))


def test_ids_reach_no_dicom_object_and_no_report(rater_bundle, ct_series, tmp_path):
    out = tmp_path / "out"
    assert run(ct_series, rater_bundle, out, "--raters", "--dicom") == 0
    objects = sorted(path for path in (out / "dicom").rglob("*") if path.is_file())
    assert objects
    for path in (*objects, out / "report.html"):
        content = path.read_bytes()
        assert not any(name.encode() in content for name in IDS), path
    assert {pydicom.dcmread(path, stop_before_pixels=True).Modality for path in objects} >= {"SEG"}


def test_contact_measured_in_one_reader_s_map_is_no_statement_of_readers(with_raters, tmp_path):
    found = read_volume(with_raters / "probability.nii.gz")
    vessel = np.zeros(found.array.shape, np.uint8)
    vessel[:, 14:18, 16:20] = 5
    write_volume(found.with_array(vessel), tmp_path / "v.nii.gz", names={"SMA": 5})
    told = {}
    for name in (f"raters/{IDS[0]}", "probability"):
        out = tmp_path / "i.json"
        run_invasion = ["invasion", str(with_raters / f"{name}.nii.gz"), "--vessels", str(tmp_path / "v.nii.gz")]
        assert run_command([*run_invasion, "--out", str(out)]) == 0
        told[name] = json.loads(out.read_text())["warnings"]
    assert told[f"raters/{IDS[0]}"][0] == ONE_READER
    assert ONE_READER not in told["probability"]


def test_a_result_that_names_another_file_is_refused(with_raters, tmp_path):
    content = json.loads((with_raters / "result.json").read_text())
    first, second = content["rater_maps"]
    for entries in (
        [first | {"file": second["file"]}],
        [first, first],
        [first, first | {"id": first["id"].upper(), "file": f"raters/{first['id'].upper()}.nii.gz"}],
    ):
        (tmp_path / "result.json").write_text(json.dumps(content | {"rater_maps": entries}))
        with raises_error(InputError, "result-malformed", "'rater_maps'"):
            read_result_json(tmp_path / "result.json")
    assert read_folder(with_raters).result["rater_maps"] == [first, second]
