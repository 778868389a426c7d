"""What an evaluation says of vessels: readers' contact on the reference, and a result's statements beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytic_vessels import make_tube
from twintrack.calibration.statements import ANGLES_DEG
from twintrack.errors import InputError
from twintrack.studies.evaluate.vessel_statements import (
    VesselEvaluation,
    evaluate_vessels,
    summarize_vessels,
    vessel_tables,
)

NAMES = {"SMA": 1}


@pytest.fixture(scope="module")
def tubes() -> dict[int, Any]:
    return {
        angle: make_tube(radius_mm=5.0, angle_deg=angle, spacing_mm=(2.0, 2.0, 2.0), size_mm=32.0)
        for angle in (0, 100, 250)
    }


def evaluated(
    tubes: dict[int, Any], folder: Path, case: str, angles: tuple[int, ...], said: Any = None
) -> VesselEvaluation:
    folder.mkdir(exist_ok=True)
    if said is not None:
        (folder / "invasion.json").write_text(said if isinstance(said, str) else json.dumps(said), encoding="utf-8")
    masks = {
        str(number): tubes[angle].probability.with_array((tubes[angle].probability.array >= 0.5).astype(np.uint8))
        for number, angle in enumerate(angles, start=1)
    }
    return evaluate_vessels(case, folder / "probability.nii.gz", masks, tubes[0].vessel, NAMES)


def statement(contact: float, encased: float) -> dict[str, Any]:
    over = np.where(np.asarray(ANGLES_DEG) < 180, contact, encased).tolist()
    return {
        "statements": "calibrated",
        "contact_mm": 1.9,
        "fraction_angles_deg": list(ANGLES_DEG),
        "vessels": {"SMA": {"fraction_over": over}},
    }


@pytest.mark.slow
def test_readers_contact_is_measured_and_compared_with_what_was_said(tubes: dict[int, Any], tmp_path: Path) -> None:
    cases = [
        evaluated(tubes, tmp_path / "a", "a", (0, 100, 250), statement(0.6, 0.3)),
        evaluated(tubes, tmp_path / "b", "b", (250, 250, 250), statement(0.9, 0.8)),
        evaluated(tubes, tmp_path / "c", "c", (0, 0, 100), statement(0.3, 0.02)),
    ]
    assert [one.category for one in cases[0].contacts] == ["none", "abutment", "encasement"]
    found = summarize_vessels(cases)
    assert found["statements"]["source"] == "calibrated"
    assert found["statements"]["contact"]["raters"] == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
    assert found["agreement"]["together"]["raters"] == ["1", "2", "3"]
    text = "\n".join(vessel_tables(found))
    assert "## Agreement of the readers on vessels" in text
    assert "calibrated" in text
    assert "base rate" in text


def test_without_a_result_beside_the_map_readers_alone_are_compared(tubes: dict[int, Any], tmp_path: Path) -> None:
    found = summarize_vessels([evaluated(tubes, tmp_path / "a", "a", (0, 100))])
    assert found["statements"] is None
    assert "Statements about vessels" not in "\n".join(vessel_tables(found))
    assert summarize_vessels([VesselEvaluation()]) is None
    assert vessel_tables(None) == []


@pytest.mark.parametrize(
    "said", ["not json", [], {"vessels": 5}, {"vessels": {}, "contact_mm": 1e9}, {"vessels": {}, "contact_mm": "x"}]
)
def test_a_foreign_readout_is_named(tubes: dict[int, Any], tmp_path: Path, said: Any) -> None:
    with pytest.raises(InputError, match=r"invasion\.json"):
        evaluated(tubes, tmp_path / "a", "a", (0,), said)


def test_a_readout_of_an_earlier_version_has_no_statements(tubes: dict[int, Any], tmp_path: Path) -> None:
    old = {"schema": 1, "vessels": {"SMA": {"p_contact": 0.5}}}
    assert evaluated(tubes, tmp_path / "a", "a", (0, 100), old).statements == ()
