from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch, bootstrap_band, fit_calibrator, load_sketch, save_sketch
from twintrack.errors import InputError, OutputError


def case(seed: int, raters: int = 3, **options) -> ScoreSketch:
    random = np.random.default_rng(seed)
    score = random.random(3000).astype(np.float32)
    masks = [random.random(score.size) < score for _ in range(raters)]
    return ScoreSketch.of_case(score, masks, **options)


@pytest.fixture(scope="module")
def sketch() -> ScoreSketch:
    return sum((case(seed) for seed in range(6)), ScoreSketch.empty())


@pytest.fixture
def stored(sketch, tmp_path) -> dict[str, np.ndarray]:
    save_sketch(sketch, tmp_path / "stored.npz")
    with np.load(tmp_path / "stored.npz") as file:
        return dict(file)


@pytest.mark.parametrize("options", [{}, {"domain": "all"}, {"weighting": "case"}])
def test_a_sketch_comes_back_from_its_file_and_gives_the_same_calibrator(options, tmp_path):
    made = sum((case(seed, **options) for seed in range(6)), ScoreSketch.empty(**options))
    save_sketch(made, tmp_path / "made.npz")
    back = load_sketch(tmp_path / "made.npz")
    assert fit_calibrator(back, bins=20) == fit_calibrator(made, bins=20)
    assert bootstrap_band(back, bins=20, resamples=20) == bootstrap_band(made, bins=20, resamples=20)
    assert [entry.name for entry in tmp_path.iterdir()] == ["made.npz"]


def test_sketches_of_parts_add_up_to_the_sketch_of_all(tmp_path):
    for name, seeds in (("a.npz", (0, 3)), ("b.npz", (1, 2))):
        save_sketch(sum((case(seed) for seed in seeds), ScoreSketch.empty()), tmp_path / name)
    parts = load_sketch(tmp_path / "b.npz") + load_sketch(tmp_path / "a.npz")
    whole = sum((case(seed) for seed in range(4)), ScoreSketch.empty())
    np.testing.assert_array_equal(parts.rater_positives, whole.rater_positives)
    assert sorted(parts.case_keys) == sorted(whole.case_keys)
    np.testing.assert_allclose(parts.units.table(("1", "2", "3")), whole.units.table(("1", "2", "3")), rtol=1e-14)


def test_an_empty_sketch_can_be_stored(tmp_path):
    save_sketch(ScoreSketch.empty(), tmp_path / "empty.npz")
    assert load_sketch(tmp_path / "empty.npz").cases == 0


def about(**changes):
    def change(arrays):
        arrays["about"] = np.array(json.dumps(json.loads(str(arrays["about"])) | changes))

    return change


def cell(name, value, index=(..., 40)):
    def change(arrays):
        arrays[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (about(schema=9), "schema"),
        (about(domain="liver"), "domain"),
        (about(weighting="age"), "weighting"),
        (about(cases=7), "case_keys"),
        (about(cases=-1), "cases"),
        (about(missed_mhr=-1.0), "missed_mhr"),
        (about(rater_names=["1", "2"]), "rater_names"),
        (about(rater_names=["1", "2", "2"]), "differ only in case"),
        (about(rater_names=["2", "1", "3"]), "in their order"),
        (about(rater_names=["1", "2", "../3"]), "rater's name"),
        (about(rater_names=3), "rater_names"),
        (about(alike_cases=-1), "alike_cases"),
        (about(unit_bits=99), "unit_sums"),
        (about(unit_bits=2), "unit_keys"),
        (cell("counts", -1), "counts"),
        (cell("score_sums", np.inf), "score_sums"),
        (cell("rater_positives", 10**9), "marked more"),
        (cell("score_sums", 1e9), "above 1"),
        (cell("mhr_sums", 1e9), "above 1"),
        (about(tumour_voxels=0.0), "tumour_voxels"),
        (cell("unit_sums", np.nan), "unit_sums"),
        (cell("unit_sums", 5e8), "add up"),
        (lambda arrays: arrays.update(mhr_sums=arrays["mhr_sums"][:-1]), "mhr_sums"),
        (lambda arrays: arrays.update(counts=arrays["counts"].astype(float)), "counts"),
        (lambda arrays: arrays.update(rater_counts=arrays["rater_counts"][:2]), "rater_names"),
        (lambda arrays: arrays.pop("mass"), "not readable"),
        (lambda arrays: arrays.update(about=np.array("{")), "not readable"),
    ],
)
def test_a_sketch_whose_numbers_are_wrong_is_refused_with_file_and_reason(stored, tmp_path, change, reason):
    change(stored)
    np.savez(tmp_path / "wrong.npz", **stored)
    with pytest.raises(InputError, match=rf"wrong\.npz: .*({reason})"):
        load_sketch(tmp_path / "wrong.npz")


def _zip_of(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip", pickle.dumps([1]), _zip_of("about.npy", b"x"), _zip_of("a.txt", b"x"), b"\x93NUMPY", _array()],
    ids=["empty", "text", "pickle", "bad member", "other zip", "cut npy", "npy"],
)
def test_files_that_are_no_sketch_are_refused(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.npz"):
        load_sketch(tmp_path / "broken.npz")


def test_a_cut_file_is_refused(sketch, tmp_path):
    save_sketch(sketch, tmp_path / "whole.npz")
    data = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with raises_error(InputError, "sketch-unreadable", "cut.npz"):
        load_sketch(tmp_path / "cut.npz")


def test_a_missing_file_and_a_wrong_name_are_named(sketch, tmp_path):
    with raises_error(InputError, "file-missing", "none.npz"):
        load_sketch(tmp_path / "none.npz")
    with raises_error(InputError, "sketch-ending", "sketch.json"):
        save_sketch(sketch, tmp_path / "sketch.json")
    (tmp_path / "file").write_text("")
    with raises_error(OutputError, "not-writable"):
        save_sketch(sketch, tmp_path / "file" / "sketch.npz")


def test_names_come_back_and_files_without_them_have_the_raters_1_2_and_so_on(stored, tmp_path):
    score = np.random.default_rng(0).random(500).astype(np.float32)
    named = ScoreSketch.of_case(score, {"Dr. A": score > 0.4, "0": score > 0.5, "b": score > 0.5})
    save_sketch(named, tmp_path / "named.npz")
    back = load_sketch(tmp_path / "named.npz")
    assert (back.rater_names, back.alike_cases) == (("0", "b", "Dr. A"), 1)
    assert [back.units.drawn_by(name) for name in ("0", "b", "Dr. A", "1")] == [1, 1, 1, 0]
    old = json.loads(str(stored["about"]))
    del old["rater_names"], old["alike_cases"]
    np.savez(tmp_path / "old.npz", **stored | {"about": np.array(json.dumps(old))})
    loaded = load_sketch(tmp_path / "old.npz")
    assert (loaded.rater_names, loaded.alike_cases) == (("1", "2", "3"), 0)
    total = loaded + load_sketch(tmp_path / "named.npz")
    assert total.rater_names == ("0", "1", "2", "3", "b", "Dr. A")
    np.testing.assert_array_equal(total.rater_positives[1:4], loaded.rater_positives)
