"""A vessel's row: fractions of readers first, in the report's words, and what is missing says why."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")


def row(**fields):
    from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout
    from TwinTrackSegLib.present.VesselRows import rowsOf

    return rowsOf([VesselReadout("SMA", **{"present": True} | fields)])[0]


FULL = {
    "angle_deg": 200.4,
    "length_mm": 12.4,
    "category": "abutment",
    "angle_median_deg": 120.2,
    "angle_p10_deg": 60.0,
    "angle_p90_deg": 190.0,
    "p_contact": 0.8,
    "p_encased": 0.02,
    "expected_angle_deg": 118.0,
    "coverage": 0.93,
}


def test_fractions_of_readers_come_first_then_the_median_reader_then_this_outline():
    assert row(**FULL).cells == ("SMA", "80", "under 3", "◐ 120° (60–190)", "● 200°")
    assert row(**FULL).category == "abutment"
    assert row(**FULL).whyFrom is None


def test_every_cell_has_a_head_and_every_head_explains_itself():
    from TwinTrackSegLib.present.VesselRows import heads

    assert len(heads()) == len(row(**FULL).cells)
    assert all(title and tip for title, tip in heads())
    assert "encasement, more than 180°" in heads()[3][1]


def test_the_words_are_those_of_the_report():
    from twintrack.results.report.vessel_rows import vessel_rows

    vessel = {"present": True, "p_contact": 0.8, "p_encased": 0.02, "angle_p10_deg": 60.0, "angle_p90_deg": 190.0}
    (report,) = vessel_rows({"vessels": {"SMA": vessel}}, 0.5)
    cells = row(**FULL).cells
    assert [f"{cell} %" for cell in cells[1:3]] == [report.contact, report.encased]
    assert report.further.removesuffix("°") in cells[3]


def test_a_free_vessel_says_how_far_the_outline_is_away():
    free = row(**FULL | {"angle_deg": 0.0, "gap_mm": 3.24})
    assert free.cells[4] == "○ 3.2 mm"
    assert "This outline: 3.2 mm away" in free.tip
    assert row(**FULL | {"angle_deg": 0.0}).cells[4] == "○ 0°"


def test_a_vessel_that_is_not_there_has_no_numbers():
    assert row(present=False).cells == ("SMA", "–", "–", "–", "not seen")


@pytest.mark.parametrize(
    ("known", "whyFrom"), [({}, 1), ({"p_contact": 0.55}, 2), ({"p_contact": 0.55, "p_encased": 0.1}, 3)]
)
def test_what_is_missing_says_why_from_the_first_empty_cell_on(known, whyFrom):
    found = row(reason="the tumour lies at its end", **known)
    assert found.whyFrom == whyFrom
    assert found.why == "the tumour lies at its end"
    assert found.why in found.tip


def test_an_angle_that_is_not_known_is_not_called_unmeasured():
    assert "? angle unknown" in row(p_contact=0.55, reason="hidden").tip
    assert "? not measured" in row(reason="hidden").tip


def test_one_readers_row_has_no_category_and_no_sign():
    found = row(reader="A", angle_deg=200.0, length_mm=3.0, source="as reader A would draw it")
    assert found.cells == ("SMA", "–", "–", "–", "200°")
    assert (found.why, found.whyFrom) == ("as reader A would draw it", 1)  # taken for no other row
    assert found.tip.startswith("SMA, reader A")
    assert not any(sign in found.tip for sign in "●◐○")
