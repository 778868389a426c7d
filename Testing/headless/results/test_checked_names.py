"""Names by anatomy on their way out: marked, or withheld with a reason, until a reader checked them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from twintrack.cli.app import run_command
from twintrack.dicom import write_ct_series
from twintrack.dicom.write.report_content import WITHHELD, WITHHELD_LOW
from twintrack.io.volumes import write_volume
from twintrack.results.checked_names import told_names, told_segments
from twintrack.volume import Geometry, Volume

VALUES = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5, "CHA": 6, "SPLENIC_ARTERY": 7, "SPLENIC_VEIN": 8}
LOW = ("CELIAC", "CHA", "SMV")
PATTERN = {"pattern": "no contact", "rule_set": "NCCN", "version": "2", "probability": {"no contact": 0.9}}


def vessel(name: str) -> dict[str, object]:
    confidence = "low" if name in LOW else "high"
    said = {"title": name, "named_by": "anatomy", "name_confidence": confidence}
    return said | {"present": True, "angle_deg": [0.0], "category": "none", "p_contact": 0.1, "p_encased": 0.1}


INVASION = {"schema": 2, "thresholds": [0.6], "vessels": {name: vessel(name) for name in VALUES}}
INVASION |= {"resectability": PATTERN}
UNNAMED = {"present": False, "named_by": "anatomy", "name_confidence": None, "reason": "not assessed: no name"}


def test_a_command_marks_sure_names_and_withholds_the_others() -> None:
    told = told_names(INVASION, checked=False)
    assert set(told.withheld) == set(LOW)
    assert set(told.remarks) == set(VALUES) - set(LOW)
    assert set(told.remarks.values()) == {"named by anatomy, not checked"}
    celiac = told.invasion["vessels"]["CELIAC"]
    assert (celiac["present"], celiac["reason"]) == (False, WITHHELD_LOW)
    assert "p_contact" not in celiac
    assert told.invasion["resectability"] == PATTERN  # it never held them


def test_a_reader_who_was_asked_and_did_not_check_lets_no_name_out() -> None:
    told = told_names(INVASION, checked=False, reader_asked=True)
    assert set(told.withheld) == set(VALUES)
    assert told.invasion["vessels"]["AORTA"]["reason"] == WITHHELD
    assert told.invasion["vessels"]["CHA"]["reason"] == WITHHELD_LOW
    pattern = told.invasion["resectability"]
    assert (pattern["pattern"], pattern["complete"], pattern["probability"]) == (None, False, None)
    assert pattern["reason"]


@pytest.mark.parametrize("reader_asked", [True, False])
def test_checked_and_corrected_names_are_told(reader_asked: bool) -> None:
    told = told_names(INVASION, checked=True, reader_asked=reader_asked)
    assert not told.withheld
    assert set(told.remarks.values()) == {"named by anatomy, checked"}
    assert told.invasion["resectability"] == PATTERN
    by_hand = {"SMA": vessel("SMA") | {"named_by": "hand", "name_confidence": None}, "AORTA": {"present": True}}
    told = told_names({"thresholds": [0.5], "vessels": by_hand}, checked=False, reader_asked=reader_asked)
    assert (told.withheld, told.remarks) == ((), {"SMA": "name corrected by hand"})


def test_withheld_voxels_are_arteries_or_veins() -> None:
    array = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    volume = Volume(array, Geometry((3, 3, 1), (1.0, 1.0, 1.0)))
    masks = {name: volume.with_array(array == value) for name, value in VALUES.items()}
    told = told_segments(masks, LOW)
    assert set(told) == set(VALUES) - set(LOW) | {"ARTERIES", "VEINS"}
    assert np.array_equal(told["ARTERIES"].array, np.isin(array, [VALUES["CELIAC"], VALUES["CHA"]]))
    assert np.array_equal(told["VEINS"].array, array == VALUES["SMV"])


@pytest.fixture(scope="module")
def named_result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a series, and a result folder whose vessels got their names by anatomy."""
    folder = tmp_path_factory.mktemp("named")
    geometry = Geometry((20, 18, 12), (1.5, 1.25, 3.0))
    ct = Volume(np.random.default_rng(3).integers(-900, 900, geometry.shape).astype(np.int16), geometry)
    write_ct_series(ct, folder / "ct", description="segmented")
    k, j, i = np.indices(geometry.shape)
    array = np.clip(1.2 - np.sqrt((i - 7) ** 2 + (j - 6) ** 2 + (2 * (k - 4)) ** 2) / 7, 0, 1).astype(np.float32)
    named = np.zeros(geometry.shape, np.uint8)
    for value in VALUES.values():
        named[1:9, 16, 2 * value] = value
    classes = np.choose(named, [0, 3, 3, 2, 2, 2, 2, 2, 3]).astype(np.uint8)
    labels = classes.copy()
    labels[array >= np.float32(0.6)] = 1
    result = folder / "result"
    result.mkdir()
    write_volume(ct.with_array(array), result / "probability.nii.gz")
    write_volume(ct.with_array(labels), result / "segmentation.nii.gz")
    write_volume(ct.with_array(classes), result / "vessels.nii.gz")
    write_volume(ct.with_array(named), result / "named_vessels.nii.gz")
    stated = {
        "schema": 1,
        "bundle": {"name": "test bundle", "version": "1.0", "sha256": "ab" * 32, "raters": 5},
        "calibrator": {"target": "mhr", "bins": 250},
        "device": "cpu",
        "threshold": 0.6,
        "volume_ml": {"expected": 2.0, "at_threshold": 1.0, "p10": 0.5, "p90": 3.0},
        "lesions": [],
        "labels": {"tumor": 1, "ARTERIES": 2, "VEINS": 3},
        "vessel_values": {"ARTERIES": 2, "VEINS": 3},
        "named_vessel_values": VALUES,
    }
    (result / "result.json").write_text(json.dumps(stated), encoding="utf-8")
    written = INVASION | {"vessels": INVASION["vessels"] | {"PORTA_SMV": UNNAMED}}
    (result / "invasion.json").write_text(json.dumps(written), encoding="utf-8")
    return folder / "ct", result


CODES = {
    "PORTA": codes.SCT.PortalVein,
    "SMV": codes.SCT.SuperiorMesentericVein,
    "CELIAC": codes.SCT.CeliacAxis,
    "SMA": codes.SCT.SuperiorMesentericArtery,
    "CHA": codes.SCT.CommonHepaticArtery,
    "SPLENIC_ARTERY": codes.SCT.SplenicArtery,
    "SPLENIC_VEIN": codes.SCT.SplenicVein,
    "ARTERIES": codes.SCT.Artery,
    "VEINS": codes.SCT.Vein,
}
"""The aorta has one in DICOM's own tables too, which is tested with the five vessels."""


def segments_of(path: Path) -> dict[str, pydicom.Dataset]:
    items = pydicom.dcmread(path).SegmentSequence
    return {item.TrackingID: item for item in items if "TrackingID" in item}  # a label map's background has none


@pytest.mark.slow
@pytest.mark.parametrize("checked", [False, True])
def test_dicom_objects_have_the_named_vessels_and_say_who_named_them(
    named_result: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], checked: bool
) -> None:
    series, result = named_result
    command = ["export", str(result), "--series", str(series), "--out", str(tmp_path / "out"), "--labelmap"]
    assert run_command([*command, *(["--names-checked"] if checked else [])]) == 0
    said = capsys.readouterr().err
    told = set(VALUES) if checked else set(VALUES) - set(LOW) | {"ARTERIES", "VEINS"}
    for file in ("segmentation.dcm", "labelmap.dcm"):
        segments = segments_of(tmp_path / "out" / file)
        assert {name for name in segments if not name.startswith("tumor")} == told
        for name in told & set(CODES):
            code = segments[name].SegmentedPropertyTypeCodeSequence[0]
            assert (code.CodingSchemeDesignator, code.CodeValue) == ("SCT", CODES[name].value)
        mark = "named by anatomy, checked" if checked else "named by anatomy, not checked"
        assert segments["SMA"].SegmentLabel == f"Superior mesenteric artery, {mark}"
        assert all(len(item.SegmentLabel) <= 64 for item in segments.values())
    report = str(pydicom.dcmread(tmp_path / "out" / "report.dcm"))
    assert mark.capitalize() in report
    assert "Not assessed: which vessel it is was not found by anatomy" in report
    assert ("Withheld: named by anatomy, not sure, and not checked" in report) is not checked
    assert ("--names-checked" in said) is not checked
    if not checked:
        assert all(name in said for name in LOW)
