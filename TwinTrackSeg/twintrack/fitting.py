"""Fit a calibrator on the cases of a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twintrack.atomic import atomic_path
from twintrack.errors import InputError
from twintrack.manifest import ManifestRow, read_annotations, read_manifest
from twintrack.progress import CancelToken, Progress, no_progress, part
from twintrack.volume import FILE_ENDINGS, Volume, read_volume, write_volume

if TYPE_CHECKING:
    from twintrack.calibration import Calibrator, ScoreSketch

__all__ = ["apply_to_file", "fit_from_manifest", "sketch_manifest"]

FEWEST_CASES = 2
"""One case says nothing about the next."""


def fit_from_manifest(
    manifest: str | Path,
    *,
    bundle_path: str | Path | None = None,
    target: str = "mhr",
    rater: int | None = None,
    bins: int = 250,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> tuple[Calibrator, ScoreSketch]:
    """Fit a calibrator; return it and the sketch it was fitted on.

    Parameters
    ----------
    manifest : path
        Rows with ``score`` (or, with `bundle_path`, ``image``) and ``annotation_1 ... annotation_N``.
    bundle_path : path, optional
        Bundle that scores the ``image`` of each row.
    target, rater, bins
        As in `twintrack.calibration.fit_calibrator`.

    Raises
    ------
    InputError
        If the manifest or a file in it cannot be used, or there are fewer than 2 cases.
    """
    from twintrack.calibration import fit_calibrator

    sketch = sketch_manifest(
        manifest, bundle_path=bundle_path, device=device, progress=part(progress, 0.0, 0.97), cancel=cancel
    )
    digest = hashlib.sha256(Path(manifest).read_bytes()).hexdigest()
    progress(0.97, "fitting")
    return fit_calibrator(sketch, target=target, rater=rater, bins=bins, manifest_sha256=digest), sketch


def sketch_manifest(
    manifest: str | Path,
    *,
    bundle_path: str | Path | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> ScoreSketch:
    """Add up the sketches of all cases, one case in memory at a time."""
    from twintrack.bundle import Bundle
    from twintrack.calibration import ScoreSketch

    rows = read_manifest(manifest, needs=("image",) if bundle_path else ("score",), annotated=True)
    if len(rows) < FEWEST_CASES:
        raise InputError(f"{manifest}: holds {len(rows)} case; a calibrator needs at least {FEWEST_CASES}")
    cancel = cancel or CancelToken()
    bundle = Bundle.open(bundle_path) if bundle_path else None
    sketch = ScoreSketch.empty()
    try:
        for number, row in enumerate(rows):
            cancel.check()
            progress(number / len(rows), f"reading {row.case}")
            score = _score(row, bundle, device)
            masks = read_annotations(row, score.geometry)
            annotations = [masks[rater].array if rater in masks else None for rater in range(1, max(masks) + 1)]
            sketch = sketch.add(score.array, annotations)
    finally:
        if bundle is not None:
            bundle.close()
    return sketch


def apply_to_file(score_path: str | Path, calibrator_path: str | Path, out: str | Path) -> None:
    """Write the calibrated map of a score volume, on the score's grid; where the score is 0 the map is 0.

    Raises
    ------
    InputError
        If the score is no volume in [0, 1], the calibrator is invalid, or `out` is no volume file name.
    """
    from twintrack.calibration import read_calibrator

    if not str(out).lower().endswith(FILE_ENDINGS):
        raise InputError(f"{out}: not a volume file name; use one that ends with .nii.gz")
    calibrator = read_calibrator(calibrator_path)
    score = read_volume(score_path)
    _check_score(score, str(score_path))
    values = score.array.astype(np.float32, copy=False)
    with atomic_path(out) as partial:
        # 0 marks what lies outside the ROI, where nothing was scored.
        write_volume(score.with_array(np.where(values > 0, calibrator(values), np.float32(0))), partial)


def _check_score(score: Volume, where: str) -> None:
    if not (np.all(score.array >= 0) and np.all(score.array <= 1)):
        raise InputError(
            f"{where}: a score must lie between 0 and 1, got {score.array.min():g} to {score.array.max():g}"
        )


def _score(row: ManifestRow, bundle: object, device: str) -> Volume:
    """Read or compute the pooled score of a case."""
    from twintrack.bundle import Bundle
    from twintrack.pipeline import load_ct, segment
    from twintrack.settings import SegmentSettings

    if isinstance(bundle, Bundle):
        ct = load_ct(row.files["image"]).volume
        return segment(ct, bundle, SegmentSettings(calibrate=False, device=device)).score
    score = read_volume(row.files["score"])
    _check_score(score, f"{row.where}: {row.files['score']}")
    return Volume(score.array.astype(np.float32, copy=False), score.geometry)
