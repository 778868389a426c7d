"""Statements in the experiment: fitted on the calibration cases, true on the test cases where the map is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twintrack.calibration import ScoreSketch, fit_calibrator
from twintrack.calibration.statements import ANGLES_DEG, StatementKey, Statements, StatementTable, fit_statements
from twintrack.phantom import make_phantom
from twintrack.progress.callbacks import CancelToken
from twintrack.studies.table1.cases import StudyVolumes
from twintrack.studies.table1.vessel_statements import (
    CaseVessels,
    VesselLevels,
    _counts,
    case_vessels,
    summarize_statements,
    vessel_lines,
)

NETWORKS = "a" * 64
RATERS = 12


def cases(count: int, seed: int) -> dict[str, CaseVessels]:
    """Cases whose raters' fraction over an angle is the square root of the score's level for it."""
    rng = np.random.default_rng(seed)
    angle = np.asarray(ANGLES_DEG) / 360
    found = {}
    for number in range(count):
        vessels = {}
        for name in ("SMV", "SMA", "PORTA"):
            levels = rng.uniform(0, 1) * (1 - angle) ** rng.uniform(0.5, 3)
            # A rater reaches each angle whose fraction is above the rater's own, equally likely, number.
            reached = [(np.sqrt(levels) > own).sum() * 5.0 for own in rng.uniform(size=RATERS)]
            vessels[name] = VesselLevels(tuple(levels.tolist()), 2, tuple(max(angle - 1.0, 0.0) for angle in reached))
        found[f"c{seed}_{number}"] = CaseVessels(1.9, vessels, (), 1.0, RATERS, RATERS)
    return found


@pytest.fixture(scope="module")
def calibrator():
    """A map that tells the score itself."""
    rng = np.random.default_rng(0)
    score = rng.random((40, 40, 40)).astype(np.float32)
    marks = [rng.random(score.shape) < score for _ in range(4)]
    return fit_calibrator(ScoreSketch.of_case(score, marks) + ScoreSketch.of_case(score, marks))


@pytest.fixture(scope="module")
def summary(calibrator):
    return summarize_statements(cases(60, 1), cases(60, 2), calibrator, None, NETWORKS)


def shipped(seed: int, key: StatementKey) -> Statements:
    table = StatementTable(key, {number: _counts(case) for number, case in enumerate(cases(40, seed).values())})
    found = fit_statements(table, resamples=0)
    assert found is not None
    return found


@pytest.mark.slow
def test_statements_are_true_on_cases_they_have_not_seen_where_the_map_and_the_name_are_not(summary):
    methods = summary["methods"]
    assert list(methods) == ["calibrated", "map", "base_rate"]
    for kind in ("contact", "encased"):
        told = methods["calibrated"][kind]
        assert told["calibration_error"] < 0.06
        assert methods["map"][kind]["calibration_error"] > 0.15
        assert told["brier"] < 0.5 * methods["base_rate"][kind]["brier"]
    # What is shown of readers in the map is too low: a level is below its root.
    assert methods["map"]["contact"]["bias"] < -0.1


@pytest.mark.slow
def test_the_bundle_s_own_statements_stand_beside_them_where_they_hold(calibrator):
    key = StatementKey(NETWORKS, "predicted", 1.9)
    first, second = cases(20, 3), cases(20, 4)
    held = summarize_statements(first, second, calibrator, shipped(5, key), NETWORKS)
    assert "bundle" in held["methods"]
    other = shipped(5, replace(key, networks_sha256="b" * 64))
    assert "bundle" not in summarize_statements(first, second, calibrator, other, NETWORKS)["methods"]


def test_too_few_cases_are_said_and_the_rest_is_still_told(calibrator):
    found = summarize_statements(cases(4, 6), cases(10, 7), calibrator, None, NETWORKS)
    assert list(found["methods"]) == ["map", "base_rate"]
    text = "\n".join(vessel_lines(found))
    assert "No statements were calibrated: only 4 of 4 cases have a vessel near tumour" in text
    assert "Statements calibrated on the calibration cases" not in text


@pytest.mark.slow
def test_without_reference_vessels_there_is_no_section(calibrator):
    assert summarize_statements({}, {}, calibrator, None, NETWORKS) is None
    assert vessel_lines(None) == []
    phantom = make_phantom(3, raters=2)
    masks = {str(number): mask for number, mask in enumerate(phantom.annotations, start=1)}
    assert case_vessels(None, StudyVolumes(phantom.ct, masks, None), CancelToken()) is None


@pytest.mark.slow
def test_a_case_without_a_run_counts_its_raters_and_says_nothing(calibrator):
    phantom = make_phantom(3, raters=2)
    masks = {str(number): mask for number, mask in enumerate(phantom.annotations, start=1)}
    found = case_vessels(None, StudyVolumes(phantom.ct, masks, phantom.vessels), CancelToken())
    assert (found.vessels, found.marked, found.raters) == ({}, 2, 2)
    assert summarize_statements({"a": found}, {"b": found}, calibrator, None, NETWORKS) is None


def test_what_is_kept_is_what_was_measured():
    for case in cases(3, 8).values():
        assert CaseVessels.from_json(case.to_json()) == case
    with pytest.raises((KeyError, TypeError, ValueError)):
        CaseVessels.from_json({"vessels": {"SMV": [1]}})


def test_the_tables_show_every_method_for_contact_and_more_than_half_a_turn(summary):
    text = "\n".join(vessel_lines(summary))
    assert text.count("| Statements calibrated on the calibration cases |") == 3
    assert text.count("| Read from the MHR map |") == 3
    assert "180 vessels of 60 test cases" in text
