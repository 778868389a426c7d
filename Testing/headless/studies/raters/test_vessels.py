from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twintrack.calibration import ScoreSketch, fit_calibrator
from twintrack.phantom import Slab, draw_panel
from twintrack.studies.raters.blocks import BlockStore
from twintrack.studies.raters.scores import CaseTruth, RaterPrediction
from twintrack.studies.raters.vessels import case_statements, rater_angles, statement_summary

pytestmark = pytest.mark.slow

SEEDS = (3, 4, 5, 6)


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], Any]:
    """Return what is stored of networks that know each rater's mask, and of others that know only their mean."""
    store, sketch = BlockStore(Slab(), draw_panel(3, seed=1), 3, None), ScoreSketch.empty()
    own, pooled = {}, {}
    for seed in SEEDS:
        block = store(seed)
        truth = CaseTruth(block.masks, block.true_mhr, block.true_raters)
        maps = tuple(mask.array.astype(np.float32) for mask in block.masks.values())
        score = np.mean(maps, axis=0, dtype=np.float32)
        angles = rater_angles(truth, block.vessels)
        sketch.add(score, {name: mask.array for name, mask in block.masks.items()})
        prediction = RaterPrediction(score, maps, tuple(block.masks))
        own[f"case {seed}"] = case_statements(prediction, truth, block.vessels, angles)
        pooled[f"case {seed}"] = case_statements(RaterPrediction(score, (score,)), truth, block.vessels, angles)
    return own, pooled, fit_calibrator(sketch)


def halves(cases: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    names = list(cases)
    return {name: cases[name] for name in names[:2]}, {name: cases[name] for name in names[2:]}


def test_networks_that_draw_as_their_raters_tell_their_fractions(stored):
    own, _, calibrator = stored
    methods = statement_summary(*halves(own), calibrator)["methods"]
    assert methods["outlines"]["vessels"] == methods["map"]["vessels"] > 0
    for kind in ("contact", "encased"):
        assert methods["outlines"][kind]["brier"] == 0
    assert methods["outlines"]["crps"] == pytest.approx(0, abs=1e-12)


def test_raters_who_touch_nothing_are_told_as_that(stored):
    own, _, calibrator = stored
    nothing = {}
    for name, case in own.items():
        vessels = {vessel: [[0.0] * len(over), far, angles] for vessel, (over, far, angles) in case["vessels"].items()}
        nothing[name] = {**case, "outlined": {**case, "vessels": vessels}}
    found = statement_summary(*halves(nothing), calibrator)["methods"]["outlines"]
    fractions = [
        np.mean(np.asarray(angles) > 0) for case in list(own.values())[2:] for _, _, angles in case["vessels"].values()
    ]
    assert found["contact"]["brier"] == pytest.approx(np.mean(np.square(fractions)))


def test_members_who_stand_for_nobody_have_no_outlines_of_raters(stored):
    _, pooled, calibrator = stored
    assert not {"outlines", "calibrated_outlines"} & set(statement_summary(*halves(pooled), calibrator)["methods"])
