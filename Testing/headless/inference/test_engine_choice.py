"""What runs the networks is chosen, written down, and makes no difference to the map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.cli.app import run_command
from twintrack.errors import InputError
from twintrack.inference import NetworkStore
from twintrack.io.volumes import read_volume, write_volume
from twintrack.phantom import make_phantom
from twintrack.results.folder import segment_file
from twintrack.settings import SegmentSettings

pytestmark = pytest.mark.render

SEED = 43000
Segment = Callable[..., tuple[dict, np.ndarray]]


@pytest.fixture(scope="module")
def ct_file(tmp_path_factory) -> Path:
    """A phantom's CT."""
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    write_volume(make_phantom(SEED).ct, path)
    return path


@pytest.fixture(scope="module")
def segmented(ct_file, tmp_path_factory) -> Segment:
    """Return a function that runs the command line with the demo bundle and gives back result.json and the map."""

    def run(*options: str) -> tuple[dict, np.ndarray]:
        out = tmp_path_factory.mktemp("out") / "result"
        arguments = ["segment", str(ct_file), "--bundle", str(demo_bundle_path()), "--out", str(out), "--device", "cpu"]
        assert run_command([*arguments, *options]) == 0
        return json.loads((out / "result.json").read_text()), read_volume(out / "probability.nii.gz").array

    return run


@pytest.fixture(scope="module")
def by_torch(segmented) -> tuple[dict, np.ndarray]:
    return segmented("--backend", "torch", "--every-tile")


def test_the_engine_is_written_down(by_torch):
    engine = by_torch[0]["engine"]
    assert by_torch[0]["device"] == engine["device"] == "cpu"
    assert engine["backend"] == "torch"
    assert engine["members"] == 3
    assert engine["tiles"] % 3 == 0
    assert engine["skipped_tiles"] == 0
    assert engine["notes"] == []


def test_openvino_and_skipping_change_no_probability_by_more_than_a_thousandth(by_torch, segmented):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    result, found = segmented()  # what a user gets by default
    assert result["engine"]["backend"] == "openvino"
    assert by_torch[1].max() > 0.5
    # The calibrator's map is steeper than 1 in places, so its output may differ by a little more than the score.
    assert np.abs(found - by_torch[1]).max() < 2e-3
    np.testing.assert_allclose(found.sum(), by_torch[1].sum(), rtol=1e-3)


def test_a_kept_store_gives_the_same_map_twice(ct_file, by_torch, tmp_path):
    tumor = np.argwhere(by_torch[1] > 0.5)[:, ::-1]
    around = zip(tumor.min(axis=0) - 4, tumor.max(axis=0) + 5, strict=True)  # all of the CT takes a minute each time
    roi = tuple(int(place) for each in around for place in each)
    settings = SegmentSettings(device="cpu", backend="torch", every_tile=True, roi=roi)
    store = NetworkStore("cpu", "torch")
    maps = []
    for name, kept in (("without", None), ("first", store), ("second", store)):
        segment_file(ct_file, demo_bundle_path(), tmp_path / name, settings, store=kept)
        maps.append(read_volume(tmp_path / name / "probability.nii.gz").array)
    assert maps[0].max() > 0.5
    assert np.array_equal(maps[0], maps[1])
    assert np.array_equal(maps[0], maps[2])


def test_unknown_backends_are_refused(ct_file, tmp_path, capsys):
    with raises_error(InputError, "backend-unknown"):
        SegmentSettings(backend="onnx")
    arguments = ["segment", str(ct_file), "--bundle", str(demo_bundle_path()), "--out", str(tmp_path / "out")]
    assert run_command([*arguments, "--backend", "onnx"]) == 2
    assert "onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
