"""JSON that strangers write: a correct value, or one sentence about the file; nothing else, ever."""

# ruff: noqa: PT017 - an error that need not come cannot be awaited by pytest.raises
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import bent, broken, json_values
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.bundle.nnunet_plans import architecture_name, check_dataset, check_plans, label_channels
from twintrack.bundle.schema import parse_bundle_json
from twintrack.calibration.calibrator_file import calibrator_from_json, read_calibrator
from twintrack.errors import BundleError, InputError, TwinTrackError
from twintrack.execution.answer import Events
from twintrack.execution.worker.run_request import answer_request
from twintrack.settings import SegmentSettings

readers = settings.get_profile("readers")
DEMO = demo_bundle_path()
BUNDLE, CALIBRATOR = (json.loads((DEMO / f"{name}.json").read_text()) for name in ("bundle", "calibrator"))
PLANS, DATASET = (json.loads((DEMO / "fine" / f"{name}.json").read_text()) for name in ("plans", "dataset"))


def one_sentence(error: Exception) -> None:
    assert str(error)
    assert len(str(error)) < 20_000


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@readers
@given(bent(BUNDLE).map(as_json) | json_values.map(as_json) | broken(as_json(BUNDLE)) | st.binary(max_size=50))
def test_bundle_json(content: bytes) -> None:
    try:
        values = parse_bundle_json(content, "bundle.json")
    except BundleError as error:
        one_sentence(error)
    else:
        for name in values["files"]:
            assert not Path(name).is_absolute()
            assert ".." not in Path(name).parts
        assert 0 <= values["roi_margin_mm"] <= 200


@pytest.mark.slow
@readers
@given(bent(CALIBRATOR) | json_values)
def test_calibrator_json(content: Any) -> None:
    try:
        calibrator = calibrator_from_json(content)
    except InputError as error:
        one_sentence(error)
    else:
        knots = calibrator.knots_y
        assert list(knots) == sorted(knots)
        assert 0 <= min(knots) <= max(knots) <= 1


@pytest.mark.slow
@readers
@given(content=broken((DEMO / "calibrator.json").read_bytes()) | st.just(b"[" * 100_000))
def test_calibrator_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibrator.json"
    path.write_bytes(content)
    try:
        read_calibrator(path)
    except InputError as error:
        assert str(path) in str(error)


@readers
@given(bent(PLANS) | json_values)
def test_plans_json(content: Any) -> None:
    if not isinstance(content, dict):
        return
    try:
        configuration = check_plans(content, "3d_fullres", "plans.json")
        name = architecture_name(configuration, "plans.json")
    except BundleError as error:
        one_sentence(error)
    else:
        assert name.isidentifier()


@readers
@given(bent(DATASET) | json_values)
def test_dataset_json(content: Any) -> None:
    if not isinstance(content, dict):
        return
    try:
        check_dataset(content, "dataset.json")
        channels = label_channels(content)
    except BundleError as error:
        one_sentence(error)
    else:
        assert all(isinstance(name, str) for name in channels)


SETTINGS = {
    **{"roi": [1, 2, 3, 4, 5, 6], "threshold": 0.5, "device": "cpu", "backend": "auto", "calibrate": True},
    **{"vessels": None, "vessel_names": {"SMA": 1}, "series": None, "rules": "nccn", "contact_mm": 1.9, "dicom": False},
}


@readers
@given(bent(SETTINGS) | json_values)
def test_settings_of_a_request(content: Any) -> None:
    if not isinstance(content, dict):
        return
    try:
        settings = SegmentSettings.from_json(content)
    except InputError as error:
        one_sentence(error)
    else:
        assert 0 < settings.threshold <= 1


@readers
@given(bent({"schema": 1, "input": "/nowhere/ct.nrrd", "bundle": "/nowhere", "out": "/dev/null/out"}) | json_values)
def test_requests_of_a_worker(content: Any) -> None:
    from twintrack.progress.callbacks import CancelToken

    said = io.StringIO()
    code = answer_request(content, Events(said), CancelToken())  # type: ignore[arg-type]
    last = json.loads(said.getvalue().splitlines()[-1])
    assert (code, last["event"]) == (2, "error"), last
    assert issubclass(getattr(__import__("twintrack.errors").errors, last["kind"]), TwinTrackError)


RESULT: dict[str, Any] = {
    **{"schema": 1, "version": "1", "device": "cpu", "threshold": 0.5, "warnings": ["w"], "calibrator": None},
    "bundle": {"name": "b", "version": "1", "sha256": "0" * 64, "license": "L", "demo": True, "raters": 5},
    **{"input": {"size": [1, 2, 3], "spacing_mm": [1.0, 1.0, 2.0], "source": "file"}, "labels": {"tumor": 1}},
    **{"roi": {"start": [0, 0, 0], "stop": [1, 2, 3]}, "seconds": {"read": 1.0}},
    **{"volume_ml": {"expected": 1.0, "at_threshold": 1.0, "p10": 0.5, "p90": 2.0}},
    "lesions": [{"volume_ml": 1.0, "longest_diameter_mm": 10.0, "max_probability": 0.7, "centroid_mm": [1, 2, 3]}],
}


INVASION: dict[str, Any] = {
    **{"schema": 1, "thresholds": [0.2, 0.5], "resectability": None},
    "vessels": {
        "SMA": {
            **{"present": True, "angle_deg": [90.0, None], "contact_length_mm": [5.0, 0.0], "category": "abutment"},
            **{"expected_angle_deg": 40.0, "p_contact": 0.7, "p_encased": None},
        },
        "AORTA": {"present": False},
    },
}


@pytest.mark.slow
@readers
@given(result=bent(RESULT) | json_values | st.just("deep"), invasion=bent(INVASION) | json_values)
def test_result_json_for_export(tmp_path: Path, result: Any, invasion: Any) -> None:
    from twintrack.dicom import MapMeaning, Remarks, tumor_label
    from twintrack.dicom.write.report_content import report_groups
    from twintrack.results.schema import read_invasion_json, read_result_json

    (tmp_path / "result.json").write_bytes(b"[" * 100_000 if result == "deep" else as_json(result))
    (tmp_path / "invasion.json").write_bytes(as_json(invasion))
    try:
        found = read_result_json(tmp_path / "result.json")
        readouts = read_invasion_json(tmp_path / "invasion.json")
    except InputError as error:
        assert str(tmp_path) in str(error)
        return
    raters = found["bundle"].get("raters")
    assert tumor_label(found["threshold"], MapMeaning.MHR, raters)
    assert len(Remarks.of(found).content_description) <= 64
    for group in report_groups(found, readouts, MapMeaning.MHR, raters):
        assert all(abs(quantity.value) < 1e12 for quantity in group.quantities)


@readers
@given(text=broken(as_json(RESULT)))
def test_damaged_result_folders_are_refused_before_anything_is_written(tmp_path: Path, text: bytes) -> None:
    from twintrack.results.dicom_objects import export_result

    (tmp_path / "result.json").write_bytes(text)
    with pytest.raises(TwinTrackError):
        export_result(tmp_path, tmp_path / "no series", tmp_path / "out")
    assert not (tmp_path / "out" / "map.dcm").exists()
