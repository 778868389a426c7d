"""An outline edited by hand is measured, marked everywhere, and can be given up."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

import slicer
from expected_errors import raises_error
from twintrack.errors import InputError
from TwinTrackSegLib.mrml.export.ResultFiles import EDITED_NOTE, currentRecord, saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.Correction import measureOutline, restoreOutline
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask, volumeFromNode
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def draw(result, mask) -> None:
    """Change the tumour segment as Segment Editor does."""
    drawSegment(result.nodes.segmentation, "tumor", mask, result.nodes.ct)


def around(result, halfCircle: bool):
    """Return the drawn tumour: a ring around the vessel, whole or the half of it that faces the tumour."""
    vessel = segmentMask(result.nodes.segmentation, "SMA", result.nodes.ct)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    return ring & (x < middle[2]) if halfCircle else ring


def test_an_outline_that_nobody_touched_is_not_marked(loaded):
    assert not measureOutline(loaded)
    assert loaded.record.edited is None


def test_a_ring_around_the_vessel_reads_as_encasement(loaded):
    mask = around(loaded, halfCircle=False)
    draw(loaded, mask)
    assert measureOutline(loaded)
    readout = next(r for r in loaded.outline.readouts if r.name == "SMA")
    assert readout.angle_deg == pytest.approx(360, abs=10)
    assert readout.outlineCategory == "encasement"
    assert readout.category == "abutment"
    assert readout.p_contact == 0.8  # what readers are expected to say stays the map's
    assert loaded.outline.volumeMl == pytest.approx(mask.sum() * 0.002)
    drawn = volumeFromNode(loaded.nodes.mhr).array >= 0.5
    assert loaded.record.edited["added_ml"] == pytest.approx((mask & ~drawn).sum() * 0.002)
    assert loaded.record.edited["removed_ml"] == pytest.approx((drawn & ~mask).sum() * 0.002)


def test_half_a_ring_reads_as_about_half_a_turn(loaded):
    draw(loaded, around(loaded, halfCircle=True))
    measureOutline(loaded)
    readout = next(r for r in loaded.outline.readouts if r.name == "SMA")
    assert readout.angle_deg == pytest.approx(180, abs=25)


@pytest.mark.slow
def test_the_edit_is_marked_on_the_segment_and_survives_save_and_reload(loaded, scene, tmp_path):
    draw(loaded, around(loaded, halfCircle=False))
    measureOutline(loaded)
    path = str(tmp_path / "scene.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    assert again.record.edited["volume_ml"] == pytest.approx(again.outline.volumeMl)
    segment = again.nodes.segmentation.GetSegmentation().GetSegment("tumor")
    assert segment.GetName() == "Tumour (edited)"
    assert again.outline.readouts[0].outlineCategory == "encasement"


def test_the_threshold_of_an_edited_outline_does_not_move(loaded):
    draw(loaded, around(loaded, halfCircle=False))
    measureOutline(loaded)
    with raises_error(InputError, "outline-edited"):
        loaded.outline.setThreshold(0.3)


def test_restoring_gives_the_maps_outline_and_numbers_back(loaded):
    before = loaded.outline.volumeMl
    draw(loaded, around(loaded, halfCircle=False))
    measureOutline(loaded)
    restoreOutline(loaded)
    assert loaded.record.edited is None
    assert loaded.outline.volumeMl == before
    assert loaded.outline.readouts[0].angle_deg == 120
    mask = segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct)
    np.testing.assert_array_equal(mask, volumeFromNode(loaded.nodes.mhr).array >= 0.5)
    assert loaded.nodes.segmentation.GetSegmentation().GetSegment("tumor").GetName() == "Tumour"


def test_an_emptied_segment_is_refused(loaded):
    draw(loaded, np.zeros(volumeFromNode(loaded.nodes.mhr).array.shape, dtype=bool))
    with raises_error(InputError, "tumour-empty"):
        measureOutline(loaded)


@pytest.mark.render
def test_report_and_record_say_that_the_outline_was_edited(loaded, tmp_path):
    assert EDITED_NOTE not in currentRecord(loaded)[0].get("warnings", [])
    draw(loaded, around(loaded, halfCircle=False))
    measureOutline(loaded)
    record, invasion = currentRecord(loaded)
    assert record["warnings"][0] == EDITED_NOTE
    assert set(invasion["vessels"]["SMA"]["angle_deg"]) == {loaded.outline.readouts[0].angle_deg}
    html = saveReport(loaded, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "edited by hand" in html
    assert "encasement" in html


@pytest.mark.render
def test_reports_are_written_as_html_and_pdf_and_nothing_else(loaded, tmp_path):
    assert saveReport(loaded, tmp_path / "r.html").stat().st_size > 10_000
    assert saveReport(loaded, tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")
    with raises_error(InputError, "report-ending"):
        saveReport(loaded, tmp_path / "r.doc")


@pytest.mark.render
def test_another_slicer_that_starts_meanwhile_leaves_the_report_s_folder_alone(loaded, tmp_path, monkeypatch):
    import twintrack.results.report.overview

    write, made = twintrack.results.report.overview.write_overview, []

    def whileAnotherStarts(path, *arguments, **options):
        write(path, *arguments, **options)
        with temporaryFolder() as other:  # clears up what it takes for abandoned
            made.append(other.parent == path.parent.parent)

    monkeypatch.setattr(twintrack.results.report.overview, "write_overview", whileAnotherStarts)
    assert saveReport(loaded, tmp_path / "r.html").stat().st_size > 10_000
    assert made == [True]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_saved_volumes_are_the_scenes(loaded, tmp_path, ending):
    from twintrack.io.volumes import read_volume

    loaded.outline.setThreshold(0.3, settled=False)
    probability, segments, listed, vessels = saveVolumes(loaded, tmp_path, ending)
    np.testing.assert_array_equal(read_volume(probability).array, volumeFromNode(loaded.nodes.mhr).array)
    values = dict(reversed(line.split()) for line in listed.read_text().splitlines())
    drawn = read_volume(segments).array == int(values["tumor"])
    np.testing.assert_array_equal(drawn, volumeFromNode(loaded.nodes.mhr).array >= np.float32(0.3))
    artery = segmentMask(loaded.nodes.segmentation, "SMA", loaded.nodes.ct)
    np.testing.assert_array_equal(read_volume(vessels).array == int(values["SMA"]), artery)
    assert (artery & drawn).any()  # one label a voxel holds only one of the two
    np.testing.assert_array_equal(read_volume(segments).array == int(values["SMA"]), artery & ~drawn)
