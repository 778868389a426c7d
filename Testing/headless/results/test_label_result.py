"""A result that came back from a server gets label and name in all its files, and nothing else changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.errors import InputError
from twintrack.io.ct import load_ct
from twintrack.io.volumes import read_volume, write_volume
from twintrack.results.dicom_objects import write_objects
from twintrack.results.label_result import label_result
from twintrack.results.report.html import read_panel, write_report
from twintrack.results.report.live_panel import live_panel
from twintrack.results.report.overview import write_overview
from twintrack.results.which_ct import WhichCt, describe_ct
from twintrack.settings import SegmentSettings
from twintrack.system.json_file import json_for_script
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.render

PICTURES = {"SMA": b"a picture"}
INVASION = {"thresholds": [0.5], "vessels": {"SMA": {"present": True, "angle_deg": [90.0]}}}


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    geometry = Geometry((20, 18, 12), (1.5, 1.25, 3.0))
    array = np.random.default_rng(3).integers(-900, 900, geometry.shape).astype(np.int16)
    folder = tmp_path_factory.mktemp("series") / "DOE JANE"
    write_ct_series(Volume(array, geometry), folder, description="x")
    return folder


def write_all(folder: Path, series: Path, case: str | None, name: str | None) -> None:
    """Write a result as a run leaves it, with that label and that name of the CT."""
    ct = load_ct(series)
    probability = np.zeros(ct.volume.array.shape, np.float32)
    probability[4:8, 5:11, 6:12] = 0.9
    map_volume, labels = ct.volume.with_array(probability), ct.volume.with_array((probability > 0.5).astype(np.uint8))
    result = {
        "schema": 1,
        "bundle": {"name": "b", "version": "1", "sha256": "ab" * 32, "raters": 5},
        "calibrator": {"target": "mhr", "bins": 250},
        "device": "cpu",
        "input": {**describe_ct(ct, case), "name": name, "created": "2026-01-01T00:00:00Z"},
        "settings": {"case": case, "threshold": 0.5},
        "threshold": 0.5,
        "volume_ml": {"at_threshold": 1.0},
        "labels": {"tumor": 1},
    }
    folder.mkdir()
    write_volume(map_volume, folder / "probability.nii.gz")
    write_overview(folder / "overview.png", ct.volume, map_volume, threshold=0.5, which=WhichCt.of(result).short)
    panel = json_for_script(live_panel(ct.volume, map_volume, None, result))
    overview = folder / "overview.png"
    write_report(folder / "report.html", result, INVASION, overview, vessel_pictures=PICTURES, panel=panel)
    (folder / "invasion.json").write_text(json.dumps(INVASION))
    write_objects(folder / "dicom", read_series(series), labels, map_volume, result, INVASION)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def labels_of(folder: Path) -> list[str]:
    """Return the texts at the top of the structured report."""
    items = pydicom.dcmread(folder / "dicom" / "report.dcm").ContentSequence
    return [item.TextValue for item in items if item.ValueType == "TEXT"]


@pytest.mark.parametrize("case", ["Fall Müller 症", None])
def test_it_is_then_as_if_it_had_been_made_here(series, tmp_path, case):
    write_all(tmp_path / "there", series, None, "series")
    write_all(tmp_path / "here", series, case, "DOE JANE")
    before = (tmp_path / "there" / "dicom" / "segmentation.dcm").read_bytes()
    label_result(tmp_path / "there", series, SegmentSettings(case=case))
    for name in ("result.json", "report.html", "overview.png", "invasion.json"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    assert read_panel(tmp_path / "there" / "report.html")
    assert labels_of(tmp_path / "there") == labels_of(tmp_path / "here")
    stated = json.loads((tmp_path / "there" / "result.json").read_text())["input"]
    assert labels_of(tmp_path / "there")[-1] == stated["case"] == (case or stated["sha256"][:8])
    assert (tmp_path / "there" / "dicom" / "segmentation.dcm").read_bytes() == before
    assert read_volume(tmp_path / "there" / "probability.nii.gz").array.any()


def test_without_the_packages_for_it_the_report_keeps_the_hash_and_that_is_told(series, tmp_path, monkeypatch, caplog):
    write_all(tmp_path / "there", series, None, "series")
    report = (tmp_path / "there" / "report.html").read_bytes()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    label_result(tmp_path / "there", series, SegmentSettings(case="DOE 7"))
    assert (tmp_path / "there" / "report.html").read_bytes() == report
    assert json.loads((tmp_path / "there" / "result.json").read_text())["input"]["case"] == "DOE 7"
    assert "because jinja2 is missing" in caplog.text
    assert "DOE" not in caplog.text


@pytest.mark.parametrize(
    ("missing", "code"),
    [("result.json", "result-incomplete"), ("report.html", "report-unreadable"), ("overview.png", "report-unreadable")],
)
def test_a_result_that_lacks_a_file_is_one_sentence(series, tmp_path, missing, code):
    write_all(tmp_path / "there", series, None, "series")
    (tmp_path / "there" / missing).unlink()
    with raises_error(InputError, code, missing):
        label_result(tmp_path / "there", series, SegmentSettings(case="x"))
