"""A brush on the tumour's segment: how much a disc marks, what stays, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

pytestmark = pytest.mark.slow

ACROSS = (0.0, 0.0, 1.0)


@pytest.fixture
def loaded(scene, tmp_path):
    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult

    ct = makeExampleCt()
    return loadResult(writeExampleResult(tmp_path / "result", ct), ct)


@pytest.fixture
def brush(loaded):
    from TwinTrackSegLib.mrml.result.Brush import Brush

    return Brush(loaded)


def tumor(result) -> np.ndarray:
    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    return segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct)


def surfaces(result) -> dict[str, int]:
    """Return how many points the surface of each segment has."""
    segmentation = result.nodes.segmentation.GetSegmentation()
    found = {
        name: segmentation.GetSegment(name).GetRepresentation("Closed surface") for name in segmentation.GetSegmentIDs()
    }
    return {name: surface.GetNumberOfPoints() for name, surface in found.items() if surface is not None}


def corner(result) -> np.ndarray:
    """Return a place in RAS mm with no tumour near it: the middle of a voxel."""
    from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, geometryFromNode

    return geometryFromNode(result.nodes.ct).to_lps_mm(np.array([10, 10, 6])) * LPS_SIGNS


def test_a_disc_marks_its_area_in_one_slice_and_a_stroke_its_way(loaded, brush):
    from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode

    spacing = geometryFromNode(loaded.nodes.ct).spacing_mm
    pixel_mm2 = spacing[0] * spacing[1]
    before, place = tumor(loaded), corner(loaded)
    brush.begin()
    assert brush.draw(place, place, ACROSS, 12.0)
    added = tumor(loaded) & ~before
    assert np.flatnonzero(added.any(axis=(1, 2))).tolist() == [6]
    assert added.sum() * pixel_mm2 == pytest.approx(np.pi * 6**2, rel=0.2)
    assert brush.draw(place, place + np.array([8, 0, 0]), ACROSS, 12.0)
    added = tumor(loaded) & ~before
    assert added.sum() * pixel_mm2 == pytest.approx(np.pi * 6**2 + 8 * 12, rel=0.2)
    assert not brush.draw(place, place, ACROSS, 6.0)  # it is marked already


def test_strokes_are_taken_back_one_by_one_and_leave_the_vessels_surfaces(loaded, brush):
    before, place, had = tumor(loaded), corner(loaded), surfaces(loaded)
    assert len(had) >= 2
    brush.begin()
    brush.draw(place, place, ACROSS, 8.0)
    brush.draw(place, place + np.array([4, 0, 0]), ACROSS, 8.0)
    one = tumor(loaded)
    brush.begin()
    brush.draw(place, place, ACROSS, 30.0, erase=True)
    assert (tumor(loaded) & one).sum() < one.sum()
    now = surfaces(loaded)
    assert {name: now[name] for name in had if name != "tumor"} == {name: had[name] for name in had if name != "tumor"}
    brush.undo()
    assert np.array_equal(tumor(loaded), one)
    brush.undo()
    assert np.array_equal(tumor(loaded), before)
    assert not brush.canUndo
    brush.undo()
    assert np.array_equal(tumor(loaded), before)


def test_what_was_drawn_is_an_edit_that_is_measured_and_given_up(loaded, brush):
    from TwinTrackSegLib.mrml.result.Correction import noticeEdit, restoreOutline
    from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode

    before, place = tumor(loaded), corner(loaded)
    brush.begin()
    brush.draw(place, place, ACROSS, 10.0)
    added = (tumor(loaded) & ~before).sum()
    assert loaded.outline.changed(quick=True)
    assert noticeEdit(loaded)
    voxel_ml = geometryFromNode(loaded.nodes.ct).voxel_ml
    assert loaded.record.edited["added_ml"] == pytest.approx(added * voxel_ml)
    restoreOutline(loaded)
    assert np.array_equal(tumor(loaded), before)
    assert not brush.canUndo  # the map's outline is no stroke of the brush
    brush.begin()
    brush.draw(place, place, ACROSS, 10.0)
    assert (tumor(loaded) & ~before).sum() == added


def test_outside_the_ct_nothing_is_drawn(loaded, brush):
    before = tumor(loaded)
    far = corner(loaded) + 5000
    assert not brush.draw(far, far, ACROSS, 10.0)
    assert np.array_equal(tumor(loaded), before)
