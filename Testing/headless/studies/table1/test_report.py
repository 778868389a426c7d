"""The experiment's outcome: who is marked, who is best, and what the picture is drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.calibration import ScoreSketch, fit_calibrator, reliability_curve
from twintrack.studies.table1.report import TestScores as MeasuredCase
from twintrack.studies.table1.report import _curve, _warnings, summarize
from twintrack.studies.table1.score_cases import _reliability
from twintrack.studies.table1.tables import ROW_NAMES, markdown_report, paper_rows, result_rows
from twintrack.studies.table_format import SHOWN, latex_table, markdown_table

ABOUT = {
    "data": {"kind": "phantoms"},
    "bundle": {"name": "b", "version": "1"},
    "calibration_cases": 2,
    "test_cases": 20,
    "bins": 250,
    "single_rater": "1",
    "bootstrap": 500,
    "seed": 0,
    "maps": {"hard-label": {"largest_difference": 0.0, "at_score": 0.1}},
    "warnings": [],
}


def cases(**shift: float) -> list[MeasuredCase]:
    """Twenty cases whose rows differ from the MHR row by a constant, or by noise without a mean."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(20):
        base = {key: float(value) for key, value in zip(SHOWN, rng.uniform(10, 20, len(SHOWN)), strict=True)}
        noise = (-1) ** number
        rows = {name: {key: value + shift.get(name, noise) for key, value in base.items()} for name in ROW_NAMES}
        rows["mhr"] = base
        found.append(MeasuredCase(f"c{number}", rows, {}))
    return found


def test_the_paired_difference_knows_a_shift_far_smaller_than_the_spread_of_the_cases():
    rows = summarize(cases(none=0.25), resamples=300, seed=1)["rows"]
    difference = rows["none"]["difference"]["crps"]
    assert (difference["low"], difference["high"]) == pytest.approx((0.25, 0.25))
    assert rows["none"]["metrics"]["crps"]["high"] - rows["none"]["metrics"]["crps"]["low"] > 1
    assert "difference" not in rows["mhr"]


def test_marks_follow_the_direction_of_each_metric():
    summary = summarize(cases(**{"none": 0.25, "single-rater": -0.25}), resamples=2000, seed=1)
    none, single, hard, mhr = result_rows(summary)
    # More is better for TDSC alone.
    assert none.marks == {key: "‡" if key == "tdsc" else "†" for key in SHOWN}
    assert single.marks == {key: "†" if key == "tdsc" else "‡" for key in SHOWN}
    assert hard.marks == mhr.marks == {}


def test_a_metric_that_some_cases_lack_is_compared_on_the_others():
    found = cases(none=1.0)
    for case in found[:5]:
        for row in case.rows.values():
            row["vi_sma"] = None
    rows = summarize(found, resamples=100, seed=0)["rows"]
    assert rows["none"]["difference"]["vi_sma"]["cases"] == 15
    assert rows["none"]["difference"]["vi_sma"]["mean"] == pytest.approx(1.0)


def test_the_paper_s_rows_have_the_paper_s_marks_and_best_values():
    rows, number = paper_rows()
    assert (number, [row.name for row in rows]) == (64, list(ROW_NAMES.values()))
    text = "\n".join(markdown_table(rows, intervals=False))
    # As printed in table 1; the paper shows the worst value in another colour, here in italics.
    assert "| MHR (TwinTrack) | **0.569** | **0.0147** | **5924** | **28.9** | **32.8** | **6.10** | **14.5** |" in text
    assert "0.553† | 0.0156† | 6032 |" in text
    assert "| 34.2 | 42.3 | 7.29 | 17.9 | **25.9** |" in text
    assert r"25.925 [17.468, 35.119]" in "\n".join(latex_table(rows, intervals=True)).replace(
        r"\textbf{25.925}", "25.925"
    )


def test_the_report_says_where_the_order_differs_from_the_paper_s():
    summary = summarize(cases(**{"none": -1.0, "single-rater": 2.0, "hard-label": 0.0}), resamples=100, seed=0)
    text = markdown_report({**ABOUT, **summary})
    assert "| TDSC ↑ | Single-rater, Hard-label = MHR, None | MHR, None, Hard-label, Single-rater | differs |" in text
    assert "| CRPS ↓ | None, Hard-label = MHR, Single-rater | MHR, None, Hard-label, Single-rater | differs |" in text
    same = summarize(cases(**{"none": 1.0, "single-rater": 3.0, "hard-label": 2.0}), resamples=100, seed=0)
    assert "| CRPS ↓ | MHR, None, Hard-label, Single-rater | MHR, None, Hard-label, Single-rater | same |" in (
        markdown_report({**ABOUT, **same})
    )


def test_maps_that_are_empty_and_cases_without_tumor_are_named():
    found = cases()
    for number, case in enumerate(found):
        for row in case.rows.values():
            row |= {"predicted_ml": float(number != 3), "raters_ml": float(number != 4)}
    about = {"bundle": {"demo": True}, "data": {"kind": "phantoms"}}
    rng = np.random.default_rng(0)
    score = rng.random((40, 40, 40)).astype(np.float32)
    sketch = ScoreSketch.empty()
    for _ in range(10):
        sketch = sketch + ScoreSketch.of_case(score, [rng.random(score.shape) < score])
    calibrators = {"mhr": fit_calibrator(sketch)}
    assert not calibrators["mhr"].warnings
    assert _warnings(about, calibrators, found) == [
        "the score of c3 is 0 everywhere, most likely because no organ was found",
        "no rater marked tumour in c4",
    ]


def test_curves_of_single_cases_add_up_to_the_curve_of_all():
    rng = np.random.default_rng(5)
    sketches = []
    for scale in (0.3, 1.0):  # the first case leaves the upper bins empty
        score = (scale * rng.random((4, 30, 30))).astype(np.float32)
        sketches.append(ScoreSketch.of_case(score, [rng.random(score.shape) < score for _ in range(3)]))
    sketches.append(ScoreSketch.of_case(np.zeros((2, 3, 4), np.float32), [np.ones((2, 3, 4))]))
    found = _curve([_reliability(sketch, None) for sketch in sketches])
    expected = reliability_curve(sketches[0] + sketches[1])
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-12)
    np.testing.assert_allclose(found.mhr, expected.mhr, rtol=1e-12)
    assert found.gap == pytest.approx(expected.gap)
