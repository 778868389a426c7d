"""A bundle tells what its networks were trained on, as far as nnU-Net wrote it down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.bundle.fingerprint import Fingerprint, MinMedianMax
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, InputError
from twintrack.studies.make_bundle.create import BundleCard, StageSource, create_bundle

PLANS = {
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 40, "std": 90.5, "percentile_00_5": -150.0, "percentile_99_5": 250.0, "max": 3025.0}
    }
}
MEASURED = {
    "spacings": [[3.0, 0.7, 0.8], [1.0, 0.9, 0.6], [5.0, 0.5, 0.7]],
    "shapes_after_crop": [[40, 512, 500], [120, 400, 512], [90, 300, 301], [30, 30, 30]],
}


def test_ranges_are_taken_axis_by_axis() -> None:
    fingerprint = Fingerprint.from_training(PLANS, MEASURED, "dataset_fingerprint.json")
    assert fingerprint.cases == 3
    assert fingerprint.spacing_zyx_mm == MinMedianMax((1.0, 0.5, 0.6), (3.0, 0.7, 0.7), (5.0, 0.9, 0.8))
    assert fingerprint.size_zyx == MinMedianMax((30, 30, 30), (65, 350, 400.5), (120, 512, 512))
    assert fingerprint.intensities_hu["mean"] == 40


@pytest.mark.parametrize("measured", [MEASURED, None])
def test_a_fingerprint_survives_json(measured: dict[str, Any] | None) -> None:
    fingerprint = Fingerprint.from_training(PLANS, measured, "x")
    assert Fingerprint.from_json(json.loads(json.dumps(fingerprint.to_json())), "x") == fingerprint


@pytest.mark.parametrize("spacings", [None, [], [[1, 2]], [[1, 2, "x"]], [[1, 2, -3]], [[1, 2, float("nan")]], {}])
def test_a_file_that_is_no_fingerprint_is_refused(spacings: object) -> None:
    with raises_error(InputError, "fingerprint-malformed", "mine.json", "'spacings'"):
        Fingerprint.from_training(PLANS, MEASURED | {"spacings": spacings}, "mine.json")


@pytest.mark.parametrize(
    ("part", "value", "error"),
    [
        ("intensities_hu", {"mean": 1}, ("fingerprint-malformed",)),
        ("intensities_hu", None, ("fingerprint-malformed",)),
        ("cases", 0, ("fingerprint-malformed", "'cases'")),
        ("spacing_zyx_mm", {"smallest": [1, 1, 1]}, ("fingerprint-malformed",)),
        ("spacing_zyx_mm", 3, ("fingerprint-malformed",)),
        ("size_zyx", {"smallest": [1, 1, 1], "median": [1, 1], "largest": [1, 1, 1]}, ("fingerprint-malformed",)),
    ],
)
def test_every_wrong_part_in_a_bundle_gets_its_own_sentence(part: str, value: object, error: tuple[str, ...]) -> None:
    entry = Fingerprint.from_training(PLANS, MEASURED, "x").to_json() | {part: value}
    with raises_error(BundleError, *error):
        Fingerprint.from_json(entry, "x")


def test_the_file_in_the_results_folder_is_used_and_another_one_can_be_given(
    coarse_results: Path, fine_results: Path, tmp_path: Path
) -> None:
    fine = Path(shutil.copytree(fine_results, tmp_path / fine_results.name))
    (fine / "dataset_fingerprint.json").write_text(json.dumps(MEASURED))
    given = tmp_path / "given.json"
    given.write_text(json.dumps(MEASURED | {"spacings": [[2, 2, 2]]}))
    card = BundleCard(name="mine", license="CC0-1.0")
    for path, cases in ((None, 3), (given, 1)):
        out = tmp_path / f"bundle{cases}"
        create_bundle(StageSource(coarse_results, ("0",)), StageSource(fine, ("0",), fingerprint=path), card, out=out)
        fingerprints = Bundle.open(out).fingerprints
        assert (fingerprints["coarse"].cases, fingerprints["fine"].cases) == (None, cases)
        assert fingerprints["coarse"].intensities_hu["percentile_00_5"] == -150.0
        assert not (out / "fine" / "dataset_fingerprint.json").exists()
    gone = StageSource(fine, ("0",), fingerprint=tmp_path / "gone.json")
    with raises_error(InputError, "file-missing", "gone.json"):
        create_bundle(StageSource(coarse_results, ("0",)), gone, card, out=tmp_path / "bundle")
