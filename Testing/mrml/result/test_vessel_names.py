"""Names by anatomy in the scene: named segments, corrections that are measured anew, and what may leave unchecked."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from named_example import TUBES, writeNamedResult

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from TwinTrackSegLib.mrml.export.ResultFiles import saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.result.VesselNames import (
    ANATOMY,
    HAND,
    checkNames,
    jumpToPiece,
    namePiece,
    pieceNames,
    told,
    toldReadouts,
)
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, segmentMask, volumeFromNode

pytestmark = pytest.mark.slow

UNNAMED = {"PORTA", "CHA", "SPLENIC_ARTERY", "SPLENIC_VEIN"}


@pytest.fixture
def folder(scene, tmp_path):
    return writeNamedResult(tmp_path / "result", makeExampleCt())


@pytest.fixture
def result(folder):
    import slicer

    return TwinTrackSegLogic(["unused"]).loadResult(folder, slicer.util.getNode("Example CT"))


def identifiers(result) -> set[str]:
    return set(result.nodes.segmentation.GetSegmentation().GetSegmentIDs())


def mask(result, name: str) -> np.ndarray:
    return segmentMask(result.nodes.segmentation, name, result.nodes.ct)


def vessel(result, name: str) -> dict:
    return result.record.invasion["vessels"][name]


def test_named_vessels_are_segments_and_the_rest_is_hidden_and_not_measured(result, folder):
    assert identifiers(result) == {"tumor", *TUBES, "unnamed-ARTERIES"}
    named = read_volume(folder / "named_vessels.nii.gz").array
    assert np.array_equal(mask(result, "SMA"), named == 5)
    assert not result.nodes.segmentation.GetDisplayNode().GetSegmentVisibility("unnamed-ARTERIES")
    rows = {row.piece: row for row in pieceNames(result)}
    assert {name for name, row in rows.items() if row.there} == set(TUBES)
    assert {name for name, row in rows.items() if not row.there} == UNNAMED
    assert (rows["CELIAC"].confidence, rows["SMA"].confidence, rows["SMA"].source) == ("low", "high", ANATOMY)
    assert rows["PORTA"].reason
    assert {readout.name for readout in result.outline.readouts if readout.present} == set(TUBES)


def test_a_swap_is_measured_anew_with_the_corrected_names(result):
    before = {name: vessel(result, name)["angle_deg"] for name in ("SMA", "CELIAC")}
    masks = {name: mask(result, name) for name in ("SMA", "CELIAC")}
    assert namePiece(result, "SMA", "CELIAC") == "CELIAC"
    assert identifiers(result) == {"tumor", "AORTA", "SMV", "CELIAC", "unnamed-CELIAC", "unnamed-ARTERIES"}
    assert not vessel(result, "SMA")["present"]  # nobody has that name now
    assert "SMA" in result.record.pattern["not_assessed"]
    assert namePiece(result, "CELIAC", "SMA") == ""
    assert np.array_equal(mask(result, "CELIAC"), masks["SMA"])
    assert np.array_equal(mask(result, "SMA"), masks["CELIAC"])
    assert vessel(result, "CELIAC")["angle_deg"] == pytest.approx(before["SMA"], abs=0.5)
    assert vessel(result, "SMA")["angle_deg"] == pytest.approx(before["CELIAC"], abs=0.5)
    assert {vessel(result, name)["named_by"] for name in ("SMA", "CELIAC")} == {HAND}
    assert vessel(result, "SMV")["named_by"] == ANATOMY
    assert not {"SMA", "CELIAC"} & set(result.record.pattern["not_assessed"])  # a name by hand is sure
    again = resultsOf(result.nodes.ct)[0]  # all of it is in the scene
    assert {row.piece: row.name for row in pieceNames(again) if row.source == HAND} == {
        "SMA": "CELIAC",
        "CELIAC": "SMA",
    }


def test_what_is_no_vessel_is_not_assessed_and_can_be_named_again(result):
    engine = vessel(result, "SMV")
    namePiece(result, "SMV", "")
    assert {row.name for row in result.outline.readouts if row.present} == {"AORTA", "SMA", "CELIAC"}
    assert "SMV" in result.record.pattern["not_assessed"]
    namePiece(result, "SMV", "PORTA")
    assert vessel(result, "PORTA")["present"]
    namePiece(result, "SMV", "SMV")
    assert vessel(result, "SMV") == engine  # as the run measured it
    assert not result.record.namesByHand
    with raises_error(InputError, "ct-removed"):
        namePiece(result, "nobody", "SMA")


def test_checked_names_that_were_not_sure_count_for_the_pattern(result):
    assert "CELIAC" in result.record.pattern["not_assessed"]
    checkNames(result, True)
    assert "CELIAC" not in result.record.pattern["not_assessed"]
    assert vessel(result, "CELIAC")["name_checked"] is True
    checkNames(result, False)
    assert "CELIAC" in result.record.pattern["not_assessed"]
    assert "name_checked" not in vessel(result, "CELIAC")


def test_a_segment_that_a_reader_cut_out_gets_its_name(result):
    from TwinTrackSegLib.mrml.result.ResultSegmentation import addSegment, meaningOf

    own = np.zeros(mask(result, "SMA").shape, bool)
    own[:, -4:-1, 4:9] = True
    addSegment(result.nodes.segmentation, result.nodes.ct, "Segment_1", meaningOf("Segment_1"), own)
    row = next(row for row in pieceNames(result) if row.piece == "Segment_1")
    assert (row.name, row.there) == ("", True)
    namePiece(result, "Segment_1", "PORTA")
    assert np.array_equal(mask(result, "PORTA"), own)
    assert vessel(result, "PORTA")["named_by"] == HAND
    assert next(row for row in pieceNames(result) if row.piece == "Segment_1").name == "PORTA"


def test_a_jump_goes_to_the_middle_of_the_vessel(result):
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    index = np.argwhere(mask(result, "SMA"))
    assert jumpToPiece(result, "SMA")
    shown = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
    middle = volumeFromNode(result.nodes.ct).geometry.to_lps_mm(index.mean(axis=0)[::-1]) * (-1, -1, 1)
    normal = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]
    assert abs((shown - middle) @ normal) < 3.0
    assert not jumpToPiece(result, "PORTA")


def test_no_name_by_anatomy_leaves_unchecked(result, tmp_path):
    assert set(told(result, result.record.invasion).withheld) == set(TUBES)
    assert not any(readout.present for readout in toldReadouts(result))
    page = saveReport(result, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no reader checked it" in page
    files = saveVolumes(result, tmp_path)
    listed = next(path for path in files if path.suffix == ".txt").read_text(encoding="utf-8")
    assert "SMA (named by anatomy, not checked)" in listed
    namePiece(result, "SMA", "CELIAC")  # by hand: a fact
    assert set(told(result, result.record.invasion).withheld) == {"AORTA", "SMV"}
    checkNames(result, True)
    assert told(result, result.record.invasion).withheld == ()


@pytest.mark.parametrize("checked", [False, True])
def test_dicom_has_names_after_the_check(scene, tmp_path, checked):
    import pydicom

    from TwinTrackSegLib.mrml.export.DicomExport import exportDicomSeg

    write_ct_series(volumeFromNode(makeExampleCt()), tmp_path / "ct", description="Example")
    scene.Clear(False)
    node = nodeFromVolume(read_series(tmp_path / "ct").volume, "CT from DICOM")
    result = TwinTrackSegLogic(["unused"]).loadResult(writeNamedResult(tmp_path / "result", node), node)
    checkNames(result, checked)
    path = exportDicomSeg(result, tmp_path / "seg.dcm", tmp_path / "ct")
    segments = {item.TrackingID for item in pydicom.dcmread(path).SegmentSequence}
    vessels = {name for name in segments if not name.startswith("tumor")}
    assert vessels == (set(TUBES) if checked else {"ARTERIES", "VEINS"})
    report = str(pydicom.dcmread(tmp_path / "seg-report.dcm"))
    assert ("Named by anatomy, checked" in report) is checked
    assert ("Withheld: named by anatomy, and no reader checked it" in report) is not checked
    assert ("Anatomic contact pattern" in report) is checked
