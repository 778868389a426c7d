from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import (
    BinSelection,
    Calibrator,
    ScoreSketch,
    calibrator_from_json,
    calibrator_to_json,
    fit_calibrator,
    read_calibrator,
    write_calibrator,
)
from twintrack.errors import InputError, OutputError


@pytest.fixture(scope="module")
def calibrator() -> Calibrator:
    random = np.random.default_rng(0)
    score = random.random(30_000).astype(np.float32)
    masks = [(random.random(score.size) < score**1.5).astype(np.uint8) for _ in range(3)]
    return fit_calibrator(ScoreSketch.of_case(score, masks), bins=60, manifest_sha256="ab" * 32)


def test_a_large_volume_is_mapped_as_numpy_interpolates(calibrator):
    score = np.random.default_rng(1).random((30, 150, 150), dtype=np.float32)
    mapped = calibrator(score)
    assert mapped.dtype == np.float32
    assert mapped.shape == score.shape
    reference = np.interp(score, calibrator.knots_x, calibrator.knots_y)
    np.testing.assert_array_equal(mapped, reference.astype(np.float32))


def test_views_with_any_strides_are_mapped_voxel_by_voxel(calibrator):
    score = np.random.default_rng(2).random((8, 9, 10), dtype=np.float32)
    np.testing.assert_array_equal(calibrator(score[::-1, ::2].T), calibrator(score)[::-1, ::2].T)


@pytest.mark.parametrize("first", [0.0, 0.002])
def test_half_precision_is_mapped_as_its_numbers_are(calibrator, first):
    fitted = replace(calibrator, knots_x=(first, *calibrator.knots_x[1:]))
    score = np.random.default_rng(5).random((40, 30, 21)).astype(np.float16)
    score[:5] = 0
    score[6, 0, :3] = np.array([1, 6e-8, 6.1e-5], np.float16)
    for view in (score, score[::-1, ::2], score.T):
        assert np.array_equal(fitted(view), fitted(view.astype(np.float32)))
    for bad in (1.1, -0.5, np.nan):
        score[20, 20, 20] = bad
        with raises_error(InputError, "probability-range"):
            fitted(score)


def test_zero_stays_zero_and_the_ends_are_constant():
    calibrator = Calibrator("mhr", None, 2, (0.25, 0.75), (0.125, 0.875), (10, 10), 1, 1, 20)
    score = np.array([0, 1e-9, 0.25, 0.5, 0.75, 1], np.float32)
    np.testing.assert_array_equal(calibrator(score), np.float32([0, 0.125, 0.125, 0.5, 0.875, 0.875]))


def test_an_empty_array_stays_empty(calibrator):
    assert calibrator(np.zeros((0, 3, 3), np.float32)).shape == (0, 3, 3)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_scores_that_are_no_probability_are_refused(calibrator, bad):
    with raises_error(InputError, "probability-range"):
        calibrator(np.array([0.5, bad], np.float32))


def test_json_brings_every_number_back_exactly(calibrator, tmp_path):
    path = tmp_path / "calibrator.json"
    write_calibrator(calibrator, path)
    assert read_calibrator(path) == calibrator
    assert [entry.name for entry in tmp_path.iterdir()] == ["calibrator.json"]


def test_json_says_what_the_calibrator_was_fitted_on(calibrator):
    data = calibrator_to_json(calibrator)
    assert data["bins_used"] == len(data["knots"]["score"]) == len(data["bin_counts"])
    assert sum(data["bin_counts"]) == data["voxels"] == 30_000
    assert (data["cases"], data["raters"], data["target"], data["rater"]) == (1, 3, "mhr", None)
    assert data["domain"] == "score > 0"
    assert data["pooling"] == "mean-softmax"
    assert set(data["versions"]) == {"twintrack", "python", "numpy", "scikit-learn"}
    assert data["manifest_sha256"] == "ab" * 32


def changed(**fields):
    def change(data):
        data.update(fields)

    return change


def knot(name, index, value):
    def change(data):
        data["knots"][name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (changed(schema=2), "schema"),
        (changed(schema=True), "schema"),
        (lambda data: data.pop("schema"), "schema"),
        (lambda data: data.pop("bin_counts"), "bin_counts"),
        (lambda data: data.pop("warnings"), "warnings"),
        (changed(target="majority"), "target"),
        (changed(target=["mhr"]), "target"),
        (changed(rater=1), "rater"),
        (changed(target="single-rater"), "rater"),
        (changed(target="single-rater", rater=9), "rater"),
        (changed(target="single-rater", rater=0), "rater"),
        (changed(target="single-rater", rater="9"), "rater"),
        (changed(target="single-rater", rater="../1"), "rater"),
        (changed(rater="1"), "rater"),
        (changed(rater_names=["1", "2"]), "rater_names"),
        (changed(rater_names=["1", "2", "2"]), "rater_names"),
        (changed(rater_names=["1", "2", " 3"]), "rater_names"),
        (changed(rater_names="123"), "rater_names"),
        (changed(bins=0), "bins"),
        (changed(bins=1.5), "bins"),
        (changed(bins=3), "knots.score"),
        (changed(bins_used=3), "bins_used"),
        (changed(cases="many"), "cases"),
        (changed(voxels=3), "bin_counts"),
        (changed(domain=None), "domain"),
        (changed(pooling=1), "pooling"),
        (changed(manifest_sha256=5), "manifest_sha256"),
        (changed(versions=[]), "versions"),
        (changed(warnings="none"), "warnings"),
        (changed(knots=[]), "knots"),
        (changed(bin_counts=[30_000]), "bin_counts"),
        (changed(bin_counts=[0.5] * 60), "bin_counts"),
        (knot("score", 3, 0.9), "knots.score"),
        (knot("score", 0, -0.1), "knots.score"),
        (knot("score", 5, "0.1"), "knots.score"),
        (knot("mhr", 0, 0.9), "knots.mhr"),
        (knot("mhr", -1, 1.5), "knots.mhr"),
        (knot("mhr", 2, None), "knots.mhr"),
        (lambda data: data["knots"]["mhr"].pop(), "knots.mhr"),
    ],
)
def test_invalid_json_is_refused_with_file_and_field(calibrator, tmp_path, change, field):
    data = json.loads(json.dumps(calibrator_to_json(calibrator)))
    change(data)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        read_calibrator(path)
    assert "changed.json" in str(caught.value)
    assert f'"{field}"' in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00"])
def test_files_that_are_no_json_object_are_refused(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.json"):
        read_calibrator(path)


def test_a_missing_file_and_a_place_that_cannot_be_written_are_named(calibrator, tmp_path):
    with raises_error(InputError, "file-missing", "none.json"):
        read_calibrator(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with raises_error(OutputError, "not-writable"):
        write_calibrator(calibrator, tmp_path / "file" / "calibrator.json")


def test_files_of_older_versions_are_read_without_the_later_fields(calibrator):
    data = calibrator_to_json(calibrator)
    for later in ("weighting", "tumour_voxels", "band", "selection", "rater_names"):
        del data[later]
    read = calibrator_from_json(data)
    assert (read.weighting, read.tumour_voxels, read.band, read.selection) == ("voxel", None, None, None)
    assert read.knots_y == calibrator.knots_y
    assert (read.raters, read.rater_names) == (3, ())


def test_the_rater_of_an_older_file_is_a_number_and_becomes_its_text(calibrator):
    data = calibrator_to_json(calibrator) | {"target": "single-rater", "rater": 2}
    assert calibrator_from_json(data).rater == "2"
    del data["rater_names"]
    assert calibrator_from_json(data).rater == "2"
    assert calibrator_to_json(calibrator_from_json(data))["rater"] == "2"


def test_scores_that_rounding_left_outside_of_0_and_1_are_taken_as_those(calibrator):
    near, exact = np.array([-1e-7, 0.5, 1.0000001], np.float32), np.array([0, 0.5, 1], np.float32)
    np.testing.assert_array_equal(calibrator(near), calibrator(exact))


def test_the_demo_bundles_calibrator_is_read_and_maps_monotonously():
    from importlib.resources import files

    path = files("twintrack") / "data" / "demo_bundle" / "calibrator.json"
    demo = read_calibrator(str(path))
    assert demo.domain == "score > 0"
    assert calibrator_to_json(demo)["knots"] == json.loads(path.read_text(encoding="utf-8"))["knots"]
    assert np.all(np.diff(demo(np.linspace(0, 1, 500, dtype=np.float32))) >= 0)


def test_a_selection_comes_back_and_a_wrong_one_is_refused(calibrator):
    chosen = BinSelection((20, 60), (0.2, 0.1), (0.1, 0.0), (0.01, 0.0), 60, 5)
    data = json.loads(json.dumps(calibrator_to_json(replace(calibrator, selection=chosen))))
    assert calibrator_from_json(data).selection == chosen
    for field, value in (("chosen", 30), ("loss", [0.1]), ("bins", "many"), ("folds", 0)):
        wrong = data | {"selection": data["selection"] | {field: value}}
        with pytest.raises(InputError, match="selection"):
            calibrator_from_json(wrong)
