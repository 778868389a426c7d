"""What an experiment keeps of its cases comes back as it was, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch
from twintrack.errors import OutputError
from twintrack.studies.table1.cache import ExperimentStore, VoxelSample, content_key
from twintrack.volume import Geometry, Volume

GRID = Geometry((9, 7, 5), (1.0, 1.0, 2.0))


def random_case(seed: int) -> tuple[Volume, dict[str, Volume]]:
    """A score with many zeros; tumour inside and outside of where it is above 0; rater 2 is missing."""
    rng = np.random.default_rng(seed)
    score = np.where(rng.random(GRID.shape) < 0.5, rng.random(GRID.shape), 0).astype(np.float32)
    masks = {rater: Volume((rng.random(GRID.shape) < 0.2).astype(np.uint8), GRID) for rater in ("1", "3")}
    return Volume(score, GRID), masks


@pytest.mark.parametrize("seed", range(3))
def test_a_kept_sample_gives_the_sketch_of_the_whole_volumes(tmp_path, seed):
    score, masks = random_case(seed)
    store = ExperimentStore(tmp_path / "cases")
    store.keep_sample("a", "k", VoxelSample.of(score, masks))
    sample = store.sample("a", "k")
    found = ScoreSketch.of_case(sample.score, sample.marks)
    expected = ScoreSketch.of_case(score.array, [masks["1"].array, None, masks["3"].array])
    assert found.missed_mhr == expected.missed_mhr > 0
    for name in ("counts", "score_sums", "mhr_sums", "rater_counts", "rater_positives"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_scores_and_records_come_back_as_they_were(tmp_path):
    score, _ = random_case(0)
    store = ExperimentStore(tmp_path)
    store.keep_score("a/b", "k", score)
    store.keep_record("a/b", "k", {"x": 0.1 + 0.2, "none": None})
    np.testing.assert_array_equal(store.score("a/b", "k").array, score.array)
    assert store.record("a/b", "k") == {"x": 0.1 + 0.2, "none": None}
    assert {path.name for path in tmp_path.iterdir()} == {"a_b.k.nii.gz", "a_b.k.json"}


def test_nothing_is_found_under_another_key(tmp_path):
    score, masks = random_case(0)
    store = ExperimentStore(tmp_path)
    store.keep_score("a", content_key("one"), score)
    store.keep_sample("a", content_key("one"), VoxelSample.of(score, masks))
    other = content_key("two")
    assert (store.score("a", other), store.sample("a", other), store.record("a", other)) == (None, None, None)


def test_keys_tell_where_one_part_ends():
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key("a", 1) == content_key("a", 1)


@pytest.mark.parametrize("left", [0, 0.5, 0.98])
def test_a_damaged_file_counts_as_absent(tmp_path, left):
    score, masks = random_case(0)
    store = ExperimentStore(tmp_path)
    store.keep_score("a", "k", score)
    store.keep_sample("a", "k", VoxelSample.of(score, masks))
    store.keep_record("a", "k", {"x": 1})
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: int(left * len(content))])
    assert (store.score("a", "k"), store.sample("a", "k"), store.record("a", "k")) == (None, None, None)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with raises_error(OutputError, "not-writable"):
        ExperimentStore(tmp_path / "file" / "cases")
