"""Fitting on manifests and sketches: what is read, what is refused, and with which file and row."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch, fit_calibrator, save_sketch, write_calibrator
from twintrack.errors import Cancelled, InputError
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.studies.calibrate import apply_to_file, fit_sketch, sketch_cases
from twintrack.volume import Geometry, Volume

GRID = Geometry((12, 10, 8), (1.0, 1.0, 2.0))


def write_manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "manifest.csv"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_case(folder: Path, number: int, raters: tuple[int, ...] = (1, 2)) -> dict[str, str]:
    random = np.random.default_rng(number)
    score = random.random(GRID.shape).astype(np.float32)
    score[:2] = 0
    row = {"case": f"c{number}", "score": f"s{number}.nii.gz"}
    write_volume(Volume(score, GRID), folder / row["score"])
    for rater in raters:
        row[f"annotation_{rater}"] = f"a{number}_{rater}.nii.gz"
        mask = (random.random(GRID.shape) < score).astype(np.uint8)
        write_volume(Volume(mask, GRID), folder / row[f"annotation_{rater}"])
    return row


@pytest.fixture
def rows(tmp_path) -> list[dict[str, str]]:
    return [make_case(tmp_path, number) for number in range(3)]


def volumes_of(folder: Path, row: dict[str, str]) -> tuple[np.ndarray, list[np.ndarray | None]]:
    masks = [
        read_volume(folder / row[f"annotation_{n}"]).array if row.get(f"annotation_{n}") else None for n in (1, 2, 3)
    ]
    return read_volume(folder / row["score"]).array, masks


def test_the_fit_is_that_of_the_volumes_in_the_manifest(tmp_path, rows):
    manifest = write_manifest(tmp_path, rows)
    calibrator = fit_sketch(sketch_cases([manifest]), bins=10, resamples=0)
    sketch = ScoreSketch.empty()
    for row in rows:
        sketch.add(*volumes_of(tmp_path, row)[:1], volumes_of(tmp_path, row)[1][:2])
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert calibrator == fit_calibrator(sketch, bins=10, manifest_sha256=digest)
    assert (calibrator.cases, calibrator.raters, calibrator.band, calibrator.selection) == (3, 2, None, None)


def test_raters_may_be_missing_in_a_case_and_an_empty_reading_counts(tmp_path, rows):
    rows[1]["annotation_2"] = ""
    rows.append(make_case(tmp_path, 3, raters=(1, 3)))
    write_volume(Volume(np.zeros(GRID.shape, np.uint8), GRID), tmp_path / rows[0]["annotation_1"])
    sketch = sketch_cases([write_manifest(tmp_path, rows)])
    expected = ScoreSketch.empty()
    for row in rows:
        expected.add(*volumes_of(tmp_path, row))
    np.testing.assert_array_equal(sketch.rater_counts, expected.rater_counts)
    np.testing.assert_allclose(sketch.mhr_sums, expected.mhr_sums)
    assert sketch.raters == 3


def test_sketches_of_parts_and_manifests_are_added_up(tmp_path, rows):
    (tmp_path / "first").mkdir()
    part = write_manifest(tmp_path, rows[:2])
    save_sketch(sketch_cases([part]), tmp_path / "part.npz")
    other = write_manifest(tmp_path, rows[2:])
    together = fit_sketch(sketch_cases([tmp_path / "part.npz", other]), bins=10, resamples=0)
    whole = fit_sketch(sketch_cases([write_manifest(tmp_path, rows)]), bins=10, resamples=0)
    assert together.knots_y == pytest.approx(whole.knots_y, abs=1e-12)
    assert together.bin_counts == whole.bin_counts
    digests = sorted([sketch_cases([tmp_path / "part.npz"]).manifests, sketch_cases([other]).manifests], key=sorted)
    assert together.manifest_sha256 not in (whole.manifest_sha256, *(next(iter(digest)) for digest in digests))


def test_a_sketch_made_in_another_way_is_refused_with_its_name(tmp_path, rows):
    save_sketch(sketch_cases([write_manifest(tmp_path, rows)], domain="all"), tmp_path / "all.npz")
    with raises_error(InputError, "sketches-differ", "all.npz"):
        sketch_cases([tmp_path / "all.npz"])
    assert sketch_cases([tmp_path / "all.npz"], domain="all").voxels == 3 * np.prod(GRID.shape)


def test_bins_and_band_are_made_on_request(tmp_path):
    rows = [make_case(tmp_path, number) for number in range(6)]
    calibrator = fit_sketch(sketch_cases([write_manifest(tmp_path, rows)]), bins=None, resamples=25, seed=3)
    assert calibrator.selection.chosen == calibrator.bins
    assert (calibrator.band.resamples, calibrator.band.seed, calibrator.band.units) == (25, 3, 6)


def spoil(folder: Path, name: str, array: np.ndarray, grid: Geometry = GRID) -> None:
    write_volume(Volume(array, grid), folder / name)


@pytest.mark.parametrize(
    ("change", "file", "reason"),
    [
        (lambda folder: spoil(folder, "s1.nii.gz", np.full(GRID.shape, 1.5, np.float32)), "s1.nii.gz", "between 0 and"),
        (lambda folder: spoil(folder, "s1.nii.gz", np.full(GRID.shape, np.nan, np.float32)), "s1.nii.gz", "not finite"),
        (lambda folder: spoil(folder, "a1_2.nii.gz", np.full(GRID.shape, 0.3, np.float32)), "a1_2.nii.gz", "between"),
        (
            lambda folder: spoil(
                folder, "a1_2.nii.gz", np.ones((8, 10, 11), np.uint8), Geometry((11, 10, 8), (1, 1, 2), (900, 0, 0))
            ),
            "a1_2.nii.gz",
            "same place",
        ),
        (lambda folder: (folder / "a1_2.nii.gz").unlink(), "a1_2.nii.gz", "no such file"),
        (lambda folder: (folder / "s1.nii.gz").unlink(), "s1.nii.gz", "no such file"),
        (lambda folder: (folder / "s1.nii.gz").write_bytes(b"broken"), "s1.nii.gz", "cannot be read"),
        (lambda folder: (folder / "a1_2.nii.gz").write_bytes(b"broken"), "a1_2.nii.gz", "cannot be read"),
    ],
)
def test_a_bad_file_is_named_with_its_row(tmp_path, rows, change, file, reason):
    manifest = write_manifest(tmp_path, rows)
    change(tmp_path)
    with pytest.raises(InputError) as caught:
        sketch_cases([manifest])
    message = str(caught.value)
    assert message.startswith(f"{manifest}, line 3: ")
    assert message.count("line 3") == 1
    assert file in message
    assert reason in message


def test_too_few_cases_and_no_tumor_are_refused_with_the_manifest(tmp_path, rows):
    single = sketch_cases([write_manifest(tmp_path, rows[:1])])
    with raises_error(InputError, "too-few-cases", "one.csv"):
        fit_sketch(single, where="one.csv")
    for number in range(3):
        for rater in (1, 2):
            spoil(tmp_path, f"a{number}_{rater}.nii.gz", np.zeros(GRID.shape, np.uint8))
    with raises_error(InputError, "no-tumour-marked", "m.csv"):
        fit_sketch(sketch_cases([write_manifest(tmp_path, rows)]), where="m.csv")


def test_a_case_without_any_score_is_fitted_around_and_said(tmp_path, rows):
    spoil(tmp_path, "s1.nii.gz", np.zeros(GRID.shape, np.float32))
    calibrator = fit_sketch(sketch_cases([write_manifest(tmp_path, rows)]), bins=10)
    assert calibrator.cases == 3
    assert any("1 calibration case without any score above 0" in warning for warning in calibrator.warnings)


def test_reading_can_be_cancelled(tmp_path, rows):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        sketch_cases([write_manifest(tmp_path, rows)], cancel=cancel)


@pytest.mark.network
def test_a_bundle_scores_the_images_with_networks_that_are_loaded_once(tmp_path, bundle_folder, monkeypatch):
    from twintrack.inference import network_store as store

    loaded = []
    load = store.load_member
    monkeypatch.setattr(
        store, "load_member", lambda stage, fold, device: loaded.append(fold) or load(stage, fold, device)
    )
    monkeypatch.setattr(store, "openvino_present", lambda: False)
    rows = []
    for number in range(2):
        random = np.random.default_rng(number)
        image = random.normal(40, 30, (18, 30, 36)).round().astype(np.int16)
        image[:3], image[:, :4], image[..., 28:] = -1000, -100, 120
        grid = Geometry((36, 30, 18), (1.5, 1.6, 3.0))
        row = {"case": f"c{number}", "image": f"i{number}.nii.gz", "annotation_1": f"a{number}.nii.gz"}
        spoil(tmp_path, row["image"], image, grid)
        spoil(tmp_path, row["annotation_1"], (random.random(grid.shape) < 0.5).astype(np.uint8), grid)
        rows.append(row)
    sketch = sketch_cases([write_manifest(tmp_path, rows)], bundle_path=bundle_folder, device="cpu")
    assert sketch.cases == 2
    assert sketch.voxels > 0
    assert len(loaded) == len(set(loaded)) + 1 == 4  # three fine folds and the coarse one, once for both cases


def test_zero_stays_zero_in_a_file_unless_zeros_were_fitted(tmp_path, rows):
    manifest = write_manifest(tmp_path, rows)
    for domain in ("roi", "all"):
        calibrator = fit_sketch(sketch_cases([manifest], domain=domain), bins=10, resamples=0)
        write_calibrator(calibrator, tmp_path / "c.json")
        apply_to_file(tmp_path / "s0.nii.gz", tmp_path / "c.json", tmp_path / f"{domain}.nii.gz")
    score = read_volume(tmp_path / "s0.nii.gz").array
    roi, everywhere = (read_volume(tmp_path / f"{domain}.nii.gz").array for domain in ("roi", "all"))
    assert np.all(roi[score == 0] == 0)
    assert np.all(roi[score > 0] > 0)
    low = np.unique(everywhere[score == 0])
    assert low.size == 1
    assert low[0] <= everywhere[score > 0].min()


def renamed(folder: Path, rows: list[dict[str, str]], names: dict[str, str], name: str) -> Path:
    """Write the manifest once more, its raters under other names."""
    changed = [{names.get(column, column): cell for column, cell in row.items()} for row in rows]
    manifest = write_manifest(folder, changed)
    return manifest.rename(folder / name)


def test_a_fit_does_not_depend_on_how_raters_are_called_and_counts_all_of_them(tmp_path, rows):
    first, second = "annotation_1", "annotation_2"
    made = {}
    for names in (("0", "1"), ("1", "2"), ("A", "B"), ("9", "10")):
        called = {column: f"annotation_{name}" for column, name in zip((first, second), names, strict=True)}
        sketch = sketch_cases([renamed(tmp_path, rows, called, f"{names[0]}.csv")])
        made[names] = fit_sketch(sketch, bins=10, resamples=20)
        assert (made[names].raters, made[names].rater_names) == (2, names)
    knots = {(one.knots_x, one.knots_y, one.bin_counts) for one in made.values()}
    assert len(knots) == 1


def test_an_independent_reader_and_scikit_learn_give_the_fit_of_a_zero_based_manifest(tmp_path, rows):
    import nibabel
    from sklearn.isotonic import IsotonicRegression

    manifest = renamed(tmp_path, rows, {"annotation_1": "annotation_0", "annotation_2": "annotation_1"}, "zero.csv")
    scores, mhr, first = [], [], []
    for row in rows:
        score, one, two = (
            np.asarray(nibabel.load(tmp_path / row[column]).dataobj)
            for column in ("score", "annotation_1", "annotation_2")
        )
        scores.append(score[score > 0])
        mhr.append((one[score > 0] + two[score > 0]) / 2)
        first.append(one[score > 0])
    score, drawn = np.concatenate(scores), {"mhr": np.concatenate(mhr), "0": np.concatenate(first)}
    for target, rater, values in (("mhr", None, drawn["mhr"]), ("single-rater", "0", drawn["0"])):
        found = fit_sketch(sketch_cases([manifest]), target=target, rater=rater, bins=10, resamples=0)
        order = np.argsort(score, kind="stable")
        parts = np.split(order, np.cumsum(found.bin_counts)[:-1])  # the bins that were formed
        means = [values[part].mean() for part in parts]
        expected = IsotonicRegression().fit_transform(found.knots_x, means, sample_weight=found.bin_counts)
        np.testing.assert_allclose(found.knots_y, expected, atol=1e-12)
        kept = np.average(found.knots_y, weights=found.bin_counts)
        assert kept == pytest.approx(values.mean(), abs=1e-12)


def test_the_same_voxels_of_two_raters_are_warned_of_by_case_but_not_in_what_is_kept(tmp_path, rows):
    (tmp_path / "a1_2.nii.gz").write_bytes((tmp_path / "a1_1.nii.gz").read_bytes())
    for rater in (1, 2):
        spoil(tmp_path, f"a2_{rater}.nii.gz", np.zeros(GRID.shape, np.uint8))
    told: list[str] = []
    sketch = sketch_cases([write_manifest(tmp_path, rows)], warn=told.append)
    assert told == ["raters 1 and 2 marked the very same voxels in c1; check that no mask stands under two names"]
    calibrator = fit_sketch(sketch, bins=10, resamples=0)
    assert any("the very same voxels in 1 calibration case;" in warning for warning in calibrator.warnings)
    assert not any("c1" in warning for warning in calibrator.warnings)


def test_a_score_just_outside_of_0_and_1_is_clipped_when_fitted_and_when_applied(tmp_path, rows):
    manifest = write_manifest(tmp_path, rows)
    expected = fit_sketch(sketch_cases([manifest]), bins=10, resamples=0)
    score = read_volume(tmp_path / "s1.nii.gz").array
    spoil(tmp_path, "s1.nii.gz", np.where(score == 0, -1e-7, score).astype(np.float32))
    found = fit_sketch(sketch_cases([manifest]), bins=10, resamples=0)
    assert found == expected
    write_calibrator(found, tmp_path / "c.json")
    apply_to_file(tmp_path / "s1.nii.gz", tmp_path / "c.json", tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "map.nii.gz").array, found(score))


@pytest.mark.parametrize("link", [False, True])
def test_a_map_that_is_calibrated_already_is_refused_as_a_score(tmp_path, rows, link):
    result = tmp_path / "result"
    result.mkdir()
    map_file = result / "probability.nii.gz"
    (tmp_path / rows[1]["score"]).rename(map_file)
    (result / "result.json").write_text('{"schema": 1, "calibrator": {"target": "mhr"}}', encoding="utf-8")
    rows[1]["score"] = "result/probability.nii.gz"
    if link:
        (tmp_path / "s1.nii.gz").symlink_to(map_file)
        rows[1]["score"] = "s1.nii.gz"
    manifest = write_manifest(tmp_path, rows)
    with raises_error(InputError, "score-calibrated", "--keep-score", "score.nii.gz"):
        sketch_cases([manifest])
    (result / "score.nii.gz").write_bytes(b"")
    write_calibrator(fit_sketch(sketch_cases([write_manifest(tmp_path, rows[::2])]), bins=5), tmp_path / "c.json")
    with raises_error(InputError, "score-calibrated", "score.nii.gz"):
        apply_to_file(map_file, tmp_path / "c.json", tmp_path / "map.nii.gz")
    (result / "result.json").write_text('{"schema": 1, "calibrator": null}', encoding="utf-8")
    assert sketch_cases([write_manifest(tmp_path, rows)]).cases == 3
