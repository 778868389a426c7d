"""What a phantom's raters say, and that what ships for the demo belongs to the demo's phantom."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from twintrack.phantom import make_phantom
from twintrack.phantom.readings import rater_readings
from twintrack.studies.demo import DEMO_RATERS, DEMO_SEED


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What two raters of the demo's phantom say."""
    return rater_readings(make_phantom(DEMO_SEED, raters=2))


@pytest.mark.slow
def test_raters_readings_are_fractions_of_their_number(found) -> None:
    assert found["raters"] == 2
    for vessel in found["vessels"].values():
        assert {vessel["contact"], vessel["encased"]} <= {0.0, 0.5, 1.0}
        assert vessel["encased"] <= vessel["contact"]
    assert found["volume_ml"]["p10"] <= found["volume_ml"]["median"] <= found["volume_ml"]["p90"]


@pytest.mark.slow
def test_the_shipped_readings_are_those_of_the_demo(found) -> None:
    said = json.loads(resources.files("twintrack").joinpath("data/demo_readers.json").read_text(encoding="utf-8"))
    assert (said["seed"], said["raters"]) == (DEMO_SEED, DEMO_RATERS)
    for name, vessel in found["vessels"].items():
        # Two of the twelve: no more of the twelve can lack what both of them see.
        assert said["vessels"][name]["contact"] * DEMO_RATERS >= 2 * vessel["contact"] - 1e-9
        assert said["vessels"][name]["encased"] * DEMO_RATERS >= 2 * vessel["encased"] - 1e-9
