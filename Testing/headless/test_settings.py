"""Options are checked where they are read."""

from __future__ import annotations

import json

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.settings import SegmentSettings, parse_roi, parse_vessel_names


def test_rois_are_read():
    assert parse_roi("auto") == "auto"
    assert parse_roi("full") == "full"
    assert parse_roi("1,2,3,4,5,6") == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("text", ["", "all", "1,2,3", "1,2,3,4,5,x", "1,2,3,4,5,6,7", "1.5,2,3,4,5,6"])
def test_other_rois_are_refused(text):
    with raises_error(InputError, "region-numbers"):
        parse_roi(text)


def test_vessel_names_are_read():
    assert parse_vessel_names("PORTA=1, CHA=12, AORTA=aorta") == {"PORTA": 1, "CHA": 12, "AORTA": "aorta"}


@pytest.mark.parametrize(
    "text", ["", "PORTA", "PORTA=", "=1", "PORTA=0", "PORTA=70000", "A=1,A=2", "A=1,B=1", "A=a,B=a"]
)
def test_other_vessel_names_are_refused(text):
    with pytest.raises(InputError, match="vessel"):
        parse_vessel_names(text)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
def test_thresholds_outside_zero_to_one_are_refused(threshold):
    with raises_error(InputError, "threshold-range"):
        SegmentSettings(threshold=threshold)


@pytest.mark.parametrize("contact_mm", [0, 0.49, 5.01, -1, float("nan"), float("inf")])
def test_contact_distances_that_are_none_are_refused(contact_mm):
    with raises_error(InputError, "contact-distance", "contact_mm", "0.5"):
        SegmentSettings(contact_mm=contact_mm)


@pytest.mark.parametrize("contact_mm", [True, "2", [2.0]])
def test_contact_distances_of_another_kind_are_refused(contact_mm):
    with raises_error(InputError, "option-type", "'contact_mm'"):
        SegmentSettings.from_json({"contact_mm": contact_mm})


def test_vessels_are_named_or_not_and_nothing_else():
    assert SegmentSettings.from_json({"name_vessels": "off"}).name_vessels == "off"
    assert SegmentSettings.from_json({}).name_vessels == "auto"
    with raises_error(InputError, "name-vessels-unknown", "auto", "off", "on"):
        SegmentSettings(name_vessels="on")


def test_settings_survive_json():
    settings = SegmentSettings(roi=(1, 2, 3, 4, 5, 6), threshold=0.4, vessel_names={"CHA": 3}, contact_mm=2.5)
    assert SegmentSettings.from_json(settings.to_json()) == settings


def test_all_settings_come_back_from_json():
    assert SegmentSettings.from_json(json.loads(json.dumps(SegmentSettings().to_json()))) == SegmentSettings()


@pytest.mark.parametrize("label", [5, ["DOE"], "DOE" * 2000, "DOE\0", "DOE\udcff", "DOE\\JANE"])
def test_a_label_that_cannot_be_one_is_refused_without_being_repeated(label):
    with pytest.raises(InputError, match="case") as caught:
        SegmentSettings.from_json({"case": label})
    assert "DOE" not in str(caught.value)


def test_the_setting_goes_through_json():
    settings = SegmentSettings(calibrator="site.json")
    assert SegmentSettings.from_json(settings.to_json()) == settings
