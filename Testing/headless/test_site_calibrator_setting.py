"""A calibrator of one's own takes the place of the bundle's, and a wrong one is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import twintrack
from twintrack.bundle import Bundle
from twintrack.calibration import read_calibrator, write_calibrator
from twintrack.errors import InputError
from twintrack.pipeline import _calibrator
from twintrack.settings import SegmentSettings

DEMO = Path(twintrack.__file__).parent / "data" / "demo_bundle"


def test_the_setting_goes_through_json():
    settings = SegmentSettings(calibrator="site.json")
    assert SegmentSettings.from_json(settings.to_json()) == settings


def test_an_own_calibrator_is_taken_in_place_of_the_bundles(tmp_path):
    shipped = read_calibrator(DEMO / "calibrator.json")
    own = replace(shipped, knots_y=tuple(value / 2 for value in shipped.knots_y), band=None)
    write_calibrator(own, tmp_path / "site.json")
    with Bundle.open(DEMO) as bundle:
        assert _calibrator(bundle, None).knots_y == pytest.approx(shipped.knots_y)
        assert _calibrator(bundle, str(tmp_path / "site.json")).knots_y == pytest.approx(own.knots_y)


def test_a_missing_calibrator_is_named(tmp_path):
    with Bundle.open(DEMO) as bundle, pytest.raises(InputError, match=r"nothing\.json"):
        _calibrator(bundle, str(tmp_path / "nothing.json"))
