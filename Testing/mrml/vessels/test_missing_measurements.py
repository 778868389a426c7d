"""Where a reading is missing, table, report and structured report say why; the contact pattern follows an edit."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

from TwinTrackSegLib.mrml.export.PdfReport import _lines, _notes
from TwinTrackSegLib.mrml.export.ResultFiles import currentRecord, saveReport
from TwinTrackSegLib.mrml.result.Correction import measureOutline
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.vessels.VesselTable import COLUMNS, newVesselTable, readoutsAt, updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

WHY = "the tumour touches the vessel where no cross-section can be measured"
ABSENT = "the vessel map does not hold this vessel"
INVASION = {
    "thresholds": [0.2, 0.8],
    "vessels": {
        "SMA": {"present": True, "title": "superior mesenteric artery", "angle_deg": [None, 0.0], "reason": WHY},
        "CHA": {"present": False, "title": "common hepatic artery", "reason": ABSENT},
        "SMV": {
            "present": True,
            "angle_deg": [100.0, 0.0],
            "contact_length_mm": [5.0, 0.0],
            **dict.fromkeys(("angle_p10_deg", "angle_p90_deg", "p_contact", "p_encased", "expected_angle_deg"), 0.5),
            "reason": None,
        },
    },
}
NOTE = COLUMNS.index("Note")


def test_a_missing_reading_brings_its_reason_and_an_unknown_vessel_its_title(scene):
    sma, cha, smv = readoutsAt(INVASION, 0.2)
    assert (sma.cells()[1], sma.cells()[NOTE]) == ("? not measured", WHY)
    assert (cha.cells()[0], cha.cells()[1], cha.cells()[NOTE]) == ("common hepatic artery", "not seen", ABSENT)
    assert smv.cells()[NOTE] == ""
    assert {len(readout.cells()) for readout in (sma, cha, smv)} == {len(COLUMNS)}


@pytest.mark.parametrize("had", [NOTE, NOTE + 1])
def test_the_table_of_an_older_scene_gets_the_new_columns(scene, had):
    node = newVesselTable("vessels")
    while node.GetNumberOfColumns() > had:
        node.RemoveColumn(had)
    updateVesselTable(node, readoutsAt(INVASION, 0.2))
    assert [node.GetColumnName(column) for column in range(node.GetNumberOfColumns())] == list(COLUMNS)
    assert [node.GetCellText(row, NOTE) for row in range(3)] == [WHY, ABSENT, ""]


def test_gap_and_coverage_stand_in_the_row_and_contact_has_no_gap(scene):
    gap, searched = COLUMNS.index("Gap (mm)"), COLUMNS.index("Searched (%)")
    free = INVASION["vessels"]["SMV"] | {"angle_deg": [100.0, 0.0], "gap_mm": [0.0, 3.25], "coverage": 0.64}
    levels = INVASION["thresholds"]
    content = {"schema": 2, "thresholds": levels, "vessels": {"SMV": free, "PORTA_SMV": free}}
    at_first, at_last = (readoutsAt(content, level)[0] for level in (levels[0], levels[-1]))
    assert (at_first.cells()[gap], at_last.cells()[gap]) == ("–", "3.2 mm away")
    assert {at_first.cells()[searched], at_last.cells()[searched]} == {"64"}
    assert readoutsAt(content, levels[0])[1].title == "Portal vein and SMV together"
    assert [(row.cells()[gap], row.cells()[searched]) for row in readoutsAt(INVASION, 0.2)] == [
        ("–", "–")
    ] * 3  # schema 1


def test_a_vessel_of_which_too_little_was_searched_is_not_called_free(scene):
    none = dict.fromkeys(("angle_p10_deg", "angle_p90_deg", "p_contact", "p_encased", "expected_angle_deg"))
    reason = "not assessed: too little of it was searched"
    aorta = {"present": True, "angle_deg": [None, None], "contact_length_mm": [None, None], "reason": reason, **none}
    content = {"thresholds": [0.2, 0.8], "vessels": {"AORTA": aorta | {"gap_mm": [None, None], "coverage": 0.01}}}
    (row,) = readoutsAt(content, 0.5)
    assert (row.cells()[1], row.cells()[NOTE], row.cells()[COLUMNS.index("Searched (%)")]) == (
        "? not measured",
        reason,
        "1",
    )


STATED = {
    "statements": "calibrated",
    "statements_note": "calibrated on 60 cases with 5 readers each",
    "fraction_angles_deg": [0, 180],
}


def test_a_vessel_that_is_not_calibrated_among_others_says_so_and_why(scene):
    why = "not calibrated: too few cases touch it"
    smv = INVASION["vessels"]["SMV"]
    stated = smv | {"statements": "calibrated", "p_encased": 0.0, "angle_median_deg": 12.0, "category": "abutment"}
    stated |= {"member_range": {"angle_deg": [20.4, 61.0], "members": 3}}
    content = INVASION | STATED | {"vessels": {"SMV": stated, "SMA": smv | {"statements": "map", "notes": ["x", why]}}}
    first, second = readoutsAt(content, 0.2)
    source, over, median = (COLUMNS.index(name) for name in ("Source", "Over 180° (% readers)", "Median (°)"))
    assert (first.cells()[source], first.cells()[over], first.cells()[median]) == (
        "calibrated on 60 cases with 5 readers each",
        "under 3",
        "12",
    )
    assert (first.calibrated, first.cells()[NOTE], first.cells()[COLUMNS.index("Networks (°)")]) == (
        True,
        "",
        "20–61",
    )
    assert (second.cells()[source], second.cells()[NOTE]) == ("read from the map, not calibrated", why)
    assert [row.cells()[1] for row in readoutsAt(content, 0.8)] == [row.cells()[1] for row in (first, second)]


def loadWith(folder, **changes):
    """Return the example result with other fields in its ``invasion.json``."""
    node = makeExampleCt()
    writeExampleResult(folder, node)
    content = json.loads((folder / "invasion.json").read_text())
    (folder / "invasion.json").write_text(json.dumps(content | changes))
    return TwinTrackSegLogic(["unused"]).loadResult(folder, node)


@pytest.mark.process
def test_the_structured_report_says_why_in_codes(scene, tmp_path):
    import pydicom

    from twintrack.dicom import read_series, write_ct_series
    from TwinTrackSegLib.mrml.export.DicomExport import exportDicomSeg
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    vessels = {name: INVASION["vessels"][name] for name in ("SMA", "CHA")}
    result = loadWith(tmp_path / "r", thresholds=INVASION["thresholds"], vessels=vessels)
    write_ct_series(volumeFromNode(result.nodes.ct), tmp_path / "ct", description="Example")
    assert read_series(tmp_path / "ct").volume.geometry.size == (56, 48, 24)
    exportDicomSeg(result, tmp_path / "out.dcm", tmp_path / "ct")
    text = str(pydicom.dcmread(tmp_path / "out-report.dcm"))
    for meaning in ("Contact where no cross-section can be measured", "The vessel map does not hold this vessel"):
        assert text.count(f"'{meaning}'") == 1


@pytest.mark.render
def test_the_paper_report_says_why_below_its_table(scene, tmp_path):
    result = loadWith(tmp_path / "r", vessels={"CHA": INVASION["vessels"]["CHA"]})
    assert saveReport(result, tmp_path / "r.pdf").stat().st_size > 10_000
    assert "What readers are expected to say: read from the map, not calibrated" in _lines(*currentRecord(result))
    assert _notes({"warnings": ["w"]}, result.outline.readouts) == [f"common hepatic artery: {ABSENT}", "w"]


@pytest.mark.slow
def test_the_pattern_of_an_edited_outline_stands_beside_the_readers_by_the_same_rules(scene, tmp_path):
    probability = {"arterial contact": 0.4, "none": 0.6}
    pattern = {"rules": "dpcg", "rule_set": "DPCG", "pattern": "none", "probability": probability, "reason": None}
    result = loadWith(tmp_path / "r", resectability=pattern)
    assert result.record.pattern["pattern"] == "none"
    vessel = segmentMask(result.nodes.segmentation, "SMA", result.nodes.ct)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    drawSegment(result.nodes.segmentation, "tumor", ring, result.nodes.ct)
    assert measureOutline(result)
    drawn = "artery over 90 degrees or vein over 270 degrees"
    assert (result.record.outlinePattern["rules"], result.record.outlinePattern["pattern"]) == ("dpcg", drawn)
    assert result.record.pattern["pattern"] == "none"
    told = currentRecord(result)[1]["resectability"]
    assert (told["pattern"], told["outline_pattern"]) == ("none", drawn)
    assert told["probability"] == probability  # what readers are expected to see stays the map's
