"""The sketch of a case is that of its whole volumes, though only a box of them is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch
from twintrack.errors import InputError
from twintrack.io.manifest import ManifestRow, scan_manifest
from twintrack.io.volumes import write_volume
from twintrack.studies.evaluate.cases import score_rows
from twintrack.volume import Geometry, Volume

SHAPE = (12, 20, 24)
GEOMETRY = Geometry(SHAPE[::-1], (1.0, 1.0, 2.0))


def row(folder: Path, score: np.ndarray, *masks: np.ndarray) -> ManifestRow:
    """Write a case with a map, a score and masks; return its row."""
    arrays = {"probability": np.clip(score, 0, 1), "score": score}
    arrays |= {f"annotation_{number}": mask.astype(np.uint8) for number, mask in enumerate(masks, start=1)}
    for name, array in arrays.items():
        write_volume(Volume(array, GEOMETRY), folder / f"{name}.nii.gz")
    cells = ",".join(f"{name}.nii.gz" for name in arrays)
    (folder / "manifest.csv").write_text(f"case,{','.join(arrays)}\na,{cells}\n", encoding="utf-8")
    return next(iter(scan_manifest(folder / "manifest.csv", needs=("probability",), annotated=True)))


def test_what_is_sketched_of_a_case_is_that_of_the_whole_volumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    score = np.zeros(SHAPE, np.float32)
    score[3:8, 4:11, 5:9] = rng.uniform(0, 1, (5, 7, 4))
    score[11, 19, 23] = 1e-30  # far away, and hardly there
    one, other = score > 0.4, score > 0.7
    one[0, 0, 0] = True  # where the score says nothing
    _, found = score_rows([row(tmp_path, score, one, other)], ("probability", "score"))
    whole = ScoreSketch.of_case(score, {"1": one, "2": other})
    for sketch in found.by_column.values():
        for name in ("counts", "score_sums", "mhr_sums", "rater_positives"):
            np.testing.assert_array_equal(getattr(sketch, name), getattr(whole, name))
        assert (sketch.missed_mhr, sketch.case_keys) == (whole.missed_mhr, whole.case_keys)
        assert sketch.missed_mhr == 0.5


def test_a_case_without_anything_is_sketched_too(tmp_path: Path) -> None:
    nothing = np.zeros(SHAPE, np.float32)
    _, found = score_rows([row(tmp_path, nothing, nothing > 0)], ("probability",))
    assert found.by_column["probability"].counts.sum() == 0


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_a_score_that_is_no_fraction_is_refused_wherever_it_lies(tmp_path: Path, value: float) -> None:
    score = np.zeros(SHAPE, np.float32)
    score[3:8, 4:11, 5:9] = 0.5
    score[0, 0, 0] = value
    with raises_error(InputError, "probability-range", "score.nii.gz"):
        score_rows([row(tmp_path, score, score > 0.4)], ("probability", "score"))
